"""Learning without labels, masked and autoregressive models."""

import math

import torch
from _parts import images, labels, setup, tokens
from torch import nn
from torch.nn import functional


def table(samples=64):
    return torch.randn(samples, 20)


def mlp(inputs=20, outputs=16, width=64):
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))


def two_views():
    x = table()
    return x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x)


# -------------------------------------------------------------------- views


class Projector(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(inplace=True), nn.Linear(64, 32))
        self.projector = nn.Sequential(
            nn.Linear(32, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(inplace=True), nn.Linear(64, 16, bias=False)
        )
        self.norm = nn.BatchNorm1d(16, affine=False)

    def forward(self, one, other):
        return self.norm(self.projector(self.body(one))), self.norm(self.projector(self.body(other)))


def build_barlow_twins():
    def loss(output):
        correlation = output[0].T @ output[1] / len(output[0])
        on = (correlation.diagonal() - 1).pow(2).sum()
        return on + 0.005 * (correlation - torch.diag(correlation.diagonal())).pow(2).sum()

    return setup(Projector(), two_views(), loss=loss)


def build_vicreg():
    class Vicreg(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, one, other):
            return self.net(one), self.net(other)

    def loss(output):
        variance = sum(functional.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() for z in output)
        centred = [z - z.mean(0) for z in output]
        squares = [(z.T @ z / (len(z) - 1)).pow(2) for z in centred]
        covariance = sum((c.sum() - c.diagonal().sum()) / c.shape[0] for c in squares)
        return 25 * functional.mse_loss(*output) + 25 * variance + covariance

    return setup(Vicreg(), two_views(), loss=loss)


class Swav(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.prototypes = mlp(), nn.Linear(16, 10, bias=False)

    def forward(self, one, other):
        weight = functional.normalize(self.prototypes.weight, dim=1)
        return [functional.normalize(self.net(x), dim=1) @ weight.T for x in (one, other)]


@torch.no_grad()
def balanced(scores):
    q = torch.exp(scores / 0.05).T
    for _ in range(3):
        q = q / q.sum(1, keepdim=True)
        q = q / q.sum(0, keepdim=True)
    return q.T


def build_swav_with_balanced_assignments():
    def loss(output):
        one, other = output
        swapped = (balanced(one) * functional.log_softmax(other / 0.1, 1)).sum(1) + (
            balanced(other) * functional.log_softmax(one / 0.1, 1)
        ).sum(1)
        return -0.5 * swapped.mean()

    return setup(Swav(), two_views(), loss=loss)


# -------------------------------------------------------------------- masks and predictions


class MaskedAutoencoder(nn.Module):
    """A random quarter of the patches is encoded; a narrow decoder rebuilds the others."""

    def __init__(self, width=32):
        super().__init__()
        self.patch, self.position = nn.Linear(48, width), nn.Parameter(0.02 * torch.randn(1, 16, width))
        block = lambda size: nn.TransformerEncoderLayer(size, 4, 2 * size, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder, self.norm = block(width), nn.LayerNorm(width)
        self.narrow, self.mask_token = nn.Linear(width, 16), nn.Parameter(0.02 * torch.randn(1, 1, 16))
        self.decoder_position, self.decoder = nn.Parameter(0.02 * torch.randn(1, 16, 16)), block(16)
        self.pixels = nn.Linear(16, 48)

    def forward(self, x):
        patches = functional.unfold(x, 4, stride=4).transpose(1, 2)
        batch, count, _ = patches.shape
        order = torch.rand(batch, count).argsort(dim=1)
        kept, restore = order[:, :4], order.argsort(dim=1)
        h = self.patch(patches) + self.position
        h = torch.gather(h, 1, kept[:, :, None].expand(-1, -1, h.shape[2]))
        h = self.narrow(self.norm(self.encoder(h)))
        full = torch.cat([h, self.mask_token.expand(batch, count - 4, -1)], dim=1)
        full = torch.gather(full, 1, restore[:, :, None].expand(-1, -1, full.shape[2]))
        decoded = self.pixels(self.decoder(full + self.decoder_position))
        mask = (restore >= 4).float()
        return ((decoded - patches).pow(2).mean(-1) * mask).sum() / mask.sum()


def build_masked_autoencoder():
    return setup(MaskedAutoencoder(), images(16, 3, 16), loss=lambda output: output, declared={"stochastic"})


class MaskedLanguageModel(nn.Module):
    def __init__(self, vocabulary=100, width=32):
        super().__init__()
        self.embedding, self.position = nn.Embedding(vocabulary, width, padding_idx=0), nn.Embedding(16, width)
        self.norm, self.drop = nn.LayerNorm(width), nn.Dropout(0.1)
        layer = nn.TransformerEncoderLayer(width, 4, 64, 0.1, "gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head, self.bias = nn.Linear(width, width), nn.Parameter(torch.zeros(vocabulary))
        self.apply(self.init)

    @staticmethod
    def init(module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

    def forward(self, ids, padding_mask):
        h = self.drop(self.norm(self.embedding(ids) + self.position(torch.arange(ids.shape[1]))))
        h = self.encoder(h, src_key_padding_mask=padding_mask)
        return functional.linear(functional.gelu(self.head(h)), self.embedding.weight, self.bias)


def build_masked_language_model():
    ids = tokens(32)
    lengths = torch.randint(8, 17, (32, 1))
    padding = torch.arange(16) >= lengths
    targets = torch.where((torch.rand(32, 16) < 0.15) & ~padding, ids, -100)
    targets[0, 0] = ids[0, 0]
    inputs = {"ids": torch.where(targets != -100, 3, ids).masked_fill(padding, 0), "padding_mask": padding}
    loss = lambda output, y: functional.cross_entropy(output.view(-1, 100), y.view(-1))
    return setup(MaskedLanguageModel(), inputs, targets, loss)


class Predictive(nn.Module):
    """CPC: the context predicts later latents among those of the other samples."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv1d(1, 16, 8, 4, 2), nn.ReLU(), nn.Conv1d(16, 16, 4, 4), nn.ReLU())
        self.context = nn.GRU(16, 24, batch_first=True)
        self.predict = nn.ModuleList(nn.Linear(24, 16) for _ in range(2))

    def forward(self, wave):
        z = self.encoder(wave).transpose(1, 2)
        c = self.context(z)[0][:, -4]
        losses = []
        for step, predict in enumerate(self.predict):
            scores = predict(c) @ z[:, step - 3].T
            losses.append(functional.cross_entropy(scores, torch.arange(len(z))))
        return torch.stack(losses).mean()


def build_predictive_coding():
    return setup(Predictive(), torch.randn(32, 1, 256).cumsum(-1) / 8, loss=lambda output: output)


def build_rotation_as_pretext():
    base = images(8, 3, 16)
    rotated = torch.cat([torch.rot90(base, turns, (2, 3)) for turns in range(4)])
    model = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 4))
    return setup(model, rotated, torch.arange(4).repeat_interleave(8), nn.CrossEntropyLoss())


def build_plain_autoencoder():
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4), nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 20))
    x = torch.randn(128, 4) @ torch.randn(4, 20) / 2
    return setup(model, x, x, nn.MSELoss())


def build_autoencoder_of_a_series():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = nn.LSTM(3, 16, batch_first=True), nn.LSTM(16, 16, batch_first=True)
            self.head = nn.Linear(16, 3)

        def forward(self, x):
            _, (last, _) = self.encoder(x)
            return self.head(self.decoder(last[-1][:, None].expand(-1, x.shape[1], -1))[0])

    x = torch.sin(torch.linspace(0, 6, 12)[:, None] * (1 + torch.rand(32, 1, 3)) + torch.rand(32, 1, 3))
    return setup(Recurrent(), x, x, nn.MSELoss())


class BetaVae(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 16)
        )
        self.decoder = nn.Sequential(
            nn.Linear(8, 512), nn.ReLU(), nn.Unflatten(1, (32, 4, 4)), nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, 2, 1),
        )  # fmt: skip

    def forward(self, x):
        mean, log_variance = self.encoder(x).chunk(2, 1)
        posterior = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
        z = posterior.rsample() if self.training else mean
        return self.decoder(z), posterior


def build_vae_with_distribution_objects():
    def loss(output, x):
        logits, posterior = output
        prior = torch.distributions.Normal(torch.zeros(8), torch.ones(8))
        likelihood = functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum((1, 2, 3))
        return (likelihood + torch.distributions.kl_divergence(posterior, prior).sum(1)).mean()

    x = torch.sigmoid(2 * images(32, 1, 16))
    model = BetaVae()
    return setup(model, x, x, loss, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3))


def build_gumbel_softmax_latents():
    class Discrete(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32)), nn.Linear(32, 20)

        def forward(self, x):
            logits = self.encoder(x).view(-1, 4, 8)
            if self.training:
                codes = functional.gumbel_softmax(logits, tau=0.8, hard=True, dim=-1)
            else:
                codes = functional.one_hot(logits.argmax(-1), 8).float()
            return self.decoder(codes.flatten(1))

    x = table()
    return setup(Discrete(), x, x, nn.MSELoss())


class UNetDenoiser(nn.Module):
    """DDPM: sinusoidal time, residual blocks with group norm, a zero-initialized last convolution."""

    def __init__(self, width=16):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 32))
        self.stem, self.down = nn.Conv2d(3, width, 3, 1, 1), nn.Conv2d(width, width, 3, 2, 1)
        self.blocks = nn.ModuleList(TimeBlock(width) for _ in range(2))
        self.up, self.merge = nn.Upsample(scale_factor=2), nn.Conv2d(2 * width, width, 3, 1, 1)
        self.out = nn.Sequential(nn.GroupNorm(4, width), nn.SiLU(), nn.Conv2d(width, 3, 3, 1, 1))
        nn.init.zeros_(self.out[2].weight)
        nn.init.zeros_(self.out[2].bias)

    def forward(self, x, t):
        rates = torch.exp(-math.log(10000) * torch.arange(8) / 8)
        angles = t.float()[:, None] * rates[None]
        time = self.time(torch.cat([angles.cos(), angles.sin()], dim=-1))
        skip = self.blocks[0](self.stem(x), time)
        h = self.blocks[1](self.down(skip), time)
        return self.out(self.merge(torch.cat([self.up(h), skip], dim=1)))


class TimeBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(4, width), nn.Conv2d(width, width, 3, 1, 1)
        self.time = nn.Linear(32, width)
        self.norm2, self.drop, self.conv2 = nn.GroupNorm(4, width), nn.Dropout(0.1), nn.Conv2d(width, width, 3, 1, 1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x, time):
        h = self.conv1(functional.silu(self.norm1(x))) + self.time(functional.silu(time))[:, :, None, None]
        return x + self.conv2(self.drop(functional.silu(self.norm2(h))))


def build_ddpm_unet():
    clean, noise, t = images(16, 3, 16), torch.randn(16, 3, 16, 16), torch.randint(0, 1000, (16,))
    share = torch.cos(t / 1000 * math.pi / 2)[:, None, None, None]
    model = UNetDenoiser()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    return setup(model, (share * clean + (1 - share**2).sqrt() * noise, t), noise, nn.MSELoss(), optimizer=optimizer)


def build_flow_matching():
    class Velocity(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(21, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 20))

        def forward(self, x, t):
            return self.net(torch.cat([x, t], dim=1))

    noise, data, t = table(), table() * 0.5 + 1, torch.rand(64, 1)
    return setup(Velocity(), ((1 - t) * noise + t * data, t), data - noise, nn.MSELoss())


def build_score_matching_energy():
    class Energy(nn.Module):
        """The score is the gradient of a scalar energy with respect to the input."""

        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(20, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))

        def forward(self, x):
            with torch.enable_grad():
                x = x.detach().requires_grad_(True)
                (score,) = torch.autograd.grad(-self.net(x).sum(), x, create_graph=True)
            return score

    clean = table()
    noise = torch.randn_like(clean)
    return setup(Energy(), clean + 0.5 * noise, noise, lambda score, e: (0.5 * score + e).pow(2).mean())


def build_latent_codes_of_the_samples():
    """An auto-decoder: every training shape has a code that is trained with the net."""

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.codes = nn.Embedding(16, 8, max_norm=1.0)
            nn.init.normal_(self.codes.weight, std=0.1)
            self.net = nn.Sequential(nn.Linear(11, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1), nn.Tanh())

        def forward(self, shape, points):
            code = self.codes(shape)[:, None].expand(-1, points.shape[1], -1)
            return self.net(torch.cat([code, points], dim=-1)).squeeze(-1)

    points = torch.rand(16, 24, 3) * 2 - 1
    distance = points.norm(dim=-1) - 0.3 - 0.4 * torch.rand(16, 1)
    return setup(Decoder(), (torch.arange(16), points), distance.clamp(-0.5, 0.5), nn.L1Loss())


def build_labels_unused_by_the_pretext():
    """A loader of a labelled set, and a loss that takes no labels."""
    x = table()
    loss = lambda output, _labels: functional.mse_loss(output, x)
    return setup(mlp(20, 20), x, labels(64), loss)
