"""The recorded pass once more, under another observer: with dropout off, or to find the operation where a NaN begins.

The caller holds the state guard. The nodes have the names and the order that they had in the training pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from nnlint import kinds
from nnlint.capture.recorder import Observer, Substitute
from nnlint.probes.longer.forward_loss import random_projection, sparing_gradients
from nnlint.probes.training_pass.collector import Collector
from nnlint.probes.training_pass.non_finite import NonFiniteFinder, NonFiniteGradientFinder
from nnlint.probes.training_pass.recorded_forward import RecordedForward, graph_of, recorded_forward
from nnlint.probes.training_pass.summarize import forward_statistics
from nnlint.samples import batch_layout

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.probes.training_pass.stats import ForwardStats, NonFinite, NonFiniteGradient
    from nnlint.setup.training_setup import TrainingSetup


def run_without_dropout(setup: TrainingSetup, *, seed: int) -> ForwardStats:
    """The same training-mode forward with every dropout an identity.

    The ops are those of the training pass, in the same order, so that layers correspond by `op.index`.
    """

    def plain() -> tuple[RecordedForward, Collector]:
        collector = Collector(batch_layout(setup), gradients=False)
        return _without_error(_once_more(setup, collector, seed=seed, substitute=without_dropout)), collector

    run, collector = sparing_gradients(plain)
    graph = graph_of(run, method="recorded")
    return forward_statistics(graph, collector, output=run.output, loss=None, assumed=setup.inputs_assumed)[0]


def without_dropout(name: str) -> Callable[..., Any] | None:
    """Stands for every dropout, as a substitute of the recorder: what comes in goes out."""
    if "dropout" not in kinds.info(name).kinds:
        return None
    return lambda value, *args, **kwargs: value.clone()


def find_non_finite(setup: TrainingSetup, *, seed: int) -> NonFinite | None:
    """Run the same forward again and name the op where the first NaN or Inf appears."""
    finder = NonFiniteFinder()
    return finder.found(graph_of(_without_error(_once_more(setup, finder, seed=seed)), method="recorded"))


def find_non_finite_gradient(setup: TrainingSetup, *, seed: int) -> NonFiniteGradient | None:
    """Run forward and backward again and name the op whose backward makes the first NaN or Inf."""
    finder = NonFiniteGradientFinder()
    run = _without_error(_once_more(setup, finder, seed=seed))
    graph, loss = graph_of(run, method="recorded"), _differentiable(run, seed=seed)
    if loss is None:
        return None
    finder.watch(loss)
    loss.backward()
    return finder.found(graph)


def differentiated(setup: TrainingSetup, observer: Observer, *, seed: int) -> Graph | None:
    """The same forward and backward once more under another observer; None where they raise."""
    with torch.enable_grad():
        run = _once_more(setup, observer, seed=seed)
        graph, loss = graph_of(run, method="recorded"), _differentiable(run, seed=seed)
        if run.error is not None or loss is None or loss.numel() != 1:
            return None
        loss.backward()
    return graph


def run_observed(setup: TrainingSetup, observer: Observer, *, seed: int) -> torch.Tensor | None:
    """Run the same forward again under an observer and give the loss; None where it raises.

    The nodes have the names that they had in the training pass.
    """
    run = _once_more(setup, observer, seed=seed)
    return run.loss if run.error is None and isinstance(run.loss, torch.Tensor) else None


def _once_more(
    setup: TrainingSetup, observer: Observer, *, seed: int, substitute: Substitute | None = None
) -> RecordedForward:
    """The forward and the loss in training mode, recorded."""
    if not setup.model.training:
        setup.model.train()
    return recorded_forward(setup, observer, seed=seed, substitute=substitute)


def _without_error(run: RecordedForward) -> RecordedForward:
    if run.error is not None:
        raise run.error
    return run


def _differentiable(run: RecordedForward, *, seed: int) -> torch.Tensor | None:
    """The loss, without one a random projection of the outputs; None where no gradient can be taken of it."""
    loss = run.loss if run.loss is not None else random_projection(run.output, seed=seed)
    return loss if isinstance(loss, torch.Tensor) and loss.requires_grad else None
