"""Models of Hugging Face transformers with their own loss."""

import torch
import transformers
from _parts import labels, tokens
from torch import nn

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 100}


def encoder(**settings):
    return transformers.BertForSequenceClassification(transformers.BertConfig(**SIZES, **settings))


def build_labels_in_the_batch():
    model = encoder(num_labels=5)
    batch = {"input_ids": tokens(), "attention_mask": torch.ones(32, 16, dtype=torch.long), "labels": labels()}
    return {"model": model, "inputs": batch, "optimizer": torch.optim.AdamW(model.parameters(), lr=5e-4)}


def build_loader_of_encodings():
    model = encoder(num_labels=2)
    batches = [{"input_ids": tokens(), "labels": labels(32, 2)} for _ in range(2)]
    return {"model": model, "data": batches, "optimizer": torch.optim.AdamW(model.parameters(), lr=5e-4)}


def build_own_loss_on_logits():
    model = encoder(num_labels=5)
    loss = lambda output, y: nn.functional.cross_entropy(output.logits, y, label_smoothing=0.1)
    return {"model": model, "inputs": {"input_ids": tokens()}, "targets": labels(), "loss": loss}


def build_decoder():
    config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=100, n_positions=32)
    ids = tokens()
    return {"model": transformers.GPT2LMHeadModel(config), "inputs": {"input_ids": ids, "labels": ids}}


def build_frozen_encoder_with_a_new_head():
    class Probe(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = transformers.BertModel(transformers.BertConfig(**SIZES), add_pooling_layer=False)
            self.encoder.requires_grad_(False)
            self.head = nn.Linear(32, 5)

        def forward(self, input_ids):
            with torch.no_grad():
                hidden = self.encoder(input_ids).last_hidden_state
            return self.head(hidden.mean(1))

    model = Probe()
    optimizer = torch.optim.AdamW(model.head.parameters(), lr=1e-3)
    setup = {"model": model, "inputs": tokens(), "targets": labels(), "loss": nn.CrossEntropyLoss()}
    return {**setup, "optimizer": optimizer, "frozen": "encoder*"}
