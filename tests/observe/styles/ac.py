import torch
from torch import nn, optim
import torch.nn.functional as F
from torch.distributions import Categorical
torch.manual_seed(0)
class Policy(nn.Module):
    def __init__(self):
        super().__init__(); self.affine1 = nn.Linear(4, 32); self.action_head = nn.Linear(32, 2); self.value_head = nn.Linear(32, 1); self.saved_actions = []; self.rewards = []
    def forward(self, x):
        x = F.relu(self.affine1(x)); return F.softmax(self.action_head(x), dim=-1), self.value_head(x)
model = Policy(); optimizer = optim.Adam(model.parameters(), lr=3e-2)
def select(state):
    probs, v = model(state); m = Categorical(probs); a = m.sample(); model.saved_actions.append((m.log_prob(a), v)); return a.item()
def finish():
    R = 0; policy_losses = []; value_losses = []; returns = []
    for r in model.rewards[::-1]:
        R = r + 0.99 * R; returns.insert(0, R)
    returns = torch.tensor(returns); returns = (returns - returns.mean()) / (returns.std() + 1e-6)
    for (lp, v), R in zip(model.saved_actions, returns):
        adv = R - v.item(); policy_losses.append(-lp * adv); value_losses.append(F.smooth_l1_loss(v, torch.tensor([R])))
    optimizer.zero_grad(); loss = torch.stack(policy_losses).sum() + torch.stack(value_losses).sum(); loss.backward(); optimizer.step(); del model.rewards[:]; del model.saved_actions[:]
for ep in range(12):
    s = torch.randn(4)
    for t in range(12):
        a = select(s); model.rewards.append(float(torch.rand(1))); s = torch.randn(4)
    finish()
