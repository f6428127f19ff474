"""Which inputs a loss inside the model compares predictions with, and an input that is the target as well."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nnlint.capture.graph import Graph
from nnlint.capture.walks import labels_among_inputs
from tests.probes.sessions import session


def graph_of(model: nn.Module, inputs: Any, **fields: Any) -> Graph:
    made = session(model, inputs, **fields)
    found: Graph = made.evidence("Graph")
    made.close()
    return found


class Captioner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(20, 8), nn.GRU(8, 8, batch_first=True), nn.Linear(8, 20)

    def forward(self, features: Tensor, caption: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        out = self.head(self.rnn(self.embed(caption[:, :-1]), features[None])[0])
        loss = F.cross_entropy(out.transpose(1, 2), caption[:, 1:], reduction="none")
        return out, (loss * keep[:, 1:]).sum() / keep[:, 1:].sum()


class Regressor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 6)

    def forward(self, x: Tensor, gold: Tensor) -> dict[str, Tensor]:
        made = x + self.body(x)
        return {"made": made, "cost": ((made - gold) ** 2).mean()}


def test_a_caption_is_read_and_predicted() -> None:
    inputs = torch.randn(5, 8), torch.randint(0, 20, (5, 7)), torch.ones(5, 7, dtype=torch.bool)
    assert labels_among_inputs(graph_of(Captioner(), inputs)) == {"caption"}


def test_an_input_that_is_added_to_the_prediction_is_no_label() -> None:
    assert labels_among_inputs(graph_of(Regressor(), {"x": torch.randn(5, 6), "gold": torch.randn(5, 6)})) == {"gold"}


def test_a_model_without_a_loss_has_no_labels() -> None:
    assert labels_among_inputs(graph_of(nn.Linear(6, 2), torch.randn(5, 6))) == frozenset()


def test_an_input_that_is_the_target_as_well_is_both() -> None:
    x = torch.randn(5, 6)
    graph = graph_of(nn.Linear(6, 6), x, targets=x, loss=lambda out, y: ((out - y) ** 2).mean())
    (given,) = graph.inputs
    assert [op.name for op in given.users] == ["linear"]
    assert graph.calls("mse_loss")[0].argument("target").node.meta["is_target"]


def test_the_class_axis_of_a_written_out_cross_entropy_is_the_one_that_is_picked_from() -> None:
    def loss(out: Tensor, y: Tensor) -> Tensor:
        return -out.log_softmax(-1).gather(-1, y[..., None]).mean()

    graph = graph_of(nn.Linear(6, 9), torch.randn(5, 3, 6), targets=torch.randint(0, 9, (5, 3)), loss=loss)
    (call,) = graph.loss_calls
    assert (call.kind, call.class_dim) == ("cross_entropy", 2)
