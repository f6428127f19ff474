"""Continuous control, offline batches: twin critics, a policy and soft target updates (two players, one temperature)."""
import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
GAMMA, TAU, BATCH = 0.95, 0.05, 32
states = torch.randn(400, 3)
actions = torch.tanh(torch.randn(400, 1))
rewards = -(actions - torch.tanh(states[:, :1])) ** 2
next_states = states + 0.1 * torch.randn(400, 3)


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.q1 = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))
        self.q2 = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, state, action):
        both = torch.cat([state, action], 1)
        return self.q1(both), self.q2(both)


class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, state):
        mean, log_std = self.trunk(state).chunk(2, dim=1)
        std = log_std.clamp(-3, 1).exp()
        raw = mean + std * torch.randn_like(mean)
        action = torch.tanh(raw)
        log_prob = torch.distributions.Normal(mean, std).log_prob(raw) - torch.log(1 - action.pow(2) + 1e-6)
        return action, log_prob


critic, actor = Critic(), Actor()
critic_target = copy.deepcopy(critic)
critic_optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3)
actor_optimizer = torch.optim.Adam(actor.parameters(), lr=1e-3)
for step in range(20):
    index = torch.randint(0, 400, (BATCH,))
    state, action, reward, next_state = states[index], actions[index], rewards[index], next_states[index]
    with torch.no_grad():
        next_action, next_log_prob = actor(next_state)
        target_q = torch.min(*critic_target(next_state, next_action)) - 0.1 * next_log_prob
        target_q = reward + GAMMA * target_q
    q1, q2 = critic(state, action)
    critic_loss = F.mse_loss(q1, target_q) + F.mse_loss(q2, target_q)
    critic_optimizer.zero_grad()
    critic_loss.backward()
    critic_optimizer.step()
    new_action, log_prob = actor(state)
    actor_loss = (0.1 * log_prob - torch.min(*critic(state, new_action))).mean()
    actor_optimizer.zero_grad()
    actor_loss.backward()
    actor_optimizer.step()
    with torch.no_grad():
        for target_param, param in zip(critic_target.parameters(), critic.parameters()):
            target_param.lerp_(param, TAU)
    if step % 5 == 0:
        print(f"{step}: critic {critic_loss.item():.3f} actor {actor_loss.item():.3f}")
