"""Mean teacher: a student learns from few labels and from its own averaged weights on unlabelled data."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
ALPHA, WEIGHT = 0.95, 1.0


def create_model(ema=False):
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3))
    if ema:
        for param in model.parameters():
            param.detach_()
    return model


def update_ema_variables(model, ema_model, alpha, global_step):
    alpha = min(1 - 1 / (global_step + 1), alpha)
    for ema_param, param in zip(ema_model.parameters(), model.parameters()):
        ema_param.data.mul_(alpha).add_(param.data, alpha=1 - alpha)


def cloud(count, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (count,), generator=g)
    c = 2 * torch.randn(3, 6, generator=torch.Generator().manual_seed(6))
    return c[y] + torch.randn(count, 6, generator=g), y


labelled = DataLoader(TensorDataset(*cloud(96, 0)), batch_size=12, shuffle=True)
unlabelled = DataLoader(TensorDataset(cloud(192, 1)[0]), batch_size=24, shuffle=True)
validation = DataLoader(TensorDataset(*cloud(60, 2)), batch_size=30)
model = create_model()
ema_model = create_model(ema=True)
ema_model.load_state_dict(model.state_dict())
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
global_step = 0


def train(epoch):
    global global_step
    model.train()
    ema_model.train()
    for (x, y), (u,) in zip(labelled, unlabelled):
        noisy = u + 0.1 * torch.randn_like(u)
        with torch.no_grad():
            target = F.softmax(ema_model(u + 0.1 * torch.randn_like(u)), dim=1)
        class_loss = F.cross_entropy(model(x), y)
        consistency_loss = F.mse_loss(F.softmax(model(noisy), dim=1), target)
        loss = class_loss + WEIGHT * consistency_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        global_step += 1
        update_ema_variables(model, ema_model, ALPHA, global_step)
    return loss.item()


def validate(net, loader):
    net.eval()
    correct = 0
    with torch.no_grad():
        for x, y in loader:
            correct += (net(x).argmax(1) == y).sum().item()
    return correct / len(loader.dataset)


for epoch in range(3):
    print(epoch, train(epoch), validate(model, validation), validate(ema_model, validation))
