"""A physics-informed network: the loss is a differential equation, by autograd.grad inside the graph."""
import torch
import torch.nn as nn

torch.manual_seed(123)


class FCN(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, t):
        return self.net(t)


pinn = FCN()
optimiser_opt = torch.optim.Adam(pinn.parameters(), lr=3e-3)
boundary = torch.zeros(1, 1, requires_grad=True)
mu, k = 2.0, 25.0
loss_history = []
for i in range(20):
    optimiser_opt.zero_grad()
    u = pinn(boundary)
    du = torch.autograd.grad(u, boundary, torch.ones_like(u), create_graph=True)[0]
    loss_boundary = (u - 1).pow(2).mean() + 0.1 * du.pow(2).mean()
    physics = torch.rand(30, 1).requires_grad_(True)
    u = pinn(physics)
    du = torch.autograd.grad(u, physics, torch.ones_like(u), create_graph=True)[0]
    d2u = torch.autograd.grad(du, physics, torch.ones_like(du), create_graph=True)[0]
    loss_physics = (d2u + mu * du + k * u).pow(2).mean()
    loss = loss_boundary + 1e-3 * loss_physics
    loss.backward()
    optimiser_opt.step()
    loss_history.append(loss.item())
    if i % 5 == 0:
        print(f"{i}: {loss.item():.4f}")
