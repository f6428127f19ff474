"""Models written by strangers, each with an axis at fault and repaired: `faulty_axes_pairs` builds the one, `healthy_axes_pairs` the other."""

import math

import torch
from _parts import classifier, setup
from torch import nn
from torch.nn import functional as F


def by_token(out, y):
    return F.cross_entropy(out.reshape(-1, out.size(-1)), y.reshape(-1))


def series(samples, steps, width):
    return torch.randn(samples, steps, width).cumsum(1) * 0.3


def next_words(model, samples=9, length=13, vocabulary=30):
    x = torch.randint(0, vocabulary, (samples, length))
    return setup(model, x[:, :-1], x[:, 1:], by_token)


def adjacency(nodes=24):
    linked = (torch.rand(nodes, nodes) < 0.15) | torch.eye(nodes, dtype=torch.bool)
    return (linked | linked.T).float()


# -------------------------------------------------------------------- views


def steps_laid_in_a_row(fixed):
    class Forecaster(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.out = nn.GRUCell(3, 24), nn.Linear(24, 2)

        def forward(self, x):
            b, t, _ = x.shape
            h, ys = x.new_zeros(b, 24), []
            for i in range(t):
                h = self.cell(x[:, i], h)
                ys.append(self.out(h))
            rows = torch.cat(ys, 0)
            return rows.view(t, b, 2).transpose(0, 1) if fixed else rows.view(b, t, 2)

    x = series(10, 14, 3)
    return setup(Forecaster(), x, x[..., :2].cos(), nn.MSELoss())


def two_views_of_each_image(fixed):
    class Projector(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 16))

        def forward(self, one, other):
            z = F.normalize(self.net(torch.cat([one, other])), dim=1)
            return z.view(2, len(one), -1).transpose(0, 1) if fixed else z.view(len(one), 2, -1)

    def contrast(z, y):
        return F.cross_entropy(z[:, 0] @ z[:, 1].T / 0.2, y)

    x = torch.randn(16, 20)
    return setup(Projector(), (x, x + 0.1 * torch.randn(16, 20)), torch.arange(16), contrast)


def rows_of_words_by_time(fixed):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.out = nn.Embedding(30, 16), nn.GRU(16, 24), nn.Linear(24, 30)

        def forward(self, x):
            y = self.out(self.rnn(self.embed(x).transpose(0, 1))[0])
            return (y.transpose(0, 1) if fixed else y).reshape(-1, 30)

    x = torch.randint(0, 30, (9, 13))
    return setup(Words(), x[:, :-1], x[:, 1:], lambda out, y: F.cross_entropy(out, y.reshape(-1)))


def rows_of_pixels_by_place(fixed):
    class Segmenter(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))

        def forward(self, x):
            y = self.net(x)
            return (y.permute(0, 2, 3, 1) if fixed else y.permute(2, 3, 0, 1)).reshape(-1, 4)

    x = torch.randn(5, 3, 8, 8)
    return setup(Segmenter(), x, torch.randint(0, 4, (5, 8, 8)), lambda out, y: F.cross_entropy(out, y.view(-1)))


# -------------------------------------------------------------------- positions


class Attention(nn.Module):
    """One layer, written out; `turn` is applied to queries and keys."""

    def __init__(self, d=32, heads=4, turn=None, turn_first=False):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.heads, self.turn, self.turn_first = heads, turn, turn_first

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (layer(x).view(B, T, self.heads, -1) for layer in (self.q, self.k, self.v))
        if self.turn_first:
            q, k = self.turn(q), self.turn(k)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if self.turn is not None and not self.turn_first:
            q, k = self.turn(q), self.turn(k)
        w = (q @ k.transpose(-1, -2) / math.sqrt(C // self.heads)).softmax(-1)
        return self.o((w @ v).transpose(1, 2).reshape(B, T, C))


class Reader(nn.Module):
    """Words in, a word for each out; `place` gives the embeddings their positions."""

    def __init__(self, place=None, attention=None, d=32, vocabulary=30, table=None):
        super().__init__()
        self.embed, self.attention, self.norm = nn.Embedding(vocabulary, d), attention or Attention(d), nn.LayerNorm(d)
        self.out, self.place, self.table = nn.Linear(d, vocabulary), place, table

    def forward(self, ids):
        x = self.embed(ids)
        if self.place is not None:
            x = self.place(self, x)
        return self.out(x + self.attention(self.norm(x)))


def reversed_words(model, samples=8, length=14):
    x = torch.randint(0, 30, (samples, length))
    return setup(model, x, x.flip(1), by_token)


def sines(length, d=32):
    angle = torch.arange(length, dtype=torch.float)[:, None] / 100 ** (torch.arange(0, d, 2) / d)
    return torch.cat([angle.sin(), angle.cos()], 1)


def positions_looked_up_by_sample(fixed):
    def place(net, x):
        rows = net.table(torch.arange(x.size(1) if fixed else x.size(0)))
        return x + (rows[None] if fixed else rows[:, None])

    return reversed_words(Reader(place, table=nn.Embedding(64, 32)))


def sines_as_many_as_samples(fixed):
    def place(net, x):
        return x + (sines(x.shape[1])[None] if fixed else sines(x.shape[0]).unsqueeze(1))

    return reversed_words(Reader(place))


def time_major_embedding_indexed_by_sample(fixed):
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.place = nn.Embedding(40, 32), nn.Embedding(50, 32)
            self.layer, self.out = nn.TransformerEncoderLayer(32, 2, 64), nn.Linear(32, 40)

        def forward(self, x):
            h = self.embed(x.t())
            index = torch.arange(h.size(0)).unsqueeze(1) if fixed else torch.arange(h.size(1)).unsqueeze(0)
            return self.out(self.layer(h + self.place(index.expand(h.size(0), h.size(1))))).transpose(0, 1)

    x = torch.randint(0, 40, (11, 14))
    return setup(Encoder(), x, x.roll(2, 1), by_token)


def index_as_a_feature(fixed):
    class Sensor(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.out = nn.Linear(4, 24), nn.Linear(24, 2)
            self.attention = nn.MultiheadAttention(24, 3, batch_first=True)

        def forward(self, x):
            B, T, _ = x.shape
            at = (torch.arange(T) / T).view(1, T, 1) if fixed else (torch.arange(B) / B).view(B, 1, 1)
            h = torch.relu(self.inner(torch.cat([x, at.expand(B, T, 1)], -1)))
            return self.out((h + self.attention(h, h, h)[0]).mean(1))

    return classifier(Sensor(), torch.randn(16, 11, 3), 2)


def halves_turned_over_heads(fixed):
    def turn(x):
        angle = torch.outer(torch.arange(x.shape[2]).float(), 1.0 / 100 ** (torch.arange(4) / 4))
        c, s, a, b = angle.cos(), angle.sin(), x[..., :4], x[..., 4:]
        return torch.cat([a * c - b * s, a * s + b * c], -1)

    return reversed_words(Reader(attention=Attention(turn=turn, turn_first=not fixed)))


def complex_angles_of_samples(fixed):
    def turn(x):  # (batch, time, heads, width)
        z = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
        n = x.shape[1 if fixed else 0]
        angle = torch.outer(torch.arange(n).float(), 1.0 / 1000 ** (torch.arange(0, 8, 2) / 8))
        angle = torch.polar(torch.ones_like(angle), angle)
        return torch.view_as_real(z * (angle.view(1, n, 1, -1) if fixed else angle.view(n, 1, 1, -1))).flatten(3)

    return reversed_words(Reader(attention=Attention(turn=turn, turn_first=True)))


def time_of_day_of_samples(fixed):
    class Forecaster(nn.Module):
        def __init__(self, d=24):
            super().__init__()
            self.inner, self.clock, self.out = nn.Linear(5, d), nn.Linear(1, d), nn.Linear(d, 1)
            self.layer = nn.TransformerEncoderLayer(d, 4, 48, batch_first=True)

        def forward(self, x):
            n = x.shape[1 if fixed else 0]
            step = torch.linspace(0, 1, n).view((1, n, 1) if fixed else (n, 1, 1))
            return self.out(self.layer(self.inner(x) + self.clock(step)))[:, -1]

    x = torch.randn(20, 15, 5)
    return setup(Forecaster(), x, x[:, -3:, 0].mean(1, keepdim=True), nn.MSELoss())


# -------------------------------------------------------------------- last steps


def lengths_for_rows(fixed):
    class Reviews(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn = nn.Embedding(40, 16, padding_idx=0), nn.GRU(16, 24, batch_first=True)
            self.out = nn.Linear(24, 3)

        def forward(self, x, lengths):
            y, rows = self.rnn(self.embed(x))[0], torch.arange(len(x))
            return self.out(y[rows, lengths - 1] if fixed else y[lengths - 1, rows])

    lengths = torch.randint(5, 13, (12,))
    x = torch.randint(1, 40, (12, 12)).masked_fill(torch.arange(12) >= lengths[:, None], 0)
    return classifier(Reviews(), (x, lengths), 3)


def last_of_unbound(fixed):
    class Filter(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.out = nn.RNN(5, 20, batch_first=True), nn.Linear(20, 3)

        def forward(self, x):
            *_, last = self.rnn(x)[0].unbind(1 if fixed else 0)
            return self.out(last)

    return classifier(Filter(), torch.randn(18, 18, 5), 3)


def last_row_of_a_bidirectional_reader(fixed):
    class Titles(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn = nn.Embedding(50, 16), nn.LSTM(16, 20, batch_first=True, bidirectional=True)
            self.out = nn.Sequential(nn.Dropout(0.2), nn.Linear(40, 4))

        def forward(self, x):
            y, axis = self.rnn(self.embed(x))[0], 1 if fixed else 0
            return self.out(torch.tanh(y.select(axis, y.size(axis) - 1)))

    return classifier(Titles(), torch.randint(0, 50, (12, 12)), 4)


def last_column_of_a_time_major_stack(fixed):
    class Prices(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.out = nn.LSTM(3, 24, num_layers=2), nn.Linear(24, 1)

        def forward(self, x):
            y, _ = self.rnn(x.transpose(0, 1))
            return self.out(y[-1] if fixed else y[:, -1])

    x = series(20, 20, 3)
    return setup(Prices(), x, x[:, -5:, 0].mean(1, keepdim=True), nn.MSELoss())


def last_frame_after_convolutions(fixed):
    class Sounds(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.rnn, self.out = nn.Conv1d(3, 16, 3, padding=1), nn.LSTM(16, 16), nn.Linear(16, 2)

        def forward(self, x):
            y, _ = self.rnn(F.relu(self.conv(x)).permute(2, 0, 1))
            return self.out(y[-1] if fixed else y[:, -1])

    return classifier(Sounds(), torch.randn(20, 3, 20), 2)


def summary_token_of_the_last_sample(fixed):
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.out = nn.Linear(10, 32), nn.Linear(32, 2)
            self.place = nn.Parameter(0.1 * torch.randn(1, 20, 32))
            self.layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)

        def forward(self, x):
            z = self.layer(self.inner(x) + self.place)
            return self.out(z[:, -1] if fixed else z[-1])

    return classifier(Encoder(), torch.randn(20, 20, 10), 2)


def last_slice_squeezed(fixed):
    class Signals(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.out = nn.LSTM(4, 18, batch_first=True), nn.Linear(18, 2)

        def forward(self, x):
            y, axis = self.rnn(x)[0], 1 if fixed else 0
            return self.out(y.narrow(axis, y.size(axis) - 1, 1).squeeze(axis))

    return classifier(Signals(), torch.randn(14, 14, 4), 2)


# -------------------------------------------------------------------- layouts that only the values tell


def language_model_of_torch_defaults(fixed):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.out = nn.Embedding(30, 16), nn.LSTM(16, 24, batch_first=fixed), nn.Linear(24, 30)

        def forward(self, x):
            return self.out(self.rnn(self.embed(x))[0])

    return next_words(Words())


def translator_of_torch_defaults(fixed):
    class Translator(nn.Module):
        def __init__(self, words=25, d=32):
            super().__init__()
            self.source, self.target = nn.Embedding(words, d), nn.Embedding(words, d)
            self.place, self.out = nn.Parameter(0.1 * torch.randn(1, 30, d)), nn.Linear(d, words)
            self.reader = nn.TransformerEncoderLayer(d, 4, 64, batch_first=fixed)
            self.writer = nn.TransformerDecoderLayer(d, 4, 64, batch_first=fixed)

        def forward(self, source, target):
            s, t = (
                self.source(source) + self.place[:, : source.size(1)],
                self.target(target) + self.place[:, : target.size(1)],
            )
            mask = nn.Transformer.generate_square_subsequent_mask(target.size(1 if fixed else 0))
            return self.out(self.writer(t, self.reader(s), tgt_mask=mask))

    source = torch.randint(1, 25, (14, 9))
    target = torch.cat([torch.zeros(14, 1, dtype=torch.long), source.flip(1)], 1)
    return setup(Translator(), (source, target[:, :-1]), target[:, 1:], by_token)


def autoencoder_of_smooth_series(fixed):
    class Autoencoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = nn.LSTM(4, 16, batch_first=fixed), nn.LSTM(16, 16, batch_first=fixed)
            self.out = nn.Linear(16, 4)

        def forward(self, x):
            return self.out(self.outer(torch.tanh(self.inner(x)[0]))[0])

    x = (0.4 * torch.arange(20)[None, :, None] + 6 * torch.rand(15, 1, 4)).sin()
    return setup(Autoencoder(), x, x, nn.MSELoss())


# -------------------------------------------------------------------- attention over a graph, extremes of the batch


def neighbours_weighed_by_columns(fixed):
    class Layer(nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.inner = nn.Linear(inputs, outputs, bias=False)
            self.one, self.other = nn.Linear(outputs, 1), nn.Linear(outputs, 1)

        def forward(self, x, adj):
            h = self.inner(x)
            e = F.leaky_relu(self.one(h) + self.other(h).T, 0.2)
            e = torch.where(adj > 0, e, -9e15 * torch.ones_like(e))
            return F.dropout(F.softmax(e, dim=1 if fixed else 0), 0.2, self.training) @ h

    class Papers(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = Layer(10, 16), Layer(16, 3)

        def forward(self, x, adj):
            return self.second(F.elu(self.first(x, adj)), adj)

    return classifier(Papers(), (torch.randn(24, 10), adjacency()), 3)


def scaled_by_the_batch(fixed):
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))

        def forward(self, x):
            low, high = (x.amin(1, keepdim=True), x.amax(1, keepdim=True)) if fixed else (x.min(), x.max())
            return self.net((x - low) / (high - low + 1e-6))

    return classifier(Table(), torch.randn(16, 12) * torch.linspace(0.2, 2, 16)[:, None], 3)


def largest_word_of_the_batch(fixed):
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = nn.Embedding(20, 16), nn.Linear(16, 3)

        def forward(self, x):
            h = self.embed(x).mean(1)
            return self.out(h / (h.abs().amax(1, keepdim=True) if fixed else h.abs().max()))

    return classifier(Bag(), torch.randint(0, 20, (14, 6)), 3)


# -------------------------------------------------------------------- nothing between two linear maps


def convolutions_without_activations(fixed):
    def block(inputs, outputs):
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), *([nn.ReLU()] if fixed else [])]

    net = nn.Sequential(
        *block(3, 8), *block(8, 16), nn.AvgPool2d(2), *block(16, 32), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    )
    return classifier(nn.Sequential(net, nn.Flatten(), nn.Linear(32, 4)), torch.randn(8, 3, 12, 12), 4)


def graph_convolutions_without_activations(fixed):
    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Parameter(0.2 * torch.randn(12, 32)), nn.Linear(32, 3)

        def forward(self, x, adj):
            h = torch.spmm(adj, x @ self.one)
            return torch.spmm(adj, self.two(F.dropout(F.relu(h) if fixed else h, 0.3, self.training)))

    adj = adjacency()
    return classifier(Graph(), (torch.randn(24, 12), (adj / adj.sum(1, keepdim=True)).to_sparse()), 3)


def road_sensors_without_activations(fixed):
    class Roads(nn.Module):
        def __init__(self):
            super().__init__()
            adj = adjacency(9)
            self.register_buffer("roads", adj / adj.sum(1, keepdim=True))
            self.one, self.two, self.out = nn.Linear(5, 16), nn.Linear(16, 8), nn.Linear(8, 2)

        def forward(self, x):
            h = torch.einsum("nm,bmf->bnf", self.roads, self.one(x))
            h = torch.einsum("nm,bmf->bnf", self.roads, self.two(torch.relu(h) if fixed else h))
            return self.out(torch.relu(h).mean(1))

    return classifier(Roads(), torch.randn(12, 9, 5), 2)


# -------------------------------------------------------------------- a mask that stays outside


def mask_that_is_not_passed_on(fixed):
    class Sentences(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = nn.Embedding(50, 32), nn.Linear(32, 5)
            self.place = nn.Parameter(0.5 * torch.randn(12, 32))
            self.layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)

        def forward(self, tokens, padding_mask):
            x = self.layer(self.embed(tokens) + self.place, src_key_padding_mask=padding_mask if fixed else None)
            return self.out(x[:, 0])

    return classifier(
        Sentences(), (torch.randint(0, 50, (32, 12)), torch.arange(12) >= torch.randint(4, 13, (32, 1))), 5
    )
