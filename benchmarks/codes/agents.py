"""Reinforcement learning: values, policies and both."""

import copy

import torch
import torch.nn.functional as F
from torch import nn


def states(n=64):
    return torch.randn(n, 4)


def build_dqn():
    policy_net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    target_net = copy.deepcopy(policy_net)
    s, a, s2 = states(), torch.randint(0, 2, (64, 1)), states()
    reward = (s[:, 0] * (2.0 * a.squeeze(1) - 1) > 0).float()

    def loss(q, batch):
        with torch.no_grad():
            expected = batch["reward"] + 0.99 * target_net(batch["next"]).max(1).values
        return F.smooth_l1_loss(q.gather(1, batch["action"]), expected.unsqueeze(1))

    return {
        "model": policy_net,
        "inputs": s,
        "targets": {"reward": reward, "next": s2, "action": a},
        "loss": loss,
        "optimizer": torch.optim.AdamW(policy_net.parameters(), lr=1e-4, amsgrad=True),
    }


class ActorCritic(nn.Module):
    def __init__(self, actions=3):
        super().__init__()
        self.affine1, self.action_head, self.value_head = nn.Linear(4, 64), nn.Linear(64, actions), nn.Linear(64, 1)

    def forward(self, x):
        x = F.relu(self.affine1(x))
        return F.softmax(self.action_head(x), dim=-1), self.value_head(x)


def build_actor_critic():
    model = ActorCritic()
    s, actions = states(), torch.randint(0, 3, (64,))
    returns = s[:, 0] + (actions == 1).float()

    def loss(output, batch):
        probs, value = output
        advantage = batch["returns"] - value.squeeze(1)
        log_prob = torch.distributions.Categorical(probs).log_prob(batch["actions"])
        return (-log_prob * advantage.detach()).sum() + F.smooth_l1_loss(
            value.squeeze(1), batch["returns"], reduction="sum"
        )

    return {
        "model": model,
        "inputs": s,
        "targets": {"actions": actions, "returns": returns},
        "loss": loss,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-4),
    }


def layer_init(layer, std=2**0.5):
    nn.init.orthogonal_(layer.weight, std)
    nn.init.constant_(layer.bias, 0.0)
    return layer


class PPOAgent(nn.Module):
    def __init__(self):
        super().__init__()
        self.critic = nn.Sequential(
            layer_init(nn.Linear(4, 64)),
            nn.Tanh(),
            layer_init(nn.Linear(64, 64)),
            nn.Tanh(),
            layer_init(nn.Linear(64, 1), std=1.0),
        )
        self.actor = nn.Sequential(
            layer_init(nn.Linear(4, 64)),
            nn.Tanh(),
            layer_init(nn.Linear(64, 64)),
            nn.Tanh(),
            layer_init(nn.Linear(64, 2), std=0.01),
        )

    def forward(self, x):
        return self.actor(x), self.critic(x)


def ppo_loss(output, b):
    logits, value = output
    dist = torch.distributions.Categorical(logits=logits)
    ratio = (dist.log_prob(b["actions"]) - b["logprobs"]).exp()
    adv = (b["advantages"] - b["advantages"].mean()) / (b["advantages"].std() + 1e-8)
    policy = torch.max(-adv * ratio, -adv * torch.clamp(ratio, 0.8, 1.2)).mean()
    return policy - 0.01 * dist.entropy().mean() + 0.5 * 0.5 * ((value.view(-1) - b["returns"]) ** 2).mean()


def build_ppo():
    model = PPOAgent()
    s = states(128)
    dist = torch.distributions.Categorical(logits=model.actor(s).detach())
    actions = dist.sample()
    advantages = s[:, 0] * (2.0 * actions - 1)
    batch = {
        "actions": actions,
        "logprobs": dist.log_prob(actions),
        "advantages": advantages,
        "returns": s[:, 1] + advantages,
    }
    return {
        "model": model,
        "inputs": s,
        "targets": batch,
        "loss": ppo_loss,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2.5e-4, eps=1e-5),
        "grad_clip": 0.5,
    }


class SacActor(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 64), nn.Linear(64, 64)
        self.fc_mean, self.fc_logstd = nn.Linear(64, 2), nn.Linear(64, 2)

    def forward(self, x):
        x = F.relu(self.fc2(F.relu(self.fc1(x))))
        mean = self.fc_mean(x)
        log_std = -5 + 0.5 * (2 + 5) * (torch.tanh(self.fc_logstd(x)) + 1)
        normal = torch.distributions.Normal(mean, log_std.exp())
        x_t = normal.rsample()
        action = torch.tanh(x_t)
        log_prob = normal.log_prob(x_t) - torch.log(1 - action.pow(2) + 1e-6)
        return action, log_prob.sum(1, keepdim=True)


def build_sac_actor():
    actor = SacActor()
    critic = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 1))
    s = states()
    return {
        "model": actor,
        "inputs": s,
        "targets": s,
        "loss": lambda out, obs: (0.2 * out[1] - critic(torch.cat([obs, out[0]], 1))).mean(),
        "optimizer": torch.optim.Adam(actor.parameters(), lr=3e-4),
    }


class TwinQ(nn.Module):
    def __init__(self):
        super().__init__()
        self.q1 = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
        self.q2 = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, state, action):
        x = torch.cat([state, action], 1)
        return self.q1(x), self.q2(x)


def build_sac_critic():
    model = TwinQ()
    s, a = states(), torch.rand(64, 2) * 2 - 1
    y = (s[:, :2] * a).sum(1, keepdim=True)
    return {
        "model": model,
        "inputs": (s, a),
        "targets": y,
        "loss": lambda q, target: F.mse_loss(q[0], target) + F.mse_loss(q[1], target),
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-4),
    }


def build_ddpg_actor():
    actor = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2), nn.Tanh())
    critic = TwinQ()
    s = states()
    return {
        "model": actor,
        "inputs": s,
        "targets": s,
        "loss": lambda action, obs: -critic(obs, action)[0].mean(),
        "optimizer": torch.optim.Adam(actor.parameters(), lr=1e-4),
    }


def build_reinforce():
    policy = nn.Sequential(nn.Linear(4, 128), nn.Dropout(p=0.6), nn.ReLU(), nn.Linear(128, 2), nn.Softmax(dim=1))
    s, a = states(), torch.randint(0, 2, (64,))
    returns = s[:, 0] * (2.0 * a - 1)
    returns = (returns - returns.mean()) / (returns.std() + 1e-8)

    def loss(probs, batch):
        return -(torch.distributions.Categorical(probs).log_prob(batch["a"]) * batch["r"]).sum()

    return {
        "model": policy,
        "inputs": s,
        "targets": {"a": a, "r": returns},
        "loss": loss,
        "optimizer": torch.optim.Adam(policy.parameters(), lr=1e-2),
    }


def build_behaviour_cloning():
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.LayerNorm(64), nn.Linear(64, 2), nn.Tanh())
    s = states()
    return {
        "model": model,
        "inputs": s,
        "targets": torch.tanh(s[:, :2] - s[:, 2:]),
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }
