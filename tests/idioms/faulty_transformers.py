"""Faults around Hugging Face models: their labels, their configurations, heads put upon them."""

import torch
import transformers
from _parts import labels, setup, tokens
from torch import nn
from torch.nn import functional

SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 100}


def batch(**more):
    return {"input_ids": tokens(), "attention_mask": torch.ones(32, 16, dtype=torch.long), **more}


def encoder(**settings):
    return transformers.BertForSequenceClassification(transformers.BertConfig(**SIZES, **settings))


class Pooled(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.encoder, self.head = transformers.BertModel(transformers.BertConfig(**SIZES)), head

    def forward(self, input_ids, attention_mask):
        return self.head(self.encoder(input_ids, attention_mask=attention_mask).pooler_output)


def build_softmax_on_the_pooled_output():  # expect: LOS001 at head.1
    return setup(Pooled(nn.Sequential(nn.Linear(32, 5), nn.Softmax(-1))), batch(), labels(), nn.CrossEntropyLoss())


def build_softmax_of_the_logits_in_the_loss():  # expect: LOS001
    loss = lambda output, y: functional.cross_entropy(output.logits.softmax(-1), y)  # <- LOS001
    return setup(encoder(num_labels=5), batch(), labels(), loss)


def build_labels_beyond_the_configuration():  # expect: LOS009 at classifier, RUN002 at <CrossEntropyLoss>
    return {"model": encoder(num_labels=3), "inputs": batch(labels=labels())}


def build_every_label_ignored():  # expect: LOS025 at <CrossEntropyLoss>
    model = transformers.BertForTokenClassification(transformers.BertConfig(**SIZES, num_labels=4))
    return {"model": model, "inputs": batch(labels=torch.full((32, 16), -100))}


# expect: DAT013 at bert.embeddings.word_embeddings, RUN002 at bert.embeddings.word_embeddings
def build_tokens_of_a_larger_tokenizer():
    inputs = batch(labels=labels()) | {"input_ids": tokens(vocabulary=140)}
    return {"model": encoder(num_labels=5), "inputs": inputs}


def build_text_longer_than_the_positions():  # expect: DAT013 at transformer.wpe, RUN002 at transformer.wpe
    config = transformers.GPT2Config(n_embd=32, n_layer=1, n_head=4, vocab_size=100, n_positions=12)
    ids = tokens()
    return {"model": transformers.GPT2LMHeadModel(config), "inputs": {"input_ids": ids, "labels": ids}}


def build_optimizer_made_before_the_new_head():  # expect: OPT002 at classifier
    model = encoder(num_labels=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    model.classifier, model.num_labels, model.config.num_labels = nn.Linear(32, 5), 5, 5
    return {"model": model, "inputs": batch(labels=labels()), "optimizer": optimizer}


def build_head_of_two_layers_left_frozen():  # expect: INI014 at pre_classifier
    shape = transformers.DistilBertConfig(vocab_size=100, dim=32, n_layers=2, n_heads=4, hidden_dim=64, num_labels=5)
    model = transformers.DistilBertForSequenceClassification(shape)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("layer.1" in name)
    return setup(model, batch(labels=labels()))
