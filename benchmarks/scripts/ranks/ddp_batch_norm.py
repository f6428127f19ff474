"""A convolutional network on two ranks, with synchronized decisions and the evaluation on the module inside."""
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def pictures(count, seed):
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    kinds = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    return TensorDataset(kinds[labels] + 0.7 * torch.randn(count, 1, 8, 8, generator=g), labels)


dist.init_process_group("gloo")
torch.manual_seed(2)
train_set, valid_set = pictures(192, 0), pictures(48, 1)
train_sampler = DistributedSampler(train_set, seed=3)
train_loader = DataLoader(train_set, batch_size=16, sampler=train_sampler)
valid_loader = DataLoader(valid_set, batch_size=24)
net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3))
model = nn.parallel.DistributedDataParallel(net)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
for epoch in range(3):
    train_sampler.set_epoch(epoch)
    model.train()
    for images, labels in train_loader:
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = sum((net(images).argmax(1) == labels).sum().item() for images, labels in valid_loader)
    if dist.get_rank() == 0:
        print(epoch, loss.item(), right / 48)
dist.destroy_process_group()
