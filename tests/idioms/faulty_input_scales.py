"""Inputs that the data normalizes, and the model once more."""

import torch
from _parts import classifier, images, setup
from _scales import Network, pictures, standardized
from torch import nn


def build_mean_and_deviation_in_buffers():  # expect: DAT001
    return classifier(Network(lambda net, x: (x - net.mean) / net.std[:, None, None]), pictures())  # <- DAT001


def build_in_place_on_a_copy():  # expect: DAT001
    def scaled(net, x):
        return x.clone().sub_(net.mean).div_(net.std.view(-1, 1, 1))  # <- DAT001

    return classifier(Network(scaled), pictures())


def build_numbers_in_the_forward():  # expect: DAT001
    return classifier(Network(lambda net, x: (x - 0.1307) / 0.3081), pictures())  # <- DAT001


def build_divided_by_255_again():  # expect: DAT001
    net = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x / 255.0)  # <- DAT001

    found = images()
    return classifier(Scaled(), (found - found.min()) / (found.max() - found.min()))


def build_table_with_its_statistics():  # expect: DAT001
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.full((12,), 40.0))
            self.register_buffer("std", torch.full((12,), 25.0))
            self.layers = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 1))

        def forward(self, x):
            return self.layers((x - self.mean) / self.std)  # <- DAT001

    x = standardized()
    return setup(Table(), x, x[:, :1] * 0.5, nn.MSELoss())


def build_pixels_between_zero_and_one_divided_by_255():  # expect: DAT001
    class Normalizing(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))

        def forward(self, x):
            return self.net((x / 255 - 0.5) / 0.25)  # <- DAT001

    return classifier(Normalizing(), torch.rand(32, 3, 32, 32))


def build_statistics_of_other_units():  # expect: DAT001
    class Celsius(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 1))

        def forward(self, x):
            return self.layers((x - 293.15) / 8.0)  # <- DAT001

    x = torch.randn(64, 6) * 4 + 20
    return setup(Celsius(), x, (x[:, :1] - 20) / 4, nn.MSELoss())
