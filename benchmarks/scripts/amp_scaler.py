"""float16 autocast with a gradient scaler, unscaled before clipping."""
import torch
import torch.nn.functional as F
from torch import nn
from torch.amp import GradScaler, autocast
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(3)
N, D, K = 256, 16, 4
centers = torch.randn(K, D)
labels = torch.arange(N) * K // N
train_loader = DataLoader(TensorDataset(centers[labels] + 0.5 * torch.randn(N, D), labels), batch_size=32, shuffle=True)
held_out = torch.arange(64) % K
test_loader = DataLoader(TensorDataset(centers[held_out] + 0.5 * torch.randn(64, D), held_out), batch_size=32)

net = nn.Sequential(nn.Linear(D, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, K))
opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
scaler = GradScaler("cpu", init_scale=1024.0)

for epoch in range(3):
    net.train()
    for inputs, target in train_loader:
        opt.zero_grad()
        with autocast("cpu", dtype=torch.float16):
            output = net(inputs)
            loss = F.cross_entropy(output, target)
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(opt)
        scaler.update()
    net.eval()
    right = 0
    with torch.no_grad():
        for inputs, target in test_loader:
            right += (net(inputs).argmax(1) == target).sum().item()
    print(f"epoch {epoch} loss {loss.item():.3f} accuracy {right / 64:.2f}")
