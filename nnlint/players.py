"""A target whose training has several players (a GAN's generator and discriminator): each is checked, the others frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nnlint import engine
from nnlint.report import TargetReport

if TYPE_CHECKING:
    import torch

    from nnlint.config import CheckSettings
    from nnlint.setup.training_setup import TrainingSetup

#: What every check needs, imported before a process is forked for each target.
warm = engine.warm


def check(
    target: object, settings: CheckSettings, *, on_progress: Callable[[TargetReport], None] | None = None
) -> Iterator[TargetReport]:
    """Check a target; the report of each player, by the name `target:player`, where it has several.

    Args:
        target: as for `nnlint.engine.check`.
        settings: what to run and how.
        on_progress: called with the report so far after each piece of evidence.

    Raises:
        SettingsError: the settings name an unknown rule or a wrong option.
    """
    from nnlint.setup import SeveralPlayers

    try:
        yield engine.check(target, settings, on_progress=on_progress)
        return
    except SeveralPlayers as several:
        players = several.players
    setups = {name: setup for name, setup in players.items() if not isinstance(setup, Exception)}
    prefix = target if isinstance(target, str) else getattr(target, "__name__", type(target).__name__)
    for name, found in players.items():
        with _others_frozen(name, setups) as setup:
            yield engine.check(setup or found, settings, name=f"{prefix}:{name}", on_progress=on_progress)


@contextmanager
def _others_frozen(name: str, setups: Mapping[str, TrainingSetup]) -> Iterator[TrainingSetup | None]:
    """The player's setup while the weights that only others train require no gradient, as when it is its turn."""
    if name not in setups:
        yield None
        return
    own = {id(parameter) for parameter in _trained(setups[name])}
    others = [parameter for other, setup in setups.items() if other != name for parameter in _trained(setup)]
    frozen = [parameter for parameter in others if id(parameter) not in own and parameter.requires_grad]
    try:
        for parameter in frozen:
            parameter.requires_grad = False
        yield _declaring_frozen(setups[name], {id(parameter) for parameter in frozen})
    finally:
        for parameter in frozen:
            parameter.requires_grad = True


def _trained(setup: TrainingSetup) -> list[torch.Tensor]:
    """What a player's updates change: the tensors of its optimizer, else those of its model."""
    if setup.optimizer is None:
        return list(setup.model.parameters())
    return [tensor for group in setup.optimizer.param_groups for tensor in group["params"]]


def _declaring_frozen(setup: TrainingSetup, frozen: set[int]) -> TrainingSetup:
    """The setup that says which of its own modules are another player's: a model may hold both."""
    held = (
        path
        for path, module in setup.model.named_modules()
        if path and any(id(parameter) in frozen for parameter in module.parameters(recurse=False))
    )
    return setup.model_copy(update={"frozen": (*setup.frozen, *held)})
