"""VAE, VQ-VAE, GAN, diffusion, flows, and learning without labels: contrast, teachers, stop-gradients, distillation."""

import copy
import math

import torch
from _parts import images, labels, setup
from torch import nn
from torch.nn import functional


class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(196, 64), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(64, 8), nn.Linear(64, 8)
        self.decoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 196))

    def forward(self, x):
        h = self.encoder(x)
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean
        if self.training:
            z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return self.decoder(z), mean, log_variance


def elbo(output, x):
    decoded, mean, log_variance = output
    reconstruction = functional.mse_loss(decoded, x.flatten(1), reduction="sum") / len(x)
    divergence = -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum(1).mean()
    return reconstruction + divergence


def build_vae():
    x = images(32, 1, 14)
    return setup(Vae(), x, x, elbo)


class Quantizer(nn.Module):
    """Nearest code, straight-through gradient, and the two stop-gradient losses."""

    def __init__(self, codes=32, width=16):
        super().__init__()
        self.codes = nn.Embedding(codes, width)
        nn.init.uniform_(self.codes.weight, -1 / codes, 1 / codes)

    def forward(self, x):
        flat = x.movedim(1, -1).flatten(0, -2)
        index = torch.cdist(flat, self.codes.weight).argmin(1)
        quantized = self.codes(index).view(x.shape[0], *x.shape[2:], -1).movedim(-1, 1)
        loss = functional.mse_loss(quantized, x.detach()) + 0.25 * functional.mse_loss(x, quantized.detach())
        return x + (quantized - x).detach(), loss


class VqVae(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 4, 2, 1))
        self.quantizer = Quantizer()
        self.decoder = nn.Sequential(nn.ConvTranspose2d(16, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4, 2, 1))

    def forward(self, x):
        quantized, loss = self.quantizer(self.encoder(x))
        return {"reconstruction": self.decoder(quantized), "commitment": loss}


def build_vq_vae():
    x = images(16, 3, 16)
    return setup(VqVae(), x, x, lambda o, y: functional.mse_loss(o["reconstruction"], y) + o["commitment"])


def generator():
    return nn.Sequential(nn.Linear(8, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 20), nn.Tanh())


def critic():
    return nn.Sequential(nn.Linear(20, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))


class DiscriminatorStep(nn.Module):
    """Real and generated samples; the generator is not trained in this step."""

    def __init__(self):
        super().__init__()
        self.generator, self.critic = generator().requires_grad_(False), critic()

    def forward(self, real, noise):
        with torch.no_grad():
            fake = self.generator(noise)
        return self.critic(real), self.critic(fake)


def discriminator_loss(output):
    real, fake = output
    yes, no = torch.ones_like(real), torch.zeros_like(fake)
    bce = functional.binary_cross_entropy_with_logits
    return 0.5 * (bce(real, yes) + bce(fake, no))


def build_gan_discriminator():
    inputs = (torch.rand(64, 20) * 2 - 1, torch.randn(64, 8))
    return setup(DiscriminatorStep(), inputs, loss=discriminator_loss, frozen="generator*")


class GeneratorStep(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator, self.critic = generator(), critic().requires_grad_(False)

    def forward(self, noise):
        return self.critic(self.generator(noise))


def build_gan_generator():
    bce = functional.binary_cross_entropy_with_logits
    loss = lambda output: bce(output, torch.ones_like(output))
    return setup(GeneratorStep(), torch.randn(64, 8), loss=loss, frozen="critic*")


class Denoiser(nn.Module):
    """Predicts the noise that was added at a random time."""

    def __init__(self, width=64):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(16, width), nn.SiLU(), nn.Linear(width, width))
        self.inputs, self.middle, self.outputs = nn.Linear(20, width), nn.Linear(width, width), nn.Linear(width, 20)

    def forward(self, noisy, time):
        rates = torch.exp(torch.arange(8) * (-math.log(1e4) / 8))
        angles = time[:, None].float() * rates
        embedded = self.time(torch.cat([angles.sin(), angles.cos()], dim=1))
        h = functional.silu(self.inputs(noisy) + embedded)
        return self.outputs(h + functional.silu(self.middle(h)))


def build_diffusion():
    clean, noise, time = torch.randn(64, 20), torch.randn(64, 20), torch.randint(0, 1000, (64,))
    share = torch.cos(time / 1000 * math.pi / 2)[:, None]
    return setup(Denoiser(), (share * clean + (1 - share**2).sqrt() * noise, time), noise, nn.MSELoss())


class Coupling(nn.Module):
    def __init__(self, swap):
        super().__init__()
        self.swap = swap
        self.net = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 10))
        nn.init.zeros_(self.net[2].weight)
        nn.init.zeros_(self.net[2].bias)

    def forward(self, x):
        kept, moved = x.chunk(2, 1)[:: -1 if self.swap else 1]
        shift, scale = self.net(kept).chunk(2, 1)
        moved = moved * torch.exp(torch.tanh(scale)) + shift
        return torch.cat([moved, kept] if self.swap else [kept, moved], 1), torch.tanh(scale).sum(1)


class Flow(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Coupling(index % 2 == 1) for index in range(4))

    def forward(self, x):
        volume = torch.zeros(len(x))
        for layer in self.layers:
            x, change = layer(x)
            volume = volume + change
        return (0.5 * x.pow(2).sum(1) + 5 * math.log(2 * math.pi) - volume).mean()


def build_normalizing_flow():
    return setup(Flow(), torch.randn(64, 10), loss=lambda output: output)


class MaskedConv(nn.Conv2d):
    """A convolution that sees the pixels above and to the left only."""

    def __init__(self, *args, own, **kwargs):
        super().__init__(*args, **kwargs)
        mask = torch.ones_like(self.weight)
        middle = self.kernel_size[0] // 2
        mask[:, :, middle, middle + own :] = 0
        mask[:, :, middle + 1 :] = 0
        self.register_buffer("mask", mask)

    def forward(self, x):
        return functional.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


def build_pixel_cnn():
    model = nn.Sequential(
        MaskedConv(1, 16, 5, padding=2, own=0), nn.ReLU(), MaskedConv(16, 16, 3, padding=1, own=1), nn.ReLU(),
        nn.Conv2d(16, 4, 1),
    )  # fmt: skip
    pixels = torch.randint(0, 4, (16, 12, 12))
    return setup(model, (pixels[:, None] / 1.5 - 1), pixels, nn.CrossEntropyLoss())


# -------------------------------------------------------------------- without labels


def body():
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())


class Contrast(nn.Module):
    """SimCLR: two views of each sample, normalized projections."""

    def __init__(self):
        super().__init__()
        self.body, self.head = body(), nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, views):
        samples, count, features = views.shape
        z = self.head(self.body(views.reshape(samples * count, features)))
        return functional.normalize(z, dim=1).view(samples, count, -1)


def nt_xent(z, _=None, temperature=0.5):
    z = torch.cat([z[:, 0], z[:, 1]])
    similarity = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), -1e9)
    half = len(z) // 2
    return functional.cross_entropy(similarity, torch.arange(len(z)).roll(half))


def views(samples=32):
    x = torch.randn(samples, 1, 20)
    return x + 0.1 * torch.randn(samples, 2, 20)


def build_simclr():
    return setup(Contrast(), views(), loss=lambda output: nt_xent(output))


class TwoTowers(nn.Module):
    """CLIP: similarities of every image with every text, learned temperature."""

    def __init__(self):
        super().__init__()
        self.image, self.text = nn.Linear(32, 16), nn.Linear(24, 16)
        self.image_body = nn.Sequential(nn.Linear(20, 32), nn.GELU())
        self.text_body = nn.EmbeddingBag(100, 24)
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, image, text):
        one = functional.normalize(self.image(self.image_body(image)), dim=-1)
        other = functional.normalize(self.text(self.text_body(text)), dim=-1)
        return self.scale.exp() * one @ other.T


def clip_loss(similarity):
    target = torch.arange(len(similarity))
    return 0.5 * (functional.cross_entropy(similarity, target) + functional.cross_entropy(similarity.T, target))


def build_clip():
    return setup(TwoTowers(), (torch.randn(32, 20), torch.randint(0, 100, (32, 8))), loss=clip_loss)


class Byol(nn.Module):
    """An online net predicts the output of its moving average, through which no gradient flows."""

    def __init__(self):
        super().__init__()
        self.online = nn.Sequential(body(), nn.Linear(32, 16))
        self.predictor = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
        self.target = copy.deepcopy(self.online).requires_grad_(False)

    def forward(self, one, other):
        prediction = functional.normalize(self.predictor(self.online(one)), dim=-1)
        with torch.no_grad():
            answer = functional.normalize(self.target(other), dim=-1)
        return 2 - 2 * (prediction * answer).sum(-1).mean()


def build_byol_with_ema_target():
    x = torch.randn(32, 20)
    inputs = (x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x))
    return setup(Byol(), inputs, loss=lambda output: output, frozen="target*")


class SimSiam(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.predictor = nn.Sequential(body(), nn.Linear(32, 16)), nn.Linear(16, 16)

    def forward(self, one, other):
        z1, z2 = self.body(one), self.body(other)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        similarity = functional.cosine_similarity
        return -0.5 * (similarity(p1, z2.detach()).mean() + similarity(p2, z1.detach()).mean())


def build_simsiam():
    x = torch.randn(32, 20)
    inputs = (x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x))
    return setup(SimSiam(), inputs, loss=lambda output: output)


class Moco(nn.Module):
    """Momentum contrast: a queue of negatives in a buffer."""

    def __init__(self):
        super().__init__()
        self.query = nn.Sequential(body(), nn.Linear(32, 16))
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        self.register_buffer("queue", functional.normalize(torch.randn(128, 16), dim=1))

    def forward(self, one, other):
        q = functional.normalize(self.query(one), dim=1)
        with torch.no_grad():
            k = functional.normalize(self.key(other), dim=1)
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ self.queue.T], dim=1) / 0.2
        return functional.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))


def build_moco():
    x = torch.randn(32, 20)
    return setup(Moco(), (x, x + 0.1 * torch.randn_like(x)), loss=lambda output: output, frozen=("key*",))


class Siamese(nn.Module):
    """The same net on both inputs."""

    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(body(), nn.Linear(32, 16))

    def forward(self, left, right):
        return functional.pairwise_distance(self.tower(left), self.tower(right))


def build_siamese_with_contrastive_margin():
    def loss(distance, same):
        return (same * distance.pow(2) + (1 - same) * functional.relu(1 - distance).pow(2)).mean()

    return setup(Siamese(), (torch.randn(64, 20), torch.randn(64, 20)), labels(64, 2).float(), loss)


def build_triplet():
    tower = nn.Sequential(body(), nn.Linear(32, 16))

    class Triplet(nn.Module):
        def __init__(self):
            super().__init__()
            self.tower = tower

        def forward(self, anchor, positive, negative):
            return self.tower(anchor), self.tower(positive), self.tower(negative)

    loss = lambda output: nn.TripletMarginLoss(margin=1.0)(*output)
    return setup(Triplet(), tuple(torch.randn(3, 32, 20)), loss=loss)


class ArcFace(nn.Module):
    """Cosine logits with an angular margin, scaled."""

    def __init__(self):
        super().__init__()
        self.body, self.centers = nn.Sequential(body(), nn.Linear(32, 16)), nn.Parameter(torch.randn(5, 16))

    def forward(self, x, y):
        cosine = functional.linear(functional.normalize(self.body(x)), functional.normalize(self.centers))
        margin = torch.cos(torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6)) + 0.2)
        return functional.cross_entropy(8 * torch.where(functional.one_hot(y, 5).bool(), margin, cosine), y)


def build_angular_margin():
    return setup(ArcFace(), (torch.randn(64, 20), labels(64)), loss=lambda output: output)


class Distillation(nn.Module):
    def __init__(self):
        super().__init__()
        self.teacher = nn.Sequential(nn.Linear(20, 128), nn.ReLU(), nn.Linear(128, 5)).eval().requires_grad_(False)
        self.student = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))

    def forward(self, x):
        with torch.no_grad():
            teacher = self.teacher(x)
        return self.student(x), teacher


def build_distillation():
    def loss(output, y, temperature=4.0):
        student, teacher = output
        soft = functional.kl_div(
            functional.log_softmax(student / temperature, -1), functional.softmax(teacher / temperature, -1), reduction="batchmean"
        )
        return functional.cross_entropy(student, y) + temperature**2 * soft

    return setup(Distillation(), torch.randn(64, 20), labels(64), loss, frozen="teacher*")
