"""Generators, critics, autoencoders, diffusion and flows."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def blobs(n, size=16, channels=1):
    """Images of one soft spot each, between 0 and 1."""
    axis = torch.linspace(-1, 1, size)
    x, y = torch.rand(2, n, 1, 1, 1) * 1.2 - 0.6
    return torch.exp(-((axis - x) ** 2 + (axis[:, None] - y) ** 2) * 6).expand(n, channels, size, size).clone()


def weights_init(m):
    if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(m.weight, 0.0, 0.02)
    elif isinstance(m, nn.BatchNorm2d):
        nn.init.normal_(m.weight, 1.0, 0.02)
        nn.init.zeros_(m.bias)


def dcgan():
    netG = nn.Sequential(
        nn.ConvTranspose2d(16, 32, 4, 1, 0, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(True),
        nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(True),
        nn.ConvTranspose2d(16, 1, 4, 2, 1, bias=False),
        nn.Tanh(),
    )
    netD = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(16, 32, 4, 2, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(32, 1, 4, 1, 0, bias=False),
        nn.Sigmoid(),
    )
    return netG.apply(weights_init), netD.apply(weights_init)


def build_dcgan_generator():
    netG, netD = dcgan()
    criterion = nn.BCELoss()
    return {
        "model": netG,
        "inputs": torch.randn(32, 16, 1, 1),
        "targets": torch.ones(32),
        "loss": lambda fake, real: criterion(netD(fake).view(-1), real),
        "optimizer": torch.optim.Adam(netG.parameters(), lr=2e-4, betas=(0.5, 0.999)),
    }


def build_dcgan_discriminator():
    netG, netD = dcgan()
    real = blobs(32) * 2 - 1
    fake = netG(torch.randn(32, 16, 1, 1)).detach()
    labels = torch.cat([torch.ones(32), torch.zeros(32)])
    return {
        "model": netD,
        "inputs": torch.cat([real, fake]),
        "targets": labels,
        "loss": lambda out, y: F.binary_cross_entropy(out.view(-1), y),
        "optimizer": torch.optim.Adam(netD.parameters(), lr=2e-4, betas=(0.5, 0.999)),
    }


class WganCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(256, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
        )

    def forward(self, real, fake):
        alpha = torch.rand(len(real), 1)
        between = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
        slope = torch.autograd.grad(self.net(between).sum(), between, create_graph=True)[0]
        penalty = ((slope.norm(2, dim=1) - 1) ** 2).mean()
        return self.net(fake).mean() - self.net(real).mean() + 10 * penalty


def build_wgan_gp_critic():
    model = WganCritic()
    return {
        "model": model,
        "inputs": (blobs(32).flatten(1), torch.rand(32, 256)),
        "loss": lambda out: out,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.0, 0.9)),
    }


class Pix2Pix(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(1, 16, 4, 2, 1), nn.Conv2d(16, 32, 4, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(32)
        self.up2 = nn.Sequential(nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.up1 = nn.ConvTranspose2d(32, 1, 4, 2, 1)

    def forward(self, x):
        d1 = F.leaky_relu(self.down1(x), 0.2)
        d2 = F.leaky_relu(self.norm(self.down2(d1)), 0.2)
        return torch.tanh(self.up1(torch.cat([self.up2(d2), d1], 1)))


def build_pix2pix_generator():
    model = Pix2Pix()
    critic = nn.Sequential(nn.Conv2d(2, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 1, 4, 1, 1))
    x = blobs(16)

    def loss(fake, real):
        judged = critic(torch.cat([x[: len(fake)], fake], 1))
        return F.binary_cross_entropy_with_logits(judged, torch.ones_like(judged)) + 100 * F.l1_loss(fake, real)

    return {
        "model": model,
        "inputs": x,
        "targets": 1 - 2 * x,
        "loss": loss,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-4, betas=(0.5, 0.999)),
    }


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(256, 100), nn.Linear(100, 8), nn.Linear(100, 8)
        self.fc3, self.fc4 = nn.Linear(8, 100), nn.Linear(100, 256)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        return mu + torch.randn_like(std) * std

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 256))
        return torch.sigmoid(self.fc4(F.relu(self.fc3(self.reparameterize(mu, logvar))))), mu, logvar


def vae_loss(output, x):
    recon, mu, logvar = output
    bce = F.binary_cross_entropy(recon, x.view(-1, 256), reduction="sum")
    return bce - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())


def build_vae():
    model = VAE()
    x = blobs(64)
    return {
        "model": model,
        "inputs": x,
        "targets": x,
        "loss": vae_loss,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


class VQVAE(nn.Module):
    def __init__(self, codes=32, width=8):
        super().__init__()
        self.enc = nn.Sequential(nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, width, 4, 2, 1))
        self.dec = nn.Sequential(nn.ConvTranspose2d(width, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1))
        self.codebook = nn.Embedding(codes, width)
        self.codebook.weight.data.uniform_(-1 / codes, 1 / codes)

    def forward(self, x):
        z = self.enc(x).permute(0, 2, 3, 1)
        flat = z.reshape(-1, z.shape[-1])
        distance = (
            flat.pow(2).sum(1, keepdim=True) + self.codebook.weight.pow(2).sum(1) - 2 * flat @ self.codebook.weight.t()
        )
        q = self.codebook(distance.argmin(1)).view(z.shape)
        commit = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(q.detach(), z)
        q = z + (q - z).detach()
        return self.dec(q.permute(0, 3, 1, 2)), commit


def build_vqvae():
    model = VQVAE()
    x = blobs(32)
    return {
        "model": model,
        "inputs": x,
        "targets": x,
        "loss": lambda out, y: F.mse_loss(out[0], y) + out[1],
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


class Denoiser(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.width = width
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.inp, self.mid, self.out = (
            nn.Conv2d(1, width, 3, padding=1),
            nn.Conv2d(width, width, 3, padding=1),
            nn.Conv2d(width, 1, 3, padding=1),
        )
        self.norm1, self.norm2 = nn.GroupNorm(8, width), nn.GroupNorm(8, width)

    def forward(self, x, t):
        freqs = torch.exp(-math.log(10000) * torch.arange(self.width // 2) / (self.width // 2))
        angles = t[:, None].float() * freqs[None]
        emb = self.time(torch.cat([angles.sin(), angles.cos()], dim=-1))
        h = self.inp(x)
        h = h + self.mid(F.silu(self.norm1(h) + emb[:, :, None, None]))
        return self.out(F.silu(self.norm2(h)))


class DDPM(nn.Module):
    def __init__(self, model, steps=100):
        super().__init__()
        self.model, self.steps = model, steps
        betas = torch.linspace(1e-4, 0.02, steps)
        self.register_buffer("alpha_bar", torch.cumprod(1 - betas, 0))

    def forward(self, x):
        t = torch.randint(0, self.steps, (x.size(0),), device=x.device)
        noise = torch.randn_like(x)
        a = self.alpha_bar[t][:, None, None, None]
        return F.mse_loss(self.model(a.sqrt() * x + (1 - a).sqrt() * noise, t), noise)


def build_ddpm():
    model = DDPM(Denoiser())
    return {
        "model": model,
        "inputs": blobs(16) * 2 - 1,
        "loss": lambda out: out,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-4),
    }


def build_ddpm_noise_outside():
    model = Denoiser()
    x, t, noise = blobs(16) * 2 - 1, torch.randint(0, 100, (16,)), torch.randn(16, 1, 16, 16)
    a = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 100), 0)[t][:, None, None, None]
    return {
        "model": model,
        "inputs": (a.sqrt() * x + (1 - a).sqrt() * noise, t),
        "targets": noise,
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-4),
    }


class MAE(nn.Module):
    def __init__(self, width=32, patches=16, ratio=0.5):
        super().__init__()
        self.ratio = ratio
        self.embed = nn.Linear(16, width)
        self.pos, self.pos_dec = (
            nn.Parameter(torch.randn(1, patches, width) * 0.02),
            nn.Parameter(torch.randn(1, patches, width) * 0.02),
        )
        self.mask_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        layer = lambda: nn.TransformerEncoderLayer(width, 4, 64, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder, self.decoder, self.norm = layer(), layer(), nn.LayerNorm(width)
        self.head = nn.Linear(width, 16)

    def forward(self, imgs):
        patches = F.unfold(imgs, 4, stride=4).transpose(1, 2)
        x = self.embed(patches) + self.pos
        n, length, d = x.shape
        keep = int(length * (1 - self.ratio))
        shuffle = torch.rand(n, length).argsort(1)
        restore = shuffle.argsort(1)
        seen = self.encoder(torch.gather(x, 1, shuffle[:, :keep, None].expand(-1, -1, d)))
        full = torch.cat([seen, self.mask_token.expand(n, length - keep, -1)], 1)
        full = torch.gather(full, 1, restore[:, :, None].expand(-1, -1, d)) + self.pos_dec
        pred = self.head(self.norm(self.decoder(full)))
        mask = (restore >= keep).float()
        return (((pred - patches) ** 2).mean(-1) * mask).sum() / mask.sum()


def build_masked_autoencoder():
    model = MAE()
    return {
        "model": model,
        "inputs": blobs(32),
        "loss": lambda out: out,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05),
    }


class Coupling(nn.Module):
    def __init__(self, flip):
        super().__init__()
        self.flip = flip
        self.net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, x):
        a, b = x.chunk(2, 1)[:: -1 if self.flip else 1]
        s, t = self.net(a).chunk(2, 1)
        s = torch.tanh(s)
        b = b * s.exp() + t
        return torch.cat([b, a] if self.flip else [a, b], 1), s.sum(1)


class RealNVP(nn.Module):
    def __init__(self):
        super().__init__()
        self.flows = nn.ModuleList([Coupling(i % 2 == 1) for i in range(4)])

    def forward(self, x):
        total = torch.zeros(len(x))
        for flow in self.flows:
            x, log_det = flow(x)
            total = total + log_det
        return x, total


def build_real_nvp():
    model = RealNVP()
    x = torch.randn(128, 4) @ torch.randn(4, 4) * 0.5 + 1
    return {
        "model": model,
        "inputs": x,
        "loss": lambda out: (0.5 * out[0].pow(2).sum(1) - out[1]).mean(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


class PixelCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 16, 5, padding=2), nn.Conv2d(16, 16, 3, padding=1)
        self.out = nn.Conv2d(16, 1, 1)
        for name, conv in (("a", self.first), ("b", self.second)):
            k = conv.kernel_size[0]
            mask = torch.ones(k, k)
            mask[k // 2, k // 2 + (name == "b") :] = 0
            mask[k // 2 + 1 :] = 0
            self.register_buffer(f"mask_{name}", mask)

    def forward(self, x):
        h = F.relu(F.conv2d(x, self.first.weight * self.mask_a, self.first.bias, padding=2))
        h = F.relu(F.conv2d(h, self.second.weight * self.mask_b, self.second.bias, padding=1))
        return self.out(h)


def build_pixel_cnn():
    model = PixelCnn()
    x = (blobs(32) > 0.5).float()
    return {
        "model": model,
        "inputs": x,
        "targets": x,
        "loss": F.binary_cross_entropy_with_logits,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }
