"""An engine of functions with mixed precision: float16, a scaler made once, metrics on tensors."""
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class Spectra(Dataset):
    def __init__(self, count, seed):
        g = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(count) * 3 // count
        wave = torch.linspace(0, 6.28, 32)
        phase = 6.28 * torch.rand(count, 1, generator=g)
        self.signals = torch.sin((self.labels + 1).unsqueeze(1) * wave + phase) + 0.3 * torch.randn(count, 32, generator=g)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.signals[i].unsqueeze(0), self.labels[i]


def build():
    return nn.Sequential(
        nn.Conv1d(1, 8, 5), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(8, 16, 5), nn.ReLU(), nn.AdaptiveAvgPool1d(1),
        nn.Flatten(), nn.Linear(16, 3),
    )


def train_one_epoch(model, criterion, data_loader, optimizer, scaler):
    model.train()
    meter = []
    for signal, target in data_loader:
        with torch.autocast(device_type="cpu", dtype=torch.float16):
            loss = criterion(model(signal), target)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        meter.append(loss.detach())
    return torch.stack(meter).mean()


@torch.inference_mode()
def evaluate(model, criterion, data_loader):
    model.eval()
    hits = total = 0
    for signal, target in data_loader:
        output = model(signal)
        hits += (output.argmax(1) == target).sum()
        total += len(target)
    return hits / total


def main():
    torch.manual_seed(1)
    train_loader = DataLoader(Spectra(240, 0), batch_size=24, shuffle=True)
    test_loader = DataLoader(Spectra(60, 1), batch_size=30)
    model = build()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    for epoch in range(4):
        loss = train_one_epoch(model, criterion, train_loader, optimizer, scaler)
        scheduler.step()
        print(f"{epoch}: {loss:.4f} {evaluate(model, criterion, test_loader):.3f}")


if __name__ == "__main__":
    main()
