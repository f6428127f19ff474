"""A Trainer class with its configuration, best weights kept in memory, and cosine annealing once an epoch."""
import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Config:
    epochs: int = 4
    lr: float = 2e-3
    weight_decay: float = 1e-4
    batch_size: int = 32
    max_norm: float = 5.0


class MLP(nn.Module):
    def __init__(self, features, hidden, classes):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(features, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.head = nn.Linear(hidden, classes)

    def forward(self, x):
        return self.head(self.body(x))


class Trainer:
    def __init__(self, model, train_loader, valid_loader, config):
        self.model = model
        self.train_loader = train_loader
        self.valid_loader = valid_loader
        self.config = config
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=config.epochs)
        self.best_score = 0.0
        self.best_weights = None

    def _train_epoch(self, epoch):
        self.model.train()
        losses = []
        for features, target in self.train_loader:
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.criterion(self.model(features), target)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_norm)
            self.optimizer.step()
            losses.append(loss.item())
        return sum(losses) / len(losses)

    def _valid_epoch(self, epoch):
        self.model.eval()
        correct = 0
        with torch.no_grad():
            for features, target in self.valid_loader:
                correct += (self.model(features).argmax(1) == target).sum().item()
        return correct / len(self.valid_loader.dataset)

    def fit(self):
        for epoch in range(self.config.epochs):
            loss = self._train_epoch(epoch)
            score = self._valid_epoch(epoch)
            self.scheduler.step()
            if score > self.best_score:
                self.best_score = score
                self.best_weights = copy.deepcopy(self.model.state_dict())
            print(f"epoch {epoch}: loss {loss:.3f}, accuracy {score:.3f}")
        self.model.load_state_dict(self.best_weights)


def table(count, seed):
    generator = torch.Generator().manual_seed(seed)
    centers = 1.5 * torch.randn(3, 12, generator=torch.Generator().manual_seed(99))
    target = torch.arange(count) * 3 // count
    return TensorDataset(centers[target] + torch.randn(count, 12, generator=generator), target)


if __name__ == "__main__":
    torch.manual_seed(42)
    config = Config()
    trainer = Trainer(
        MLP(12, 32, 3),
        DataLoader(table(300, 0), batch_size=config.batch_size, shuffle=True),
        DataLoader(table(90, 1), batch_size=config.batch_size),
        config,
    )
    trainer.fit()
