"""Stack Overflow 67180955: the workers of a loader draw equal random numbers (today: from a generator that the dataset holds)"""
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Crops(Dataset):
    def __init__(self, count):
        self.rng = np.random.default_rng(0)
        self.targets = np.arange(count) % 3
        self.signals = np.sin((self.targets[:, None] + 1) * np.linspace(0, 12, 48)).astype("float32")

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        start = self.rng.integers(0, 16)
        noise = 0.3 * self.rng.standard_normal(32).astype("float32")
        return torch.from_numpy(self.signals[i, start : start + 32] + noise), int(self.targets[i])


if __name__ == "__main__":
    torch.manual_seed(0)
    loader = DataLoader(Crops(120), batch_size=12, shuffle=True, num_workers=2)  # expect: STP017
    model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(2):
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
