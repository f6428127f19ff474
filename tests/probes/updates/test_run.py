"""The steps probe: what moved, what did not, and where a training breaks."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_pre_hook

from nnlint.finding import Skip
from nnlint.probes.longer.loop import update, update_in_parts
from nnlint.probes.training_pass.gradients import gradient_norms, norms_in_passing, sparse_gradients
from nnlint.setup import SetupOptions, coerce
from tests.probes.sessions import session


def mlp(width=32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, 5))


def stats(model, optimizer=None, *, loss=None, targets=None, inputs=None, **fields):
    if targets is None:
        targets = torch.arange(32) % 5
    inputs = torch.randn(32, 20) if inputs is None else inputs
    loss = loss or nn.CrossEntropyLoss()
    return session(model, inputs, targets=targets, loss=loss, optimizer=optimizer, **fields).evidence("StepStats")


class Regression(nn.Module):
    """The article's regression net."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(20, 25, bias=False)
        self.fc2 = nn.Linear(25, 1, bias=False)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))


class Clipped(torch.optim.SGD):
    """SGD after clip_grad_norm_, as the article cures its net."""

    def step(self, closure=None):
        torch.nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 4.0)
        return super().step(closure)


def regression(scale, seed, kind=torch.optim.SGD):
    torch.manual_seed(seed)
    inputs, weights = torch.randn(32, 20), 100 * torch.rand(20) * (torch.arange(20) < 10)
    targets = (inputs @ weights)[:, None]
    model = Regression()
    optimizer = kind(model.parameters(), lr=0.01, momentum=0.9)
    return stats(model, optimizer, loss=nn.MSELoss(), inputs=inputs, targets=targets / targets.std() * scale)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_articles_regression_breaks_within_a_dozen_steps(seed):
    broken = regression(142.9, seed)
    assert broken.non_finite_step is not None
    assert 4 <= broken.non_finite_step <= 14
    assert broken.non_finite_at is not None
    assert broken.median_update_ratio > 0.3


@pytest.mark.parametrize(
    "cured", [{"scale": 1.0}, {"scale": 142.9, "kind": Clipped}], ids=["scaled target", "clipping"]
)
def test_the_articles_cures(cured):
    for seed in range(3):
        found = regression(seed=seed, **cured)
        assert found.non_finite_step is None
        assert found.losses[-1] < found.losses[0]


def test_a_small_net_gets_more_steps_than_a_large_one():
    assert stats(mlp(), torch.optim.SGD(mlp().parameters(), lr=0.1)).steps > 10
    wide = nn.Sequential(nn.Linear(20, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 5))
    found = stats(wide)
    assert (found.steps, len(found.losses), found.own_optimizer) == (1, 2, False)
    assert found.step_seconds is not None


@pytest.mark.parametrize(
    ("settings", "gradients"),
    [({}, 1), ({"weight_decay": 0.01}, 1), ({"weight_decay": 100.0}, 2), ({"eps": 1e-2}, 2)],
    ids=["plain", "usual decay", "strong decay", "large eps"],
)
def test_the_gradients_after_the_update_are_asked_for_where_they_can_decide_something(settings, gradients):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 4096), nn.Tanh(), nn.Linear(4096, 2048), nn.Tanh(), nn.Linear(2048, 5))
    found = stats(model, torch.optim.AdamW(model.parameters(), lr=1e-4, **{"weight_decay": 0.0, **settings}))
    assert {len(item.gradients) for item in found.parameters} == {gradients}


class Wide(nn.Module):
    """Too large for more than the fewest steps: a head that starts at zero, a branch after it, one after a factor of zero."""

    def __init__(self, factor):
        super().__init__()
        self.body, self.never = nn.Linear(20, 12000), nn.Linear(20, 12000)
        self.middle, self.head = nn.Linear(12000, 2000), nn.Linear(2000, 5)
        self.factor = factor
        nn.init.zeros_(self.head.weight)

    def forward(self, x):
        return self.head(torch.relu(self.middle(torch.relu(self.body(x)) + self.factor * self.never(x))))


def test_a_large_net_is_judged_over_two_gradients_and_over_three_where_both_are_zero():
    torch.manual_seed(0)
    healthy = stats(Wide(factor=1.0))
    assert healthy.steps == 1
    assert healthy.parameter("body.weight").gradients[0] == 0.0 < healthy.parameter("body.weight").gradients[1]
    torch.manual_seed(0)
    cut = stats(Wide(factor=0.0))
    assert cut.steps == 2
    assert cut.parameter("never.weight").gradients == (0.0, 0.0, 0.0)
    assert [item.name for item in cut.parameters if item.always_zero] == ["never.weight", "never.bias"]


def test_a_large_net_whose_loss_rises_gets_more_updates():
    torch.manual_seed(0)
    model = Wide(factor=1.0)
    found = stats(model, torch.optim.SGD(model.parameters(), lr=30.0))
    assert found.steps > 1
    assert found.rise > 2


def test_norms_of_gradients_that_are_dropped_on_the_way_are_those_of_gradients_that_stay():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(50, 8, sparse=True), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
    model[3].weight = model[1].weight  # tied
    unused = nn.Parameter(torch.ones(3))
    model.register_parameter("unused", unused)
    tokens = torch.randint(0, 50, (16,))
    passing = norms_in_passing(model, model(tokens).square().sum())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(parameter._post_accumulate_grad_hooks for parameter in model.parameters())
    model(tokens).square().sum().backward()
    kept = gradient_norms(model)
    assert passing.keys() == kept.keys()
    assert passing["unused"] is kept["unused"] is None
    assert [passing[name] for name in kept if kept[name]] == pytest.approx([norm for norm in kept.values() if norm])
    assert sparse_gradients(model) == {"0.weight"}


class Branch(nn.Module):
    """A residual branch that starts at zero, an embedding of which few rows are used, and a layer behind a factor of zero."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(100, 16, padding_idx=0)
        self.segments = nn.Embedding(2, 16, padding_idx=0)
        self.branch = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
        self.gamma = nn.Parameter(torch.zeros(16))
        self.never = nn.Linear(16, 16)
        self.head = nn.Linear(16, 5)
        nn.init.zeros_(self.head.weight)

    def forward(self, tokens):
        x = self.embed(tokens).mean(dim=1) + self.segments(torch.zeros_like(tokens)).mean(dim=1)
        x = x + self.gamma * self.branch(x) + 0.0 * self.never(x)
        return self.head(x)


def test_what_wakes_up_is_no_dead_parameter():
    torch.manual_seed(0)
    model = Branch()
    found = stats(model, torch.optim.SGD(model.parameters(), lr=0.1), inputs=torch.randint(1, 100, (32, 6)))
    assert found.parameter("branch.0.weight").gradients[:2] == (0.0, 0.0)  # behind gamma, behind the head
    assert [item.name for item in found.parameters if item.always_zero] == ["never.weight", "never.bias"]
    assert found.parameter("segments.weight").gradients == (0.0,) * found.steps  # nothing but padding


def test_a_warm_up_that_starts_at_zero_takes_its_first_step():
    torch.manual_seed(0)
    model = Branch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step / 1000, 1.0))
    found = stats(model, optimizer, scheduler=scheduler, inputs=torch.randint(1, 100, (32, 6)))
    assert found.learning_rate == pytest.approx(1e-4)
    assert found.is_warming_up
    assert not found.parameter("branch.0.weight").always_zero
    assert optimizer.param_groups[0]["lr"] == 0.0
    assert scheduler.last_epoch == 0


def test_without_real_updates_nothing_is_called_dead():
    model = Branch()
    found = stats(model, torch.optim.SGD(model.parameters(), lr=0.0), inputs=torch.randint(1, 100, (32, 6)))
    assert not any(item.always_zero for item in found.parameters)
    assert found.update_ratios == ()


def test_ratios_leave_out_vectors_and_what_starts_at_zero():
    torch.manual_seed(0)
    model = Branch()
    found = stats(model, torch.optim.Adam(model.parameters(), lr=1e-3), inputs=torch.randint(1, 100, (32, 6)))
    assert found.parameter("gamma").update_ratio is None
    assert found.parameter("head.weight").update_ratio is None
    assert found.parameter("branch.2.weight").update_ratio == pytest.approx(1e-3 / 0.144, rel=0.3)
    assert 1e-4 < found.median_update_ratio < 0.1


def test_an_optimizer_with_a_closure():
    model = mlp()
    found = stats(model, torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4))
    assert found.losses[-1] < found.losses[0]


def test_units_that_die():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(3, 12, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12 * 10, 5))
    with torch.no_grad():
        model[0].bias[:4] = -100.0
    found = stats(model, torch.optim.SGD(model.parameters(), lr=1e-3), inputs=torch.randn(32, 3, 12))
    (layer,) = found.dead
    assert (layer.units, layer.before, layer.after, layer.growth) == (12, 4, 4, 0.0)


class Teacher(nn.Module):
    """A student and the moving average of it, which the forward itself updates; and a view of a trainable weight."""

    def __init__(self):
        super().__init__()
        self.student = nn.Linear(20, 5)
        self.teacher = nn.Linear(20, 5).requires_grad_(False)
        self.alias = nn.Parameter(self.student.weight.data.view(-1)[:20], requires_grad=False)

    def forward(self, x):
        with torch.no_grad():
            self.teacher.weight.lerp_(self.student.weight, 0.1)
        return self.student(x) + self.teacher(x) + self.alias.sum()


def test_frozen_parameters_that_an_update_moves():
    model = Teacher()
    found = stats(model, torch.optim.SGD(model.student.parameters(), lr=0.1))
    assert found.frozen_moved == ("alias",)


def test_a_raising_step_is_a_reason():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.register_step_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(Skip, match=r"the probe 'optimizer steps' raised ZeroDivisionError: division by zero \(RUN008\)"):
        stats(model, optimizer)


def test_without_a_loss_a_projection_stands_in():
    found = session(mlp(), torch.randn(8, 20)).evidence("StepStats")
    assert found.surrogate
    assert any(item.moved > 0 for item in found.parameters)
    with pytest.raises(Skip, match="no optimizer given"):
        found.require_own_optimizer()


def test_a_loss_of_the_models_own():
    model = mlp()

    def own(model, inputs, targets):
        return F.cross_entropy(model(inputs), targets)

    found = session(
        model,
        torch.randn(16, 20),
        targets=torch.arange(16) % 5,
        own_loss=own,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    ).evidence("StepStats")
    assert found.losses[-1] < found.losses[0]
    assert not found.surrogate


@pytest.mark.parametrize(
    ("scale", "decoupled", "judged"),
    [(1e-6, True, False), (1e-6, False, False), (1.0, True, True), (1.0, False, True)],
    ids=["waking, AdamW", "waking, Adam", "awake, AdamW", "awake, Adam"],
)
def test_weight_decay_is_not_judged_before_a_branch_wakes_up(scale, decoupled, judged):
    torch.manual_seed(0)
    model = Scaled(scale)
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    found = stats(model, kind(model.parameters(), lr=1e-4, weight_decay=0.1))
    assert found.steps == 1
    assert (found.parameter("body.weight").decay_share is not None) is judged
    assert found.parameter("head.weight").decay_share is not None


class Scaled(nn.Module):
    """Too large for more than the fewest steps; LayerScale lets the branch's gradient through more with each update."""

    def __init__(self, scale):
        super().__init__()
        self.body, self.gamma, self.skip = (
            nn.Linear(20, 20000),
            nn.Parameter(torch.full((1500,), scale)),
            nn.Linear(20, 1500),
        )
        self.tail, self.head = nn.Linear(20000, 1500), nn.Linear(1500, 5)

    def forward(self, x):
        return self.head(self.skip(x) + self.gamma * self.tail(torch.relu(self.body(x))))


def every_optimizer(parameters):
    """One of each that torch has and that takes these parameters."""
    kinds = (
        kind
        for kind in vars(torch.optim).values()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)
    )
    for kind in kinds:
        if kind not in (torch.optim.Optimizer, torch.optim.SparseAdam):
            with suppress(ValueError):  # Muon takes matrices alone
                yield kind(
                    parameters, lr=0.01, **({"momentum": 0.9} if kind in (torch.optim.SGD, torch.optim.RMSprop) else {})
                )


@pytest.mark.parametrize("only_matrices", [False, True])
def test_an_update_in_parts_is_the_update(only_matrices):
    torch.manual_seed(0)
    model, x, y = mlp(), torch.randn(16, 20), torch.randint(0, 5, (16,))
    setup = coerce({"model": model, "inputs": x, "targets": y, "loss": nn.CrossEntropyLoss()}, SetupOptions())
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    taken = [parameter for parameter in model.parameters() if parameter.dim() == 2 or not only_matrices]
    names = set()
    for whole, parts in zip(every_optimizer(taken), every_optimizer(taken), strict=True):
        ends = []
        for optimizer, make in ((whole, update), (parts, update_in_parts)):
            model.load_state_dict(start)
            for _ in range(3):
                optimizer.zero_grad()
                setup.run()[1].backward()
                make(optimizer, setup)
            ends.append([parameter.detach().clone() for parameter in model.parameters()])
        assert all(map(torch.equal, *ends)), type(whole).__name__
        assert all(parameter.grad is None for parameter in model.parameters())
        names.add(type(whole).__name__)
    assert {"SGD", "AdamW", "LBFGS", "Adafactor"} <= names


@pytest.mark.parametrize("watched", ["hook", "global hook", "scheduler", "own class"])
def test_an_update_that_somebody_watches_is_one_step(watched):
    model, calls = mlp(), []
    setup = coerce({"model": model, "inputs": torch.randn(4, 20)}, SetupOptions())

    class Own(torch.optim.SGD):
        def step(self, closure=None):
            calls.append("step")
            return super().step(closure)

    optimizer = (Own if watched == "own class" else torch.optim.SGD)(model.parameters(), lr=0.1)
    handle = None
    if watched == "hook":
        optimizer.register_step_pre_hook(lambda *_: calls.append("step"))
    elif watched == "global hook":
        handle = register_optimizer_step_pre_hook(lambda *_: calls.append("step"))
    elif watched == "scheduler":
        torch.optim.lr_scheduler.StepLR(optimizer, 1)
        step = optimizer.step
        optimizer.step = lambda: (calls.append("step"), step())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    update_in_parts(optimizer, setup)
    if handle is not None:
        handle.remove()
    assert calls == ["step"]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_update_of_nothing_ends():
    model = nn.ParameterList([nn.Parameter(torch.empty(0)), nn.Parameter(torch.empty(0, 3))])
    for parameter in model:
        parameter.grad = torch.zeros_like(parameter)
    update_in_parts(
        torch.optim.SGD(model, lr=0.1), coerce({"model": model, "inputs": torch.randn(4, 20)}, SetupOptions())
    )
    assert all(parameter.grad is None for parameter in model)
