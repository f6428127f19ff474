"""Padding that is read or counted, in models of transformers."""

import torch
from _padded import words
from _parts import labels, setup


def build_bert_without_its_attention_mask():  # expect: ARC032
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, num_labels=3,
        max_position_embeddings=32,
    )  # fmt: skip
    ids, _ = words()
    return setup(BertForSequenceClassification(config), {"input_ids": ids, "labels": labels(16, 3)})


def build_distilbert_with_a_mask_of_ones():  # expect: ARC032
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    config = DistilBertConfig(
        vocab_size=60, dim=32, n_layers=1, n_heads=2, hidden_dim=64, num_labels=3, max_position_embeddings=32
    )
    ids, _ = words()
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels(16, 3)}
    return setup(DistilBertForSequenceClassification(config), batch)


def build_labels_padded_with_the_padding_id():  # expect: LOS028
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=60, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=2, decoder_start_token_id=0, pad_token_id=0,
        eos_token_id=1, initializer_factor=0.3,
    )  # fmt: skip
    src, _ = words()
    tgt, _ = words(longest=12)
    return setup(
        T5ForConditionalGeneration(config), {"input_ids": src, "attention_mask": (src != 0).long(), "labels": tgt}
    )
