"""Classification, segmentation and detection."""

import torch
import torch.nn.functional as F
from torch import nn


def spots(n, size=16):
    """RGB images with a spot, its centre in pixels and its class (the colour)."""
    colour = torch.randint(0, 3, (n,))
    centre = torch.randint(3, size - 3, (n, 2)).float()
    grid = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij"), 0).float()
    inside = ((grid[None] - centre[:, :, None, None]).square().sum(1) < 9).float()
    images = torch.rand(n, 3, size, size) * 0.2
    images[torch.arange(n), colour] += inside * 0.8
    return images, centre, colour, inside


def normalized(images):
    return (images - images.mean((0, 2, 3), keepdim=True)) / images.std((0, 2, 3), keepdim=True)


class MnistNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 16, 3, 1), nn.Conv2d(16, 32, 3, 1)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(1152, 64), nn.Linear(64, 3)

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = self.dropout1(F.max_pool2d(x, 2))
        x = self.dropout2(F.relu(self.fc1(torch.flatten(x, 1))))
        return F.log_softmax(self.fc2(x), dim=1)


def build_mnist_example():
    model = MnistNet()
    x, _, y, _ = spots(64)
    return {
        "model": model,
        "inputs": normalized(x),
        "targets": y,
        "loss": F.nll_loss,
        "optimizer": torch.optim.Adadelta(model.parameters(), lr=1.0),
    }


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.shortcut = nn.Sequential()
        if stride != 1 or cin != cout:
            self.shortcut = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x))


def build_cifar_resnet():
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    blocks = nn.Sequential(BasicBlock(16, 16), BasicBlock(16, 32, 2), BasicBlock(32, 64, 2))
    model = nn.Sequential(stem, blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 3))
    x, _, y, _ = spots(32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    return {
        "model": model,
        "inputs": normalized(x),
        "targets": y,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": optimizer,
    }


class ViT(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.to_patch = nn.Linear(48, dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.pos_embedding = nn.Parameter(torch.randn(1, 17, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(dim, 4, 64, 0.1, "gelu", batch_first=True, norm_first=True)
        self.transformer = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.mlp_head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 3))

    def forward(self, img):
        b = img.shape[0]
        patches = img.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(b, 16, 48)
        x = torch.cat([self.cls_token.expand(b, -1, -1), self.to_patch(patches)], dim=1) + self.pos_embedding
        return self.mlp_head(self.transformer(x)[:, 0])


def build_vit():
    model = ViT()
    x, _, y, _ = spots(32)
    return {
        "model": model,
        "inputs": normalized(x),
        "targets": y,
        "loss": nn.CrossEntropyLoss(label_smoothing=0.1),
        "optimizer": torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.05),
    }


class DoubleConv(nn.Sequential):
    def __init__(self, cin, cout):
        parts = []
        for c in (cin, cout):
            parts += [nn.Conv2d(c, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True)]
        super().__init__(*parts)


class UNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.inc, self.down1, self.down2 = DoubleConv(3, 16), DoubleConv(16, 32), DoubleConv(32, 64)
        self.up1, self.conv1 = nn.ConvTranspose2d(64, 32, 2, 2), DoubleConv(64, 32)
        self.up2, self.conv2 = nn.ConvTranspose2d(32, 16, 2, 2), DoubleConv(32, 16)
        self.outc = nn.Conv2d(16, classes, 1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(F.max_pool2d(x1, 2))
        x3 = self.down2(F.max_pool2d(x2, 2))
        x = self.conv1(torch.cat([x2, self.up1(x3)], dim=1))
        return self.outc(self.conv2(torch.cat([x1, self.up2(x)], dim=1)))


def build_unet_multiclass():
    model = UNet(4)
    x, _, colour, inside = spots(8)
    return {
        "model": model,
        "inputs": x,
        "targets": (inside * (colour + 1)[:, None, None]).long(),
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-4, weight_decay=1e-8, momentum=0.9),
    }


def dice_bce(logits, masks):
    probs = torch.sigmoid(logits.squeeze(1))
    inter = (probs * masks).sum((1, 2))
    dice = (2 * inter + 1) / (probs.sum((1, 2)) + masks.sum((1, 2)) + 1)
    return F.binary_cross_entropy_with_logits(logits.squeeze(1), masks) + 1 - dice.mean()


def build_unet_dice():
    model = UNet(1)
    x, _, _, inside = spots(8)
    return {
        "model": model,
        "inputs": x,
        "targets": inside,
        "loss": dice_bce,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


def build_fcn():
    def stage(a, b):
        return nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU())

    model = nn.Sequential(stage(3, 16), stage(16, 32), nn.Conv2d(32, 4, 1), nn.ConvTranspose2d(4, 4, 8, 4, 2))
    x, _, colour, inside = spots(16)
    return {
        "model": model,
        "inputs": x,
        "targets": (inside * (colour + 1)[:, None, None]).long(),
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9),
    }


class Centres(nn.Module):
    """Heads for a heat map, a size and an offset, as CenterNet has them."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, 1, 1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
        )
        self.hm, self.wh = nn.Conv2d(32, 3, 1), nn.Conv2d(32, 2, 1)
        nn.init.constant_(self.hm.bias, -2.19)

    def forward(self, x):
        h = self.body(x)
        return {"hm": self.hm(h), "wh": self.wh(h)}


def center_loss(out, target):
    p = torch.sigmoid(out["hm"]).clamp(1e-4, 1 - 1e-4)
    positive = target["hm"].eq(1).float()
    pos = torch.log(p) * (1 - p) ** 2 * positive
    neg = torch.log(1 - p) * p**2 * (1 - target["hm"]) ** 4 * (1 - positive)
    count = positive.sum().clamp(min=1)
    mask = positive.amax(1, keepdim=True)
    return -(pos + neg).sum() / count + 0.1 * (
        F.l1_loss(out["wh"] * mask, target["wh"] * mask, reduction="sum") / count
    )


def build_center_detector():
    model = Centres()
    x, centre, colour, _ = spots(16)
    heat = torch.zeros(16, 3, 8, 8)
    at = (centre / 2).long()
    heat[torch.arange(16), colour, at[:, 0], at[:, 1]] = 1
    targets = {"hm": heat, "wh": torch.full((16, 2, 8, 8), 6.0)}
    return {
        "model": model,
        "inputs": x,
        "targets": targets,
        "loss": center_loss,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


class Yolo(nn.Module):
    def __init__(self):
        super().__init__()
        layers, c = [], 3
        for width in (16, 32):
            layers += [nn.Conv2d(c, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(0.1)]
            c = width
        self.backbone, self.head = nn.Sequential(*layers), nn.Conv2d(32, 5 + 3, 1)

    def forward(self, x):
        return self.head(self.backbone(x)).permute(0, 2, 3, 1)


def yolo_loss(out, target):
    obj = target[..., 4]
    xy, wh = torch.sigmoid(out[..., :2]), out[..., 2:4]
    box = ((xy - target[..., :2]) ** 2 + (wh - target[..., 2:4]) ** 2).sum(-1)
    conf = F.binary_cross_entropy_with_logits(out[..., 4], obj, reduction="none")
    cls = F.cross_entropy(out[..., 5:].permute(0, 3, 1, 2), target[..., 5].long(), reduction="none")
    return (obj * (5 * box + cls) + torch.where(obj > 0, 1.0, 0.5) * conf).sum() / len(out)


def build_yolo_head():
    model = Yolo()
    x, centre, colour, _ = spots(32)
    target = torch.zeros(32, 4, 4, 6)
    cell, rest = (centre / 4).long(), centre / 4 % 1
    target[torch.arange(32), cell[:, 0], cell[:, 1]] = torch.cat(
        [rest, torch.rand(32, 2), torch.ones(32, 1), colour[:, None].float()], 1
    )
    return {
        "model": model,
        "inputs": x,
        "targets": target,
        "loss": yolo_loss,
        "optimizer": torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4),
    }


def build_keypoints():
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 2),
    )
    x, centre, _, _ = spots(32)
    return {
        "model": model,
        "inputs": x,
        "targets": centre / 16,
        "loss": nn.SmoothL1Loss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }
