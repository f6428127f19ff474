"""WGAN with gradient penalty: five critic steps for each step of the generator."""
import argparse

import torch
import torch.autograd as autograd
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--n_epochs", type=int, default=4)
parser.add_argument("--batch_size", type=int, default=32)
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--latent_dim", type=int, default=6)
parser.add_argument("--n_critic", type=int, default=5)
parser.add_argument("--lambda_gp", type=float, default=10.0)
opt = parser.parse_args()
torch.manual_seed(1)

generator = nn.Sequential(nn.Linear(opt.latent_dim, 32), nn.LeakyReLU(0.2), nn.Linear(32, 4))
critic = nn.Sequential(nn.Linear(4, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
mixture = torch.randn(480, 4) @ torch.randn(4, 4) + torch.tensor([1.0, -1.0, 0.5, 0.0])
dataloader = DataLoader(TensorDataset(mixture), batch_size=opt.batch_size, shuffle=True)
optimizer_G = torch.optim.Adam(generator.parameters(), lr=opt.lr, betas=(0.0, 0.9))
optimizer_C = torch.optim.Adam(critic.parameters(), lr=opt.lr, betas=(0.0, 0.9))


def gradient_penalty(real, fake):
    alpha = torch.rand(real.size(0), 1)
    between = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    score = critic(between)
    grads = autograd.grad(score, between, torch.ones_like(score), create_graph=True, retain_graph=True)[0]
    return ((grads.norm(2, dim=1) - 1) ** 2).mean()


for epoch in range(opt.n_epochs):
    for i, (real,) in enumerate(dataloader):
        optimizer_C.zero_grad()
        z = torch.randn(real.shape[0], opt.latent_dim)
        with torch.no_grad():
            fake = generator(z)
        c_loss = critic(fake).mean() - critic(real).mean() + opt.lambda_gp * gradient_penalty(real, fake)
        c_loss.backward()
        optimizer_C.step()
        if i % opt.n_critic == 0:
            optimizer_G.zero_grad()
            z = torch.randn(real.shape[0], opt.latent_dim)
            g_loss = -critic(generator(z)).mean()
            g_loss.backward()
            optimizer_G.step()
    print(f"[Epoch {epoch}/{opt.n_epochs}] [C loss: {c_loss.item():.3f}] [G loss: {g_loss.item():.3f}]")
