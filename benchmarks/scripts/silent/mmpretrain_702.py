"""mmpretrain 702: stages are frozen by the model's own train(), which is never called (no rule: nothing says that they are to be frozen)"""
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Backbone(nn.Module):
    def __init__(self, frozen_stages=1):
        super().__init__()
        self.frozen_stages = frozen_stages
        self.stages = nn.ModuleList([nn.Sequential(nn.Linear(8, 24), nn.ReLU()), nn.Sequential(nn.Linear(24, 24), nn.ReLU())])
        self.head = nn.Linear(24, 3)

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return self.head(x)

    def train(self, mode=True):
        super().train(mode)
        for stage in self.stages[: self.frozen_stages]:
            stage.eval()
            for parameter in stage.parameters():
                parameter.requires_grad = False
        return self


torch.manual_seed(0)
labels = torch.arange(120) % 3
points = torch.randn(3, 8)[labels] + 0.6 * torch.randn(120, 8)
loader = DataLoader(TensorDataset(points, labels), batch_size=12, shuffle=True)
model = Backbone()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
for epoch in range(2):
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
