"""DeepSpeed 1801: gradients are clipped on one rank alone, the replicas drift apart"""
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

dist.init_process_group("gloo")
torch.manual_seed(0)
labels = torch.arange(192) % 4
dataset = TensorDataset(torch.randn(4, 10)[labels] + 0.6 * torch.randn(192, 10), labels)
sampler = DistributedSampler(dataset)
loader = DataLoader(dataset, batch_size=12, sampler=sampler)
model = DDP(nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4)))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(2):
    sampler.set_epoch(epoch)
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        if dist.get_rank() == 0:
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()  # expect: DST001
dist.destroy_process_group()
