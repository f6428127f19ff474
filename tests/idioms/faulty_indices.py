"""Indices that point beyond what they index: nodes, classes, actions, positions, rows of a parameter."""

import torch
from _parts import classifier, labels, setup, table, tokens
from torch import nn
from torch.nn import functional


class Convolution(nn.Module):
    """A graph convolution by hand: sums what the edges bring."""

    def __init__(self, gather):
        super().__init__()
        self.first, self.last, self.gather = nn.Linear(8, 16), nn.Linear(16, 3), gather

    def forward(self, x, edge_index):
        return self.last(torch.relu(self.gather(self.first(x), edge_index)))


def graph(gather, edges):
    return setup(Convolution(gather), (torch.randn(20, 8), edges), labels(20, 3), nn.CrossEntropyLoss())


def edges(high=20, low=0):
    found = torch.randint(low, high, (2, 60))
    found[:, 0] = high - 1
    return found


def build_edge_from_a_node_that_was_left_out():  # expect: DAT013 at, RUN002 at
    return graph(lambda x, e: torch.zeros_like(x).index_add_(0, e[1], x[e[0]]), edges(24))  # <- DAT013 RUN002


def build_nodes_counted_from_one():  # expect: DAT013 at, RUN002 at
    return graph(lambda x, e: torch.zeros_like(x).index_add(0, e[1] % 20, x.index_select(0, e[0])), edges(21, 1))  # <- DAT013 RUN002


def build_messages_scattered_beyond_the_graph():  # expect: DAT013 at, RUN002 at
    def gather(x, e):
        return torch.zeros_like(x).scatter_add_(0, e[1][:, None].expand(-1, x.shape[1]), x[e[0] % 20])  # <- DAT013 RUN002

    return graph(gather, edges(24))


def build_actions_of_another_environment():  # expect: DAT013 at, RUN003 at
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    actions, returns = torch.arange(64) % 5, torch.randn(64)

    def loss(values, target):
        return functional.smooth_l1_loss(values.gather(1, target[0][:, None]).squeeze(1), target[1])  # <- DAT013 RUN003

    return setup(net, torch.randn(64, 8), (actions, returns), loss)


def build_hand_written_cross_entropy_with_classes_from_one():  # expect: DAT013 at, RUN003 at
    def loss(out, y):
        return -out.log_softmax(1)[torch.arange(len(y)), y].mean()  # <- DAT013 RUN003

    return setup(nn.Linear(20, 5), table(), labels(64) + 1, loss)


def build_unlabelled_samples_scattered():  # expect: DAT013 at, RUN003 at
    wanted = labels(64)
    wanted[::9] = -1

    def loss(out, y):
        return -(torch.zeros_like(out).scatter(1, y[:, None], 1.0) * out.log_softmax(1)).sum(1).mean()  # <- DAT013 RUN003

    return setup(nn.Linear(20, 5), table(), wanted, loss)


def build_categories_that_were_added_later():  # expect: DAT013 at, RUN002 at
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(10, 5)

        def forward(self, ids):
            return self.head(functional.one_hot(ids, 10).float())  # <- DAT013 RUN002

    return classifier(Net(), torch.arange(32) % 13)


def build_sequence_longer_than_the_learned_positions():  # expect: DAT013 at, RUN002 at
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(100, 16), nn.Linear(16, 5)
            self.positions = nn.Parameter(torch.randn(10, 16) * 0.02)

        def forward(self, ids):
            where = self.positions[torch.arange(ids.shape[1])]  # <- DAT013 RUN002
            return self.head((self.embed(ids) + where).mean(1))

    return classifier(Net(), tokens())
