"""From a target string or a live object to a training setup that can be run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from nnlint.provenance import LIBRARY_OF
from nnlint.setup.complete import complete
from nnlint.setup.errors import SetupError, SeveralPlayers
from nnlint.setup.options import SetupOptions
from nnlint.setup.target.accepted_forms import build, build_without_weights, to_setup
from nnlint.setup.target.attribute import Target, attribute_of, called, discover, parse_target
from nnlint.setup.target.construction_sites import ConstructionSites
from nnlint.setup.target.importing import importing, load_module
from nnlint.setup.target.library_models import ADAPTERS
from nnlint.setup.target.partial_loads import WeightLoads
from nnlint.setup.training_setup import TrainingSetup


@contextmanager
def _gradients_left_on() -> Iterator[None]:
    """Around the user's code: gradients that it leaves switched off are put on again, and are its fault.

    Raises:
        SetupError: RUN001, when they were on before the block and are off after it.
    """
    before, ended = torch.is_grad_enabled(), None
    try:
        yield
    except SeveralPlayers as players:
        ended = players
    finally:
        is_off = before and not torch.is_grad_enabled()
        torch.set_grad_enabled(before)
    if is_off:
        message = "the target leaves gradients switched off (torch.set_grad_enabled(False)): training after it computes none"
        raise SetupError("RUN001", message, fix="switch them off for a block only: with torch.no_grad(): ...")
    if ended is not None:
        raise ended


def resolve(target: str, overrides: SetupOptions | None = None) -> TrainingSetup:
    """The training setup a target string names, completed with inputs, loss and targets.

    The user's code runs under the seed of the options; the process's random generators are as before afterwards. The
    directories that its imports need stay on `sys.path`, because models import lazily.

    Raises:
        SetupError: RUN001, when the target cannot be loaded or is no training setup; RUN005, when there are no inputs.
    """
    options = overrides or SetupOptions()
    parsed = parse_target(target)
    with _gradients_left_on():
        return _resolved(parsed, options)


def _resolved(parsed: Target, options: SetupOptions) -> TrainingSetup:
    sites = ConstructionSites()
    if parsed.prefix is not None:
        adapter = ADAPTERS[parsed.prefix]
        with sites:
            name = f"{parsed.prefix}:{parsed.where}"
            # Nobody sees the random weights of a library's model where nothing is run on values.
            chosen = build_without_weights if (options.static and options.weights is None) or options.is_meta else build
            made = chosen(adapter, (parsed.where, *(parsed.args or ())), parsed.kwargs, name=name, seed=options.seed)
        setup = to_setup(made, sites=sites, origin=f"{name} gave")
        return complete(setup.model_copy(update={"taken_from": LIBRARY_OF[parsed.prefix]}), options)
    loads = WeightLoads()
    with sites, loads, importing(parsed.where, options) as source:
        module = load_module(parsed.where, source, options)
        name = parsed.attribute or discover(module, parsed.where)
        value = attribute_of(module, name, parsed.where)
        value, origin = called(value, name, parsed, options)
        setup = loads.known_to(to_setup(value, sites=sites, origin=origin))
    return complete(setup, options)


def coerce(value: Any, options: SetupOptions | None = None) -> TrainingSetup:
    """The training setup that a live object stands for, completed with inputs, loss and targets.

    A class or function is called without arguments. Models and optimizers are used as they are, never copied.

    Raises:
        SetupError: RUN001 or RUN005; SeveralPlayers where it holds several setups.
    """
    if isinstance(value, SetupError):  # a player that could not be made a setup
        raise value
    options = options or SetupOptions()
    sites, loads = ConstructionSites(), WeightLoads()
    with _gradients_left_on():
        if not isinstance(value, nn.Module) and callable(value):
            with sites, loads:
                chosen = build_without_weights if options.is_meta else build
                value = chosen(value, (), {}, name=getattr(value, "__name__", type(value).__name__), seed=options.seed)
        return complete(loads.known_to(to_setup(value, sites=sites)), options)
