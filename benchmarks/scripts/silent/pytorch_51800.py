"""PyTorch 51800: spectral norm evaluated before the first training forward (no rule: the power iteration starts at a random vector)"""
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
labels = torch.arange(160) % 2
points = torch.randn(2, 8)[labels] + 0.6 * torch.randn(160, 8)
loader = DataLoader(TensorDataset(points[:128], labels[:128]), batch_size=16, shuffle=True)
valid = DataLoader(TensorDataset(points[128:], labels[128:]), batch_size=16)
net = nn.Sequential(nn.utils.spectral_norm(nn.Linear(8, 32)), nn.ReLU(), nn.utils.spectral_norm(nn.Linear(32, 2)))
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
for epoch in range(2):
    net.eval()
    with torch.no_grad():
        print(epoch, sum(F.cross_entropy(net(x), y).item() for x, y in valid))
    net.train()
    for x, y in loader:
        loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
