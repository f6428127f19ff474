"""Adapters by PEFT around small models of transformers."""

import warnings

import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertForTokenClassification, LlamaConfig, LlamaForSequenceClassification

LLAMA = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4}


def batch(per_token=False):
    ids = torch.randint(10, 97, (16, 12))
    labels = torch.randint(0, 4, (16, 12) if per_token else (16,))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def adapted(model, inputs, **config):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PEFT asks of transformers is deprecated there
        model = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, **config))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return {"model": model, "inputs": inputs, "optimizer": torch.optim.AdamW(trained, lr=1e-3)}


def llama(**config):
    base = LlamaForSequenceClassification(LlamaConfig(vocab_size=97, num_labels=4, pad_token_id=0, **LLAMA))
    return adapted(base, batch(), target_modules=["q_proj", "v_proj"], **config)


def bert(**config):
    shape = BertConfig(vocab_size=97, num_labels=4, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    return adapted(BertForTokenClassification(shape), batch(per_token=True), target_modules=["query", "value"], **config)


def build_score_of_a_classifier_left_out():  # expect: INI014 at base_model.model.score
    return llama()


def build_classifier_of_tokens_left_out():  # expect: INI014 at base_model.model.classifier
    return bert()
