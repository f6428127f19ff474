"""Super-resolution, fields (NeRF, SIREN) and point clouds."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.codes.vision import spots


class Espcn(nn.Module):
    def __init__(self, upscale_factor=2):
        super().__init__()
        self.relu = nn.ReLU()
        self.conv1, self.conv2 = nn.Conv2d(1, 64, 5, 1, 2), nn.Conv2d(64, 64, 3, 1, 1)
        self.conv3, self.conv4 = nn.Conv2d(64, 32, 3, 1, 1), nn.Conv2d(32, upscale_factor**2, 3, 1, 1)
        self.pixel_shuffle = nn.PixelShuffle(upscale_factor)
        for conv in (self.conv1, self.conv2, self.conv3):
            nn.init.orthogonal_(conv.weight, nn.init.calculate_gain("relu"))
        nn.init.orthogonal_(self.conv4.weight)

    def forward(self, x):
        return self.pixel_shuffle(self.conv4(self.relu(self.conv3(self.relu(self.conv2(self.relu(self.conv1(x))))))))


def build_super_resolution():
    model = Espcn()
    high = spots(8)[0].mean(1, keepdim=True)
    return {
        "model": model,
        "inputs": F.avg_pool2d(high, 2),
        "targets": high,
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


class Edsr(nn.Module):
    def __init__(self):
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 3, 3, padding=1)
        self.body = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(True), nn.Conv2d(16, 16, 3, padding=1))
                for _ in range(3)
            ]
        )

    def forward(self, x):
        h = first = self.head(x)
        for block in self.body:
            h = h + 0.1 * block(h)
        return x + self.tail(h + first)


def build_denoise_residual():
    model = Edsr()
    clean = spots(8)[0]
    return {
        "model": model,
        "inputs": clean + 0.1 * torch.randn_like(clean),
        "targets": clean,
        "loss": nn.L1Loss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-4),
    }


class NeRF(nn.Module):
    def __init__(self, width=64, freqs=4):
        super().__init__()
        self.freqs = freqs
        self.pts = nn.ModuleList(
            [nn.Linear(2 + 4 * freqs, width)]
            + [nn.Linear(width, width) if i != 2 else nn.Linear(width + 2 + 4 * freqs, width) for i in range(1, 4)]
        )
        self.rgb = nn.Linear(width, 3)

    def forward(self, x):
        enc = torch.cat([x] + [f(2**i * math.pi * x) for i in range(self.freqs) for f in (torch.sin, torch.cos)], -1)
        h = enc
        for i, layer in enumerate(self.pts):
            h = F.relu(layer(h))
            if i == 1:
                h = torch.cat([enc, h], -1)
        return torch.sigmoid(self.rgb(h))


def build_nerf_image():
    model = NeRF()
    x = torch.rand(256, 2) * 2 - 1
    colours = torch.stack([(x[:, 0] * 3).sin(), (x[:, 1] * 4).cos(), (x.sum(1) * 2).sin()], 1) * 0.5 + 0.5
    return {
        "model": model,
        "inputs": x,
        "targets": colours,
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-4),
    }


class Siren(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, width), nn.Linear(width, width), nn.Linear(width, width)])
        self.final = nn.Linear(width, 1)
        with torch.no_grad():
            self.layers[0].weight.uniform_(-1 / 2, 1 / 2)
            for layer in (*self.layers[1:], self.final):
                bound = math.sqrt(6 / width) / 30
                layer.weight.uniform_(-bound, bound)

    def forward(self, x):
        for layer in self.layers:
            x = torch.sin(30 * layer(x))
        return self.final(x)


def build_siren():
    model = Siren()
    x = torch.rand(256, 2) * 2 - 1
    return {
        "model": model,
        "inputs": x,
        "targets": (x[:, :1] * 5).sin() * (x[:, 1:] * 3).cos(),
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-4),
    }


class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(3, 32, 1), nn.Conv1d(32, 64, 1)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm1d(32), nn.BatchNorm1d(64), nn.BatchNorm1d(32)
        self.fc1, self.fc2, self.dropout = nn.Linear(64, 32), nn.Linear(32, 3), nn.Dropout(0.3)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = torch.max(self.bn2(self.conv2(x)), 2)[0]
        return F.log_softmax(self.fc2(F.relu(self.bn3(self.dropout(self.fc1(x))))), dim=-1)


def build_pointnet():
    model = PointNet()
    y = torch.arange(32) % 3
    points = torch.randn(32, 3, 50)
    points[torch.arange(32), y] *= 0.2
    return {
        "model": model,
        "inputs": points,
        "targets": y,
        "loss": F.nll_loss,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.999), weight_decay=1e-4),
    }
