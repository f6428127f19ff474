"""Inputs that are scaled in one place, and arithmetic on inputs that is no normalization."""

import math

import torch
from _parts import classifier, images, setup, table
from _scales import Network, pictures, standardized
from torch import nn


def build_normalized_by_the_model_alone():
    found = images()
    shades = (found - found.min()) / (found.max() - found.min())
    return classifier(Network(lambda net, x: (x - net.mean) / net.std[:, None, None]), shades)


def build_normalized_by_the_data_alone():
    return classifier(Network(lambda net, x: x), pictures())


def build_from_minus_one_to_one_and_back():
    return classifier(Network(lambda net, x: ((x + 1) / 2 - net.mean) / net.std[:, None, None]), images().tanh())


def build_half_and_half_again():
    return classifier(Network(lambda net, x: (x - 0.5) / 0.5), pictures())


def build_noise_in_place_of_pictures():
    return classifier(Network(lambda net, x: (x - net.mean) / net.std[:, None, None]), torch.randn(32, 3, 32, 32))


def build_statistics_of_one_and_zero():
    """Running statistics of observations that have not been collected yet."""

    class Agent(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(12))
            self.register_buffer("var", torch.ones(12))
            self.layers = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 1))

        def forward(self, x):
            return self.layers(((x - self.mean) / (self.var + 1e-8).sqrt()).clamp(-10, 10))

    x = standardized()
    return setup(Agent(), x, x[:, :1] * 0.5, nn.MSELoss())


def build_fourier_features():
    class Field(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("waves", torch.randn(2, 32))
            self.layers = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

        def forward(self, x):
            angles = (2 * math.pi * x) @ self.waves
            return self.layers(torch.cat([angles.sin(), angles.cos()], -1))

    x = torch.rand(256, 2) * 2 - 1
    return setup(Field(), x, (x[:, :1] * 3).sin(), nn.MSELoss())


def build_learned_scale_of_the_inputs():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.shift = nn.Parameter(torch.full((20,), 3.0)), nn.Parameter(torch.zeros(20))
            self.layers = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))

        def forward(self, x):
            return self.layers((x - self.shift) * self.scale)

    return classifier(Scaled(), table())


def build_pixels_normalized_by_the_model():
    class Normalizing(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))

        def forward(self, x):
            return self.net((x / 255 - 0.5) / 0.25)

    return classifier(Normalizing(), torch.randint(0, 256, (32, 3, 32, 32)).float())
