"""Views, permutes and softmaxes that look like faults of axes and are none."""

import torch
from _parts import classifier, images, labels, setup, tokens
from torch import nn
from torch.nn import functional


def stem(channels=24):
    return nn.Sequential(nn.Conv2d(3, channels, 3, 2, 1), nn.ReLU(), nn.Conv2d(channels, channels, 3, 2, 1), nn.ReLU())


def build_shifted_windows():
    """Swin: windows cut out, attended within, and put back."""

    class Block(nn.Module):
        def __init__(self, width, size, shift):
            super().__init__()
            self.size, self.shift = size, shift
            self.norm, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, 4, batch_first=True)
            self.mlp = nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
            )

        def forward(self, x):
            n, h, w, c = x.shape
            s = self.size
            y = torch.roll(self.norm(x), (-self.shift, -self.shift), (1, 2))
            y = y.view(n, h // s, s, w // s, s, c).permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, s * s, c)
            y = self.attention(y, y, y, need_weights=False)[0]
            y = y.view(n, h // s, w // s, s, s, c).permute(0, 1, 3, 2, 4, 5).contiguous().view(n, h, w, c)
            x = x + torch.roll(y, (self.shift, self.shift), (1, 2))
            return x + self.mlp(x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.position = nn.Conv2d(3, 32, 4, 4), nn.Parameter(0.1 * torch.randn(8, 8, 32))
            self.blocks, self.head = nn.Sequential(Block(32, 4, 0), Block(32, 4, 2)), nn.Linear(32, 5)

        def forward(self, x):
            x = self.blocks(self.embed(x).permute(0, 2, 3, 1) + self.position)
            return self.head(x.mean((1, 2)))

    return classifier(Net(), images())


def build_shuffled_groups():
    """ShuffleNet: channels of the groups interleaved by a view and a transposition."""

    class Unit(nn.Module):
        def __init__(self, channels, groups):
            super().__init__()
            self.groups = groups
            self.first, self.norm = (
                nn.Conv2d(channels, channels, 1, groups=groups, bias=False),
                nn.BatchNorm2d(channels),
            )
            self.second = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)

        def forward(self, x):
            y = torch.relu(self.norm(self.first(x)))
            n, c, h, w = y.shape
            y = y.view(n, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(n, c, h, w)
            return torch.relu(x + self.second(y))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.units, self.head = stem(), nn.Sequential(Unit(24, 3), Unit(24, 3)), nn.Linear(24, 5)

        def forward(self, x):
            return self.head(self.units(self.stem(x)).mean((2, 3)))

    return classifier(Net(), images())


def build_relative_positions_by_a_shift():
    """Transformer-XL: scores padded, counted out anew, and cut."""

    class Attention(nn.Module):
        def __init__(self, width, length):
            super().__init__()
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.relative = nn.Parameter(0.2 * torch.randn(length, width))

        def forward(self, x):
            q, k, v = self.qkv(x).chunk(3, -1)
            places = q @ self.relative.T
            n, rows, columns = places.shape
            padded = torch.cat([places.new_zeros(n, rows, 1), places], -1)
            places = padded.view(n, columns + 1, rows)[:, 1:].view_as(places)
            scores = (q @ k.mT + places) / q.shape[-1] ** 0.5
            mask = torch.ones(rows, rows, dtype=torch.bool).triu(1)
            return self.out(scores.masked_fill(mask, -torch.inf).softmax(-1) @ v)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.attention = nn.Embedding(100, 32), Attention(32, 16)
            self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 100)

        def forward(self, ids):
            x = self.embed(ids)
            return self.head(self.norm(x + self.attention(x))).transpose(1, 2)

    ids = tokens(32, 17)
    return setup(Net(), ids[:, :-1], ids[:, 1:], nn.CrossEntropyLoss(), causal=True)


def build_clips_folded_into_the_batch():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.frames, self.rnn, self.head = stem(), nn.GRU(24, 32, batch_first=True), nn.Linear(32, 5)

        def forward(self, x):
            n, t = x.shape[:2]
            f = self.frames(x.flatten(0, 1)).mean((2, 3)).view(n, t, -1)
            return self.head(self.rnn(f)[0][:, -1])

    clips = images(32 * 3, 3, 16).view(32, 3, 3, 16, 16)
    return classifier(Net(), clips)


def build_reader_with_as_many_columns_as_samples():
    """Time first, as CTC wants it; the columns are as many as the pictures."""

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.cnn = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 24, 3, (2, 1), 1), nn.ReLU())
            self.rnn, self.head = nn.LSTM(24, 24, bidirectional=True), nn.Linear(48, 6)

        def forward(self, x):
            return self.head(self.rnn(self.cnn(x).mean(2).permute(2, 0, 1))[0]).log_softmax(-1)

    def ctc(output, words):
        lengths = torch.full((words.size(0),), output.size(0)), torch.full((words.size(0),), words.size(1))
        return functional.ctc_loss(output, words, *lengths)

    return setup(Reader(), images(16, 1, 32), 1 + labels(48).view(16, 3), ctc)


def build_pixels_from_channels():
    """Super-resolution by pixel shuffle, its inverse by views in front."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = (
                nn.Conv2d(12, 24, 3, 1, 1),
                nn.Conv2d(24, 24, 3, 1, 1),
                nn.Conv2d(24, 48, 3, 1, 1),
            )

        def forward(self, x):
            n, c, h, w = x.shape
            x = x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, 4 * c, h // 2, w // 2)
            x = torch.relu(self.second(torch.relu(self.first(x))))
            return functional.pixel_shuffle(self.last(x), 4)

    small = images(16, 3, 12)
    return setup(Net(), small, functional.interpolate(small, scale_factor=2, mode="bicubic"), nn.MSELoss())


def build_pairs_that_are_meant():
    """A ranking loss: every sample against every other, both sides given an axis."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 1))

        def forward(self, x):
            return self.body(x).squeeze(-1)

    def ranking(scores, y):
        wanted = (y[:, None] > y[None, :]).float()
        return (functional.softplus(scores[None, :] - scores[:, None]) * wanted).mean()

    return setup(Net(), torch.randn(48, 20), torch.randn(48), ranking)


def build_pooled_to_clusters():
    """DiffPool: softmax over the clusters, sums over the nodes of each graph."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.assign = nn.Linear(8, 24), nn.Linear(24, 4)
            self.after, self.head = nn.Linear(24, 24), nn.Linear(24, 5)

        def forward(self, x):
            adjacency = torch.softmax(x @ x.mT / 8**0.5, -1)
            h = torch.relu(self.embed(adjacency @ x))
            clusters = self.assign(h).softmax(-1)
            return self.head(torch.relu(self.after(clusters.mT @ h)).flatten(1).unflatten(1, (4, 24)).mean(1))

    return classifier(Net(), torch.randn(32, 9, 8))
