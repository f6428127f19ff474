"""Trainings of several players: each is judged by itself, with the weights of the others frozen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nnlint import check
from nnlint.setup import SetupError, SeveralPlayers, coerce

BCE = nn.BCEWithLogitsLoss()


def rated(scores: torch.Tensor, *, real: bool) -> torch.Tensor:
    return BCE(scores, torch.full_like(scores, float(real)))


def gan(*, critic_rate: float = 2e-4, last: nn.Module | None = None) -> dict[str, Any]:
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16))
    critic = nn.Sequential(nn.Linear(16, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), *([last] if last else []))
    noise, real = torch.randn(32, 8), 2 * torch.randn(32, 16) + 1

    def adversarial(fake: torch.Tensor) -> torch.Tensor:
        return rated(critic(fake), real=True)

    def telling_apart(scores: torch.Tensor) -> torch.Tensor:
        return rated(scores, real=True) + rated(critic(generator(noise).detach()), real=False)

    adam = torch.optim.Adam
    return {
        "generator": {
            "model": generator,
            "inputs": noise,
            "loss": adversarial,
            "optimizer": adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999)),
        },
        "discriminator": {
            "model": critic,
            "inputs": real,
            "loss": telling_apart,
            "optimizer": adam(critic.parameters(), lr=critic_rate, betas=(0.5, 0.999)),
        },
    }


def actor_critic(*, rate: float = 1e-3) -> dict[str, Any]:
    """Both heads in one model; each player's optimizer steps its own part."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"actor": nn.Linear(6, 3), "critic": nn.Linear(6, 1)})

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = model

        def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.parts["actor"](states), self.parts["critic"](states).squeeze(1)

    both, states = Both(), torch.randn(24, 6)
    actions, returns = torch.arange(24) % 3, states.sum(1)

    def policy(output: Any, taken: torch.Tensor) -> torch.Tensor:
        logits, values = output
        advantage = (returns - values).detach()
        return -(torch.log_softmax(logits, 1).gather(1, taken[:, None])[:, 0] * advantage).mean()

    def value(output: Any, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(output[1], targets)

    steps = {name: torch.optim.Adam(part.parameters(), lr=rate) for name, part in model.items()}
    return {
        "actor": {"model": both, "inputs": states, "targets": actions, "loss": policy, "optimizer": steps["actor"]},
        "critic": {"model": both, "inputs": states, "targets": returns, "loss": value, "optimizer": steps["critic"]},
    }


def test_each_player_has_a_report_of_its_own() -> None:
    report = check({"players": gan(critic_rate=0.0)}, select=["OPT005"])
    found = [(result.target, [finding.code for finding in result.findings]) for result in report.results]
    assert found == [("dict:generator", []), ("dict:discriminator", ["OPT005"])]
    assert report.summary.errors == 1


def test_a_healthy_pair_is_clean() -> None:
    report = check({"players": gan()})
    assert [finding.code for finding in report.findings] == []
    assert [result.status for result in report.results] == ["ok", "ok"]


def test_a_fault_in_the_critic_is_found_in_its_own_report() -> None:
    first, second = check({"players": gan(last=nn.Sigmoid())}, select=["LOS"]).results
    assert second.target == "dict:discriminator"
    assert any(finding.module == "3" for finding in second.findings)
    assert not any(finding.module == "3" for finding in first.findings)


@pytest.mark.parametrize(("expected", "codes"), [(False, []), (True, ["RUN003"])])
def test_the_others_are_frozen_while_one_is_judged(expected: bool, codes: list[str]) -> None:
    players = gan()
    critic = players["discriminator"]["model"]
    own = players["generator"]["loss"]

    def watching(fake: torch.Tensor) -> torch.Tensor:
        if any(parameter.requires_grad is not expected for parameter in critic.parameters()):
            raise ValueError
        return own(fake)

    players["generator"]["loss"] = watching
    first, _ = check({"players": players}, select=["OPT"]).results
    assert [finding.code for finding in first.findings] == codes
    assert all(parameter.requires_grad and parameter.grad is None for parameter in critic.parameters())


def test_players_inside_one_model_do_not_miss_each_others_weights() -> None:
    report = check({"players": actor_critic()}, select=["OPT", "GRD", "TRN"])
    assert [finding.code for finding in report.findings] == []


def test_a_build_function_may_return_players() -> None:
    def build() -> dict[str, Any]:
        return {"players": gan()}

    assert [result.target for result in check(build, static=True).results] == [
        "build:generator",
        "build:discriminator",
    ]


def test_a_player_that_is_no_setup_fails_alone() -> None:
    players = {**gan(), "third": {"modle": nn.Linear(1, 1)}}
    report = check({"players": players}, static=True)
    assert [result.status for result in report.results] == ["ok", "ok", "failed"]
    (finding,) = report.results[2].findings
    assert (finding.code, "the player 'third'" in finding.message, bool(finding.fix)) == ("RUN001", True, True)


@pytest.mark.parametrize(
    "given",
    [{"players": {}}, {"players": [nn.Linear(1, 1)]}, {"players": gan(), "data": []}],
    ids=["none", "list", "beside"],
)
def test_players_in_another_form_are_refused_with_a_fix(given: Any) -> None:
    (result,) = check(given).results
    assert [(finding.code, '{"players": {' in (finding.fix or "")) for finding in result.findings] == [("RUN001", True)]


def test_who_takes_one_setup_is_told_of_the_players() -> None:
    with pytest.raises(SeveralPlayers, match="generator, discriminator") as caught:
        coerce({"players": gan()})
    assert isinstance(caught.value, SetupError)
