"""What a Trainer or its arguments say of the training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnlint.setup import SetupOptions, coerce
from nnlint.setup.adapters.trainers import named_precision
from tests.libraries import library


def model():
    return nn.Linear(4, 2)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("16-mixed", "fp16"),
        ("bf16-mixed", "bf16"),
        (torch.float16, "fp16"),
        ("no", None),
        ("32-true", None),
        ("bf16-true", None),
    ],
)
def test_precision_as_people_write_it(written, meant) -> None:
    assert named_precision(written) == meant
    setup = coerce({"model": model(), "inputs": torch.randn(2, 4), "precision": written}, SetupOptions())
    assert setup.precision == meant


@pytest.mark.parametrize("form", ["tuple", "dict"])
def test_lightning_trainer(form) -> None:
    lightning = library("lightning")
    trainer = lightning.Trainer(
        precision="bf16-mixed", gradient_clip_val=0.5, accelerator="cpu", barebones=True
    )  # fmt: skip
    x = torch.randn(2, 4)
    given = (model(), x, trainer) if form == "tuple" else {"model": model(), "inputs": x, "trainer": trainer}
    setup = coerce(given, SetupOptions())
    assert (setup.precision, setup.grad_scaler, setup.grad_clip) == ("bf16", False, 0.5)


def test_arguments_of_transformers() -> None:
    library("transformers")
    from transformers import TrainingArguments

    arguments = TrainingArguments("unused", bf16=True, max_grad_norm=0.7, max_steps=50, use_cpu=True, report_to=[])
    setup = coerce({"model": model(), "inputs": torch.randn(2, 4), "args": arguments}, SetupOptions())
    assert (setup.precision, setup.grad_clip, setup.planned_steps) == ("bf16", 0.7, 50)


def test_the_setup_goes_before_the_trainer() -> None:
    class Trainer:
        precision, gradient_clip_val, gradient_clip_algorithm = "16-mixed", 1.0, None

    Trainer.__module__ = "lightning.trainer"
    setup = coerce(
        {"model": model(), "inputs": torch.randn(2, 4), "trainer": Trainer(), "grad_clip": 2.0}, SetupOptions()
    )
    assert (setup.precision, setup.grad_scaler, setup.grad_clip) == ("fp16", True, 2.0)
