"""Parameter evidence: roles, statistics, initialization families, and the decision between fresh and trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nnlint.finding import Location, Skip
from nnlint.probes.given.model import Model
from nnlint.probes.given.parameters import Parameters


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(8, 16))
        self.gamma = nn.Parameter(torch.full((8,), 1e-6))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.pos_embed = nn.Parameter(torch.randn(1, 4, 8))


def seeded_net(build: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return build()


@pytest.mark.parametrize(
    ("build", "name", "kind", "fans"),
    [
        (lambda: nn.Linear(6, 4), "weight", "weight", (6, 4)),
        (lambda: nn.Linear(6, 4), "bias", "bias", (None, None)),
        (lambda: nn.Linear(6, 1), "weight", "weight", (6, 1)),
        (lambda: nn.Conv2d(8, 4, 3, groups=2), "weight", "weight", (36, 36)),
        (lambda: nn.ConvTranspose2d(8, 4, 3, groups=2), "weight", "weight", (18, 72)),
        (lambda: nn.Bilinear(3, 5, 2), "weight", "weight", (15, 10)),
        (lambda: nn.Embedding(9, 4), "weight", "embedding", (None, None)),
        (lambda: nn.BatchNorm1d(4), "weight", "norm", (None, None)),
        (lambda: nn.LayerNorm(4), "bias", "norm", (None, None)),
        (lambda: nn.LSTM(3, 5), "weight_hh_l0", "recurrent", (5, 20)),
        (lambda: nn.LSTM(3, 5), "bias_hh_l0", "bias", (None, None)),
        (lambda: nn.MultiheadAttention(8, 2), "in_proj_weight", "weight", (8, 24)),
        (Custom, "kernel", "weight", (16, 8)),
        (Custom, "gamma", "other", (None, None)),
        (Custom, "cls_token", "other", (8, 8)),
        (Custom, "pos_embed", "other", (32, 8)),
    ],
)
def test_roles_and_fans(
    build: Callable[[], nn.Module], name: str, kind: str, fans: tuple[int | None, int | None]
) -> None:
    view = Parameters(build()).find(name)
    assert view is not None
    assert view.kind == kind
    assert (view.fan_in, view.fan_out) == fans


def test_names_owners_and_lines() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 2, bias=False)))
    seen = Location("user.py", 7)
    view = Parameters(net, Model(net, {"1": seen})).find("1.0.weight")
    assert view is not None
    assert (view.module_path, view.owner_type, view.leaf, view.label) == (
        "1.0",
        "Linear",
        "weight",
        "1.0.weight (Linear)",
    )
    assert view.location is seen  # of the nearest module whose construction was seen
    assert (view.shape, view.dtype, view.requires_grad, view.numel) == ((2, 3), "float32", True, 6)


def test_a_parametrized_weight_belongs_to_its_layer() -> None:
    net = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)))
    views = Parameters(net).of_kind("weight")
    assert {view.module_path for view in views} == {"0"}
    assert {view.owner_type for view in views} == {"Linear"}


def test_tied_parameters_are_one() -> None:
    net = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7, bias=False))
    net[1].weight = net[0].weight
    parameters = Parameters(net)
    assert len(parameters) == 1
    assert parameters.all[0].tied_to == ("1.weight",)
    assert parameters.find("1.weight") is parameters.find("0.weight")
    assert parameters.numel == 28


def view_of(values: torch.Tensor) -> Any:
    net = nn.Module()
    net.weight = nn.Parameter(values)
    return Parameters(net).all[0]


@settings(max_examples=40, deadline=None)
@given(scale=st.floats(1e-30, 1e30), shift=st.floats(-1e3, 1e3), seed=st.integers(0, 100))
def test_statistics_are_those_of_double_precision(scale: float, shift: float, seed: int) -> None:
    values = (torch.randn(40, 25, generator=torch.Generator().manual_seed(seed)) + shift) * scale
    view, exact = view_of(values), values.double()
    spread = float(exact.std(correction=0))
    assert view.std == pytest.approx(spread, rel=1e-3)
    assert view.mean == pytest.approx(float(exact.mean()), rel=1e-3, abs=1e-3 * spread)
    assert view.abs_max == float(exact.abs().max())
    assert view.finite


def test_constants_and_non_finite_values() -> None:
    constant = view_of(torch.full((3, 3), 0.1))
    assert (constant.constant, constant.value, constant.std) == (True, pytest.approx(0.1), pytest.approx(0.0, abs=1e-9))
    broken = view_of(torch.tensor([[1.0, math.nan, math.inf]]))
    assert (broken.finite, broken.non_finite, broken.constant, broken.init) == (False, 2, False, None)
    assert math.isnan(broken.mean)
    assert view_of(torch.empty(0, 3)).finite
    assert view_of(torch.tensor([[1.0, 2.0]], dtype=torch.bfloat16)).mean == 1.5


def test_kurtosis_tells_the_shapes_apart() -> None:
    torch.manual_seed(0)
    assert view_of(torch.randn(300, 300)).kurtosis == pytest.approx(3.0, abs=0.1)
    assert view_of(torch.rand(300, 300)).kurtosis == pytest.approx(1.8, abs=0.03)


def test_duplicate_rows() -> None:
    torch.manual_seed(0)
    values = torch.randn(6, 10)
    assert view_of(values).duplicate_rows == ()
    values[4] = values[1]
    values[5] = values[1]
    values[3] = values[0].flip(0)  # the same numbers in another order are another row
    view = view_of(values)
    assert view.duplicate_rows == ((1, 4, 5),)
    assert view_of(torch.ones(8, 3)).duplicate_rows == (tuple(range(8)),)


def test_clones_are_distinct_tensors_with_the_same_bits() -> None:
    torch.manual_seed(0)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2)
    groups = [{view.name for view in group} for group in Parameters(encoder).clones]
    assert {"layers.0.linear1.weight", "layers.1.linear1.weight"} in groups
    assert Parameters(nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16))).clones == ()


def test_spectral_radius_of_each_gate() -> None:
    net = nn.GRU(3, 8)
    with torch.no_grad():
        net.weight_hh_l0.copy_(torch.cat([torch.eye(8), 2 * torch.eye(8), torch.zeros(8, 8)]))
    view = Parameters(net).find("weight_hh_l0")
    assert view is not None
    assert view.spectral_radii == pytest.approx((1.0, 2.0, 0.0))


def test_padding_row() -> None:
    torch.manual_seed(0)
    net = nn.Embedding(50, 16, padding_idx=3)
    view = Parameters(net).all[0]
    assert view.row_is_zero(3)
    assert not view.row_is_zero(4)
    assert view.init is not None
    assert view.init.name == "normal(1)"


FAMILIES: list[tuple[str, str, Callable[[torch.Tensor], object]]] = [
    ("torch default", "uniform", lambda w: None),
    ("kaiming normal (relu, fan_in)", "normal", lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu")),
    (
        "kaiming uniform (relu, fan_out)",
        "uniform",
        lambda w: nn.init.kaiming_uniform_(w, mode="fan_out", nonlinearity="relu"),
    ),
    ("xavier normal", "normal", nn.init.xavier_normal_),
    ("xavier uniform", "uniform", nn.init.xavier_uniform_),
    ("xavier normal (tanh)", "normal", lambda w: nn.init.xavier_normal_(w, gain=5 / 3)),
    ("lecun normal", "normal", lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear")),
    ("normal(0.02)", "normal", lambda w: nn.init.trunc_normal_(w, std=0.02)),
    ("truncated normal(1)", "truncated-normal", nn.init.trunc_normal_),
    ("normal(1)", "normal", nn.init.normal_),
    ("normal", "normal", lambda w: nn.init.normal_(w, std=77.0)),
    ("uniform", "uniform", lambda w: nn.init.uniform_(w, -3.0, 3.0)),
    ("shifted uniform", "uniform", nn.init.uniform_),
    ("orthogonal", "orthogonal", nn.init.orthogonal_),
    ("zeros", "constant", nn.init.zeros_),
    ("ones", "constant", nn.init.ones_),
    ("constant", "constant", lambda w: nn.init.constant_(w, 100.0)),
    ("identity", "identity", nn.init.eye_),
]


@pytest.mark.parametrize(("name", "shape", "fill"), FAMILIES, ids=[family[0] for family in FAMILIES])
def test_initializations_are_recognized_by_name(name: str, shape: str, fill: Callable[[torch.Tensor], object]) -> None:
    torch.manual_seed(0)
    net = nn.Linear(200, 320)
    fill(net.weight)
    view = Parameters(net).find("weight")
    assert view is not None
    assert view.init is not None
    assert (view.init.name, view.init.shape) == (name, shape)
    assert view.init.std == view.std or view.constant


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(8, 300),
    columns=st.integers(8, 300),
    fill=st.sampled_from([family[2] for family in FAMILIES[:14]]),
    seed=st.integers(0, 10_000),
)
def test_every_draw_of_every_size_is_fresh(
    rows: int, columns: int, fill: Callable[[torch.Tensor], object], seed: int
) -> None:
    torch.manual_seed(seed)
    net = nn.Linear(columns, rows)
    fill(net.weight)
    assert Parameters(net).fresh


def heavy_tails(weight: torch.Tensor) -> torch.Tensor:
    return torch.distributions.StudentT(3.0).sample(weight.shape)


def unequal_rows(weight: torch.Tensor) -> torch.Tensor:
    return torch.randn_like(weight) * torch.linspace(0.5, 1.5, weight.shape[0])[
        torch.randperm(weight.shape[0])
    ].unsqueeze(1)


def unequal_columns(weight: torch.Tensor) -> torch.Tensor:
    return torch.randn_like(weight) * torch.linspace(0.5, 1.5, weight.shape[1])[torch.randperm(weight.shape[1])]


def low_rank_part(weight: torch.Tensor) -> torch.Tensor:
    rows, columns = weight.shape
    signs = torch.randint(0, 2, (rows, 1)) * 2.0 - 1.0, torch.randint(0, 2, (1, columns)) * 2.0 - 1.0
    return torch.randn_like(weight) + 0.2 * signs[0] * signs[1]


def smooth(weight: torch.Tensor) -> torch.Tensor:
    return weight + weight.roll(1, dims=1)


@pytest.mark.parametrize("spoil", [heavy_tails, unequal_rows, unequal_columns, low_rank_part, smooth])
def test_traces_of_training_are_no_initialization(spoil: Callable[[torch.Tensor], torch.Tensor]) -> None:
    torch.manual_seed(0)
    assert view_of(spoil(torch.randn(128, 128))).init is None


def test_gates_initialized_one_by_one() -> None:
    torch.manual_seed(0)
    net = nn.LSTM(32, 32)
    with torch.no_grad():
        for gate in net.weight_hh_l0.chunk(4):
            nn.init.orthogonal_(gate)
        net.weight_ih_l0[:32] *= 5.0
        net.bias_ih_l0[32:64].fill_(1.0)  # forget gate
    assert Parameters(net).fresh


def train(net: nn.Module, steps: int, optimizer: torch.optim.Optimizer) -> None:
    inputs = torch.randn(256, 64)
    labels = (inputs @ torch.randn(64, 10)).argmax(1)
    for _ in range(steps):
        chosen = torch.randint(0, 256, (64,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(inputs[chosen]), labels[chosen]).backward()
        optimizer.step()


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def normalized() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))


@pytest.mark.parametrize("build", [mlp, normalized])
@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD])
def test_a_trained_net_is_not_fresh(build: Callable[[], nn.Sequential], kind: Any) -> None:
    net = seeded_net(build)
    assert Parameters(net).fresh
    train(net, 300, kind(net.parameters(), lr=1e-3 if kind is torch.optim.Adam else 0.1))
    trained = Parameters(net)
    assert not trained.fresh
    with pytest.raises(Skip, match="weights look trained: only"):
        trained.require_fresh()


def test_the_refusal_counts_what_was_found() -> None:
    net = seeded_net(mlp)
    Parameters(net).require_fresh()
    with torch.no_grad():
        for layer in (net[0], net[2]):
            layer.weight.copy_(unequal_rows(layer.weight))
    with pytest.raises(Skip, match="only 1 of 3 weight tensors match a known initialization"):
        Parameters(net).require_fresh()


def test_batch_norm_off_its_constants_is_trained() -> None:
    net = seeded_net(normalized)
    nn.init.normal_(net[1].weight, 1.0, 0.02)
    assert Parameters(net).fresh  # as generative nets are initialized
    nn.init.normal_(net[1].weight, 1.3, 0.2)
    with pytest.raises(Skip, match="only 1 of 2 normalization tensors"):
        Parameters(net).require_fresh()


def test_nothing_to_judge_is_fresh() -> None:
    assert Parameters(nn.ReLU()).fresh
    assert Parameters(nn.ReLU()).fresh_share == 1.0
    assert Parameters(seeded_net(lambda: nn.Linear(1, 1))).fresh


def test_buffers_are_listed_by_themselves() -> None:
    net = nn.BatchNorm1d(3)
    net.running_mean[1] = math.nan
    buffers = {view.leaf: view for view in Parameters(net).buffers}
    assert set(buffers) == {"running_mean", "running_var"}
    assert (buffers["running_mean"].kind, buffers["running_mean"].non_finite) == ("buffer", 1)


def test_parameters_without_values() -> None:
    lazy, meta = Parameters(nn.LazyLinear(3)).all[0], Parameters(nn.Linear(2, 2, device="meta")).all[0]
    assert (lazy.shape, meta.shape) == ((), (2, 2))
    for view in (lazy, meta):
        with pytest.raises(Skip, match="has no values"):
            _ = view.moments


@pytest.mark.parametrize(
    "make",
    [
        lambda parameters: torch.optim.Adam(parameters, lr=1e-6),
        lambda parameters: torch.optim.SGD(parameters, lr=1e-6, momentum=0.9),
        lambda parameters: torch.optim.Adagrad(parameters, lr=1e-6),
    ],
    ids=["Adam", "SGD with momentum", "Adagrad"],
)
def test_an_optimizer_that_has_made_steps_tells_of_training(make) -> None:
    """However small the steps were: nothing of them is seen in the values."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5))
    optimizer = make(model.parameters())
    assert Parameters(model, optimizer=optimizer).fresh
    model(torch.randn(8, 20)).sum().backward()
    optimizer.step()
    assert Parameters(model).fresh
    trained = Parameters(model, optimizer=optimizer)
    assert not trained.fresh
    with pytest.raises(Skip, match="the optimizer has made steps"):
        trained.require_fresh()
