"""Automatic mixed precision in bfloat16 on the CPU, which needs no scaler; a warm-up by LinearLR and SequentialLR per batch."""
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def get_data(count, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(count) * 5 // count
    means = torch.randn(5, 20, generator=torch.Generator().manual_seed(1))
    return TensorDataset(means[y] + 0.8 * torch.randn(count, 20, generator=g), y)


def build_model():
    return nn.Sequential(nn.Linear(20, 64), nn.LayerNorm(64), nn.GELU(), nn.Dropout(0.1), nn.Linear(64, 5))


def accuracy(model, loader):
    model.eval()
    hits = 0
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for x, y in loader:
            hits += (model(x).argmax(1) == y).sum().item()
    return hits / len(loader.dataset)


def main(epochs=3):
    train_loader = DataLoader(get_data(320, 0), batch_size=32, shuffle=True)
    val_loader = DataLoader(get_data(100, 1), batch_size=50)
    model = build_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    total = epochs * len(train_loader)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=5)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total - 5)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, decay], milestones=[5])
    loss_fn = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(epochs):
        model.train()
        for x, y in train_loader:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        print(epoch, accuracy(model, val_loader))


main()
