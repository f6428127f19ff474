import torch
from torch import nn
import torch.nn.functional as F
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
opt = torch.optim.AdamW(model.parameters(), lr=1e-2)
x, y = torch.randn(64, 4), torch.randint(0, 3, (64,))
@torch.compile(backend="eager")
def loss_of(x, y): return F.cross_entropy(model(x), y)
for i in range(8):
    opt.zero_grad()
    loss = loss_of(x, y); loss.backward(); opt.step()
