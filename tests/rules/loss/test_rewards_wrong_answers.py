"""LOS031: losses that are lower for wrong answers."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

import nnlint
from nnlint.testing import findings, mlp_setup, skipped

CODE = "LOS031"
MASKS = torch.randint(0, 2, (40, 5), generator=torch.Generator().manual_seed(0)).float()


def test_says_what_right_and_wrong_answers_cost() -> None:
    (found,) = findings(CODE, mlp_setup(None, lambda o, y: -F.cross_entropy(o, y)))
    assert found.level == "error"
    assert found.evidence["right"] > found.evidence["wrong"]
    assert found.location is not None
    assert "sign" in found.fix


def test_a_score_is_subtracted_from_one() -> None:
    def overlap(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)

    (found,) = findings(CODE, mlp_setup(nn.Sigmoid(), overlap, MASKS))
    assert "1 - score" in found.fix
    assert not findings(CODE, mlp_setup(nn.Sigmoid(), lambda p, t: 1 - overlap(p, t), MASKS))


def test_negative_weight_of_one_class() -> None:
    weight = torch.tensor([1.0, 1.0, -0.5, 1.0, 1.0])
    found = findings(CODE, mlp_setup(None, lambda o, y: (weight[y] * F.cross_entropy(o, y, reduction="none")).mean()))
    assert [finding.evidence["target"] for finding in found] == [2.0]
    assert "weight" in found[0].fix


def test_a_negated_loss_is_one_finding() -> None:
    result = nnlint.check(mlp_setup(None, lambda o, y: -F.mse_loss(o, y), MASKS)).results[0]
    assert [found.code for found in result.findings if found.level in ("error", "warning")] == [CODE]


def test_targets_of_one_value_have_no_wrong_answers() -> None:
    ones = torch.ones(40, 5)
    assert skipped(CODE, mlp_setup(None, lambda o, y: -F.binary_cross_entropy_with_logits(o, 1 - y), ones))


def test_weights_of_a_closure_decide_what_is_right() -> None:
    advantage = -torch.rand(40) - 0.1
    policy = lambda o, action: -(o.log_softmax(1).gather(1, action[:, None])[:, 0] * advantage).mean()  # noqa: E731
    assert "weights each sample" in skipped(CODE, mlp_setup(None, policy))
