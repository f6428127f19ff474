"""Initialization, normalization, regularization, signals and gradients."""

import torch
from _parts import classifier, images, labels, setup, tokens
from torch import nn
from torch.nn import functional


def table(samples=64, features=20):
    return torch.randn(samples, features)


def mlp(depth=2, width=32, activation=nn.ReLU, outputs=5):
    layers = [nn.Linear(20, width), activation()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def convolutions(norm=nn.BatchNorm2d):
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False), norm(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1, bias=False), norm(32),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5),
    )  # fmt: skip


# -------------------------------------------------------------------- initialization


def build_all_weights_one_value():  # expect: INI002 at 0
    model = mlp()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.01)
    return classifier(model, table())


def build_all_convolutions_zero():  # expect: INI002 at 0
    model = convolutions()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.zero_()
    return classifier(model, images(32, 3, 16))


def build_weights_of_standard_deviation_one():  # expect: INI003 at 2
    model = mlp(depth=4, width=256)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight)
    return classifier(model, table())


def build_uniform_weights_in_a_convolution():  # expect: INI003 at 3
    def init(module):
        if isinstance(module, nn.Conv2d):
            nn.init.uniform_(module.weight, -3, 3)

    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, 1, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(32 * 64, 5),
    ).apply(init)  # fmt: skip
    return classifier(model, images(32, 3, 16))


def build_parameter_of_empty_memory():  # expect: INI005
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()
            self.scale = nn.Parameter(torch.full((5,), float("nan")))

        def forward(self, x):
            return self.net(x) * self.scale

    return classifier(Scaled(), table())  # <- INI005


def build_infinite_embedding():  # expect: INI005 at 0
    model = nn.Sequential(nn.EmbeddingBag(100, 16), nn.Linear(16, 5))
    model[0].weight.data[7] = float("inf")
    return classifier(model, tokens(64))


def build_bias_that_closes_every_unit():  # expect: INI009 at 0
    model = mlp()
    nn.init.constant_(model[0].bias, -20.0)
    return classifier(model, table())


def build_bias_that_opens_every_unit():  # expect: INI009 at body
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(20, 32), nn.Linear(32, 5)
            self.body.bias.data.fill_(50.0)

        def forward(self, x):
            return self.head(torch.sigmoid(self.body(x)))

    return classifier(Net(), table())


def build_deep_stack_with_small_gain():  # expect: INI001 at 0
    model = mlp(depth=30, width=64)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight, gain=0.5)
            nn.init.zeros_(layer.bias)
    return classifier(model, table())


def build_tiny_weights():  # expect: INI004 at 0
    model = mlp(depth=4)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=1e-3)
            nn.init.zeros_(layer.bias)
    return classifier(model, table())


def build_copied_filters():  # expect: INI006 at 0
    model = convolutions()
    model[0].weight.data[12:] = model[0].weight.data[:4]
    return classifier(model, images(32, 3, 16))


def build_selu_with_default_weights():  # expect: INI008 at 0
    return classifier(mlp(depth=4, activation=nn.SELU), table())


def build_large_recurrent_matrix():  # expect: INI010 at rnn
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.RNN(8, 32, nonlinearity="relu", batch_first=True), nn.Linear(32, 5)
            nn.init.normal_(self.rnn.weight_hh_l0, std=0.4)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    return classifier(Net(), torch.randn(32, 4, 8))


# -------------------------------------------------------------------- normalization and regularization


def build_norm_of_one_value():  # expect: NRM008 at norm
    class Net(nn.Module):
        """A series of single numbers, normalized one by one."""

        def __init__(self):
            super().__init__()
            self.norm, self.rnn, self.head = nn.LayerNorm(1), nn.GRU(1, 32, batch_first=True), nn.Linear(32, 5)

        def forward(self, series):
            return self.head(self.rnn(self.norm(series))[0][:, -1])

    return classifier(Net(), torch.randn(32, 12, 1))


def build_instance_norm_behind_global_pooling():  # expect: NRM008 at 3
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.GroupNorm(16, 16), nn.Flatten(), nn.Linear(16, 5)
    )
    return classifier(model, images(32, 3, 16))


def build_dropout_before_batch_norm():  # expect: NRM001 at 3
    model = nn.Sequential(
        nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm1d(64), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5)
    )
    return classifier(model, table())


def build_nine_tenths_dropped():  # expect: NRM005 at 2
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.9), nn.Linear(64, 5))
    return classifier(model, table())


def build_dropout_on_logits():  # expect: NRM006 at 1
    return classifier(nn.Sequential(mlp(), nn.Dropout(0.3)), table())


def build_momentum_of_another_framework():  # expect: NRM007 at 1
    model = convolutions()
    model[1].momentum = 0.99
    return classifier(model, images(32, 3, 16))


def build_norm_with_four_samples():  # expect: NRM009 at 1
    model = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 5))
    return classifier(model, table(4))


def build_one_norm_left_in_eval():  # expect: NRM010 at 1
    model = convolutions()
    model[1].eval()
    return classifier(model, images(32, 3, 16))


def build_batch_norm_on_logits():  # expect: NRM013 at 1
    return classifier(nn.Sequential(mlp(), nn.BatchNorm1d(5)), table())


def build_spatial_dropout_on_features():  # expect: NRM014 at 2
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Dropout1d(0.3), nn.Linear(32, 5))
    return classifier(model, table())


def build_dropout_in_a_single_recurrent_layer():  # expect: NRM015 at rnn
    import warnings

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.rnn = nn.LSTM(8, 32, dropout=0.5, batch_first=True)
            self.head = nn.Linear(32, 5)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    return classifier(Net(), torch.randn(32, 6, 8))


# -------------------------------------------------------------------- signal and gradient


def build_log_of_zero():  # expect: SIG003
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return self.net(torch.log(torch.relu(x)))  # <- SIG003

    return classifier(Net(), table())


class RunningScale(nn.Module):
    """Divides by the deviation of the batch, and in evaluation by its running average."""

    def __init__(self, width, momentum=0.1):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("average", torch.zeros(width))

    def forward(self, x):
        if self.training:
            with torch.no_grad():
                self.average.lerp_(x.std(0), self.momentum)
            return x / (x.std(0) + 1e-5)
        return x / self.average  # <- SIG003


def build_average_of_zero_in_evaluation():  # expect: SIG003 warning
    return classifier(nn.Sequential(nn.Linear(20, 32), RunningScale(32), nn.ReLU(), nn.Linear(32, 5)), table())


def build_average_that_nothing_updates():  # expect: SIG003
    model = nn.Sequential(nn.Linear(20, 32), RunningScale(32, momentum=0.0), nn.ReLU(), nn.Linear(32, 5))
    return classifier(model, table())


def build_running_variance_below_zero():  # expect: SIG003 at 1
    model = convolutions()
    model[1].running_var.sub_(1.5)
    return classifier(model, images())


def build_attention_with_everything_masked():  # expect: SIG003
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.head = nn.Linear(20, 96), nn.Linear(32, 5)

        def forward(self, x, mask):
            q, k, v = self.qkv(x).chunk(3, -1)
            scores = (q @ k.transpose(1, 2) / 32**0.5).masked_fill(~mask[:, None], float("-inf"))
            return self.head((scores.softmax(-1) @ v).mean(1))  # <- SIG003

    mask = torch.rand(32, 6) < 0.7
    mask[3] = False
    return classifier(Net(), (torch.randn(32, 6, 20), mask), declared={"set-input"})


def build_noise_in_evaluation():  # expect: SIG007
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return self.net(x + 0.1 * torch.randn_like(x))  # <- SIG007

    return classifier(Net(), table())


def build_sampled_latents_in_evaluation():  # expect: SIG007 info
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.decoder = mlp(outputs=16), nn.Linear(8, 20)

        def forward(self, x):
            mean, log_variance = self.body(x).chunk(2, 1)
            return self.decoder(torch.distributions.Normal(mean, torch.exp(0.5 * log_variance)).rsample())  # <- SIG007

    x = table()
    return setup(Net(), x, x, nn.MSELoss())


def build_weights_disturbed_in_every_forward():  # expect: SIG007 at 0
    class Disturbed(nn.Linear):
        def forward(self, x):
            noise = 0.05 * torch.randn_like(self.weight)
            return functional.linear(x, self.weight + noise, self.bias)

    return classifier(nn.Sequential(Disturbed(20, 32), nn.ReLU(), nn.Linear(32, 5)), table())


def build_dead_layer():  # expect: SIG001
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = nn.Linear(20, 64), nn.Linear(64, 64), nn.Linear(64, 5)

        def forward(self, x):
            x = torch.sigmoid(self.first(x))
            return self.head(torch.relu(self.second(x) - 0.35))  # <- SIG001

    return classifier(Net(), table(256))


def build_sigmoid_far_out():  # expect: SIG002
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(20, 64), nn.Linear(64, 5)

        def forward(self, x):
            return self.head(torch.tanh(8 * self.first(x)))  # <- SIG002

    return classifier(Net(), table())


def build_distance_of_equal_pairs():  # expect: GRD004
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.tower = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 16))

        def forward(self, left, right):
            return torch.sqrt((self.tower(left) - self.tower(right)).pow(2).sum(1))  # <- GRD004

    left = table()
    inputs = (left, torch.cat([left[:8], table(56)]))
    return setup(Net(), inputs, labels(64, 2).float(), lambda d, same: (same * d + (1 - same) * (2 - d).relu()).mean())


def build_where_around_a_logarithm():  # expect: GRD004
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(20, 32), nn.Linear(32, 5)

        def forward(self, x, kept):
            h = self.body(x).exp() * kept
            return self.head(torch.where(kept > 0, torch.log(h), torch.zeros_like(h)))  # <- GRD004

    return classifier(Net(), (table(), (torch.rand(64, 32) < 0.8).float()))


def build_long_sigmoid_stack():  # expect: ARC024 at 0
    return classifier(mlp(depth=5, activation=nn.Sigmoid), table())


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * x


class Clipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x, scale)
        return x * scale

    @staticmethod
    def backward(ctx, gradient):
        x, scale = ctx.saved_tensors
        return gradient * scale, gradient.sum() * 2


# settings: probes=["gradcheck"]
def build_derivative_of_exp_written_wrongly():  # expect: GRD007
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(20, 32), nn.Linear(32, 5)

        def forward(self, x):
            return self.head(Doubled.apply(self.body(x)))  # <- GRD007

    return classifier(Net(), table())


# settings: probes=["gradcheck"]
def build_gradient_of_a_scale_written_wrongly():  # expect: GRD007
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(20, 32), nn.Linear(32, 5)
            self.scale = nn.Parameter(torch.tensor(0.5))

        def forward(self, x):
            return self.head(torch.relu(Clipped.apply(self.body(x), self.scale)))  # <- GRD007

    return classifier(Net(), table())


class NoGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clamp(-1, 1)

    @staticmethod
    def backward(ctx, gradient):
        return None


def build_backward_that_returns_none():  # expect: GRD003
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(20, 32), nn.Linear(32, 5)

        def forward(self, x):
            return self.head(NoGradient.apply(self.body(x)))  # <- GRD003

    return classifier(Net(), table())


def build_branch_switched_off_by_a_factor():  # expect: GRD003 at extra
    class Net(nn.Module):
        def __init__(self, strength=0.0):
            super().__init__()
            self.body, self.extra, self.head = nn.Linear(20, 32), nn.Linear(20, 32), nn.Linear(32, 5)
            self.strength = strength

        def forward(self, x):
            return self.head(torch.relu(self.body(x)) + self.strength * torch.tanh(self.extra(x)))

    return classifier(Net(), table())
