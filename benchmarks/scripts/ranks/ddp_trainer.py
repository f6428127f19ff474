"""A Trainer class on two ranks, with accumulation under no_sync and clipping."""
import contextlib

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


class Trainer:
    def __init__(self, model, train_data, optimizer, rank, accumulate=2):
        self.rank, self.train_data, self.optimizer, self.accumulate = rank, train_data, optimizer, accumulate
        self.model = DDP(model)

    def _run_batch(self, source, targets, last):
        with contextlib.nullcontext() if last else self.model.no_sync():
            output = self.model(source)
            loss = F.mse_loss(output, targets) / self.accumulate
            loss.backward()
        if last:
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return loss.item()

    def _run_epoch(self, epoch):
        self.train_data.sampler.set_epoch(epoch)
        total = 0.0
        for index, (source, targets) in enumerate(self.train_data):
            total += self._run_batch(source, targets, (index + 1) % self.accumulate == 0)
        print(f"[{self.rank}] Epoch {epoch} | loss {total / len(self.train_data):.4f}")

    def train(self, max_epochs):
        for epoch in range(max_epochs):
            self._run_epoch(epoch)


def main():
    dist.init_process_group(backend="gloo")
    rank = dist.get_rank()
    torch.manual_seed(1)
    x = torch.randn(192, 6)
    dataset = TensorDataset(x, (x[:, :1] * x[:, 1:2]).tanh())
    loader = DataLoader(dataset, batch_size=12, shuffle=False, sampler=DistributedSampler(dataset))
    net = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 1))
    trainer = Trainer(net, loader, torch.optim.Adam(net.parameters(), lr=5e-3), rank)
    trainer.train(3)
    dist.destroy_process_group()


main()
