"""Norms and dropout that train in the wrong mode, new layers frozen beside trained ones."""

import torch
from _parts import classifier, images, table
from torch import nn
from torch.nn import functional


def trunk_with_norms():
    layers = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    layers += [nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers)


class Net(nn.Module):
    """A body and a head; what `train()` and the forward do with the modes is given."""

    def __init__(self, after_train=None, in_forward=None):
        super().__init__()
        self.body, self.head = trunk_with_norms(), nn.Linear(16, 5)
        self.after_train, self.in_forward = after_train, in_forward

    def train(self, mode=True):
        super().train(mode)
        if self.after_train is not None:
            self.after_train(self)
        return self

    def forward(self, x):
        if self.in_forward is not None:
            self.in_forward(self)
        return self.head(self.body(x))


def evaluate_norms(net):
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def build_norms_of_a_fresh_net_kept_in_evaluation():  # expect: NRM010 at body.1
    return classifier(Net(evaluate_norms), images())


def build_train_that_evaluates_the_body():  # expect: NRM010 at body
    return classifier(Net(lambda net: net.body.eval()), images())


def build_forward_that_evaluates_the_body():  # expect: NRM010 at body
    return classifier(Net(None, lambda net: net.body.eval()), images())


def build_train_that_ignores_its_argument():  # expect: NRM010 at
    class Stuck(Net):
        def train(self, mode=True):
            return nn.Module.train(self, False)

    return classifier(Stuck(), images())


def build_train_that_forgets_a_part():  # expect: NRM010 at body
    class Forgetful(Net):
        def train(self, mode=True):
            self.training = mode
            self.head.train(mode)
            return self

    model = Forgetful()
    model.body.eval()
    return classifier(model, images())


def build_functional_norm_with_its_default():  # expect: NRM010 at
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.Linear(16, 5)

        def forward(self, x):
            norm = self.norm
            x = functional.batch_norm(self.conv(x), norm.running_mean, norm.running_var, norm.weight, norm.bias)  # <- NRM010
            return self.head(torch.relu(x).mean((2, 3)))

    return classifier(Functional(), images())


def build_norm_of_ones_own_with_fixed_statistics():  # expect: NRM010 at 1
    class Norm(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.scale, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
            self.register_buffer("mean", torch.zeros(width))
            self.register_buffer("variance", torch.ones(width))

        def forward(self, x):
            return functional.batch_norm(x, self.mean, self.variance, self.scale, self.shift, training=False)

    return classifier(nn.Sequential(nn.Linear(20, 32, bias=False), Norm(32), nn.ReLU(), nn.Linear(32, 5)), table())


def build_dropout_that_train_leaves_off():  # expect: NRM010 at drop
    class Calm(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.drop, self.last = nn.Linear(20, 64), nn.Dropout(0.5), nn.Linear(64, 5)

        def train(self, mode=True):
            super().train(mode)
            self.drop.eval()
            return self

        def forward(self, x):
            return self.last(self.drop(torch.relu(self.first(x))))

    return classifier(Calm(), table())


def build_block_freed_in_an_evaluated_body():  # expect: NRM010 at body
    model = Net(lambda net: net.body.eval())
    model.body.requires_grad_(False)
    model.body[3:5].requires_grad_(True)
    return classifier(model, images())


def build_frozen_body_whose_statistics_move():  # expect: NRM010 at body.1
    model = Net()
    model.body.requires_grad_(False)
    return classifier(model, images())


def as_trained(module):
    """Give matrices and kernels the decaying spectrum and the common direction that training leaves in them."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            left, values, right = torch.linalg.svd(parameter.data.flatten(1), full_matrices=False)
            common = torch.outer(torch.randn(left.shape[0]), torch.rand(right.shape[1]))
            made = left @ torch.diag(values * torch.linspace(3, 0.05, len(values))) @ right + 0.1 * common
            parameter.data = made.reshape(parameter.shape)
    return module


def build_head_frozen_by_a_part_of_its_name():  # expect: INI014 at backbone_head
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.neck, self.backbone_head = nn.Linear(20, 20), nn.Linear(64, 5)
            self.backbone = as_trained(nn.Sequential(nn.ReLU(), nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()))

        def forward(self, x):
            return self.backbone_head(self.backbone(self.neck(x)))

    model = Named()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "backbone" not in name
    return classifier(model, table())


def build_first_convolution_for_more_channels_frozen():  # expect: INI014 at stem
    class Stemmed(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Conv2d(6, 32, 3, padding=1), nn.Linear(32, 5)
            self.body = as_trained(nn.Sequential(nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()))

        def forward(self, x):
            return self.head(self.body(self.stem(x)).mean((2, 3)))

    model = Stemmed()
    model.stem.requires_grad_(False)
    model.body.requires_grad_(False)
    return classifier(model, images(channels=6, size=16))
