"""Early stopping with checkpoints on disk, and a model that resumes from its own."""
import os
import tempfile

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class EarlyStopping:
    def __init__(self, patience, path):
        self.patience, self.path = patience, path
        self.counter, self.best, self.early_stop = 0, None, False

    def __call__(self, val_loss, model, optimizer):
        if self.best is None or val_loss < self.best:
            self.best, self.counter = val_loss, 0
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, self.path)
        else:
            self.counter += 1
            self.early_stop = self.counter >= self.patience


def data(count, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 5, generator=g)
    y = (x[:, :1] * 3 - x[:, 1:2] ** 2 + x[:, 2:3].sin()) + 0.05 * torch.randn(count, 1, generator=g)
    return TensorDataset(x * 2 - 1, y)


def train_model(model, train_loader, valid_loader, patience, n_epochs, folder):
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    criterion = nn.SmoothL1Loss()
    early_stopping = EarlyStopping(patience, os.path.join(folder, "checkpoint.pt"))
    for epoch in range(1, n_epochs + 1):
        train_losses, valid_losses = [], []
        model.train()
        for batch, (inputs, target) in enumerate(train_loader, 1):
            optimizer.zero_grad()
            output = model(inputs)
            loss = criterion(output, target)
            loss.backward()
            optimizer.step()
            train_losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            for inputs, target in valid_loader:
                output = model(inputs)
                loss = criterion(output, target)
                valid_losses.append(loss.item())
        valid_loss = sum(valid_losses) / len(valid_losses)
        print(f"[{epoch}/{n_epochs}] train_loss: {sum(train_losses) / len(train_losses):.5f} valid_loss: {valid_loss:.5f}")
        early_stopping(valid_loss, model, optimizer)
        if early_stopping.early_stop:
            print("Early stopping")
            break
    model.load_state_dict(torch.load(early_stopping.path, weights_only=True)["model"])
    return model


torch.manual_seed(5)
net = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
with tempfile.TemporaryDirectory() as folder:
    train_model(net, DataLoader(data(240, 0), batch_size=24, shuffle=True), DataLoader(data(72, 1), batch_size=24), 3, 4, folder)
