"""Axes taken for one another: views instead of permutes, softmax, positions and steps along the wrong one."""

import math

import torch
from _parts import classifier, images, labels, setup, tokens
from torch import nn
from torch.nn import functional


def stem(channels=24):
    return nn.Sequential(nn.Conv2d(3, channels, 3, 2, 1), nn.ReLU(), nn.Conv2d(channels, channels, 3, 2, 1), nn.ReLU())


# -------------------------------------------------------------------- ARC029


def build_captions_of_a_map_without_permute():  # expect: ARC029 error at
    class Captioner(nn.Module):
        def __init__(self):
            super().__init__()
            self.cnn, self.project, self.score = stem(), nn.Linear(24, 32), nn.Linear(32, 1)
            self.embed, self.rnn, self.head = nn.Embedding(20, 32), nn.GRU(56, 32, batch_first=True), nn.Linear(32, 20)

        def forward(self, pictures, words):
            places = self.cnn(pictures)
            places = places.view(places.size(0), -1, places.size(1))
            weights = self.score(torch.tanh(self.project(places))).softmax(1)
            context = (weights * places).sum(1, keepdim=True).expand(-1, words.size(1), -1)
            return self.head(self.rnn(torch.cat([self.embed(words), context], -1))[0]).transpose(1, 2)

    words = tokens(32, 7, 20)
    return setup(Captioner(), (images(), words[:, :-1]), words[:, 1:], nn.CrossEntropyLoss())


def build_heads_by_view():  # expect: ARC029 error at attention
    class Attention(nn.Module):
        def __init__(self, width, heads):
            super().__init__()
            self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x):
            n, length, width = x.shape
            q, k, v = (part.reshape(n, self.heads, length, -1) for part in self.qkv(x).chunk(3, -1))
            weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
            return self.out((weights @ v).transpose(1, 2).reshape(n, length, width))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.position = nn.Linear(8, 30), nn.Parameter(0.3 * torch.randn(14, 30))
            self.norm, self.attention, self.head = nn.LayerNorm(30), Attention(30, 5), nn.Linear(30, 5)

        def forward(self, x):
            x = self.embed(x) + self.position
            return self.head((x + self.attention(self.norm(x))).mean(1))

    return classifier(Net(), torch.randn(32, 14, 8))


def build_time_major_by_reshape():  # expect: ARC029 error at
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(8, 32), nn.Linear(32, 5)

        def forward(self, x):
            n, length, width = x.shape
            out, _ = self.rnn(torch.reshape(x, (length, n, width)))  # <- ARC029
            return self.head(out[-1])

    return classifier(Net(), torch.randn(32, 14, 8))


def build_codebook_over_rows_of_a_map():  # expect: ARC029 error at
    """Vector quantization: the rows given to the codebook are rows of pixels, not vectors of channels."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.cnn, self.codes, self.head = stem(24), nn.Parameter(torch.randn(32, 24)), nn.Linear(24, 5)

        def forward(self, x):
            f = self.cnn(x)
            rows = f.reshape(-1, f.size(1))
            weights = (-torch.cdist(rows, self.codes)).softmax(-1)
            return self.head((weights @ self.codes).view(f.size(0), -1, f.size(1)).mean(1))

    return classifier(Net(), images())


# -------------------------------------------------------------------- ARC027


def build_non_local_block_over_queries():  # expect: ARC027 at block
    class NonLocal(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.query, self.key = nn.Conv2d(channels, channels // 2, 1), nn.Conv2d(channels, channels // 2, 1)
            self.value, self.scale = nn.Conv2d(channels, channels, 1), nn.Parameter(torch.tensor(0.5))

        def forward(self, x):
            q, k, v = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
            weights = torch.softmax(torch.bmm(q.transpose(1, 2), k) / q.size(1) ** 0.5, dim=-1)
            return x + self.scale * torch.bmm(v, weights).view_as(x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.cnn, self.block, self.head = stem(), NonLocal(24), nn.Linear(24, 5)

        def forward(self, x):
            return self.head(self.block(self.cnn(x)).mean((2, 3)))

    return classifier(Net(), images(size=24))


def build_einsum_over_the_queries():  # expect: ARC027 at
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.position = nn.Embedding(100, 32), nn.Parameter(0.3 * torch.randn(16, 32))
            self.qkv, self.head = nn.Linear(32, 96), nn.Linear(32, 5)

        def forward(self, ids):
            x = self.embed(ids) + self.position
            q, k, v = self.qkv(x).view(*ids.shape, 3, 4, 8).unbind(2)
            scores = torch.einsum("nihd,njhd->nhij", q, k) / 8**0.5
            mixed = torch.einsum("nhij,njhd->nihd", scores.softmax(2), v)  # <- ARC027
            return self.head((x + mixed.flatten(2)).mean(1))

    return classifier(Net(), tokens())


def build_additive_attention_over_the_decoder():  # expect: ARC027 at
    """Translation: the scores of source words are normalized over the target words."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.source, self.target = nn.Embedding(50, 24), nn.Embedding(50, 24)
            self.encoder, self.decoder = nn.GRU(24, 24, batch_first=True), nn.GRU(24, 24, batch_first=True)
            self.q, self.k, self.v, self.head = (
                nn.Linear(24, 24),
                nn.Linear(24, 24),
                nn.Linear(24, 1),
                nn.Linear(48, 50),
            )

        def forward(self, source, target):
            keys, _ = self.encoder(self.source(source))
            states, _ = self.decoder(self.target(target))
            scores = self.v(torch.tanh(self.q(states).unsqueeze(2) + self.k(keys).unsqueeze(1))).squeeze(-1)
            context = torch.bmm(functional.softmax(scores, dim=1), keys)  # <- ARC027
            return self.head(torch.cat([states, context], -1)).transpose(1, 2)

    target = tokens(32, 8, 50)
    return setup(Net(), (tokens(32, 11, 50), target[:, :-1]), target[:, 1:], nn.CrossEntropyLoss())


# -------------------------------------------------------------------- ARC009, ARC030, ARC031


def build_columns_of_a_picture_to_a_batch_first_rnn():  # expect: ARC009 at rnn
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.cnn = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 24, 3, (2, 1), 1), nn.ReLU())
            self.rnn = nn.LSTM(24, 24, bidirectional=True, batch_first=True)
            self.head = nn.Linear(48, 6)

        def forward(self, x):
            columns = self.cnn(x).mean(2).permute(2, 0, 1)
            return self.head(self.rnn(columns)[0]).log_softmax(-1)

    def ctc(output, words):
        lengths = torch.full((words.size(0),), output.size(0)), torch.full((words.size(0),), words.size(1))
        return functional.ctc_loss(output, words, *lengths)

    return setup(Reader(), images(24, 1, 20), 1 + labels(72).view(24, 3), ctc)


def build_positions_for_each_sample():  # expect: ARC030 at position
    class Positions(nn.Module):
        def __init__(self, width, length=200):
            super().__init__()
            angles = torch.arange(length)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(1e4) / width))
            self.register_buffer("table", torch.stack([angles.sin(), angles.cos()], -1).flatten(1).unsqueeze(1))

        def forward(self, x):
            return x + self.table[: x.size(0)]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.position = nn.Embedding(100, 32), Positions(32)
            self.encoder, self.head = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), nn.Linear(32, 5)

        def forward(self, ids):
            return self.head(self.encoder(self.position(self.embed(ids))).mean(1))

    return classifier(Net(), tokens())


def build_last_sample_for_the_last_step():  # expect: ARC031 at
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.head = nn.Embedding(100, 16), nn.GRU(16, 32, batch_first=True), nn.Linear(32, 5)

        def forward(self, ids):
            out, _ = self.rnn(self.embed(ids))
            return self.head(out[-1])  # <- ARC031

    return classifier(Net(), tokens(32, 32))


# -------------------------------------------------------------------- LOS008, LOS015


def build_as_many_samples_as_classes():  # expect: LOS008 at
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Linear(20, 32), nn.ReLU()), nn.Linear(32, 10)

        def forward(self, x):
            return functional.log_softmax(self.head(self.body(x)), dim=0)  # <- LOS008

    return setup(Net(), torch.randn(10, 20), torch.arange(10), nn.NLLLoss())


def build_advantages_in_a_column():  # expect: LOS015
    class Policy(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.actions = (
                nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh()),
                nn.Linear(32, 3),
            )

        def forward(self, x):
            return self.actions(self.body(x))

    def clipped(logits, target):
        action, old, advantage = target
        ratio = torch.exp(torch.distributions.Categorical(logits=logits).log_prob(action) - old)
        return -torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()  # <- LOS015

    policy, states = Policy(), torch.randn(48, 4)
    actions = labels(48, 3)
    with torch.no_grad():
        old = policy(states).log_softmax(1).gather(1, actions[:, None]).squeeze(1)
    return setup(policy, states, (actions, old, torch.randn(48, 1)), clipped)
