"""Noise of training that is zero in evaluation, outputs with time first, rows that are alike on purpose."""

import torch
from _parts import classifier, images, setup, table, tokens, trunk
from faulty_evaluation import Noise, Recognizer, ctc, laplace, with_noise
from torch import nn
from torch.nn import functional

# -------------------------------------------------------------------- zero in evaluation


def build_noise_that_is_added_in_training():
    return with_noise(lambda training, x: x + torch.randn_like(x) * 0.3 * float(training))


def build_sampled_code_in_training():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = nn.Linear(20, 16), nn.Linear(8, 20)

        def forward(self, x):
            mean, log_variance = self.encoder(x).chunk(2, 1)
            noise = torch.randn_like(mean) * (log_variance / 2).exp() * (1.0 if self.training else 0.0)
            return self.decoder(mean + noise)

    return setup(Net(), table(), table(), nn.MSELoss())


def build_samples_mixed_in_training():
    mixed = Noise(lambda training, x: x + (0.9 if training else 0.0) * (x[torch.randperm(len(x))] - x))
    return classifier(nn.Sequential(mixed, trunk(), nn.Linear(32, 5)), table())


def build_stochastic_depth_by_hand():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(20, 20)

        def forward(self, x):
            h = torch.relu(self.linear(x))
            return x + (h * (torch.rand(len(x), 1) < 0.8) / 0.8 if self.training else h)

    return classifier(nn.Sequential(Block(), Block(), Block(), nn.Linear(20, 5)), table())


def build_branch_that_starts_at_zero():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.drop = nn.Linear(20, 20), nn.Dropout(0.2)
            self.gain = nn.Parameter(torch.zeros(20))

        def forward(self, x):
            return x + self.gain * self.drop(torch.relu(self.linear(x)))

    return classifier(nn.Sequential(Block(), Block(), nn.Linear(20, 5)), table())


# -------------------------------------------------------------------- time first


def build_recognizer():
    return ctc(Recognizer(lambda h: h), torch.randn(8, 30, 12))


def build_as_many_steps_as_samples():
    return ctc(Recognizer(lambda h: h), torch.randn(8, 12, 12), steps=12)


def build_time_major_transformer():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.positions = nn.Embedding(50, 32), nn.Parameter(torch.randn(12, 1, 32) * 0.1)
            self.layer, self.head = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1), nn.Linear(32, 9)

        def forward(self, ids):
            return functional.log_softmax(self.head(self.layer(self.embed(ids).transpose(0, 1) + self.positions)), -1)

    return ctc(Net(), tokens(8, 12, 50), steps=12)


def build_channels_before_samples():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1)

        def forward(self, x):
            return self.conv(x).permute(1, 0, 2, 3)

    return setup(Net(), images(16, size=16), torch.randn(8, 16, 16, 16), nn.MSELoss())


def build_last_states_of_two_layers():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(12, 16, 2, batch_first=True), nn.Linear(16, 5)

        def forward(self, x):
            states = self.rnn(x)[1][0]
            return self.head(states[-1]), states

    return setup(Net(), torch.randn(16, 10, 12), torch.arange(16) % 5, lambda out, y: functional.cross_entropy(out[0], y))


# -------------------------------------------------------------------- one sample, rows alike


def build_one_picture_with_many_positions():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 1))
    return setup(model, images(1, size=16), torch.randint(0, 3, (1, 16, 16)), nn.CrossEntropyLoss())


def build_decay_rates_of_a_state_space():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.into, self.head = nn.Linear(20, 32), nn.Linear(32, 5)
            self.rates = nn.Parameter(torch.arange(1.0, 9.0).log().repeat(32, 1))

        def forward(self, x):
            return self.head(self.into(x) * torch.exp(-self.rates.exp()).sum(1))

    return classifier(Net(), table())


def build_widened_net():
    model = laplace(nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5)))
    model[0].weight.data[24:] = model[0].weight.data[:8].clone()
    return classifier(model, table())


def build_shared_heads_repeated():
    model = laplace(nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5)))
    model[0].weight.data = model[0].weight.data[:8].repeat_interleave(4, 0)
    return classifier(model, table())
