"""Faults in LightningModules: in training_step, in configure_optimizers, in the data module."""

import torch
from _parts import labels
from lightning import LightningDataModule, LightningModule
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset


class Table(LightningDataModule):
    """Rows of twenty numbers; the targets are made by the task."""

    def __init__(self, targets=None):
        super().__init__()
        self.targets = labels(128) if targets is None else targets

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.randn(128, 20), self.targets), batch_size=64, shuffle=True)


class Base(LightningModule):
    def __init__(self, outputs=5, last=None):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.head, self.last = nn.Linear(32, outputs), last or nn.Identity()

    def forward(self, x):
        return self.last(self.head(self.net(x)))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = functional.cross_entropy(self(x), y)  # <- RUN002
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def build_softmax_in_the_module():  # expect: LOS001 at last
    return Base(last=nn.Softmax(dim=-1)), Table()


def build_softmax_in_the_training_step():  # expect: LOS001
    class Step(Base):
        def training_step(self, batch, batch_idx):
            x, y = batch
            return {"loss": nn.CrossEntropyLoss()(self(x).softmax(1), y)}  # <- LOS001

    return Step(), Table()


def build_sigmoid_in_the_training_step():  # expect: LOS005
    class Step(Base):
        def training_step(self, batch, batch_idx):
            x, y = batch
            return functional.binary_cross_entropy_with_logits(torch.sigmoid(self(x)), y)  # <- LOS005

    return Step(1), Table(labels(128, 2).float()[:, None])


def build_targets_without_the_last_dimension():  # expect: LOS015 at head
    class Step(Base):
        def training_step(self, batch, batch_idx):
            x, y = batch
            return functional.l1_loss(self(x), y)

    return Step(1), Table(torch.randn(128))


def build_detached_loss():  # expect: ARC007
    class Step(Base):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return loss.detach()  # <- ARC007

    return Step(), Table()


def build_head_without_an_optimizer():  # expect: OPT001 at head
    class Forgetful(Base):
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.net.parameters(), lr=0.05)
            return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)]

    return Forgetful(), Table()


def build_layers_in_a_list():  # expect: ARC003 at blocks[0]
    class Listed(Base):
        def __init__(self):
            super().__init__()
            self.blocks = [nn.Linear(32, 32) for _ in range(2)]

        def forward(self, x):
            x = self.net(x)
            for block in self.blocks:
                x = torch.relu(block(x))
            return self.head(x)

    return Listed(), Table()


def build_labels_of_another_set():  # expect: LOS009 at head, RUN002
    return Base(4), Table()


def build_features_detached_in_the_step():  # expect: ARC007
    class Step(Base):
        def training_step(self, batch, batch_idx):
            x, y = batch
            return functional.cross_entropy(self.head(self.net(x).detach()), y)  # <- ARC007

    return Step(), Table()
