"""Records one run of a small model, for the tests of the capture."""

from __future__ import annotations

import inspect

import torch
from torch import nn

from nnlint.capture.graph import Graph
from nnlint.capture.recorder import Recorder


class Net(nn.Module):
    """A module whose forward is the given function of itself and the input."""

    def __init__(self, function, **attributes):
        super().__init__()
        self.function = function
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.function(self, x)


def record(model: nn.Module, *inputs: torch.Tensor) -> Graph:
    """The graph of one call, as the training pass records it."""
    recorder = Recorder(model, stop=record.__code__)
    recorder.add_inputs(zip(inspect.signature(model.forward).parameters, inputs, strict=False))
    with recorder.recording():
        output = model(*inputs)
    recorder.finish(output)
    return Graph(recorder.graph, method="recorded", called_modules=dict(recorder.tracker.calls))


def upstream(graph: Graph) -> set:
    """Every op that the outputs depend on, the outputs included."""
    return set(graph.outputs).union(*(graph.ancestors(output) for output in graph.outputs))


def names(graph: Graph) -> list[str]:
    """Canonical names of the ops that are neither inputs nor parameters."""
    return [op.name for op in graph.ops if not op.is_kind("input", "parameter", "buffer")]
