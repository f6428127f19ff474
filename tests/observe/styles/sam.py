import torch
from torch import nn
import torch.nn.functional as F
class SAM(torch.optim.Optimizer):
    def __init__(self, params, base, rho=0.05, **kw):
        super().__init__(params, dict(rho=rho, **kw)); self.base_optimizer = base(self.param_groups, **kw); self.param_groups = self.base_optimizer.param_groups
    @torch.no_grad()
    def first_step(self, zero_grad=False):
        n = torch.norm(torch.stack([p.grad.norm(2) for g in self.param_groups for p in g["params"]]), 2)
        for g in self.param_groups:
            for p in g["params"]:
                self.state[p]["old"] = p.data.clone(); p.add_(p.grad * (g["rho"] / (n + 1e-12)))
        if zero_grad: self.zero_grad()
    @torch.no_grad()
    def second_step(self, zero_grad=False):
        for g in self.param_groups:
            for p in g["params"]: p.data = self.state[p]["old"]
        self.base_optimizer.step()
        if zero_grad: self.zero_grad()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
opt = SAM(model.parameters(), torch.optim.SGD, lr=0.1)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(64, 4), torch.randint(0, 3, (64,))), batch_size=8, shuffle=True)
for e in range(2):
    for x, y in loader:
        F.cross_entropy(model(x), y).backward(); opt.first_step(zero_grad=True)
        F.cross_entropy(model(x), y).backward(); opt.second_step(zero_grad=True)
