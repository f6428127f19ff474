"""Nets for sound, film and volumes, and nets with other norms or none."""

import math

import torch
from _parts import classifier, images, labels, setup
from torch import nn
from torch.nn import functional


def waves(samples=32, length=640):
    """Sums of three sines of different pitch and loudness, as short pieces of sound."""
    time = torch.linspace(0, 1, length)
    pitch, phase = 40 * torch.rand(samples, 3, 1) + 2, 2 * math.pi * torch.rand(samples, 3, 1)
    loudness = 0.2 + torch.rand(samples, 3, 1)
    return (loudness * torch.sin(2 * math.pi * pitch * time + phase)).mean(1, keepdim=True)


# -------------------------------------------------------------------- other dimensions


def build_volumes():
    model = nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(8, 16, 3, padding=1),
        nn.BatchNorm3d(16), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(16, 5),
    )  # fmt: skip
    coarse = torch.randn(16, 1, 3, 3, 3) + torch.randn(16, 1, 1, 1, 1)
    return classifier(model, functional.interpolate(coarse, 12, mode="trilinear"))


class VideoNet(nn.Module):
    """Space and time convolved one after the other."""

    def __init__(self):
        super().__init__()
        self.space = nn.Conv3d(3, 16, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
        self.space_norm = nn.BatchNorm3d(16)
        self.time = nn.Conv3d(16, 16, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.time_norm = nn.BatchNorm3d(16)
        self.fc = nn.Linear(16, 5)

    def forward(self, clip):
        x = functional.relu(self.space_norm(self.space(clip)))
        x = functional.relu(self.time_norm(self.time(x)))
        return self.fc(x.mean(dim=[2, 3, 4]))


def build_video():
    frames = images(8, 3, 16)[:, :, None] * torch.linspace(0.5, 1.5, 6).view(1, 1, 6, 1, 1)
    return classifier(VideoNet(), frames + 0.1 * torch.randn_like(frames))


class RawAudio(nn.Module):
    """A wide strided convolution on the raw wave, as in M5."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(1, 16, 40, stride=4), nn.BatchNorm1d(16)
        self.conv2, self.bn2 = nn.Conv1d(16, 32, 3), nn.BatchNorm1d(32)
        self.pool, self.fc = nn.MaxPool1d(4), nn.Linear(32, 5)

    def forward(self, x):
        x = self.pool(functional.relu(self.bn1(self.conv1(x))))
        x = self.pool(functional.relu(self.bn2(self.conv2(x))))
        x = functional.avg_pool1d(x, x.shape[-1]).permute(0, 2, 1)
        return functional.log_softmax(self.fc(x), dim=2).squeeze(1)


def build_raw_audio():
    return setup(RawAudio(), waves(), labels(), functional.nll_loss)


class WaveNetBlock(nn.Module):
    def __init__(self, width, dilation):
        super().__init__()
        self.dilation = dilation
        self.filter, self.gate = nn.Conv1d(width, width, 2, dilation=dilation), nn.Conv1d(width, width, 2, dilation=dilation)
        self.residual, self.skip = nn.Conv1d(width, width, 1), nn.Conv1d(width, width, 1)

    def forward(self, x):
        padded = functional.pad(x, (self.dilation, 0))
        h = torch.tanh(self.filter(padded)) * torch.sigmoid(self.gate(padded))
        return x + self.residual(h), self.skip(h)


class WaveNet(nn.Module):
    def __init__(self, width=16, levels=32):
        super().__init__()
        self.inputs = nn.Embedding(levels, width)
        self.blocks = nn.ModuleList(WaveNetBlock(width, 2**power) for power in range(4))
        self.outputs = nn.Sequential(nn.ReLU(), nn.Conv1d(width, width, 1), nn.ReLU(), nn.Conv1d(width, levels, 1))

    def forward(self, codes):
        x, total = self.inputs(codes).transpose(1, 2), 0
        for block in self.blocks:
            x, skip = block(x)
            total = total + skip
        return self.outputs(total)


def build_wavenet():
    codes = ((waves(16, 65)[:, 0] + 1.5) / 3 * 31).clamp(0, 31).long()
    return setup(WaveNet(), codes[:, :-1], codes[:, 1:], nn.CrossEntropyLoss(), causal=True)


def build_spectrogram_with_recurrence():
    class Crnn(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Sequential(
                nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ELU(), nn.MaxPool2d((2, 1)), nn.Dropout2d(0.1),
                nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ELU(), nn.MaxPool2d((4, 2)), nn.Dropout2d(0.1),
            )  # fmt: skip
            self.gru, self.fc = nn.GRU(48, 32, num_layers=2, batch_first=True, dropout=0.2), nn.Linear(32, 5)

        def forward(self, wave):
            window = torch.hann_window(46, device=wave.device)
            power = torch.stft(wave.squeeze(1), 46, 8, window=window, return_complex=True).abs().pow(2)
            x = self.conv(torch.log(power + 1e-5)[:, None])
            batch, channels, pitch, time = x.shape
            x = x.permute(0, 3, 1, 2).reshape(batch, time, channels * pitch)
            return self.fc(self.gru(x)[0][:, -1])

    return classifier(Crnn(), waves())


# -------------------------------------------------------------------- other norms, and none


class StandardizedConv(nn.Conv2d):
    """Weight standardization, for group norm."""

    def forward(self, x):
        mean = self.weight.mean(dim=(1, 2, 3), keepdim=True)
        spread = self.weight.std(dim=(1, 2, 3), keepdim=True)
        return functional.conv2d(x, (self.weight - mean) / (spread + 1e-5), self.bias, self.stride, self.padding)


def build_group_norm_and_weight_standardization():
    model = nn.Sequential(
        StandardizedConv(3, 16, 3, 2, 1, bias=False), nn.GroupNorm(4, 16), nn.ReLU(inplace=True),
        StandardizedConv(16, 32, 3, 2, 1, bias=False), nn.GroupNorm(8, 32), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5),
    )  # fmt: skip
    return classifier(model, images())


class FixupBlock(nn.Module):
    """A residual block without norm: scalar biases, a scalar gain, the last convolution at zero."""

    def __init__(self, width, depth):
        super().__init__()
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(1)) for _ in range(4))
        self.gain = nn.Parameter(torch.ones(1))
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        nn.init.normal_(self.conv1.weight, std=math.sqrt(2 / (width * 9)) * depth**-0.5)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x):
        h = functional.relu(self.conv1(x + self.biases[0]) + self.biases[1])
        return functional.relu(x + self.conv2(h + self.biases[2]) * self.gain + self.biases[3])


def build_fixup():
    head = nn.Linear(16, 5)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    stem = nn.Conv2d(3, 16, 3, 2, 1)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    blocks = [FixupBlock(16, 4) for _ in range(4)]
    return classifier(nn.Sequential(stem, nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head), images(32, 3, 16))


class SkipInitBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )
        self.alpha = nn.Parameter(torch.tensor(0.0))

    def forward(self, x):
        return x + self.alpha * self.body(x)


def build_skip_init():
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), *[SkipInitBlock(16) for _ in range(4)], nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(16, 5),
    )  # fmt: skip
    return classifier(model, images(32, 3, 16))


class LayerScaleBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, 4, batch_first=True)
        self.norm2, self.mlp = nn.LayerNorm(width), nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width))
        self.scale1, self.scale2 = nn.Parameter(1e-5 * torch.ones(width)), nn.Parameter(1e-5 * torch.ones(width))

    def forward(self, x):
        h = self.norm1(x)
        x = x + self.scale1 * self.attention(h, h, h, need_weights=False)[0]
        return x + self.scale2 * self.mlp(self.norm2(x))


class PatchNet(nn.Module):
    def __init__(self, *blocks, width=32):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.position = nn.Parameter(0.02 * torch.randn(1, 16, width))
        self.blocks, self.norm, self.head = nn.Sequential(*blocks), nn.LayerNorm(width), nn.Linear(width, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        return self.head(self.norm(self.blocks(x)).mean(1))


def build_layer_scale():
    return classifier(PatchNet(*[LayerScaleBlock(32) for _ in range(3)]), images(32, 3, 16))


class MixerBlock(nn.Module):
    def __init__(self, tokens, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(tokens, 32), nn.GELU(), nn.Linear(32, tokens))
        self.channels = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width))

    def forward(self, x):
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


def build_mixer():
    return classifier(PatchNet(MixerBlock(16, 32), MixerBlock(16, 32)), images(32, 3, 16))


class GatedMlpBlock(nn.Module):
    """gMLP: the spatial gate starts near the identity."""

    def __init__(self, tokens, width):
        super().__init__()
        self.norm, self.inner, self.outer = nn.LayerNorm(width), nn.Linear(width, 64), nn.Linear(32, width)
        self.gate_norm, self.gate = nn.LayerNorm(32), nn.Conv1d(tokens, tokens, 1)
        nn.init.normal_(self.gate.weight, std=1e-6)
        nn.init.ones_(self.gate.bias)

    def forward(self, x):
        u, v = functional.gelu(self.inner(self.norm(x))).chunk(2, dim=-1)
        return x + self.outer(u * self.gate(self.gate_norm(v)))


def build_gated_mlp():
    return classifier(PatchNet(GatedMlpBlock(16, 32), GatedMlpBlock(16, 32)), images(32, 3, 16))


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


def rotate(x):
    """Rotary positions: pairs of features are turned by an angle that grows with the position."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] * 1e4 ** (-torch.arange(half) / half)
    one, other = x[..., :half], x[..., half:]
    return torch.cat([one * angle.cos() - other * angle.sin(), one * angle.sin() + other * angle.cos()], dim=-1)


class LlamaBlock(nn.Module):
    def __init__(self, width=32, heads=4):
        super().__init__()
        self.heads, self.norm1, self.norm2 = heads, RmsNorm(width), RmsNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.gate, self.up = nn.Linear(width, 64, bias=False), nn.Linear(width, 64, bias=False)
        self.down = nn.Linear(64, width, bias=False)

    def forward(self, x):
        h, split = self.norm1(x), lambda y: y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        q, k, v = rotate(split(self.q(h))), rotate(split(self.k(h))), split(self.v(h))
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(attended.transpose(1, 2).flatten(2))
        h = self.norm2(x)
        return x + self.down(functional.silu(self.gate(h)) * self.up(h))


class Llama(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.norm = nn.Embedding(60, 32), RmsNorm(32)
        self.layers = nn.ModuleList(LlamaBlock() for _ in range(2))
        self.head = nn.Linear(32, 60, bias=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids, targets=None):
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        logits = self.head(self.norm(x))
        if targets is None:
            return logits, None
        return logits, functional.cross_entropy(logits.view(-1, 60), targets.view(-1))


def build_llama_by_hand():
    ids = torch.randint(0, 60, (16, 17))
    model = Llama()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1)
    inputs = {"ids": ids[:, :-1], "targets": ids[:, 1:].contiguous()}
    return setup(model, inputs, loss=lambda output: output[1], optimizer=optimizer, causal=True)


class RunningScale(nn.Module):
    """Divides by the deviation of the batch, and in evaluation by its running average, which starts at one."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("running_deviation", torch.ones(width))

    def forward(self, x):
        if not self.training:
            return x / (self.running_deviation + 1e-5)
        with torch.no_grad():
            self.running_deviation.lerp_(x.std(0), 0.1)
        return x / (x.std(0) + 1e-5)


def build_running_scale_by_hand():
    model = nn.Sequential(nn.Linear(20, 32), RunningScale(32), nn.ReLU(), nn.Linear(32, 5))
    return classifier(model, torch.randn(64, 20))
