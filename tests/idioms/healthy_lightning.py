"""LightningModules as their authors publish them."""

import torch
from _parts import images, labels
from lightning import LightningDataModule, LightningModule
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset


class Base(LightningModule):
    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Data(LightningDataModule):
    def setup(self, stage):
        self.train = TensorDataset(images(64), labels(64))

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=32, shuffle=True)


class Classifier(Base):
    def __init__(self):
        super().__init__()
        self.save_hyperparameters()
        self.criterion = nn.CrossEntropyLoss()
        self.net = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5),
        )  # fmt: skip

    def forward(self, x):
        return self.net(x)

    def shared_step(self, batch, stage):
        x, y = batch
        logits = self(x)
        loss = self.criterion(logits, y)
        probability = logits.softmax(-1)
        self.log_dict({f"{stage}_loss": loss, f"{stage}_confidence": probability.amax(-1).mean()}, prog_bar=True)
        return loss

    def training_step(self, batch, batch_idx):
        return self.shared_step(batch, "train")

    def validation_step(self, batch, batch_idx):
        return self.shared_step(batch, "val")


def build_classifier_with_a_data_module():
    return Classifier(), Data()


class AutoEncoder(Base):
    """The example on the first page of the documentation: no forward, its own loader."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(196, 64), nn.ReLU(), nn.Linear(64, 3))
        self.decoder = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 196))

    def training_step(self, batch, batch_idx):
        x, _ = batch
        x = x.view(x.size(0), -1)
        loss = functional.mse_loss(self.decoder(self.encoder(x)), x)
        self.log("train_loss", loss)
        return loss

    def train_dataloader(self):
        return DataLoader(TensorDataset(images(64, 1, 14), labels(64)), batch_size=64)


def build_autoencoder_without_forward():
    return AutoEncoder()


class Siamese(Base):
    """A batch is a dict, and training_step returns a dict."""

    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 16))

    def training_step(self, batch, batch_idx):
        left, right = self.tower(batch["left"]), self.tower(batch["right"])
        loss = functional.cosine_embedding_loss(left, right, batch["same"] * 2.0 - 1.0)
        return {"loss": loss, "distance": (left - right).norm(dim=1).detach()}


def build_siamese_with_a_dict_batch():
    batch = {"left": torch.randn(32, 20), "right": torch.randn(32, 20), "same": labels(32, 2)}
    return Siamese(), [batch]
