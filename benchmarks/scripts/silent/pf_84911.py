"""PyTorch forum 84911: a loop over named_parameters() freezes everything but the norm, the head included"""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class Features(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        return self.out(F.relu(self.norm(self.conv(x))).mean((2, 3)))


torch.manual_seed(0)
model = Features()  # expect: ARC020 of the model
for name, parameter in model.named_parameters():
    if "norm" not in name:
        parameter.requires_grad = False
labels = torch.arange(96) % 3
pictures = torch.randn(3, 1, 8, 8)[labels] + 0.5 * torch.randn(96, 1, 8, 8)
loader = DataLoader(TensorDataset(pictures, labels), batch_size=16, shuffle=True)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(2):
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
