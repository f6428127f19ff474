"""A PEFT model is checked as the model that it adapts: its batches, labels and loss."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from nnlint import check
from nnlint.setup import coerce
from tests.libraries import library


def adapted(task: str | None) -> Any:
    transformers, peft = library("transformers"), library("peft")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        num_labels=3,
    )
    lora = peft.LoraConfig(r=4, target_modules=["query", "value"], task_type=task, modules_to_save=["classifier"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT reads what transformers deprecates
        return peft.get_peft_model(transformers.BertForSequenceClassification(config), lora)


def padded() -> dict[str, torch.Tensor]:
    ids, mask = torch.randint(5, 50, (8, 12)), torch.ones(8, 12, dtype=torch.int64)
    mask[:4, 9:] = 0
    return {"input_ids": ids * mask, "attention_mask": mask, "labels": torch.arange(8) % 3}


@pytest.mark.parametrize("task", [None, "SEQ_CLS"])
@pytest.mark.parametrize("form", ["inputs", "data", "model"])
def test_the_loss_is_the_models_through_its_labels(task: str | None, form: str) -> None:
    net = adapted(task)
    given = {"inputs": {"model": net, "inputs": padded()}, "data": {"model": net, "data": [padded()]}, "model": net}
    setup = coerce(given[form])
    assert set(setup.inputs) >= {"input_ids", "labels"}
    assert setup.run()[1] is not None


def test_a_healthy_adapter_is_clean() -> None:
    net = adapted(None)
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-3)
    report = check({"model": net, "data": [padded()], "optimizer": optimizer})
    assert [(f.code, f.message) for f in report.findings if f.level.value != "info"] == []
    assert report.results[0].status == "ok"
