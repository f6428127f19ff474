"""Lightning in style, not in import: a module with training_step and configure_optimizers, and the loop that calls them."""
from copy import deepcopy

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split


class LitAutoEncoder(nn.Module):
    def __init__(self, lr=2e-3):
        super().__init__()
        self.lr = lr
        self.encoder = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
        self.decoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, x):
        return self.decoder(self.encoder(x))

    def training_step(self, batch, batch_idx):
        (x,) = batch
        x_hat = self(x)
        return F.mse_loss(x_hat, x)

    def validation_step(self, batch, batch_idx):
        (x,) = batch
        return F.mse_loss(self(x), x)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
        return optimizer, scheduler


class Fabric:
    def __init__(self, max_epochs):
        self.max_epochs = max_epochs

    def fit(self, module, train_dataloader, val_dataloader):
        optimizer, scheduler = module.configure_optimizers()
        best, kept = float("inf"), None
        for epoch in range(self.max_epochs):
            module.train()
            for batch_idx, batch in enumerate(train_dataloader):
                loss = module.training_step(batch, batch_idx)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            scheduler.step()
            loss = self.validate(module, val_dataloader)
            if loss < best:
                best, kept = loss, deepcopy(module.state_dict())
        module.load_state_dict(kept)

    def validate(self, module, dataloader):
        module.eval()
        losses = []
        with torch.no_grad():
            for batch_idx, batch in enumerate(dataloader):
                losses.append(module.validation_step(batch, batch_idx).item())
        print(f"val_loss {sum(losses) / len(losses):.4f}")
        return sum(losses) / len(losses)


torch.manual_seed(0)
latent = torch.randn(400, 4)
dataset = TensorDataset(latent @ torch.randn(4, 16) + 0.1 * torch.randn(400, 16))
train_set, val_set = random_split(dataset, [320, 80])
Fabric(max_epochs=3).fit(
    LitAutoEncoder(), DataLoader(train_set, batch_size=32, shuffle=True), DataLoader(val_set, batch_size=40)
)
