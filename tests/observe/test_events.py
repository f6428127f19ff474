"""The event log of scripts in many styles: what it says, and that observing leaves no trace."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.optim import optimizer as optimizers
from torch.utils.data.dataloader import _BaseDataLoaderIter

from nnlint import Clear, Forward, Pass, ScalerCall, StateKept, Step
from nnlint.testing import observe_source
from tests.observe import scripts


def test_a_plain_loop_gives_each_step_its_own_backward() -> None:
    events = observe_source(scripts.PLAIN).events
    (optimizer,) = events.optimizers
    assert optimizer == "opt"
    steps = events.steps_of("opt")
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    for step in steps:
        assert len(step.gradients) == 4
        assert len(step.backwards) == 1
    assert events.order(events.backwards[1], steps[1]) == "backward:18 -> step:19"
    assert events.backwards[0].reduction == "mean"
    assert events.forwards[0].reads
    assert {event.backwards for event in events.forwards} == {(event.index,) for event in events.backwards}


def test_accumulated_gradients_hold_all_their_backwards() -> None:
    events = observe_source(scripts.ACCUMULATION).events
    first, second, *_ = events.steps_of("opt")
    assert len(first.backwards) == len(second.backwards) == 3
    assert not set(first.backwards) & set(second.backwards)
    assert all(event.factors == pytest.approx((1 / 3,)) for event in events.backwards)
    (clip, *_) = events.clips
    assert (clip.limit, len(clip.held)) == (0.1, 4)
    assert all(not events.unused(clear) for clear in events.clears)


def test_uncleared_gradients_hold_backwards_of_the_step_before() -> None:
    events = observe_source(scripts.NOT_CLEARED).events
    assert all(set(one.backwards) < set(two.backwards) for one, two in pairwise(events.steps_of("opt")))
    assert not events.clears


@pytest.mark.parametrize("script", ["SET_TO_NONE_BY_HAND", "GRADIENT_LIST"])
def test_gradients_are_judged_by_value(script: str) -> None:
    events = observe_source(getattr(scripts, script)).events
    assert len(events.steps) >= 4
    assert all(len(step.backwards) == 1 for step in events.steps)


def test_updates_by_hand_end_the_observation() -> None:
    events = observe_source(scripts.BY_HAND).events
    assert events.end.reason == "enough"
    assert len(events.updates) >= 4
    assert not events.steps


def test_players_are_told_apart() -> None:
    events = observe_source(scripts.GAN).events
    assert set(events.optimizers) == {"optimizerD", "optimizerG"}
    assert set(events.modules) == {"netD", "netG"}
    first = events.steps_of("optimizerD")[0]
    assert len(first.backwards) == 2
    assert all(name.startswith("netD.") for name in first.gradients)
    assert [len(event.forwards) for event in events.backwards[:3]] == [1, 1, 2]


def test_a_step_with_a_closure_applies_its_last_backward() -> None:
    events = observe_source(scripts.LBFGS).events
    for step in events.steps:
        assert step.closure
        assert step.backwards
        assert events.backwards_between(step, None)
        assert events.inside(step, type(events.backwards[0]))


def test_steps_inside_a_backward() -> None:
    events = observe_source(scripts.STEP_IN_HOOK).events
    assert events.steps
    assert all(step.inside is not None and len(step.backwards) == 1 for step in events.steps)


def test_graphs_that_stay_alive() -> None:
    kept = observe_source(scripts.LOSSES_KEPT).events.steps
    assert [len(step.alive) for step in kept] == list(range(1, len(kept) + 1))
    assert all(len(step.alive) == 1 for step in observe_source(scripts.PLAIN).events.steps)


def test_epochs_are_folded() -> None:
    found = observe_source(scripts.EVALUATION)
    passes = found.events.of(Pass)
    assert any(event.folded and event.loader == "loader" for event in passes)
    assert found.events.schedules_of("opt")
    assert len(found.events.evaluation_forwards) == 2
    assert [loader.name for loader in found.loaders.training] == ["loader"]
    (kept,) = found.events.of(StateKept)
    assert kept.shares_storage
    assert kept.changed
    assert len(kept.alive_at) >= 1


def test_backwards_without_steps_end_the_observation() -> None:
    """After eight the epoch is ended early, as the step may come once an epoch; eight more of the next epoch end it all."""
    end = observe_source(scripts.NO_STEP).events.end
    assert (end.reason, end.steps, end.backwards) == ("no updates", 0, 16)


def test_a_script_that_raises_keeps_its_log() -> None:
    events = observe_source(scripts.RAISES).events
    assert (events.end.reason, events.end.error_type, events.end.steps) == ("raised", "ValueError", 3)
    assert events.end.location is not None
    assert events.end.location.line == 19


def test_a_bare_except_does_not_keep_the_script_running() -> None:
    events = observe_source(scripts.BARE_EXCEPT).events
    assert events.end.reason == "enough"
    assert events.end.steps == 4


def test_scaled_losses() -> None:
    events = observe_source(scripts.SCALER).events
    assert all(event.scale == 65536.0 for event in events.backwards)
    assert all(clip.scale is None for clip in events.clips)
    assert all(step.scale is None for step in events.steps)
    assert [call.call for call in events.of(ScalerCall)][:4] == ["scale", "unscale", "step", "update"]


def test_clears_name_their_line() -> None:
    lines = {clear.location.line for clear in observe_source(scripts.PLAIN).events.of(Clear) if clear.location}
    assert lines == {16}


DIGEST = """
import hashlib, json, sys
_seen = []
_original = torch.autograd.backward
def _spy(loss, *args, **kwargs):
    _seen.append(float(loss.detach()))
    return _original(loss, *args, **kwargs)
torch.autograd.backward = _spy
"""
END = """
torch.autograd.backward = _original
with open(sys.argv[1], "w") as out:
    json.dump([_seen, float(torch.rand(1)), [float(p.detach().double().sum()) for p in PARAMETERS]], out)
"""


@pytest.mark.parametrize(
    "name", ["PLAIN", "ACCUMULATION", "GAN", "LBFGS", "STEP_IN_HOOK", "BY_HAND", "LOSSES_KEPT", "EVALUATION", "SCALER"]
)
def test_an_observed_script_computes_what_it_would_have(name: str, tmp_path) -> None:
    parameters = "[*netG.parameters(), *netD.parameters()]" if name == "GAN" else "model.parameters()"
    source = getattr(scripts, name).replace("torch.manual_seed(0)", f"torch.manual_seed(0)\n{DIGEST}")
    source += END.replace("PARAMETERS", parameters)
    bare, observed = tmp_path / "bare.json", tmp_path / "observed.json"
    sys.argv, before = ["train.py", str(bare)], sys.argv
    try:
        exec(compile(source, "bare.py", "exec"), {"__name__": "__main__"})
    finally:
        sys.argv = before
    observe_source(source, str(observed), keep_going=True)
    assert observed.read_text() == bare.read_text()


def _patched() -> list[object]:
    owners = [nn.Module, torch.optim.Optimizer, torch.autograd, _BaseDataLoaderIter, torch.amp.GradScaler, torch]
    owners += [torch.utils.data.DataLoader, torch.nn.utils, torch.optim.lr_scheduler.LRScheduler, torch.random]
    return [dict(vars(owner)) for owner in owners]


@pytest.mark.parametrize("name", ["PLAIN", "EVALUATION", "RAISES", "NO_STEP", "SCALER"])
def test_nothing_is_left_behind(name: str) -> None:
    before = _patched()
    hooks = len(optimizers._global_optimizer_pre_hooks), len(optimizers._global_optimizer_post_hooks)
    path, argv, finders = list(sys.path), sys.argv, list(sys.meta_path)
    observe_source(getattr(scripts, name))
    assert _patched() == before
    assert (len(optimizers._global_optimizer_pre_hooks), len(optimizers._global_optimizer_post_hooks)) == hooks
    assert (sys.path, sys.argv, sys.meta_path) == (path, argv, finders)


def test_sparse_inputs_are_watched() -> None:
    seen = observe_source("""
import torch
import torch.nn.functional as F
from torch import nn

class Layer(nn.Module):
    def __init__(self, inside, outside):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inside, outside) / inside**0.5)
    def forward(self, rows, links):
        return torch.sparse.mm(links, rows @ self.weight)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = Layer(6, 8), Layer(8, 3)
    def forward(self, rows, links):
        return self.b(F.relu(self.a(rows, links)), links)

torch.manual_seed(0)
rows, labels = torch.randn(10, 6), torch.randint(0, 3, (10,))
links = ((torch.rand(10, 10) > 0.7).float() + torch.eye(10)).to_sparse()
model = Net()
opt = torch.optim.Adam(model.parameters())
for epoch in range(6):
    opt.zero_grad()
    F.cross_entropy(model(rows, links), labels).backward()
    opt.step()
""")
    steps = seen.events.of(Step)
    assert len(steps) == 4
    assert all(len(step.changed) == 2 for step in steps)
    assert seen.events.of(Forward)[0].graph_bytes


NAMESAKES = f"""{scripts.HEAD}
def train(opt, loader):
    for xb, yb in loader:
        opt.zero_grad()
        F.cross_entropy(model(xb), yb).backward()
        opt.step()
first = [DataLoader(TensorDataset(x[:16], y[:16]), batch_size=8), DataLoader(TensorDataset(x[16:], y[16:]), batch_size=8)]
opt = torch.optim.Adam(model.parameters())
train(opt, first[0])
opt = torch.optim.SGD(model.parameters(), lr=0.01)
train(opt, first[1])
"""


def test_namesakes_are_told_apart_by_their_lines() -> None:
    seen = observe_source(NAMESAKES, iterations=3)
    assert {step.optimizer for step in seen.events.of(Step)} == {"opt (train.py:20)", "opt (train.py:22)"}
    assert not [name for name in seen.events.optimizers if "#" in name]


def test_members_of_lists_and_dicts_have_their_places_as_names() -> None:
    source = """
import torch
from torch import nn
nets = {"g": nn.Linear(3, 2), "d": nn.Linear(2, 1)}
optimizers = [torch.optim.SGD(net.parameters(), lr=0.1) for net in nets.values()]
for step in range(5):
    for number in range(2):
        optimizers[number].zero_grad()
    nets["d"](nets["g"](torch.ones(4, 3))).mean().backward()
    optimizers[0].step()
    optimizers[1].step()
"""
    seen = observe_source(source)
    assert {step.optimizer for step in seen.events.of(Step)} == {"optimizers[0]", "optimizers[1]"}
    assert {forward.module for forward in seen.events.of(Forward)} == {"nets['g']", "nets['d']"}


def test_events_know_their_epoch() -> None:
    steps = observe_source(scripts.PLAIN, iterations=10, fold=False).events.of(Step)
    assert [step.epoch for step in steps] == [0] * 6 + [1] * 4
