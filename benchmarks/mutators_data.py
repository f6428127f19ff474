"""More operators on the batch, the optimizer and what it trains; see benchmarks/mutators.py."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.mutation_tools import (
    Fields,
    copied,
    float_inputs,
    is_classification,
    labels_of,
    optimized,
    renew,
    replace,
    trace,
    trained,
    with_labels,
)
from benchmarks.mutators import Mutant, inner_layer, operator, two_dimensional

# -------------------------------------------------------------------- the batch


def _tabular(fields: Fields) -> torch.Tensor | None:
    """The inputs, where they are rows of at least four numbers."""
    found = float_inputs(fields)
    return found if found is not None and found.dim() == 2 and found.shape[1] >= 4 and len(found) >= 32 else None


def _changed(fields: Fields, change: Callable[[torch.Tensor], torch.Tensor]) -> Mutant | None:
    found = float_inputs(fields)
    if found is None:
        return None
    return Mutant({**fields, "inputs": change(found.clone())})


@operator("pixels divided by 255 twice", "DAT001")
def scaled_twice(fields: Fields) -> Mutant | None:
    found = float_inputs(fields)
    if found is None or found.dim() != 4:
        return None
    return _changed(fields, lambda x: (x - x.min()) / (x.max() - x.min()) / 255)


@operator("a column of one value", "DAT002")
def constant_column(fields: Fields) -> Mutant | None:
    if _tabular(fields) is None:
        return None

    def change(x: torch.Tensor) -> torch.Tensor:
        x[:, 1] = 0.7
        return x

    return _changed(fields, change)


@operator("all samples the same", "DAT002")
def same_samples(fields: Fields) -> Mutant | None:
    found = float_inputs(fields)
    if found is None or len(found) < 8:
        return None
    return _changed(fields, lambda x: x[:1].expand_as(x).clone())


@operator("a column 100 000 times as large", "DAT005")
def large_column(fields: Fields) -> Mutant | None:
    if _tabular(fields) is None:
        return None

    def change(x: torch.Tensor) -> torch.Tensor:
        x[:, 1] *= 1e5
        return x

    return _changed(fields, change)


@operator("inputs of double precision", "DAT008", "RUN002")
def double_inputs(fields: Fields) -> Mutant | None:
    found = float_inputs(fields)
    if found is None or found.dtype != torch.float32:
        return None
    return _changed(fields, lambda x: x.double())


@operator("samples twice in the batch", "DAT006")
def duplicates(fields: Fields) -> Mutant | None:
    labels = labels_of(fields)
    if labels is None or len(labels) < 16 or not is_classification(fields) or float_inputs(fields) is None:
        return None

    def change(x: torch.Tensor) -> torch.Tensor:
        x[10:15] = x[:5]
        return x

    made = _changed(fields, change)
    repeated = labels.clone()
    repeated[10:15] = labels[:5]
    return made and Mutant(with_labels(made.fields, repeated))


@operator("NaN in the targets", "DAT003")
def missing_target(fields: Fields) -> Mutant | None:
    targets = fields.get("targets")
    if not isinstance(targets, torch.Tensor) or not targets.is_floating_point():
        return None
    changed = targets.clone()
    changed.view(-1)[1] = float("nan")
    return Mutant({**fields, "targets": changed})


def repeated(fields: Fields, samples: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """More samples of a classifier's batch, with noise, and their labels."""
    found, inputs, labels = two_dimensional(fields), float_inputs(fields), labels_of(fields)
    if found is None or inputs is None or labels is None or labels.dim() != 1 or len(labels) != len(inputs):
        return None
    times = -(-samples // len(labels))
    many = inputs.repeat(times, *[1] * (inputs.dim() - 1))
    return many + 0.05 * inputs.std() * torch.randn_like(many), labels.repeat(times)


@operator("one class nearly alone", "DAT004")
def imbalanced(fields: Fields) -> Mutant | None:
    made = repeated(fields, 128)
    if made is None or getattr(fields["loss"], "weight", None) is not None:
        return None
    labels = torch.zeros_like(made[1])
    labels[:4] = 1
    return Mutant({**fields, "inputs": made[0], "targets": labels})


@operator("one sample in eight of another class", "LOS019")
def uneven(fields: Fields) -> Mutant | None:
    """Two classes of those that the head knows, whose frequencies its bias does not say."""
    made = repeated(fields, 128)
    if made is None or getattr(fields["loss"], "weight", None) is not None:
        return None
    return Mutant({**fields, "inputs": made[0], "targets": (torch.arange(len(made[1])) % 8 == 0).to(made[1].dtype)})


@operator("a head of twenty times as many classes", "LOS010")
def foreign_head(fields: Fields) -> Mutant | None:
    """As of a published model, over 256 samples of the own classes."""
    made, head = repeated(fields, 256), trace(fields).head()
    if made is None or head is None or type(head.module) is not nn.Linear:
        return None
    classes = 20 * int(made[1].max() + 1)
    bias = head.module.bias is not None
    replace(fields["model"], head.path, nn.Linear(head.module.in_features, classes, bias=bias))
    return Mutant(renew({**fields, "inputs": made[0], "targets": made[1]}), (head.path,))


@operator("one class for all samples", "DAT012")
def constant_target(fields: Fields) -> Mutant | None:
    """Over 256 samples: a rare class may be missing in a single batch."""
    made = repeated(fields, 256)
    if made is None:
        return None
    kept = {key: value for key, value in fields.items() if key not in ("inputs", "targets")}
    return Mutant({**kept, "data": DataLoader(TensorDataset(made[0], torch.ones_like(made[1])), batch_size=32)})


@operator("regression targets of hundreds", "DAT010")
def large_targets(fields: Fields) -> Mutant | None:
    found = two_dimensional(fields)
    if found is None:
        return None
    return Mutant({**fields, "loss": nn.MSELoss(), "targets": 500 + 100 * torch.randn(found.shape)})


@operator("validation samples from the training data", "DAT011")
def overlapping(fields: Fields) -> Mutant | None:
    inputs, targets = float_inputs(fields), fields.get("targets")
    if inputs is None or not isinstance(targets, torch.Tensor) or len(inputs) != len(targets) or len(inputs) < 8:
        return None
    half = len(inputs) // 2
    kept = {key: value for key, value in fields.items() if key not in ("inputs", "targets")}
    return Mutant({**kept, "data": [(inputs, targets)], "val_data": [(inputs[:half].clone(), targets[:half].clone())]})


@operator("batches sorted by class", "DAT007")
def sorted_by_class(fields: Fields) -> Mutant | None:
    made = repeated(fields, 256)
    if made is None:
        return None
    order = made[1].argsort(stable=True)
    kept = {key: value for key, value in fields.items() if key not in ("inputs", "targets")}
    loader = DataLoader(TensorDataset(made[0][order], made[1][order]), batch_size=16)
    return Mutant({**kept, "data": loader})


# -------------------------------------------------------------------- the optimizer


@operator("the optimizer of another instance", "OPT002")
def of_another_instance(fields: Fields) -> Mutant | None:
    if "optimizer" not in fields or not trained(fields):
        return None
    other = copied(fields["model"])
    return Mutant({**fields, "optimizer": renew({**fields, "model": other})["optimizer"]})


@operator("an inner layer left out of the optimizer", "OPT001")
def layer_left_out(fields: Fields) -> Mutant | None:
    call = inner_layer(fields)
    if call is None:
        return None
    left_out = {id(parameter) for parameter in call.module.parameters()}
    kept = [parameter for parameter in trained(fields) if id(parameter) not in left_out]
    return Mutant({**fields, "optimizer": torch.optim.AdamW(kept, lr=1e-3)}, (call.path,)) if kept else None


@operator("a loss that is maximized", "OPT005")
def maximized(fields: Fields) -> Mutant | None:
    return Mutant(renew(fields, maximize=True)) if is_classification(fields) else None


@operator("weight decay 10", "OPT009")
def heavy_decay(fields: Fields) -> Mutant | None:
    """With a loss: without one there is no gradient to compare the decay with."""
    if fields.get("loss") is None and labels_of(fields) is None:
        return None
    return Mutant(optimized(fields, torch.optim.AdamW, lr=1e-3, weight_decay=10.0))


@operator("weight decay 10 in plain SGD", "OPT009")
def heavy_decay_of_sgd(fields: Fields) -> Mutant | None:
    if fields.get("loss") is None and labels_of(fields) is None:
        return None
    return Mutant(optimized(fields, torch.optim.SGD, lr=1e-3, weight_decay=10.0))


@operator("momentum 0.9999", "OPT010")
def heavy_momentum(fields: Fields) -> Mutant | None:
    return Mutant(optimized(fields, torch.optim.SGD, lr=1e-3, momentum=0.9999))


@operator("betas swapped", "OPT010")
def swapped_betas(fields: Fields) -> Mutant | None:
    return Mutant(optimized(fields, torch.optim.AdamW, lr=1e-3, betas=(0.999, 0.9)))


@operator("a schedule that ends at its first step", "OPT012")
def ended(fields: Fields) -> Mutant | None:
    made = renew(fields)
    return Mutant(
        {**made, "scheduler": torch.optim.lr_scheduler.LambdaLR(made["optimizer"], lambda step: max(0, 1 - step))}
    )


@operator("the schedule of another optimizer", "OPT012")
def foreign_schedule(fields: Fields) -> Mutant | None:
    other = renew(fields)["optimizer"]
    return Mutant({**renew(fields), "scheduler": torch.optim.lr_scheduler.StepLR(other, 10)})


@operator("Adam with L2", "OPT007")
def adam_with_l2(fields: Fields) -> Mutant | None:
    return Mutant(optimized(fields, torch.optim.Adam, lr=1e-3, weight_decay=0.01))


@operator("a frozen layer in the optimizer", "OPT011")
def frozen_but_listed(fields: Fields) -> Mutant | None:
    call = inner_layer(fields)
    if call is None:
        return None
    made = renew(fields)
    call.module.requires_grad_(requires_grad=False)
    return Mutant(made, (call.path,))


@operator("a layer that is only declared frozen", "TRN003")
def frozen_in_words(fields: Fields) -> Mutant | None:
    call = inner_layer(fields)
    if call is None or fields.get("frozen"):
        return None
    return Mutant({**renew(fields), "frozen": (f"{call.path}*",)}, (call.path,))
