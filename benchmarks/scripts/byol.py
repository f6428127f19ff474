"""BYOL on vectors: an online network predicts a slowly moving target network; two augmented views."""
import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
kinds = torch.randn(6, 16)
dataset = TensorDataset(kinds[torch.randint(0, 6, (256,))] + 0.5 * torch.randn(256, 16))
loader = DataLoader(dataset, batch_size=32, shuffle=True, drop_last=True)


def mlp(dim, hidden, out):
    return nn.Sequential(nn.Linear(dim, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out))


class BYOL(nn.Module):
    def __init__(self, momentum=0.99):
        super().__init__()
        self.online = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), mlp(32, 32, 16))
        self.predictor = mlp(16, 32, 16)
        self.target = copy.deepcopy(self.online)
        self.momentum = momentum
        for p in self.target.parameters():
            p.requires_grad = False

    @torch.no_grad()
    def update_target(self):
        for online, target in zip(self.online.parameters(), self.target.parameters()):
            target.data = self.momentum * target.data + (1 - self.momentum) * online.data

    def forward(self, view1, view2):
        p1, p2 = self.predictor(self.online(view1)), self.predictor(self.online(view2))
        with torch.no_grad():
            t1, t2 = self.target(view1), self.target(view2)
        return -(F.cosine_similarity(p1, t2).mean() + F.cosine_similarity(p2, t1).mean()) / 2


def augment(x):
    return x * (torch.rand_like(x) > 0.1) + 0.1 * torch.randn_like(x)


learner = BYOL()
opt = torch.optim.Adam([p for p in learner.parameters() if p.requires_grad], lr=1e-3)
for epoch in range(3):
    losses = []
    for (x,) in loader:
        loss = learner(augment(x), augment(x))
        opt.zero_grad()
        loss.backward()
        opt.step()
        learner.update_target()
        losses.append(loss.item())
    print(f"epoch {epoch}: {sum(losses) / len(losses):.4f}")
