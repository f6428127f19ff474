"""Modes and freezing as they are meant: frozen bodies in evaluation, functional norms, trained heads that stay."""

import torch
from _parts import classifier, images, labels, table
from faulty_modes import Net, evaluate_norms
from torch import nn
from torch.nn import functional


def build_frozen_body_kept_in_evaluation():
    model = Net(lambda net: net.body.eval())
    model.body.requires_grad_(False)
    return classifier(model, images())


def build_norms_of_a_trained_net_kept_in_evaluation():
    model, pictures = Net(), images()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        functional.cross_entropy(model(pictures), labels()).backward()
        optimizer.step()
    model.after_train = evaluate_norms
    return classifier(model, pictures)


def build_functional_norm_with_its_mode():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.Linear(16, 5)

        def forward(self, x):
            norm = self.norm
            h = functional.batch_norm(self.conv(x), norm.running_mean, norm.running_var, norm.weight, norm.bias, self.training)
            return self.head(torch.relu(h).mean((2, 3)))

    return classifier(Functional(), images())


def build_functional_norm_by_keywords():
    class Norm(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(width))
            self.register_buffer("mean", torch.zeros(width))
            self.register_buffer("variance", torch.ones(width))

        def forward(self, x):
            return functional.batch_norm(x, self.mean, self.variance, weight=self.scale, training=self.training)

    return classifier(nn.Sequential(nn.Linear(20, 32, bias=False), Norm(32), nn.ReLU(), nn.Linear(32, 5)), table())


def build_norm_of_a_checkpoint_in_buffers():
    class Frozen(nn.Module):
        def __init__(self, width):
            super().__init__()
            for name in ("scale", "variance"):
                self.register_buffer(name, torch.rand(width) + 0.5)
            for name in ("shift", "mean"):
                self.register_buffer(name, torch.randn(width) * 0.1)

        def forward(self, x):
            return functional.batch_norm(x, self.mean, self.variance, self.scale, self.shift)

    return classifier(nn.Sequential(nn.Linear(20, 32), Frozen(32), nn.ReLU(), nn.Linear(32, 5)), table())


def build_dropout_evaluated_before_training():
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 5))
    model[2].eval()
    return classifier(model, table())
