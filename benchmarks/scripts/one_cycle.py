"""A residual network with the one-cycle policy, stepped after each batch; separate weight decay for weights and the rest."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(x + self.bn2(self.conv2(out)))


class ResNet(nn.Module):
    def __init__(self, classes=4, width=12):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.layer1 = Block(width)
        self.layer2 = Block(width)
        self.fc = nn.Linear(width, classes)

    def forward(self, x):
        x = self.layer2(F.max_pool2d(self.layer1(self.stem(x)), 2))
        return self.fc(x.mean((2, 3)))


def load(count, seed):
    g = torch.Generator().manual_seed(seed)
    target = torch.arange(count) * 4 // count
    color = torch.randn(4, 3, 1, 1, generator=torch.Generator().manual_seed(11))
    return TensorDataset(color[target] * torch.rand(count, 1, 8, 8, generator=g) + 0.3 * torch.randn(count, 3, 8, 8, generator=g), target)


def groups(model, decay):
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def train_one_epoch(model, loader, optimizer, scheduler):
    model.train()
    for images, target in loader:
        loss = F.cross_entropy(model(images), target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()


def validate(model, loader):
    model.eval()
    hits = total = 0
    with torch.no_grad():
        for images, target in loader:
            hits += (model(images).argmax(1) == target).sum().item()
            total += len(target)
    return hits / total


def main():
    torch.manual_seed(0)
    epochs = 3
    train_loader = DataLoader(load(256, 0), batch_size=32, shuffle=True, drop_last=True)
    val_loader = DataLoader(load(64, 1), batch_size=64)
    model = ResNet()
    optimizer = torch.optim.SGD(groups(model, 5e-4), lr=0.05, momentum=0.9, nesterov=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, epochs=epochs, steps_per_epoch=len(train_loader))
    for epoch in range(epochs):
        train_one_epoch(model, train_loader, optimizer, scheduler)
        print(f"epoch {epoch}: {validate(model, val_loader):.3f}")


if __name__ == "__main__":
    main()
