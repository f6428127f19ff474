"""Indices that are all in range: negative ones that wrap, marks that are masked first, nodes of a graph."""

import torch
from _parts import classifier, labels, setup, table
from faulty_indices import Convolution, edges
from torch import nn
from torch.nn import functional


def build_last_step_of_each_sequence():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(12, 16, batch_first=True), nn.Linear(16, 5)

        def forward(self, x, lengths):
            return self.head(self.rnn(x)[0][torch.arange(len(x)), lengths - 1])

    return setup(Net(), (torch.randn(16, 10, 12), torch.arange(16) % 10 + 1), labels(16), nn.CrossEntropyLoss())


def build_graph_convolution():
    def gather(x, e):
        return torch.zeros_like(x).index_add_(0, e[1], x[e[0]]) / 3

    return setup(Convolution(gather), (torch.randn(40, 8), edges(40)), labels(40, 3), nn.CrossEntropyLoss())


def build_unlabelled_samples_masked_first():
    wanted = labels(64)
    wanted[::9] = -1

    def loss(out, y):
        known = y >= 0
        return -out.log_softmax(1)[known].gather(1, y[known][:, None]).mean()

    return setup(nn.Linear(20, 5), table(), wanted, loss)


def build_lookup_that_falls_back():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows, self.head = nn.Parameter(torch.randn(10, 16)), nn.Linear(16, 5)

        def forward(self, ids):
            try:
                return self.head(self.rows[ids])
            except IndexError:
                return self.head(self.rows[ids % 10])

    return classifier(Net(), torch.arange(32) % 13)


def build_categories_with_one_for_the_unknown():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(11, 5)

        def forward(self, ids):
            return self.head(functional.one_hot(ids.clamp(max=10), 11).float())

    return classifier(Net(), torch.arange(32) % 13)
