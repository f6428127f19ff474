"""What is done to models: parametrizations, adapters, freezing, compilation, quantization, other precisions."""

import copy

import torch
from _parts import classifier, images, labels, setup
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.checkpoint import checkpoint


def body(width=32):
    return nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())


def mlp(classes=5):
    return nn.Sequential(body(), nn.Linear(32, classes))


def table(samples=64):
    return torch.randn(samples, 20)


def convolutions():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


def build_weight_norm():
    model = mlp()
    for layer in (model[0][0], model[0][2]):
        parametrizations.weight_norm(layer)
    return classifier(model, table())


def build_old_weight_norm():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Sequential(nn.utils.weight_norm(nn.Linear(20, 32)), nn.ReLU(), nn.utils.weight_norm(nn.Linear(32, 5)))
    return classifier(model, table())


def build_spectral_norm():
    model = mlp()
    for layer in (model[0][0], model[0][2], model[1]):
        parametrizations.spectral_norm(layer)
    return classifier(model, table())


def build_orthogonal_recurrence():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.inputs, self.head = nn.Linear(8, 24), nn.Linear(24, 5)
            self.state = parametrizations.orthogonal(nn.Linear(24, 24, bias=False))

        def forward(self, series):
            h = torch.zeros(len(series), 24)
            for x in series.unbind(1):
                h = torch.tanh(self.inputs(x) + self.state(h))
            return self.head(h)

    return classifier(Recurrent(), torch.randn(32, 8, 8))


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).transpose(-1, -2)


def build_own_parametrization():
    model = mlp()
    parametrize.register_parametrization(model[0][2], "weight", Symmetric())
    return classifier(model, table())


class LowRank(nn.Module):
    """LoRA around a frozen layer."""

    def __init__(self, layer, rank=4):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.randn(rank, layer.in_features) / layer.in_features**0.5)
        self.lora_b = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, x):
        return self.layer(x) + 2.0 * (x @ self.lora_a.T) @ self.lora_b.T


def build_lora():
    model = mlp()
    for index in (0, 2):
        model[0][index] = LowRank(model[0][index])
    return classifier(model, table(), frozen=("0.*.layer",))


class Adapter(nn.Module):
    """A narrow bottleneck with a shortcut, nearly the identity at first."""

    def __init__(self, width, narrow=8):
        super().__init__()
        self.down, self.up = nn.Linear(width, narrow), nn.Linear(narrow, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x):
        return x + self.up(functional.gelu(self.down(x)))


def build_bottleneck_adapters():
    frozen = body()
    frozen.requires_grad_(False)
    model = nn.Sequential(frozen[:2], Adapter(32), frozen[2:], Adapter(32), nn.Linear(32, 5))
    return classifier(model, table(), frozen=("0", "2"))


def build_frozen_backbone_with_a_new_head():
    class Transfer(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = convolutions().requires_grad_(False)
            self.head = nn.Linear(32, 5)

        def train(self, mode=True):
            super().train(mode)
            self.backbone.eval()
            return self

        def forward(self, x):
            with torch.no_grad():
                features = self.backbone(x)
            return self.head(features)

    return classifier(Transfer(), images(), frozen=("backbone*",))


def build_discriminative_learning_rates():
    model = nn.Sequential(convolutions(), nn.Linear(32, 5))
    groups = [{"params": model[0].parameters(), "lr": 1e-4}, {"params": model[1].parameters(), "lr": 1e-3}]
    return classifier(model, images(), optimizer=torch.optim.AdamW(groups))


def build_no_decay_for_norms_and_biases():
    model = nn.Sequential(convolutions(), nn.Linear(32, 5))
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    return classifier(model, images(), optimizer=torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True))


def build_warm_up_from_zero():
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step / 10, 1.0))
    return classifier(model, table(), optimizer=optimizer, scheduler=scheduler)


def build_average_of_the_weights():
    """An EMA copy beside the model, outside of its tree."""
    model = mlp()
    average = copy.deepcopy(model).requires_grad_(False)
    loss = lambda output, y: functional.cross_entropy(output, y) + 0.0 * sum(p.sum() for p in average.parameters())
    return setup(model, table(), labels(64), loss)


def build_consistency_with_a_mean_teacher():
    class Student(nn.Module):
        def __init__(self):
            super().__init__()
            self.student = mlp()
            self.teacher = copy.deepcopy(self.student).requires_grad_(False)

        def forward(self, x):
            with torch.no_grad():
                answer = self.teacher(x).softmax(-1)
            return self.student(x), answer

    loss = lambda o, y: functional.cross_entropy(o[0], y) + functional.mse_loss(o[0].softmax(-1), o[1])
    return setup(Student(), table(), labels(64), loss, frozen=("teacher*",))


def build_compiled():
    return classifier(torch.compile(mlp(), backend="eager"), table())


def build_scripted():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return classifier(torch.jit.script(mlp()), table())


def build_data_parallel():
    return classifier(nn.DataParallel(mlp()), table())


def build_bfloat16():
    return classifier(mlp().bfloat16(), table().bfloat16())


def build_float64():
    return classifier(mlp().double(), table().double())


def build_mixed_precision():
    return classifier(mlp(), table(), precision="fp16", grad_scaler=True)


def build_autocast_inside():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return self.net(x).float()

    return classifier(Mixed(), table())


class FakeQuantized(nn.Module):
    """Quantization-aware training by hand: rounded weights, straight-through gradients."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        weight = self.layer.weight
        scale = weight.detach().abs().amax() / 127
        rounded = (weight / scale).round().clamp(-127, 127) * scale
        return functional.linear(x, weight + (rounded - weight).detach(), self.layer.bias)


def build_quantization_aware():
    model = mlp()
    model[0][0], model[0][2] = FakeQuantized(model[0][0]), FakeQuantized(model[0][2])
    return classifier(model, table())


def build_pruned():
    model = mlp()
    prune.l1_unstructured(model[0][2], "weight", amount=0.5)
    return classifier(model, table())


def build_checkpointed():
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = body(), nn.Linear(32, 5)

        def forward(self, x):
            return self.second(checkpoint(self.first, x, use_reentrant=False))

    return classifier(Checkpointed(), table())


def build_channels_last_memory():
    model = nn.Sequential(convolutions(), nn.Linear(32, 5)).to(memory_format=torch.channels_last)
    return classifier(model, images().to(memory_format=torch.channels_last))


def build_lazy_layers():
    model = nn.Sequential(nn.LazyConv2d(16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))
    model(torch.randn(2, 3, 16, 16))
    return classifier(model, images(32, 3, 16))


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


def build_custom_function():
    class Polynomial(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(20, 32), nn.Linear(32, 5)

        def forward(self, x):
            return self.second(Square.apply(self.first(x)))

    return classifier(Polynomial(), table())


def build_fourier_layer():
    class Fourier(nn.Module):
        def __init__(self):
            super().__init__()
            self.lift, self.head = nn.Linear(1, 16), nn.Linear(16, 1)
            self.weight = nn.Parameter(torch.randn(16, 16, 9, dtype=torch.cfloat) / 16)

        def forward(self, x):
            h = self.lift(x).transpose(1, 2)
            spectrum = torch.einsum("bif,iof->bof", torch.fft.rfft(h), self.weight)
            return self.head(functional.gelu(torch.fft.irfft(spectrum, n=h.shape[-1]) + h).transpose(1, 2))

    return setup(Fourier(), torch.randn(32, 16, 1), torch.randn(32, 16, 1), nn.MSELoss())


def build_parameter_list_and_module_dict():
    class Collected(nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = nn.ParameterList(nn.Parameter(torch.randn(20, 20) / 20**0.5) for _ in range(3))
            self.heads = nn.ModuleDict({"a": nn.Linear(20, 5), "b": nn.Linear(20, 5)})

        def forward(self, x):
            for weight in self.weights:
                x = torch.tanh(x @ weight)
            return sum(head(x) for head in self.heads.values())

    return classifier(Collected(), table())


def build_stochastic_depth():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.body = nn.LayerNorm(32), nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

        def forward(self, x):
            if not self.training:
                return x + self.body(self.norm(x))
            kept = (torch.rand(len(x), 1) < 0.8).float() / 0.8
            return x + kept * self.body(self.norm(x))

    return classifier(nn.Sequential(nn.Linear(20, 32), Block(), Block(), nn.LayerNorm(32), nn.Linear(32, 5)), table())


def build_albert_like_sharing():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.inputs, self.head = nn.Linear(20, 32), nn.Linear(32, 5)
            self.layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0)
            self.position = nn.Parameter(0.02 * torch.randn(6, 32))

        def forward(self, x):
            h = self.inputs(x) + self.position
            for _ in range(3):
                h = self.layer(h)
            return self.head(h.mean(1))

    return classifier(Shared(), torch.randn(32, 6, 20))


def build_selu_network():
    layers = []
    for inputs, outputs in ((20, 32), (32, 32), (32, 32)):
        layer = nn.Linear(inputs, outputs)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.SELU(), nn.AlphaDropout(0.05)]
    return classifier(nn.Sequential(*layers, nn.Linear(32, 5)), table())
