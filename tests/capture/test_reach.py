"""What depends on what in a recorded graph: the answers for many ops at once are those for each op."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnlint.capture.graph import Graph
from nnlint.probes.training_pass.run import run_training_pass
from nnlint.setup import coerce


class Net(nn.Module):
    """A branch that is dropped, a residual sum, a norm and a product without weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.norm = nn.Linear(4, 6), nn.Linear(6, 6), nn.LayerNorm(6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.first(x * 2.0))
        torch.sigmoid(h).sum()
        y = h + self.second(self.norm(h))
        return y.relu() @ y.transpose(0, 1)


@pytest.fixture(scope="module")
def graph() -> Graph:
    made = run_training_pass(coerce({"model": Net(), "inputs": torch.randn(3, 4)}), seed=0).graph
    assert made is not None
    return made


def test_many_ops_are_walked_from_at_once(graph) -> None:
    for chosen in (graph.ops[::3], graph.calls("linear-map"), graph.outputs, ()):
        assert graph.above(chosen) == frozenset().union(*map(graph.ancestors, chosen))
        assert graph.below(chosen) == frozenset().union(*map(graph.descendants, chosen))


@pytest.mark.parametrize("kind", ["linear-map", "norm", "saturating", "recurrent"])
def test_kinds_before_and_behind(graph, kind) -> None:
    behind = [op for op in graph.ops if any(above.is_kind(kind) for above in graph.ancestors(op))]
    before = [op for op in graph.ops if any(below.is_kind(kind) for below in graph.descendants(op))]
    assert [op for op in graph.ops if graph.follows(op, kind)] == behind
    assert [op for op in graph.ops if graph.precedes(op, kind)] == before
    assert bool(behind) == bool(before) == (kind != "recurrent")


def test_a_set_of_ops_is_walked_alike_in_every_run() -> None:
    def walked() -> list[int]:
        made = run_training_pass(coerce({"model": Net(), "inputs": torch.randn(3, 4)}), seed=0).graph
        assert made is not None
        return [op.index for op in made.ancestors(made.outputs[0])]

    kept = [[walked(), object()] for _ in range(4)]  # the objects between move the ops in memory
    assert all(order == kept[0][0] for order, _ in kept)
