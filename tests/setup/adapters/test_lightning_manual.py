"""Lightning modules that optimize by hand: each optimizer is a player with the loss that is differentiated before it steps."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import nnlint
from nnlint.setup import SeveralPlayers, coerce
from tests.libraries import library

lightning = library("lightning")
REAL = torch.randn(64, 12, generator=torch.Generator().manual_seed(0))


def batches():
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(REAL), batch_size=32)


def adam(part, rate=2e-4):
    return torch.optim.Adam(part.parameters(), rate, betas=(0.5, 0.999))


class Gan(lightning.LightningModule):
    """What the documentation of Lightning shows."""

    def __init__(self, *, critic_end=(), detached=False):
        super().__init__()
        self.automatic_optimization, self.detached = False, detached
        torch.manual_seed(0)
        self.generator = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 12))
        self.critic = nn.Sequential(nn.Linear(12, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), *critic_end)

    def forward(self, noise):
        return self.generator(noise)

    def scored(self, x, wanted):
        return functional.binary_cross_entropy_with_logits(self.critic(x), torch.full((len(x), 1), wanted))

    def training_step(self, batch, batch_idx):
        (real,) = batch
        for_generator, for_critic = self.optimizers()
        self.toggle_optimizer(for_generator)
        fake = self(torch.randn(len(real), 8))
        loss = self.scored(fake.detach() if self.detached else fake, 1.0)
        for_generator.zero_grad()
        self.manual_backward(loss)
        for_generator.step()
        self.untoggle_optimizer(for_generator)
        with for_critic.toggle_model():
            loss = self.scored(real, 1.0) + self.scored(self(torch.randn(len(real), 8)).detach(), 0.0)
            self.log("critic", loss)
            for_critic.zero_grad()
            self.manual_backward(loss)
            self.clip_gradients(for_critic, gradient_clip_val=1.0)
            for_critic.step()
        self.lr_schedulers().step()

    def configure_optimizers(self):
        first, second = adam(self.generator), adam(self.critic)
        return [first, second], [torch.optim.lr_scheduler.StepLR(first, 10)]


def loud(module):
    report = nnlint.check((module, batches()))
    found = {}
    for result in report.results:
        assert result.status == "ok", result
        player = result.target.rpartition(":")[2]
        found[player] = {(item.code, item.module) for item in result.findings if item.level.value != "info"}
    return found


def test_the_players_of_a_gan() -> None:
    assert loud(Gan()) == {"generator": set(), "critic": set()}


def test_each_player_has_its_own_faults() -> None:
    both = loud(Gan(critic_end=[nn.Sigmoid()]))
    assert both["generator"] == both["critic"] == {("LOS005", "critic.3")}
    found = loud(Gan(detached=True))
    assert {code for code, _ in found["generator"]} == {"ARC007"}
    assert found["critic"] == set()


def test_the_module_is_as_before() -> None:
    module, data = Gan(), batches()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    attributes = set(vars(module))
    nnlint.check((module, data))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert set(vars(module)) == attributes
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())


def test_several_steps_of_one_player() -> None:
    class Wasserstein(Gan):
        def training_step(self, batch, batch_idx):
            (real,) = batch
            for_generator, for_critic = self.optimizers()
            for _ in range(3):
                loss = self.critic(self(torch.randn(len(real), 8)).detach()).mean() - self.critic(real).mean()
                for_critic.zero_grad()
                self.manual_backward(loss)
                for_critic.step()
            loss = -self.critic(self(torch.randn(len(real), 8))).mean()
            for_generator.zero_grad()
            self.manual_backward(loss)
            for_generator.step()

    assert loud(Wasserstein(critic_end=[nn.Sigmoid()])).keys() == {"generator", "critic"}
    with pytest.raises(SeveralPlayers) as raised:
        coerce((Wasserstein(), batches()))
    losses = {name: setup.own_loss(setup.model, [REAL], None) for name, setup in raised.value.players.items()}
    assert all(loss.requires_grad and loss.dim() == 0 for loss in losses.values())


def test_one_loss_for_two_optimizers() -> None:
    class Autoencoder(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False
            torch.manual_seed(0)
            self.encoder, self.decoder = nn.Sequential(nn.Linear(12, 32), nn.ReLU()), nn.Linear(32, 12)

        def forward(self, x):
            return self.decoder(self.encoder(x))

        def training_step(self, batch, batch_idx):
            loss = functional.mse_loss(self(batch[0]), batch[0])
            self.manual_backward(loss)
            for optimizer in self.optimizers():
                optimizer.step()
                optimizer.zero_grad()

        def configure_optimizers(self):
            return adam(self.encoder, 1e-3), adam(self.decoder, 1e-3)

    assert loud(Autoencoder()) == {"encoder": set(), "decoder": set()}


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (lambda self, batch, batch_idx: self.undefined, "training_step raised AttributeError"),
        (lambda self, batch, batch_idx: None, "no two optimizers step after manual_backward"),
    ],
)
def test_what_cannot_be_split_is_said(step, reason) -> None:
    module = type("Other", (Gan,), {"training_step": step})()
    setup = coerce((module, batches()))
    assert any(reason in text and text.startswith("manual optimization") for text in setup.assumptions)
