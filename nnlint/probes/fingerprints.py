"""The first op where two runs of one model part: recorded runs whose outputs are reduced to a few numbers for each op."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from nnlint.capture.graph import Graph, Op
from nnlint.capture.recorder import Recorder
from nnlint.probes.guard_process import seed_everything
from nnlint.probes.training_pass import named_inputs
from nnlint.setup.training_setup import call

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup

#: Reduces an op's output to the part whose change matters.
View = Callable[[torch.Tensor], torch.Tensor | None]

_TOLERANCE = 1e-5


class _Fingerprints:
    def __init__(self, view: View) -> None:
        self.view = view
        self.found: list[tuple[fx.Node, torch.Tensor | None]] = []

    def __call__(self, node: fx.Node, output: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kept = self.view(output.detach()) if output.numel() and output.layout is torch.strided else None
        self.found.append((node, kept.clone() if kept is not None else None))


def first_difference(
    setup: TrainingSetup, one: tuple[Any, int], other: tuple[Any, int], view: View
) -> tuple[Op, Graph] | None:
    """The first op, in evaluation mode, whose viewed output differs between two runs.

    Args:
        setup: whose model is run; the caller holds the state guard.
        one: inputs and seed of the first run.
        other: those of the second.
        view: what of an output is compared.
    """
    setup.model.eval()
    first, graph = _recorded(setup, *one, view)
    second, _ = _recorded(setup, *other, view)
    for (node, a), (twin, b) in zip(first, second, strict=False):
        if node.meta["name"] != twin.meta["name"]:
            return graph.of(node), graph
        if a is not None and b is not None and _differ(a, b):
            return graph.of(node), graph
    return None


def _differ(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape:
        return True
    a, b = a.double(), b.double()
    scale = torch.nan_to_num(torch.maximum(a.abs().max(), b.abs().max()))
    return bool((a - b).nan_to_num().abs().max() > _TOLERANCE * scale) if float(scale) else False


def _recorded(
    setup: TrainingSetup, inputs: Any, seed: int, view: View
) -> tuple[list[tuple[fx.Node, torch.Tensor | None]], Graph]:
    fingerprints = _Fingerprints(view)
    recorder = Recorder(setup.model, stop=_recorded.__code__, observer=fingerprints)
    recorder.add_inputs(named_inputs(setup.with_inputs(inputs)))
    seed_everything(seed)
    with torch.no_grad(), recorder.recording():
        output = call(setup.model, inputs)
    recorder.finish(output)
    graph = Graph(
        recorder.graph,
        method="recorded",
        constructions=dict(setup.construction),
        called_modules=dict(recorder.tracker.calls),
    )
    return fingerprints.found, graph
