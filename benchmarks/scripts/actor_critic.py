"""Advantage actor-critic: one network with two heads, an update at the end of each episode."""
from collections import namedtuple

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.distributions import Categorical

torch.manual_seed(543)
gamma = 0.95
SavedAction = namedtuple("SavedAction", ["log_prob", "value"])


class Balance:
    """A point on a line that has to be kept near zero."""

    def reset(self):
        self.x, self.v = 0.2 * torch.randn(1).item(), 0.0
        return torch.tensor([self.x, self.v])

    def step(self, action):
        self.v += 0.1 if action == 1 else -0.1
        self.x += self.v
        return torch.tensor([self.x, self.v]), 1.0 - abs(self.x), abs(self.x) > 1.0


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(2, 32)
        self.action_head = nn.Linear(32, 2)
        self.value_head = nn.Linear(32, 1)
        self.saved_actions = []
        self.rewards = []

    def forward(self, x):
        x = F.relu(self.affine1(x))
        return F.softmax(self.action_head(x), dim=-1), self.value_head(x)


model = Policy()
optimizer = optim.Adam(model.parameters(), lr=3e-3)
eps = 1e-8


def select_action(state):
    probs, state_value = model(state)
    m = Categorical(probs)
    action = m.sample()
    model.saved_actions.append(SavedAction(m.log_prob(action), state_value))
    return action.item()


def finish_episode():
    R = 0
    policy_losses, value_losses, returns = [], [], []
    for r in model.rewards[::-1]:
        R = r + gamma * R
        returns.insert(0, R)
    returns = torch.tensor(returns)
    returns = (returns - returns.mean()) / (returns.std() + eps)
    for (log_prob, value), R in zip(model.saved_actions, returns):
        advantage = R - value.item()
        policy_losses.append(-log_prob * advantage)
        value_losses.append(F.smooth_l1_loss(value, torch.tensor([R])))
    optimizer.zero_grad()
    loss = torch.stack(policy_losses).sum() + torch.stack(value_losses).sum()
    loss.backward()
    optimizer.step()
    del model.rewards[:]
    del model.saved_actions[:]
    return loss.item()


env = Balance()
for episode in range(12):
    state = env.reset()
    for t in range(15):
        action = select_action(state)
        state, reward, done = env.step(action)
        model.rewards.append(reward)
        if done and t > 2:
            break
    loss = finish_episode()
    print(f"Episode {episode}\tlength {t + 1}\tloss {loss:.3f}")
