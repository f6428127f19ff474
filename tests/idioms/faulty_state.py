"""Fine-tuning state: what is frozen, which gradients never come, which mode training runs in."""

import torch
from _parts import classifier, images, setup, table, trunk
from torch import nn
from torch.nn import functional


class Lora(nn.Module):
    """A linear layer of a frozen model with a trainable product of low rank beside it."""

    def __init__(self, base, rank=4):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down, self.up = nn.Linear(base.in_features, rank, bias=False), nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


class Headed(nn.Module):
    def __init__(self, body, head):
        super().__init__()
        self.body, self.head = body, head

    def forward(self, x):
        return self.head(self.body(x))


def as_trained(module):
    """Give matrices the decaying spectrum and the common direction that training leaves in them."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            left, values, right = torch.linalg.svd(parameter.data, full_matrices=False)
            common = torch.outer(torch.randn(parameter.shape[0]), torch.rand(parameter.shape[1]))
            parameter.data = left @ torch.diag(values * torch.linspace(3, 0.05, len(values))) @ right + 0.1 * common
    return module


# -------------------------------------------------------------------- frozen at random values


def build_head_forgotten_beside_adapters():  # expect: INI014 at head
    body = nn.Sequential(Lora(nn.Linear(20, 32)), nn.ReLU(), Lora(nn.Linear(32, 32)), nn.ReLU())
    return classifier(Headed(body, nn.Linear(32, 5).requires_grad_(False)), table())


def build_all_frozen_but_one_adapter():  # expect: INI014 at head
    model = Headed(nn.Sequential(Lora(nn.Linear(20, 32)), nn.ReLU(), nn.Linear(32, 32), nn.ReLU()), nn.Linear(32, 5))
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "down" in name or "up" in name
    return classifier(model, table())


def build_functional_head_without_gradient():  # expect: INI014 at
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Parameter(torch.randn(20, 32) * 0.2)
            self.last = nn.Parameter(torch.randn(32, 5) * 0.2, requires_grad=False)

        def forward(self, x):
            return torch.relu(x @ self.first) @ self.last

    return classifier(Net(), table())


def build_new_projection_frozen_with_its_encoder():  # expect: INI014 at encoder_projection
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = as_trained(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()))
            self.encoder_projection, self.head = nn.Linear(64, 32), nn.Linear(32, 5)

        def forward(self, x):
            return self.head(functional.relu(self.encoder_projection(self.encoder(x))))

    model = Net()
    for name, parameter in model.named_parameters():
        if name.startswith("encoder"):
            parameter.requires_grad_(False)
    return classifier(model, table())


def build_frozen_readout_of_a_convolutional_net():  # expect: INI014 at 5
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    model[5].requires_grad_(False)
    return classifier(model, images())


def build_head_tied_to_a_frozen_embedding():  # expect: INI014 at embed
    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn = nn.Embedding(50, 32), nn.GRU(32, 32, batch_first=True)
            self.out = nn.Linear(32, 50, bias=False)
            nn.init.normal_(self.embed.weight, std=0.02)
            self.embed.weight.requires_grad_(False)
            self.out.weight = self.embed.weight

        def forward(self, x):
            return self.out(self.rnn(self.embed(x))[0]).transpose(1, 2)

    words = torch.randint(0, 50, (32, 12))
    return setup(Language(), words, words.roll(-1, 1), nn.CrossEntropyLoss())


def build_only_biases_train_and_the_head_is_new():  # expect: INI014 at head
    model = Headed(trunk(), nn.Linear(32, 5))
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.endswith("bias")
    return classifier(model, table())
