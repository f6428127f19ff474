"""Deep Q-learning with a replay memory and a target network, on a small corridor that needs no gym."""
import random
from collections import deque, namedtuple

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

random.seed(0)
torch.manual_seed(0)
Transition = namedtuple("Transition", ("state", "action", "next_state", "reward", "done"))
BATCH_SIZE, GAMMA, LR, TARGET_UPDATE = 32, 0.9, 1e-3, 3


class Corridor:
    """Ten cells; reward at the right end."""

    def reset(self):
        self.at = 3
        return self._seen()

    def step(self, action):
        self.at = max(0, min(9, self.at + (1 if action == 1 else -1)))
        done = self.at == 9
        return self._seen(), (1.0 if done else -0.02), done

    def _seen(self):
        return torch.tensor([self.at / 9.0, 1.0 - self.at / 9.0, float(self.at > 4), random.random() * 0.1])


class DQN(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Linear(4, 32)
        self.layer2 = nn.Linear(32, 32)
        self.layer3 = nn.Linear(32, 2)

    def forward(self, x):
        x = F.relu(self.layer1(x))
        x = F.relu(self.layer2(x))
        return self.layer3(x)


policy_net = DQN()
target_net = DQN()
target_net.load_state_dict(policy_net.state_dict())
optimizer = optim.AdamW(policy_net.parameters(), lr=LR)
memory = deque(maxlen=1000)


def select_action(state, eps):
    if random.random() > eps:
        with torch.no_grad():
            return int(policy_net(state.unsqueeze(0)).argmax(1))
    return random.randrange(2)


def optimize_model():
    if len(memory) < BATCH_SIZE:
        return
    batch = Transition(*zip(*random.sample(memory, BATCH_SIZE)))
    states, next_states = torch.stack(batch.state), torch.stack(batch.next_state)
    actions = torch.tensor(batch.action).unsqueeze(1)
    rewards, dones = torch.tensor(batch.reward), torch.tensor(batch.done, dtype=torch.float32)
    q = policy_net(states).gather(1, actions).squeeze(1)
    with torch.no_grad():
        following = target_net(next_states).max(1).values
    expected = rewards + GAMMA * (1 - dones) * following
    loss = F.smooth_l1_loss(q, expected)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_value_(policy_net.parameters(), 100)
    optimizer.step()


env = Corridor()
steps = 0
for episode in range(6):
    state, total = env.reset(), 0.0
    for _ in range(25):
        action = select_action(state, eps=max(0.1, 0.9 - episode * 0.2))
        next_state, reward, done = env.step(action)
        memory.append(Transition(state, action, next_state, reward, done))
        state = next_state
        total += reward
        optimize_model()
        steps += 1
        if steps % TARGET_UPDATE == 0:
            target_net.load_state_dict(policy_net.state_dict())
        if done:
            break
    print(f"episode {episode}: return {total:.2f}")
