"""Metric learning: one embedding network called three times, with a triplet margin loss."""
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

random.seed(1)
torch.manual_seed(1)


class TripletDataset(Dataset):
    def __init__(self, count, seed):
        g = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(count) % 5
        centers = torch.randn(5, 10, generator=torch.Generator().manual_seed(21))
        self.data = centers[self.labels] + 0.6 * torch.randn(count, 10, generator=g)
        self.by_label = {c: (self.labels == c).nonzero().flatten().tolist() for c in range(5)}

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        label = int(self.labels[index])
        positive = random.choice(self.by_label[label])
        negative = random.choice(self.by_label[random.choice([c for c in range(5) if c != label])])
        return self.data[index], self.data[positive], self.data[negative]


class EmbeddingNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 32), nn.PReLU(), nn.Dropout(0.1), nn.Linear(32, 8))

    def forward(self, x):
        return F.normalize(self.net(x), dim=1)


def fit(train_loader, val_loader, model, loss_fn, optimizer, scheduler, n_epochs):
    for epoch in range(n_epochs):
        train_loss = train_epoch(train_loader, model, loss_fn, optimizer)
        scheduler.step()
        val_loss = test_epoch(val_loader, model, loss_fn)
        print(f"Epoch: {epoch + 1}/{n_epochs}. Train: {train_loss:.4f} Validation: {val_loss:.4f}")


def train_epoch(train_loader, model, loss_fn, optimizer):
    model.train()
    total_loss = 0
    for anchor, positive, negative in train_loader:
        optimizer.zero_grad()
        loss = loss_fn(model(anchor), model(positive), model(negative))
        total_loss += loss.item()
        loss.backward()
        optimizer.step()
    return total_loss / len(train_loader)


def test_epoch(val_loader, model, loss_fn):
    with torch.no_grad():
        model.eval()
        val_loss = 0
        for anchor, positive, negative in val_loader:
            val_loss += loss_fn(model(anchor), model(positive), model(negative)).item()
    return val_loss / len(val_loader)


train_loader = DataLoader(TripletDataset(200, 0), batch_size=20, shuffle=True)
val_loader = DataLoader(TripletDataset(60, 1), batch_size=20)
net = EmbeddingNet()
optim = torch.optim.Adam(net.parameters(), lr=3e-3)
sched = torch.optim.lr_scheduler.StepLR(optim, 2, gamma=0.5)
fit(train_loader, val_loader, net, nn.TripletMarginLoss(margin=0.5), optim, sched, n_epochs=4)
