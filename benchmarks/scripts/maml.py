"""Model-agnostic meta-learning on sine waves: inner steps by autograd.grad and functional_call, an outer Adam."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.func import functional_call

torch.manual_seed(0)
INNER_LR, INNER_STEPS, META_BATCH = 0.05, 2, 4


def sample_task():
    amplitude, phase = 0.5 + 2 * torch.rand(1), 3.14 * torch.rand(1)

    def draw(count):
        x = 10 * torch.rand(count, 1) - 5
        return x / 5, amplitude * torch.sin(x + phase)

    return draw


class Regressor(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        return self.net(x)


def adapt(model, x, y):
    fast = dict(model.named_parameters())
    for _ in range(INNER_STEPS):
        loss = F.mse_loss(functional_call(model, fast, (x,)), y)
        grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
        fast = {name: p - INNER_LR * g for (name, p), g in zip(fast.items(), grads)}
    return fast


model = Regressor()
meta_optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for iteration in range(12):
    meta_optimizer.zero_grad()
    meta_loss = 0.0
    for _ in range(META_BATCH):
        draw = sample_task()
        fast = adapt(model, *draw(10))
        query_x, query_y = draw(10)
        meta_loss = meta_loss + F.mse_loss(functional_call(model, fast, (query_x,)), query_y)
    meta_loss = meta_loss / META_BATCH
    meta_loss.backward()
    meta_optimizer.step()
    if iteration % 4 == 0:
        print(f"{iteration}: {meta_loss.item():.3f}")
