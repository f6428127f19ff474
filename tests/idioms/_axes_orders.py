"""Programs whose axes are in order with `right=True` and not without: patches, windows, sub-pixels, copies of rows."""

import torch
from _parts import classifier, images, labels, setup
from torch import nn
from torch.nn import functional as F


class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        h = self.before(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        return x + self.mlp(self.between(x))


class Reader(nn.Module):
    """Tokens made by `tokens`, positions if there are any, attention, the mean, a head."""

    def __init__(self, tokens, positions, outputs=5, width=32, **layers):
        super().__init__()
        self.layers, self.tokens = nn.ModuleDict(layers), tokens
        self.positions = nn.Parameter(torch.zeros(positions, width)) if positions else None
        self.layer, self.head = Layer(width), nn.Linear(width, outputs)

    def forward(self, x):
        x = self.tokens(self, x)
        x = x if self.positions is None else x + self.positions
        return self.head(self.layer(x).mean(1))


def patches_by_convolution(*, right):
    def tokens(net, x):
        return net.layers["patch"](x).flatten(2).transpose(1, 2)

    return classifier(Reader(tokens, 16 * right, patch=nn.Conv2d(3, 32, 8, 8)), images(16))


def patches_by_unfold(*, right):
    def tokens(net, x):
        return net.layers["embed"](F.unfold(x, 8, stride=8).mT)

    return classifier(Reader(tokens, 16 * right, embed=nn.Linear(192, 32)), images(16))


def patches_by_views(*, right):
    def tokens(net, x):
        n, c, h, w = x.shape
        parts = x.view(n, c, h // 8, 8, w // 8, 8).permute(0, 2, 4, 3, 5, 1)
        return net.layers["embed"](parts.reshape(n, -1, 64 * c))

    return classifier(Reader(tokens, 16 * right, embed=nn.Linear(192, 32)), images(16))


def beats_of_a_signal(*, right):
    def tokens(net, x):
        return net.layers["patch"](x).mT

    return classifier(
        Reader(tokens, 12 * right, patch=nn.Conv1d(2, 32, 10, 10)), torch.randn(16, 2, 120).cumsum(2) * 0.1
    )


class Upsampler(nn.Module):
    def __init__(self, factor, *, right):
        super().__init__()
        self.factor, self.right = factor, right
        self.first, self.last = nn.Conv2d(1, 4 * factor**2, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x):
        x, r = self.first(x), self.factor
        n, c, h, w = x.shape
        if self.right:
            x = x.view(n, c // r**2, r, r, h, w).permute(0, 1, 4, 2, 5, 3)
        return self.last(F.relu(x.reshape(n, c // r**2, h * r, w * r)))


def subpixels(*, right):
    fine = images(8, 1, 24)
    return setup(Upsampler(2, right=right), F.avg_pool2d(fine, 2), fine, nn.L1Loss())


def squeezed_pixels(*, right):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2d(4, 16, 3, padding=1), nn.Conv2d(16, 1, 3, padding=1)

        def forward(self, x):
            n, c, h, w = x.shape
            x = F.pixel_unshuffle(x, 2) if right else x.view(n, 4 * c, h // 2, w // 2)
            return self.last(F.relu(self.first(x)))

    x = images(8, 1, 16)
    return setup(Net(), x, F.avg_pool2d(x, 2), nn.MSELoss())


class Windows(nn.Module):
    """Attention in windows of 4 x 4; `back` puts them back."""

    def __init__(self, width, back):
        super().__init__()
        self.back, self.stem = back, nn.Conv2d(3, width, 2, 2)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.positions = nn.Parameter(0.02 * torch.randn(16, width))
        self.head = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 4, 1))

    def forward(self, x):
        x = self.stem(x).permute(0, 2, 3, 1)
        n, h, w, c = x.shape
        parts = x.view(n, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c) + self.positions
        parts = self.attention(parts, parts, parts)[0].view(n, h // 4, w // 4, 4, 4, c)
        return self.head((x + self.back(parts).reshape(n, h, w, c)).permute(0, 3, 1, 2))


def windows_put_back(*, right):
    model = Windows(24, lambda parts: parts.permute(0, 1, 3, 2, 4, 5) if right else parts)
    return setup(model, images(4), labels(4 * 256, 4).view(4, 16, 16), nn.CrossEntropyLoss())


def user_beside_each_item(*, right):
    class Ranker(nn.Module):
        def __init__(self):
            super().__init__()
            self.user, self.item = nn.Linear(8, 16), nn.Linear(5, 16)
            self.score = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))

        def forward(self, user, items):
            n, k, width = items.shape
            u = self.user(user)
            u = u.repeat_interleave(k, 0) if right else u.repeat(k, 1)
            return self.score(torch.cat([u, self.item(items.reshape(n * k, width))], 1)).view(n, k)

    return setup(Ranker(), (torch.randn(16, 8), torch.randn(16, 7, 5)), labels(16, 7), nn.CrossEntropyLoss())


def state_beside_each_step(*, right):
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.score, self.head = nn.GRU(6, 16, batch_first=True), nn.Linear(32, 1), nn.Linear(16, 3)

        def forward(self, x):
            steps, last = self.rnn(x)
            n, length, width = steps.shape
            state = last[-1][:, None].expand(n, length, width) if right else last[-1].expand(length, n, width)
            both = torch.cat([state.reshape(-1, width), steps.reshape(-1, width)], 1)
            weights = self.score(torch.tanh(both)).view(n, length).softmax(1)
            return self.head((weights[..., None] * steps).sum(1))

    return classifier(Reader(), torch.randn(16, 9, 6), 3)


class TimeMajor(nn.Module):
    """A recurrent reader that keeps torch's default layout inside; `right` turns its outputs back."""

    def __init__(self, words, outputs, *, right):
        super().__init__()
        self.right = right
        self.embed, self.rnn, self.head = nn.Embedding(words, 16), nn.GRU(16, 24), nn.Linear(24, outputs)

    def forward(self, x):
        scores = self.head(self.rnn(self.embed(x).transpose(0, 1))[0])
        return scores.transpose(0, 1) if self.right else scores


def rows_of(scores, words):
    return F.cross_entropy(scores.reshape(len(words), -1), words)


def next_words_in_one_row(*, right):
    words = torch.randint(0, 20, (16, 11))
    return setup(TimeMajor(20, 20, right=right), words[:, :-1], words[:, 1:].flatten(), rows_of)


def tags_in_one_row(*, right):
    words = torch.randint(0, 30, (16, 11))
    return setup(TimeMajor(30, 6, right=right), words, (words * 7 % 13 % 6).flatten(), rows_of)


def steps_stacked(*, right):
    """As many samples as steps, so that shapes agree in either order."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.GRUCell(3, 16), nn.Linear(16, 1)

        def forward(self, x):
            state, steps = x.new_zeros(len(x), 16), []
            for part in x.unbind(1):
                state = self.cell(part, state)
                steps.append(self.head(state)[:, 0])
            return torch.stack(steps, 1) if right else torch.stack(steps)

    x = torch.randn(12, 12, 3)
    return setup(Net(), x, x.sum(-1).cumsum(1) * 0.2, nn.MSELoss())


def steps_averaged(*, right):
    """As many samples as steps, so that a mean over either has a row for each label."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(5, 24, batch_first=True), nn.Linear(24, 3)

        def forward(self, x):
            return self.head(self.rnn(x)[0].mean(1 if right else 0))

    return classifier(Net(), torch.randn(16, 16, 5), 3)


def steps_weighed(*, right):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.score, self.head = nn.Conv1d(5, 24, 3, padding=1), nn.Linear(24, 1), nn.Linear(24, 3)

        def forward(self, x):
            h = F.relu(self.conv(x)).mT
            return self.head((self.score(h).softmax(1) * h).sum(1 if right else 0))

    return classifier(Net(), torch.randn(16, 5, 16), 3)
