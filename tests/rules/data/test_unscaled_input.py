"""DAT001 unscaled-input: floating-point inputs far from zero mean and unit scale."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint
from tests.rules.data.inputs import GENERATOR, NOISE, check

UNIT = torch.rand(32, 3, 8, 8, generator=GENERATOR)


def mlp():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(8))


@pytest.mark.parametrize(
    ("inputs", "fires"),
    [
        (NOISE, False),
        (UNIT, False),
        (2 * UNIT - 1, False),
        (NOISE * 4 - 6, False),  # log-mel
        (NOISE * 5, False),
        ((UNIT * 255).round(), True),
        ((UNIT * 200 * 0.1 + 180).round(), True),
        (NOISE * 30, True),
        (NOISE + 50, True),
        (UNIT / 255, True),
        (torch.nn.functional.normalize((UNIT.flatten(1) > 0.99).float()), False),  # tf-idf: sparse, small deviation
        (torch.ones(32, 16), False),  # DAT002's matter
    ],
    ids=[
        "noise",
        "unit",
        "symmetric",
        "log-mel",
        "std 5",
        "bytes",
        "dark bytes",
        "std 30",
        "offset",
        "twice",
        "sparse",
        "constant",
    ],
)
def test_scale(inputs, fires) -> None:
    assert check("DAT001", mlp(), inputs) == ([("DAT001", "warning")] if fires else [])


@pytest.mark.parametrize(
    ("inputs", "pixels"),
    [
        ((UNIT * 255).round(), True),
        ((UNIT * 255).round().permute(0, 2, 3, 1), True),
        (UNIT * 255, True),  # resized: fractions, and white
        ((torch.rand(8, 12, 6, generator=GENERATOR) * 200).round(), False),  # counts along a sequence
        (torch.rand(8, 12, 6, generator=GENERATOR) * 200, False),
        (torch.rand(8, 1, 12, 9, generator=GENERATOR) * 200, False),  # a spectrogram of powers
        (torch.rand(8, 16, 6, 6, generator=GENERATOR) * 254, False),  # maps of features
        ((torch.rand(32, 10, generator=GENERATOR) * 254).round(), False),  # a table
    ],
)
def test_only_pictures_are_said_to_run_from_0_to_255(inputs, pixels) -> None:
    """All of them are on a wrong scale; dividing by 255 is the fix for pictures."""
    torch.manual_seed(0)
    (found,) = nnlint.check({"model": mlp(), "inputs": inputs}, select=["DAT001"]).findings
    assert ("0 to 255" in found.message, "255" in found.fix) == (pixels, pixels)


class Scaling(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale, self.layer = scale, nn.LazyLinear(8)

    def forward(self, x):
        return self.layer(self.scale(x).flatten(1))


@pytest.mark.parametrize(
    "scale",
    [
        lambda x: x / 255,
        lambda x: (x - 127) * 0.01,
        nn.BatchNorm2d(3),
        nn.InstanceNorm2d(3),
        lambda x: x.permute(0, 2, 3, 1) / 255,
    ],
    ids=["div", "sub mul", "batch norm", "instance norm", "view div"],
)
def test_scaling_inside_the_model_is_silent(scale) -> None:
    assert check("DAT001", Scaling(scale), UNIT * 255) == []


def test_views_and_casts_do_not_scale() -> None:
    assert check("DAT001", Scaling(lambda x: x.permute(0, 2, 3, 1).float()), UNIT * 255) == [("DAT001", "warning")]


def test_ids_masks_and_time_steps_are_silent() -> None:
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.head = nn.Embedding(1000, 8), nn.Linear(9, 4)

        def forward(self, ids, mask, t):
            pooled = (self.embedding(ids) * mask[..., None]).sum(1)
            return self.head(torch.cat([pooled, torch.sin(t)[:, None]], 1))

    inputs = (torch.randint(0, 1000, (32, 6)), torch.ones(32, 6), torch.arange(32.0) * 30)
    assert check("DAT001", Model(), inputs) == []


def test_made_up_inputs_are_a_skip() -> None:
    report = nnlint.check(nn.Linear(16, 4), select=["DAT001"]).results[0]
    assert [item.reason for item in report.skipped] == ["needs a real batch; nnlint generated the inputs"]


def _pixels(scale: float, head: float | None = None) -> dict[str, object]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(16 * 16, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    if head is not None:
        nn.init.normal_(model[-1].weight, std=head)
    return {
        "model": model,
        "inputs": torch.rand(64, 3, 16, 16) * scale,
        "targets": torch.arange(64) % 10,
        "loss": nn.CrossEntropyLoss(),
    }


def _grave(setup: dict[str, object]) -> dict[str, set[str]]:
    """The findings at warning and above, each with the codes under it."""
    (result,) = nnlint.check(setup, select=["DAT001", "LOS018"]).results
    return {found.code: {under.code for under in found.symptoms} for found in result.findings}


def test_high_first_loss_is_a_symptom_of_unscaled_pixels() -> None:
    assert _grave(_pixels(255.0)) == {"DAT001": {"LOS018"}}
    assert _grave(_pixels(1.0)) == {}


def test_loud_head_behind_unscaled_pixels_stays_a_finding() -> None:
    assert _grave(_pixels(1.0, head=10.0)) == {"LOS018": set()}
    assert _grave(_pixels(255.0, head=10.0)) == {"DAT001": set(), "LOS018": set()}


def test_norm_takes_the_scale_of_the_inputs_away() -> None:
    """Behind a norm the inputs explain nothing: the head alone is loud."""
    setup = _pixels(255.0, head=10.0)
    setup["model"].insert(1, nn.BatchNorm2d(16))  # type: ignore[union-attr]
    assert _grave(setup) == {"DAT001": set(), "LOS018": set()}
