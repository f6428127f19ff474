"""Gradient accumulation: four small batches for each update, the last incomplete window applied as well."""
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
ACCUMULATE = 4


def make_loader(count, batch_size, shuffle, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 10, generator=g)
    w = torch.randn(10, 1, generator=torch.Generator().manual_seed(77))
    return DataLoader(TensorDataset(x, torch.tanh(x @ w) + 0.1 * torch.randn(count, 1, generator=g)), batch_size=batch_size, shuffle=shuffle)


def run_epoch(model, loader, criterion, optimizer, scheduler):
    model.train()
    total = 0.0
    optimizer.zero_grad()
    for i, (x, y) in enumerate(loader):
        loss = criterion(model(x), y) / ACCUMULATE
        loss.backward()
        total += loss.item() * ACCUMULATE
        if (i + 1) % ACCUMULATE == 0 or i + 1 == len(loader):
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    return total / len(loader)


@torch.no_grad()
def evaluate(model, loader, criterion):
    model.eval()
    return sum(criterion(model(x), y).item() for x, y in loader) / len(loader)


def main():
    train_loader = make_loader(256, 8, True, 0)
    val_loader = make_loader(64, 16, False, 1)
    model = nn.Sequential(nn.Linear(10, 32), nn.SiLU(), nn.Dropout(0.05), nn.Linear(32, 1))
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4 * len(train_loader) // ACCUMULATE)
    for epoch in range(4):
        loss = run_epoch(model, train_loader, criterion, optimizer, scheduler)
        print(f"{epoch}: train {loss:.4f} valid {evaluate(model, val_loader, criterion):.4f}")


if __name__ == "__main__":
    main()
