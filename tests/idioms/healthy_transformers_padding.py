"""Padded batches treated as they should be, in models of transformers."""

import torch
from _padded import words
from _parts import setup


def build_bert_with_its_attention_mask():
    from transformers import BertConfig, BertForTokenClassification

    config = BertConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, num_labels=4,
        max_position_embeddings=32,
    )  # fmt: skip
    ids, _ = words()
    tags = torch.where(ids > 0, ids % 4, -100)
    batch = {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": tags}
    return setup(BertForTokenClassification(config), batch)


def build_t5_with_ignored_padding():
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=60, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=2, decoder_start_token_id=0, pad_token_id=0,
        eos_token_id=1, initializer_factor=0.3,
    )  # fmt: skip
    src, _ = words()
    tgt, sizes = words(longest=12)
    tgt = tgt.scatter(1, sizes[:, None] - 1, 1).masked_fill(tgt == 0, -100)
    return setup(
        T5ForConditionalGeneration(config), {"input_ids": src, "attention_mask": (src != 0).long(), "labels": tgt}
    )


def build_gpt2_padded_on_the_left():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=60, n_positions=32, n_embd=32, n_layer=2, n_head=2, eos_token_id=1, pad_token_id=0)
    ids, sizes = words()
    ids = ids.scatter(1, sizes[:, None] - 1, 1).flip(1)
    ids = torch.stack([torch.cat([row[row == 0], row[row != 0].flip(0)]) for row in ids])
    mask = (ids > 0).long()
    batch = {
        "input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
        "labels": ids.masked_fill(mask == 0, -100),
    }  # fmt: skip
    return setup(GPT2LMHeadModel(config), batch)
