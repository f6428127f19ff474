"""A key that no setup has: the one that is meant is named, by meaning before spelling."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnlint.setup import SetupError, coerce

NET = nn.Linear(4, 2)
LOADER = [(torch.zeros(2, 4), torch.zeros(2, 2))]


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("net", NET, "model"),
        ("backbone", NET, "model"),
        ("criterion", nn.MSELoss(), "loss"),
        ("lossFn", nn.MSELoss(), "loss"),
        ("cost_function", nn.functional.mse_loss, "loss"),
        ("train_loader", LOADER, "data"),
        ("trainDataloader", LOADER, "data"),
        ("train_dl", LOADER, "data"),
        ("train_dataset", LOADER, "data"),
        ("val_loader", LOADER, "val_data"),
        ("validation_dataloader", LOADER, "val_data"),
        ("test_ds", LOADER, "val_data"),
        ("eval_dataset", LOADER, "val_data"),
        ("x_train", torch.zeros(2, 4), "inputs"),
        ("example_input", torch.zeros(2, 4), "inputs"),
        ("y_train", torch.zeros(2, 2), "targets"),
        ("ground_truth", torch.zeros(2, 2), "targets"),
        ("lr_scheduler", None, "scheduler"),
        ("scheduler_interval", "step", "interval"),
        ("optimizers", [], "optimizer"),
        ("optimiser", None, "optimizer"),
        ("max_grad_norm", 1.0, "grad_clip"),
        ("clip_grad", 1.0, "grad_clip"),
        ("amp", True, "precision"),
        ("scaler", None, "grad_scaler"),
        ("max_steps", 10, "planned_steps"),
        ("n_classes", 2, "num_classes"),
        ("num_labels", 2, "num_classes"),
        ("freeze", "encoder.*", "frozen"),
        ("is_causal", True, "causal"),
        ("generator", {}, "players"),
        ("modle", NET, "model"),
        ("mystery", LOADER, "data"),
        ("ignore_index", 0, "pad_id"),
        ("padding_idx", 0, "pad_id"),
        ("pad_token_id", 0, "pad_id"),
    ],
)
def test_the_nearest_by_meaning(key, value, meant) -> None:
    with pytest.raises(SetupError, match=f"unknown key '{key}'; did you mean '{meant}'\\?") as caught:
        coerce({"model": NET, key: value})
    assert caught.value.fix == f"write {meant!r} for {key!r}"


@pytest.mark.parametrize(
    "key",
    ["epochs", "device", "seed", "metrics", "name", "lr", "batch_size", "gradient_accumulation_steps", "num_workers"],
)
def test_nothing_is_suggested_for_what_has_no_field(key) -> None:
    with pytest.raises(SetupError, match=f"unknown key '{key}' \\(known") as caught:
        coerce({"model": NET, key: 3})
    assert caught.value.fix.startswith(f"remove {key!r}")
