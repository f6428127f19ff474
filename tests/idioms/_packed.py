"""Packed sequences, writers of text, policies and gates, for the idioms of both kinds."""

import torch
from _padded import words
from _parts import labels, setup
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Packed(nn.Module):
    """An embedding and a recurrent layer over packed sequences; `read` makes one vector of what is unpacked."""

    def __init__(self, classes=3):
        super().__init__()
        self.embed, self.rnn = nn.Embedding(40, 16, padding_idx=0), nn.GRU(16, 24, batch_first=True)
        self.head = nn.Linear(24, classes)

    def forward(self, tokens, lengths):
        packed = pack_padded_sequence(self.embed(tokens), lengths, batch_first=True, enforce_sorted=False)
        out, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return self.head(self.read(out))


def packed(read, samples=16):
    kind = type("Reader", (Packed,), {"read": read})
    ids, sizes = words(samples)
    return setup(kind(), (ids, sizes), labels(samples, 3), nn.CrossEntropyLoss())


class Writer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rnn, self.out = nn.Embedding(40, 24), nn.GRU(24, 32, batch_first=True), nn.Linear(32, 40)

    def forward(self, tokens):
        return self.out(self.rnn(self.embed(tokens))[0])


def ended(samples=16):
    """Ids that end with 2 and are padded with 0."""
    ids, sizes = words(samples)
    ids[ids == 2] = 3
    ids[torch.arange(samples), sizes - 1] = 2
    return ids


class Policy(nn.Module):
    """Means and spreads of actions; `limited` is what becomes of the spread's logarithm."""

    def __init__(self, start, limited):
        super().__init__()
        self.body, self.limited = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 2)), limited
        self.log_std = nn.Parameter(torch.full((2,), start))

    def forward(self, x):
        return torch.distributions.Normal(self.body(x), self.limited(self.log_std).exp())


def policy(start, limited):
    model, x, actions = Policy(start, limited), torch.randn(64, 6), torch.randn(64, 2)

    def own(model, x, y):
        return -model(x).log_prob(y).sum(1).mean()

    return setup(model, x, actions, own_loss=own)


class Gated(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight
        self.inner, self.gate, self.out = nn.Linear(12, 24), nn.Linear(24, 24), nn.Linear(24, 3)

    def forward(self, x):
        h = torch.relu(self.inner(x))
        return self.out(h + self.weight * h * self.gate(h).sigmoid())
