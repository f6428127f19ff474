"""A small U-Net for binary masks: cross-entropy plus Dice, plateau schedule on the validation score."""
import logging

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim
from torch.utils.data import DataLoader, Dataset, random_split


class Shapes(Dataset):
    """Bright squares on noise."""

    def __init__(self, count):
        g = torch.Generator().manual_seed(0)
        self.images = 0.3 * torch.randn(count, 1, 16, 16, generator=g)
        self.masks = torch.zeros(count, 1, 16, 16)
        corners = torch.randint(0, 10, (count, 2), generator=g)
        for i, (r, c) in enumerate(corners.tolist()):
            self.masks[i, :, r : r + 6, c : c + 6] = 1
        self.images += self.masks

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return {"image": self.images[i], "mask": self.masks[i]}


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.down2 = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.out = nn.Sequential(nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))

    def forward(self, x):
        x1 = self.down1(x)
        x2 = self.down2(x1)
        return self.out(torch.cat([self.up(x2), x1], dim=1))


def dice_loss(prob, target):
    inter = 2 * (prob * target).sum((1, 2, 3))
    return 1 - ((inter + 1) / (prob.sum((1, 2, 3)) + target.sum((1, 2, 3)) + 1)).mean()


@torch.inference_mode()
def evaluate(net, dataloader):
    net.eval()
    score = 0
    for batch in dataloader:
        image, mask_true = batch["image"], batch["mask"]
        mask_pred = (torch.sigmoid(net(image)) > 0.5).float()
        score += 1 - dice_loss(mask_pred, mask_true)
    net.train()
    return score / max(len(dataloader), 1)


def train_model(model, epochs=3, batch_size=16, learning_rate=5e-3, val_percent=0.2, gradient_clipping=1.0):
    dataset = Shapes(160)
    n_val = int(len(dataset) * val_percent)
    train_set, val_set = random_split(dataset, [len(dataset) - n_val, n_val], generator=torch.Generator().manual_seed(0))
    train_loader = DataLoader(train_set, shuffle=True, batch_size=batch_size)
    val_loader = DataLoader(val_set, shuffle=False, drop_last=True, batch_size=batch_size)
    optimizer = optim.RMSprop(model.parameters(), lr=learning_rate, weight_decay=1e-8)
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=2)
    criterion = nn.BCEWithLogitsLoss()
    for epoch in range(1, epochs + 1):
        model.train()
        epoch_loss = 0
        for batch in train_loader:
            images, true_masks = batch["image"], batch["mask"]
            masks_pred = model(images)
            loss = criterion(masks_pred, true_masks)
            loss += dice_loss(torch.sigmoid(masks_pred), true_masks)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), gradient_clipping)
            optimizer.step()
            epoch_loss += loss.item()
        val_score = evaluate(model, val_loader)
        scheduler.step(val_score)
        logging.info("epoch %d loss %.3f dice %.3f", epoch, epoch_loss / len(train_loader), val_score)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    torch.manual_seed(0)
    train_model(UNet())
