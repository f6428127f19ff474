"""The faults beside tests/idioms/healthy_recipes.py: what looks like a recipe and is none."""

import torch
import torch.nn.functional as F
from _parts import labels, setup, table
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence


def build_sorted_rows_against_unsorted_labels():  # expect: ARC008
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.rnn, self.head = nn.Embedding(40, 24), nn.GRU(24, 24, batch_first=True), nn.Linear(24, 5)

        def forward(self, ids, lengths):
            lengths, order = lengths.sort(descending=True)
            packed = pack_padded_sequence(self.words(ids[order]), lengths, batch_first=True)  # <- ARC008
            return self.head(self.rnn(packed)[1][0])

    lengths = torch.arange(16) * 5 % 7 + 6
    ids = (torch.arange(12) * 3 + torch.arange(16)[:, None] * 7) % 39 + 1
    return setup(
        Reader(), (ids.masked_fill(torch.arange(12) >= lengths[:, None], 0), lengths), labels(16), F.cross_entropy
    )


def build_samples_for_steps_of_a_state_of_its_own():  # expect: ARC009 at rnn
    class Policy(nn.Module):
        """Independent states of many games, one step each: without batch_first they follow each other."""

        def __init__(self):
            super().__init__()
            self.body, self.rnn, self.head = nn.Linear(4, 24), nn.LSTM(24, 24), nn.Linear(24, 5)

        def forward(self, x):
            h, _ = self.rnn(F.relu(self.body(x)).unsqueeze(1))
            return self.head(h[:, -1])

    return setup(Policy(), table()[:, :4], labels(64), F.cross_entropy)


def build_products_of_a_wide_table():  # expect: LOS018 error
    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.users, self.items = nn.Embedding(40, 64), nn.Embedding(40, 64)

        def forward(self, user, item):
            return (self.users(user) * self.items(item)).sum(1)  # <- LOS018

    pairs = torch.arange(64)
    wanted = (pairs % 2).float()
    return setup(Pairs(), (pairs % 40, pairs * 7 % 40), wanted, F.binary_cross_entropy_with_logits)
