"""Every probe of a session leaves model, optimizer, data and process bit for bit as before, also when something raises.

Generated models whose forward keeps state and misbehaves, and a fuse that blows at any tick: in a forward, in the loss, in the
backward, in the optimizer's step.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from functools import cached_property
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from nnlint.evidence import TABLE
from nnlint.finding import Skip
from nnlint.probes.longer import input_dependence, lr_range, overfit, validation_gap
from nnlint.probes.session import Plan, Session
from nnlint.setup.training_setup import TrainingSetup
from tests.guard.test_state_guard import MISBEHAVIOURS, Broken, build, fingerprint, shrink_storage

#: A weight without memory is read by the next operation: torch does not survive that, guard or no guard.
SURVIVED = [misbehave for misbehave in MISBEHAVIOURS if misbehave is not shrink_storage]
DEEP = ("OverfitRun", "LearningRateRange", "InputDependence", "GradientCheck", "PrecisionStats", "ValidationGap")
SHORT = tuple(name for name, row in TABLE.items() if row.provider and name not in DEEP)
PLACES = ("forward", "loss", "backward", "step")


def press_control_c() -> BaseException:
    """The user's Ctrl-C: Python itself raises, in the middle of whatever runs."""
    signal.raise_signal(signal.SIGINT)
    return Broken("the signal did not interrupt")


class Clock:
    """Counts what happens, in a class attribute, which no guard puts back; the fuse of one place blows at one tick."""

    place = ""
    at = -1
    ticks = 0
    error: Callable[[], BaseException] = Broken

    @classmethod
    def set(cls, place: str, at: int, error: Callable[[], BaseException] = Broken) -> None:
        cls.place, cls.at, cls.ticks, cls.error = place, at, 0, error

    @classmethod
    def tick(cls, place: str) -> None:
        if place == cls.place:
            cls.ticks += 1
            if cls.ticks == cls.at + 1:
                raise cls.error()


class BackwardFuse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        Clock.tick("backward")
        return grad


class ForwardFuse:
    """Stands for the net's flag `raises`."""

    def __bool__(self) -> bool:
        Clock.tick("forward")
        return False


def loss(output, targets):
    Clock.tick("loss")
    return nn.functional.cross_entropy(BackwardFuse.apply(output), targets)


def blow_in_step(optimizer, args, kwargs):
    """A step hook that may raise half-way: after the update of a parameter."""
    with torch.no_grad():
        optimizer.param_groups[0]["params"][0].add_(1e-3)
    Clock.tick("step")


def everything(session: Session, names: tuple[str, ...]) -> None:
    """Ask for every evidence and for all that it measures when it is asked."""
    for name in names:
        with contextlib.suppress(Skip):
            evidence = session.evidence(name)
            for attribute, value in vars(type(evidence)).items():
                if isinstance(value, cached_property):
                    with contextlib.suppress(Skip):
                        getattr(evidence, attribute)


class Checked:
    """A net with its session; says what differs from before."""

    def __init__(self, *, misbehaviours=(), with_optimizer=True, with_loss=True, **kind: Any) -> None:
        self.net, optimizer, self.scheduler, self.inputs, self.targets = build(**kind)
        self.net.misbehaviours, self.net.raises = list(misbehaviours), ForwardFuse()
        self.optimizer = optimizer
        self.optimizer.register_step_pre_hook(blow_in_step)
        self.before = self.now()
        setup = TrainingSetup(
            model=self.net,
            inputs=self.inputs,
            targets=self.targets if with_loss else None,
            loss=loss if with_loss else None,
            optimizer=self.optimizer if with_optimizer else None,
            scheduler=self.scheduler if with_optimizer else None,
            data=[(self.inputs, self.targets)],
            val_data=[(self.inputs, self.targets)],
        )
        self.session = Session(setup, Plan(deep=True))

    def now(self) -> dict[str, Any]:
        return fingerprint(self.net, self.optimizer, self.scheduler, (self.inputs, self.targets))

    def assert_unchanged(self) -> None:
        after = self.now()
        for part, value in self.before.items():
            assert after[part] == value, part


kinds = st.fixed_dictionaries(
    {
        "conv": st.booleans(),
        "tied": st.booleans(),
        "warm": st.booleans(),
        "kind": st.sampled_from(["sgd", "adam"]),
        "with_optimizer": st.booleans(),
        "with_loss": st.booleans(),
    }
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=kinds,
    misbehaviours=st.lists(st.sampled_from(SURVIVED), max_size=2, unique=True),
    place=st.sampled_from(PLACES),
    at=st.integers(0, 45),
)
def test_short_probes_leave_nothing_behind(kind, misbehaviours, place, at) -> None:
    Clock.set(place, at)
    checked = Checked(misbehaviours=misbehaviours, **kind)
    with contextlib.suppress(Broken, RuntimeError, TypeError, NotImplementedError, IndexError):
        everything(checked.session, SHORT)  # a misbehaviour may well break the probe itself
    checked.assert_unchanged()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("at", [0, 1, 2, 3, 5, 8, 13, 20])
def test_an_error_anywhere_is_kept_from_the_caller(place, at) -> None:
    torch.manual_seed(0)
    Clock.set(place, at)
    checked = Checked(conv=False, tied=False, warm=True, kind="adam")
    everything(checked.session, SHORT)
    checked.assert_unchanged()


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize(("place", "at"), [("", 0), ("forward", 40), ("loss", 25), ("backward", 21), ("step", 22)])
def test_deep_probes_leave_nothing_behind(name, place, at) -> None:
    torch.manual_seed(0)
    Clock.set(place, at)
    checked = Checked(conv=True, tied=True, warm=True, kind="adam")
    with contextlib.suppress(Broken):
        everything(checked.session, (name,))
    checked.assert_unchanged()


@contextlib.contextmanager
def few_steps():
    """Enough for every stage of the longer probes, and quick on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        for probe in (overfit, lr_range, input_dependence, validation_gap):
            patch.setattr(probe, "_EFFORT", (0.0, 24, 24))
        yield


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=kinds,
    misbehaviours=st.lists(st.sampled_from(SURVIVED), max_size=2, unique=True),
    names=st.lists(st.sampled_from(DEEP), min_size=1, max_size=2, unique=True),
    place=st.sampled_from(PLACES),
    at=st.integers(0, 60),
)
def test_deep_probes_of_any_net_leave_nothing_behind(kind, misbehaviours, names, place, at) -> None:
    Clock.set(place, at)
    checked = Checked(misbehaviours=misbehaviours, **kind)
    with few_steps(), contextlib.suppress(Broken, RuntimeError, TypeError, NotImplementedError, IndexError):
        everything(checked.session, tuple(names))
    checked.assert_unchanged()


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("at", [4, 12])
def test_an_interrupt_of_a_deep_probe_leaves_nothing_behind(name, at) -> None:
    torch.manual_seed(0)
    Clock.set("forward", at, KeyboardInterrupt)
    checked = Checked(conv=False, tied=False, warm=True, kind="sgd")
    with few_steps(), contextlib.suppress(KeyboardInterrupt):  # a probe of few forwards ends before
        everything(checked.session, (name,))
    checked.assert_unchanged()


def test_the_fuses_reach_the_longer_probes() -> None:
    """The tests of deep probes mean something: steps are made, with the fuse in their way."""
    for name in ("OverfitRun", "LearningRateRange", "InputDependence", "ValidationGap"):
        torch.manual_seed(0)
        Clock.set("backward", 10**9)
        with few_steps():
            everything(Checked(conv=False, tied=False, warm=True, kind="adam").session, (name,))
        assert Clock.ticks > 3, name


@pytest.mark.parametrize("at", [0, 3, 6, 9])
def test_an_interrupt_reaches_the_caller_and_leaves_nothing_behind(at) -> None:
    torch.manual_seed(0)
    Clock.set("forward", at, press_control_c)
    checked = Checked(conv=False, tied=False, warm=True, kind="sgd")
    with pytest.raises(KeyboardInterrupt):
        everything(checked.session, SHORT)
    checked.assert_unchanged()


@pytest.mark.parametrize("at", [0, 3, 6, 9])
def test_an_interrupt_that_code_raises_is_a_failed_probe_and_leaves_nothing_behind(at) -> None:
    torch.manual_seed(0)
    Clock.set("forward", at, KeyboardInterrupt)
    checked = Checked(conv=False, tied=False, warm=True, kind="sgd")
    everything(checked.session, SHORT)
    assert Clock.ticks > at
    checked.assert_unchanged()


def test_the_fuses_are_wired() -> None:
    """The tests above mean something: each place is passed, and the fuse blows there."""
    for place in PLACES:
        torch.manual_seed(0)
        Clock.set(place, 10**9)
        everything(Checked(conv=False, tied=False, warm=True, kind="adam").session, SHORT)
        assert Clock.ticks > 3, place
