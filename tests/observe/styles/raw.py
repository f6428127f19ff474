import torch
torch.manual_seed(0)
w = torch.randn(4, 1, requires_grad=True); b = torch.zeros(1, requires_grad=True)
opt = torch.optim.SGD([w, b], lr=0.1)
for i in range(8):
    x = torch.randn(32, 4); y = x.sum(1, keepdim=True)
    loss = ((x @ w + b - y) ** 2).mean()
    opt.zero_grad(); loss.backward(); opt.step()
