"""Agents: policies, values, and language models trained by preferences."""

import copy
import math

import torch
from _parts import setup
from torch import nn
from torch.nn import functional


def mlp(inputs=20, outputs=16, width=64):
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))


class Dueling(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.value, self.advantage = nn.Linear(64, 1), nn.Linear(64, 4)

    def forward(self, state):
        h = self.body(state)
        advantage = self.advantage(h)
        return self.value(h) + advantage - advantage.mean(dim=1, keepdim=True)


def build_dueling_double_q_learning():
    class Agent(nn.Module):
        def __init__(self):
            super().__init__()
            self.online = Dueling()
            self.target = copy.deepcopy(self.online).requires_grad_(False)

        def forward(self, state, following):
            with torch.no_grad():
                best = self.online(following).argmax(1, keepdim=True)
                future = self.target(following).gather(1, best).squeeze(1)
            return self.online(state), future

    def loss(output, batch):
        q, future = output
        target = batch["reward"] + 0.99 * (1 - batch["done"]) * future
        return functional.smooth_l1_loss(q.gather(1, batch["action"][:, None]).squeeze(1), target)

    batch = {"reward": torch.randn(64), "done": (torch.rand(64) < 0.1).float(), "action": torch.randint(0, 4, (64,))}
    return setup(Agent(), (torch.randn(64, 8), torch.randn(64, 8)), batch, loss, frozen=("target*",))


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 4))
        self.critic = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
        for net, gain in ((self.actor, 0.01), (self.critic, 1.0)):
            for layer in net[:-1:2]:
                nn.init.orthogonal_(layer.weight, math.sqrt(2))
                nn.init.zeros_(layer.bias)
            nn.init.orthogonal_(net[-1].weight, gain)
            nn.init.zeros_(net[-1].bias)

    def forward(self, state):
        return torch.distributions.Categorical(logits=self.actor(state)), self.critic(state).squeeze(-1)


def build_proximal_policy():
    def loss(output, batch):
        policy, value = output
        ratio = torch.exp(policy.log_prob(batch["action"]) - batch["log_prob"])
        gain = (batch["return"] - batch["value"]) / 1.5
        surrogate = torch.min(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()
        return -surrogate + 0.5 * functional.mse_loss(value, batch["return"]) - 0.01 * policy.entropy().mean()

    batch = {"action": torch.randint(0, 4, (128,)), "log_prob": torch.full((128,), -math.log(4))}
    batch |= {"return": torch.randn(128), "value": 0.2 * torch.randn(128)}
    model = ActorCritic()
    optimizer = torch.optim.Adam(model.parameters(), lr=2.5e-4, eps=1e-5)
    return setup(model, torch.randn(128, 8), batch, loss, optimizer=optimizer)


def build_squashed_gaussian_policy():
    class Policy(nn.Module):
        """Soft actor-critic: the critic is fixed while the policy is trained."""

        def __init__(self):
            super().__init__()
            self.body, self.mean, self.log_std = mlp(8, 32), nn.Linear(32, 2), nn.Linear(32, 2)
            self.critic = mlp(10, 1).requires_grad_(False)

        def forward(self, state):
            h = torch.relu(self.body(state))
            mean, std = self.mean(h), self.log_std(h).clamp(-5, 2).exp()
            raw = mean + std * torch.randn_like(mean) if self.training else mean
            action = torch.tanh(raw)
            density = torch.distributions.Normal(mean, std).log_prob(raw) - torch.log(1 - action.pow(2) + 1e-6)
            return self.critic(torch.cat([state, action], 1)).squeeze(1), density.sum(1)

    loss = lambda output: (0.2 * output[1] - output[0]).mean()
    return setup(Policy(), torch.randn(64, 8), loss=loss, frozen=("critic*",))


def build_policy_gradient_over_a_sequence():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.policy = nn.GRU(8, 32, batch_first=True), nn.Linear(32, 4)

        def forward(self, states):
            return functional.log_softmax(self.policy(self.rnn(states)[0]), dim=-1)

    def loss(log_policy, batch):
        chosen = log_policy.gather(2, batch["action"][:, :, None]).squeeze(2)
        return -(chosen * batch["advantage"]).mean()

    batch = {"action": torch.randint(0, 4, (16, 10)), "advantage": torch.randn(16, 10)}
    return setup(Recurrent(), torch.randn(16, 10, 8), batch, loss)


def build_preferences():
    class Preferences(nn.Module):
        """DPO: log-ratios to a frozen reference."""

        def __init__(self):
            super().__init__()
            self.policy = nn.Sequential(nn.Embedding(60, 32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 60))
            self.reference = copy.deepcopy(self.policy).requires_grad_(False)

        def score(self, model, ids):
            return model(ids[:, :-1]).log_softmax(-1).gather(2, ids[:, 1:, None]).squeeze(2).sum(1)

        def forward(self, chosen, rejected):
            with torch.no_grad():
                base = self.score(self.reference, chosen) - self.score(self.reference, rejected)
            return self.score(self.policy, chosen) - self.score(self.policy, rejected) - base

    loss = lambda margin: -functional.logsigmoid(0.1 * margin).mean()
    inputs = (torch.randint(0, 60, (32, 10)), torch.randint(0, 60, (32, 10)))
    model = Preferences()
    optimizer = torch.optim.AdamW(model.policy.parameters(), lr=1e-4)
    return setup(model, inputs, loss=loss, frozen=("reference*",), optimizer=optimizer)
