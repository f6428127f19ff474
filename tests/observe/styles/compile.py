import torch
from torch import nn
import torch.nn.functional as F
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
cm = torch.compile(model, backend="eager")
opt = torch.optim.AdamW(model.parameters(), lr=1e-2)
x, y = torch.randn(64, 4), torch.randint(0, 3, (64,))
for i in range(8):
    opt.zero_grad()
    loss = F.cross_entropy(cm(x), y); loss.backward(); opt.step()
