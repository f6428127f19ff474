"""Faults beside which the working kinds of healthy_published.py stand: they stay named."""

import torch
import torch.nn.functional as F
from _parts import classifier, images, labels, setup, table
from torch import nn


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(20, 32), nn.Linear(32, 5)

    def forward(self, x):
        return self.last(F.dropout(F.relu(self.first(x)), p=0.5, training=True))  # <- ARC012


def build_dropout_switched_on_in_so_many_words():  # expect: ARC012 warning
    return classifier(Noisy(), table())


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.age, self.last = nn.Conv2d(3, 8, 3, 2), nn.Linear(1, 8), nn.Linear(8, 5)

    def forward(self, picture, age):
        return self.last(torch.relu(self.conv(picture).mean((2, 3)) + self.age(age)))


def build_one_picture_for_all_patients():  # expect: DAT002 error
    picture = images(1, 3, 16).expand(32, -1, -1, -1).contiguous()
    return setup(Pair(), (picture, torch.randn(32, 1)), labels(32), nn.CrossEntropyLoss())


class Broken(nn.Module):
    """Its evaluation branch reads a layer that is not there."""

    def __init__(self):
        super().__init__()
        self.body, self.last = nn.Linear(20, 32), nn.Linear(32, 5)

    def forward(self, x, answers):
        h = torch.relu(self.body(x))
        if self.training:
            return F.cross_entropy(self.last(h), answers)
        return self.classify(h)  # <- RUN008


def build_evaluation_that_calls_what_is_not_there():  # expect: RUN008
    model = Broken()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return {"model": model, "inputs": (table(), labels(64)), "loss": lambda loss: loss, "optimizer": optimizer}


class Skipping(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(32, 32), nn.Linear(32, 32)

    def forward(self, x):
        return x + torch.relu(self.inner(x))


def build_layer_that_no_block_takes():  # expect: ARC001 at 2.outer
    return classifier(nn.Sequential(nn.Linear(20, 32), nn.ReLU(), Skipping(), Skipping(), nn.Linear(32, 5)), table())


class Probability(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(20, 32), nn.Linear(32, 1)

    def forward(self, x):
        return torch.log(torch.sigmoid(self.last(torch.relu(self.first(x)))))  # <- LOS027


def build_log_of_a_probability():  # expect: LOS027
    answers = labels(64, 2).float()[:, None]
    return setup(Probability(), table(), answers, lambda logs, y: -(y * logs).mean() + ((1 - y) * logs).mean())


class Emptied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(20, 32), nn.Linear(32, 5)

    def forward(self, x):
        h = torch.relu(self.first(x))
        h = h * (torch.rand_like(h) > 0.3) if self.training else h * 0.0  # <- NRM005
        return self.last(h)


def build_dropout_by_hand_that_drops_all_in_evaluation():  # expect: NRM005 error
    return classifier(Emptied(), table())
