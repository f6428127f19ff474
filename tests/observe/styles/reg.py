import torch
from itertools import count
import torch.nn.functional as F
torch.manual_seed(0)
fc = torch.nn.Linear(4, 1)
for i in count(1):
    x = torch.randn(32, 4); y = x.sum(1, keepdim=True)
    fc.zero_grad()
    output = F.smooth_l1_loss(fc(x), y); loss = output.item(); output.backward()
    for param in fc.parameters(): param.data.add_(-0.1 * param.grad)
    if loss < 1e-3: break
