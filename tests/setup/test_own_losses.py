"""A model that is given targets and returns its loss beside the prediction; targets that leave gradients switched off."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nnlint import check
from nnlint.setup import coerce

F = nn.functional


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(11, 16)
        self.head = nn.Linear(16, 11)


class Pair(Small):
    def forward(self, idx: Any, targets: Any = None) -> Any:
        logits = self.head(self.table(idx))
        loss = None if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss


class LossFirst(Small):
    def forward(self, idx: Any, labels: Any) -> Any:
        logits = self.head(self.table(idx))
        return F.cross_entropy(logits.transpose(1, 2), labels), logits


class WithTerms(Small):
    def forward(self, idx: Any, y: Any) -> Any:
        logits = self.head(self.table(idx))
        term, penalty = F.cross_entropy(logits.flatten(0, 1), y.flatten()), 1e-3 * logits.square().mean()
        return logits, term, penalty, term + penalty


class Logged(Small):
    def forward(self, idx: Any, target: Any) -> Any:
        logits = self.head(self.table(idx))
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten())
        return [logits, loss.detach().exp(), loss]


class Softmaxed(Small):
    def forward(self, idx: Any, targets: Any) -> Any:
        shares = self.head(self.table(idx)).softmax(-1)
        return shares, F.cross_entropy(shares.flatten(0, 1), targets.flatten())


class Auxiliary(Small):
    """A mixture's balance term is no loss of its own: no targets are given."""

    def forward(self, idx: Any) -> Any:
        logits = self.head(self.table(idx))
        return logits, logits.mean().square()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(0, 11, (8, 6), generator=torch.Generator().manual_seed(1))
    return ids, (ids + 1) % 11


@pytest.mark.parametrize("kind", [Pair, LossFirst, WithTerms, Logged])
def test_the_models_own_loss_is_found(kind: type[nn.Module]) -> None:
    model = kind()
    setup = coerce({"model": model, "inputs": batch()})
    output, loss = setup.run()
    scalars = [part for part in output if part.dim() == 0 and part.requires_grad]
    assert loss is max(scalars, key=torch.Tensor.item)
    adam = torch.optim.Adam(model.parameters(), lr=1e-2)
    report = check({"model": model, "inputs": batch(), "optimizer": adam}, select=["LOS", "GRD", "TRN", "OPT"])
    assert [(f.code, f.message) for f in report.findings if f.level.value != "info"] == []
    assert report.results[0].status == "ok"


def test_a_fault_before_it_is_found() -> None:
    report = check({"model": Softmaxed(), "inputs": batch()}, select=["LOS001"])
    assert [finding.code for finding in report.findings] == ["LOS001"]


@pytest.mark.parametrize("loss", [lambda out, _: out[1], lambda out, targets=None: out[1] / 2, lambda out, _: out[1] * 3])
def test_a_loss_that_reads_no_targets_gets_none(loss: Any) -> None:
    (result,) = check({"model": Pair(), "inputs": batch(), "loss": loss}, select=["LOS"]).results
    assert not any("made up" in text for text in result.assumptions)
    assert not any("real targets" in item.reason for item in result.skipped)


@pytest.mark.parametrize(
    ("model", "inputs"),
    [(Auxiliary(), batch()[:1]), (Pair(), batch()[:1]), (Pair(), {"idx": batch()[0], "targets": None})],
)
def test_without_targets_there_is_no_loss(model: nn.Module, inputs: Any) -> None:
    assert coerce({"model": model, "inputs": inputs}).run()[1] is None


def switched_off() -> Any:
    torch.set_grad_enabled(False)
    return nn.Linear(4, 2), torch.randn(3, 4)


def switched_off_players() -> Any:
    torch.set_grad_enabled(False)
    return {"players": {"one": (nn.Linear(4, 2), torch.randn(3, 4))}}


@pytest.mark.parametrize("build", [switched_off, switched_off_players])
def test_gradients_left_off_are_a_failure_and_are_put_on_again(build: Any) -> None:
    (result,) = check(build).results
    assert torch.is_grad_enabled()
    assert [(finding.code, bool(finding.fix)) for finding in result.findings] == [("RUN001", True)]
    assert result.status == "failed"


def test_gradients_off_for_a_block_are_fine() -> None:
    def build() -> Any:
        with torch.no_grad():
            return nn.Linear(4, 2), torch.randn(3, 4)

    assert check(build, static=True).results[0].status == "ok"
    with torch.no_grad():
        assert check((nn.Linear(4, 2), torch.randn(3, 4)), static=True).results[0].status == "ok"
