"""Several evaluation sets: a clean, a shifted and a noisy one, with metrics of the training set beside them."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def make(count, seed, shift=0.0, noise=0.6):
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(count) * 4 // count
    centers = torch.randn(4, 12, generator=torch.Generator().manual_seed(30))
    return TensorDataset(centers[y] + shift + noise * torch.randn(count, 12, generator=g), y)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Linear(12, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(0.2))
        self.g = nn.Linear(48, 4)

    def forward(self, x):
        return self.g(self.f(x))


def train_epoch(model, loader, optimizer):
    model.train()
    loss_sum, seen, right = 0.0, 0, 0
    for x, y in loader:
        out = model(x)
        loss = F.cross_entropy(out, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(y)
        right += (out.argmax(1) == y).sum().item()
        seen += len(y)
    return loss_sum / seen, right / seen


def evaluate(model, loader):
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum().item()
    return right / len(loader.dataset)


if __name__ == "__main__":
    torch.manual_seed(0)
    train_loader = DataLoader(make(320, 0), batch_size=32, shuffle=True)
    eval_loaders = {
        "clean": DataLoader(make(64, 1), batch_size=32),
        "shifted": DataLoader(make(64, 2, shift=0.3), batch_size=32),
        "noisy": DataLoader(make(64, 3, noise=1.0), batch_size=32),
    }
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[2, 3], gamma=0.1)
    best, best_state = 0.0, None
    for epoch in range(4):
        train_loss, train_acc = train_epoch(model, train_loader, optimizer)
        scores = {name: evaluate(model, loader) for name, loader in eval_loaders.items()}
        scheduler.step()
        if scores["clean"] > best:
            best, best_state = scores["clean"], {name: value.clone() for name, value in model.state_dict().items()}
        print(f"{epoch} {train_loss:.3f} {train_acc:.2f} {scores}")
    model.load_state_dict(best_state)
    print(f"best {best:.2f}, again {evaluate(model, eval_loaders['clean']):.2f}")
