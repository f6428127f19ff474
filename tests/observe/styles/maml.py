import torch
from torch import nn
from torch.func import functional_call
import torch.nn.functional as F
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(1, 20), nn.ReLU(), nn.Linear(20, 1)); meta = torch.optim.Adam(net.parameters(), lr=1e-3)
for it in range(6):
    total = 0.
    for task in range(3):
        x = torch.randn(10, 1); y = torch.sin(x + task)
        fast = dict(net.named_parameters())
        for _ in range(2):
            l = F.mse_loss(functional_call(net, fast, (x,)), y)
            g = torch.autograd.grad(l, list(fast.values()), create_graph=True)
            fast = {k: p - 0.1 * gg for (k, p), gg in zip(fast.items(), g)}
        total = total + F.mse_loss(functional_call(net, fast, (x,)), y)
    meta.zero_grad(); total.backward(); meta.step()
