"""Labels of causal language models of transformers in the wrong place, or without an end."""

import torch
from _padded import words
from _parts import setup


def gpt(**more):
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=60, n_positions=32, n_embd=32, n_layer=2, n_head=2, bos_token_id=2, **more))


def text():
    return torch.randint(4, 60, (16, 17))


def build_labels_shifted_before_the_model_does():  # expect: LOS029
    ids = text()
    return setup(gpt(eos_token_id=3), {"input_ids": ids[:, :-1], "labels": ids[:, 1:].contiguous()})


def build_llama_with_shifted_labels_as_targets():  # expect: LOS029
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=60, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=64,
    )  # fmt: skip
    ids = text()
    return setup(LlamaForCausalLM(config), {"input_ids": ids[:, :-1]}, ids[:, 1:].contiguous())


def build_collator_that_ignores_every_end():  # expect: LOS030
    ids, sizes = words(pad=3)
    ids = ids.scatter(1, sizes[:, None] - 1, 3)
    mask = torch.arange(20) < sizes[:, None]
    batch = {"input_ids": ids, "attention_mask": mask.long(), "labels": ids.masked_fill(ids == 3, -100)}
    return setup(gpt(eos_token_id=3, pad_token_id=3), batch)


def build_samples_without_an_end_padded_with_it():  # expect: LOS030
    ids, sizes = words(pad=3)
    mask = torch.arange(20) < sizes[:, None]
    batch = {"input_ids": ids, "attention_mask": mask.long(), "labels": ids.masked_fill(~mask, -100)}
    return setup(gpt(eos_token_id=3), batch)


# -------------------------------------------------------------------- a loss that only takes the model's own out of the output


def build_loss_taken_out_of_the_output():  # expect: LOS029
    ids = text()
    batch = {"input_ids": ids[:, :-1], "labels": ids[:, 1:].contiguous()}
    return setup(gpt(eos_token_id=3), batch, loss=lambda output, _: output.loss)


def build_loss_taken_by_key_and_padding_among_the_labels():  # expect: LOS028
    ids, sizes = words(pad=0)
    mask = torch.arange(20) < sizes[:, None]
    batch = {"input_ids": ids, "attention_mask": mask.long(), "labels": ids.clone()}
    return setup(gpt(eos_token_id=3, pad_token_id=0), batch, loss=lambda output: output["loss"])


def build_loss_divided_for_accumulation():  # expect: LOS028
    ids, sizes = words(pad=0)
    mask = torch.arange(20) < sizes[:, None]
    batch = {"input_ids": ids, "attention_mask": mask.long(), "labels": ids.clone()}
    return setup(gpt(eos_token_id=3, pad_token_id=0), batch, loss=lambda output, batch: output.loss / 4)


def build_dict_batches_and_the_loss_of_the_output():  # expect: LOS029
    ids = text()
    batches = [{"input_ids": ids[:, :-1], "labels": ids[:, 1:].contiguous()}]
    model = gpt(eos_token_id=3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return {"model": model, "data": batches, "loss": lambda output, batch: output.loss, "optimizer": optimizer}
