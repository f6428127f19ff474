"""An exponential moving average of the weights, evaluated beside the model itself."""
import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class ModelEMA:
    def __init__(self, model, decay):
        self.module = copy.deepcopy(model).eval()
        for p in self.module.parameters():
            p.requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model):
        for ema_p, p in zip(self.module.parameters(), model.parameters()):
            ema_p.mul_(self.decay).add_(p, alpha=1 - self.decay)
        for ema_b, b in zip(self.module.buffers(), model.buffers()):
            ema_b.copy_(b)


def blobs(count, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(count) * 3 // count
    c = 2 * torch.randn(3, 8, generator=torch.Generator().manual_seed(4))
    return TensorDataset(c[y] + torch.randn(count, 8, generator=g), y)


@torch.no_grad()
def score(net, loader):
    was_training = net.training
    net.eval()
    right = sum((net(x).argmax(1) == y).sum().item() for x, y in loader)
    net.train(was_training)
    return right / len(loader.dataset)


torch.manual_seed(0)
train_loader = DataLoader(blobs(240, 0), batch_size=24, shuffle=True)
valid_loader = DataLoader(blobs(60, 1), batch_size=30)
model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
criterion = nn.CrossEntropyLoss()
ema = ModelEMA(model, decay=0.9)
for epoch in range(3):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        ema.update(model)
    print(epoch, score(model, valid_loader), score(ema.module, valid_loader))
