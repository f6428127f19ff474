"""Small training scripts as text, in the styles of public examples; `HEAD` makes a tiny classification problem."""

from __future__ import annotations

HEAD = """
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(48, 4)
y = torch.randint(0, 3, (48,))
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))
opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
loader = DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True)
"""

PLAIN = f"""{HEAD}
for epoch in range(2):
    for xb, yb in loader:
        opt.zero_grad()
        loss = F.cross_entropy(model(xb), yb)
        loss.backward()
        opt.step()
"""

ACCUMULATION = f"""{HEAD}
for epoch in range(4):
    for i, (xb, yb) in enumerate(loader):
        loss = F.cross_entropy(model(xb), yb) / 3
        loss.backward()
        if i % 3 == 2:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            opt.step()
            opt.zero_grad()
"""

NOT_CLEARED = f"""{HEAD}
for xb, yb in loader:
    F.cross_entropy(model(xb), yb).backward()
    opt.step()
"""

BY_HAND = f"""{HEAD}
for xb, yb in loader:
    loss = F.cross_entropy(model(xb), yb)
    model.zero_grad()
    loss.backward()
    for p in model.parameters():
        p.data.add_(p.grad, alpha=-0.1)
"""

GAN = """
import torch
from torch import nn

torch.manual_seed(0)
netG = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))
netD = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
criterion = nn.BCEWithLogitsLoss()
optimizerD = torch.optim.Adam(netD.parameters(), lr=1e-3)
optimizerG = torch.optim.Adam(netG.parameters(), lr=1e-3)
for i in range(8):
    real = torch.randn(6, 4)
    netD.zero_grad()
    label = torch.full((6, 1), 1.0)
    criterion(netD(real), label).backward()
    fake = netG(torch.randn(6, 3))
    label.fill_(0.0)
    criterion(netD(fake.detach()), label).backward()
    optimizerD.step()
    netG.zero_grad()
    label.fill_(1.0)
    criterion(netD(fake), label).backward()
    optimizerG.step()
"""

LBFGS = f"""{HEAD}
opt = torch.optim.LBFGS(model.parameters(), max_iter=3)
def closure():
    opt.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    return loss
for i in range(5):
    opt.step(closure)
"""

STEP_IN_HOOK = f"""{HEAD}
optimizers = {{p: torch.optim.SGD([p], lr=0.1) for p in model.parameters()}}
def update(p):
    optimizers[p].step()
    optimizers[p].zero_grad()
for p in model.parameters():
    p.register_post_accumulate_grad_hook(update)
for xb, yb in loader:
    F.cross_entropy(model(xb), yb).backward()
"""

GRADIENT_LIST = f"""{HEAD}
for xb, yb in loader:
    grads = torch.autograd.grad(F.cross_entropy(model(xb), yb), list(model.parameters()))
    for p, g in zip(model.parameters(), grads):
        p.grad = g
    opt.step()
"""

SET_TO_NONE_BY_HAND = f"""{HEAD}
for xb, yb in loader:
    for p in model.parameters():
        p.grad = None
    F.cross_entropy(model(xb), yb).backward()
    opt.step()
"""

LOSSES_KEPT = f"""{HEAD}
losses = []
for xb, yb in loader:
    opt.zero_grad()
    loss = F.cross_entropy(model(xb), yb)
    losses.append(loss)
    loss.backward()
    opt.step()
"""

EVALUATION = f"""{HEAD}
scheduler = torch.optim.lr_scheduler.StepLR(opt, 1)
val = DataLoader(TensorDataset(torch.randn(40, 4), torch.randint(0, 3, (40,))), batch_size=8)
best = None
for epoch in range(3):
    model.train()
    for xb, yb in loader:
        opt.zero_grad()
        loss = F.cross_entropy(model(xb), yb)
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        for xb, yb in val:
            model(xb)
    scheduler.step()
    best = model.state_dict()
"""

NO_STEP = f"""{HEAD}
for epoch in range(40):
    for xb, yb in loader:
        opt.zero_grad()
        loss = F.cross_entropy(model(xb), yb)
        loss.backward()
"""

RAISES = f"""{HEAD}
for i, (xb, yb) in enumerate(loader):
    opt.zero_grad()
    F.cross_entropy(model(xb), yb).backward()
    opt.step()
    if i == 2:
        raise ValueError("broken")
"""

BARE_EXCEPT = f"""{HEAD}
done = 0
while done < 1000:
    try:
        opt.zero_grad()
        F.cross_entropy(model(x), y).backward()
        opt.step()
        done += 1
    except:
        done += 10
"""

SCALER = f"""{HEAD}
scaler = torch.amp.GradScaler("cpu")
for xb, yb in loader:
    opt.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = F.cross_entropy(model(xb), yb)
    scaler.scale(loss).backward()
    scaler.unscale_(opt)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(opt)
    scaler.update()
"""
