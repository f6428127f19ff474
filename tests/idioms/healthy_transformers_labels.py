"""Labels of models of transformers where they should be."""

import torch
from _padded import words
from _parts import setup


def gpt(**more):
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=60, n_positions=32, n_embd=32, n_layer=2, n_head=2, bos_token_id=2, **more))


def text():
    return torch.randint(4, 60, (16, 17))


def build_labels_are_the_inputs():
    ids = text()
    return setup(gpt(eos_token_id=3), {"input_ids": ids, "labels": ids})


def build_end_that_counts_once():
    ids, sizes = words(pad=3)
    ids = ids.scatter(1, sizes[:, None] - 1, 3)
    mask = torch.arange(20) < sizes[:, None]
    batch = {"input_ids": ids, "attention_mask": mask.long(), "labels": ids.masked_fill(~mask, -100)}
    return setup(gpt(eos_token_id=3, pad_token_id=3), batch)


def build_prompts_are_ignored():
    ids, sizes = words(pad=0)
    ids = ids.scatter(1, sizes[:, None] - 1, 3)
    mask = torch.arange(20) < sizes[:, None]
    labels = ids.masked_fill(~mask, -100)
    labels[:, :3] = -100
    return setup(gpt(eos_token_id=3, pad_token_id=0), {"input_ids": ids, "attention_mask": mask.long(), "labels": labels})


def build_streams_that_begin_with_the_end_token():
    ids = text()
    ids[:, 0] = 2
    return setup(gpt(eos_token_id=2), {"input_ids": ids, "labels": ids.clone()})


def build_masked_language_model():
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, max_position_embeddings=32
    )
    ids = text()
    hidden = torch.rand(ids.shape) < 0.2
    batch = {
        "input_ids": ids.masked_fill(hidden, 1), "attention_mask": torch.ones_like(ids),
        "labels": ids.masked_fill(~hidden, -100),
    }  # fmt: skip
    return setup(BertForMaskedLM(config), batch)


# -------------------------------------------------------------------- a loss that only takes the model's own out of the output


def build_loss_taken_out_of_the_output():
    ids = text()
    return setup(gpt(eos_token_id=3), {"input_ids": ids, "labels": ids}, loss=lambda output, _: output.loss)


def build_loss_divided_for_accumulation():
    ids, sizes = words(pad=0)
    mask = torch.arange(20) < sizes[:, None]
    batch = {"input_ids": ids, "attention_mask": mask.long(), "labels": ids.masked_fill(~mask, -100)}
    return setup(gpt(eos_token_id=3, pad_token_id=0), batch, loss=lambda output, batch: output.loss / 4)


def build_dict_batches_and_the_loss_of_the_output():
    ids = text()
    model = gpt(eos_token_id=3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    batches = [{"input_ids": ids, "labels": ids}]
    return {"model": model, "data": batches, "loss": lambda output, batch: output.loss, "optimizer": optimizer}


def build_tied_embedding_under_a_scaled_hidden_state():
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=60, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=0, pad_token_id=0
    )
    ids, sizes = words(pad=0)
    mask = torch.arange(20) < sizes[:, None]
    batch = {"input_ids": text(), "labels": ids.masked_fill(~mask, -100)}
    return setup(T5ForConditionalGeneration(config), batch)
