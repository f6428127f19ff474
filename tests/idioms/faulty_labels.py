"""Sequence models that see what they predict, or are trained on labels in the wrong place."""

import math

import torch
from _padded import inside, words
from _parts import setup
from torch import nn
from torch.nn import functional


def text(samples=16, length=17, vocabulary=50):
    return torch.randint(4, vocabulary, (samples, length))


def rows(logits, targets):
    return functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))  # <- LOS029 LOS030


def waves(samples=32, length=25, features=2):
    start = torch.rand(samples, 1, features) * 6
    return torch.sin(start + torch.arange(length)[None, :, None] * 0.4) + torch.randn(samples, length, features) * 0.2


# -------------------------------------------------------------------- what is predicted is seen


def build_language_model_without_a_mask():  # expect: ARC018
    class Gpt(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.time = nn.Embedding(50, 32), nn.Embedding(32, 32)
            self.qkv, self.out, self.head = nn.Linear(32, 96), nn.Linear(32, 32), nn.Linear(32, 50)

        def forward(self, tokens):
            x = self.embed(tokens) + self.time(torch.arange(tokens.shape[1]))
            q, k, v = self.qkv(x).chunk(3, -1)
            weights = (q @ k.transpose(1, 2) / math.sqrt(32)).softmax(-1)  # <- ARC018
            return self.head(x + self.out(weights @ v))

    ids = text()
    return setup(Gpt(), ids[:, :-1], ids[:, 1:], rows)


def build_bidirectional_language_model():  # expect: ARC018 at rnn
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(50, 16), nn.Linear(32, 50)
            self.rnn = nn.LSTM(16, 16, bidirectional=True, batch_first=True)

        def forward(self, tokens):
            return self.head(self.rnn(self.embed(tokens))[0])

    ids = text()
    return setup(Both(), ids[:, :-1], ids[:, 1:], rows)


def build_forecast_by_centred_convolutions():  # expect: ARC018 at body.0
    class Tcn(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv1d(2, 16, 3, padding=1), nn.ReLU(), nn.Conv1d(16, 2, 3, padding=1))

        def forward(self, x):
            return self.body(x.transpose(1, 2)).transpose(1, 2)

    series = waves()
    return setup(Tcn(), series[:, :-1], series[:, 1:], nn.MSELoss())


def build_mask_the_wrong_way_round():  # expect: ARC018
    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(50, 32), nn.Linear(32, 50)
            self.place = nn.Parameter(torch.randn(16, 32) * 0.1)
            self.layer = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True)

        def forward(self, tokens):
            x = self.embed(tokens) + self.place
            blocked = torch.ones(16, 16, dtype=torch.bool).tril(-1)
            return self.head(self.layer(x, src_mask=blocked))  # <- ARC018

    ids = text()
    return setup(Decoder(), ids[:, :-1], ids[:, 1:], rows)


def build_mask_one_step_too_late():  # expect: ARC018
    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.time = nn.Embedding(50, 32), nn.Embedding(32, 32)
            self.q, self.k, self.v, self.head = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 50)

        def forward(self, tokens):
            time = tokens.shape[1]
            x = self.embed(tokens) + self.time.weight[:time]
            open_ = torch.ones(time, time, dtype=torch.bool).tril(1)
            mixed = functional.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x), attn_mask=open_)  # <- ARC018
            return self.head(x + mixed)

    ids = text()
    return setup(Decoder(), ids[:, :-1], ids[:, 1:], rows)


def build_translator_whose_decoder_sees_its_answer():  # expect: ARC018
    class Translator(nn.Module):
        def __init__(self):
            super().__init__()
            self.source, self.target = nn.Embedding(50, 32), nn.Embedding(50, 32)
            self.time = nn.Parameter(torch.randn(32, 32) * 0.1)
            self.body, self.head = nn.Transformer(32, 2, 1, 1, 64, batch_first=True), nn.Linear(32, 50)

        def forward(self, src, tgt):
            x, y = self.source(src) + self.time[: src.shape[1]], self.target(tgt) + self.time[: tgt.shape[1]]
            return self.head(self.body(x, y))  # <- ARC018

    src, tgt = text(), text(length=13)
    return setup(Translator(), (src, tgt[:, :-1]), tgt[:, 1:], rows)


def build_loss_that_shifts_and_a_model_that_sees_all():  # expect: ARC018
    class Mixer(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.mix, self.head = nn.Embedding(50, 32), nn.Linear(17, 17), nn.Linear(32, 50)

        def forward(self, tokens):
            x = self.embed(tokens)
            return self.head(x + self.mix(x.transpose(1, 2)).transpose(1, 2))  # <- ARC018

    ids = text()
    return setup(Mixer(), ids, ids, lambda out, y: rows(out[:, :-1], y[:, 1:]))


def build_forecast_normalized_over_time():  # expect: ARC018
    class Normalized(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.rnn, self.head = nn.InstanceNorm1d(2), nn.GRU(2, 24, batch_first=True), nn.Linear(24, 2)

        def forward(self, x):
            x = self.norm(x.transpose(1, 2)).transpose(1, 2)  # <- ARC018
            return self.head(self.rnn(x)[0])

    series = waves()
    return setup(Normalized(), series[:, :-1], series[:, 1:], nn.MSELoss())


def build_window_that_holds_the_horizon():  # expect: ARC018
    class Forecaster(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(2, 16, batch_first=True, bidirectional=True), nn.Linear(32, 2)

        def forward(self, x):
            return self.head(self.rnn(x)[0])[:, -6:]  # <- ARC018

    series = waves()
    return setup(Forecaster(), series, series[:, -6:], nn.L1Loss())


# -------------------------------------------------------------------- labels in the wrong place


class Gru(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(50, 16), nn.GRU(16, 32, batch_first=True), nn.Linear(32, 50)

    def forward(self, tokens):
        return self.head(self.rnn(self.embed(tokens))[0])


def build_labels_that_are_the_inputs():  # expect: LOS029
    ids = text()
    return setup(Gru(), ids, ids, rows)


def build_loss_that_shifts_labels_once_more():  # expect: LOS029
    ids = text()

    def loss(logits, targets):
        return rows(logits[:, :-1], targets[:, 1:])

    return setup(Gru(), ids[:, :-1], ids[:, 1:], loss)


class Small(nn.Module):
    """A decoder that computes its own loss, as small GPTs do."""

    def __init__(self, shifts):
        super().__init__()
        self.shifts = shifts
        self.embed, self.time = nn.Embedding(50, 32), nn.Embedding(32, 32)
        self.q, self.k, self.v, self.head = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 50)

    def forward(self, tokens, labels):
        x = self.embed(tokens) + self.time(torch.arange(tokens.shape[1]))
        x = x + functional.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x), is_causal=True)
        logits = self.head(x)
        if self.shifts:
            logits, labels = logits[:, :-1], labels[:, 1:]
        return {"loss": functional.cross_entropy(logits.flatten(0, 1), labels.flatten()), "logits": logits}  # <- LOS029


def build_own_loss_that_shifts_labels_already_shifted():  # expect: LOS029
    ids = text()
    return setup(Small(True), {"tokens": ids[:, :-1], "labels": ids[:, 1:]})


def build_own_loss_that_nobody_shifts_for():  # expect: LOS029
    ids = text()
    return setup(Small(False), {"tokens": ids, "labels": ids.clone()})


def build_classes_second_and_no_shift():  # expect: LOS029
    class Wave(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(50, 16), nn.Conv1d(16, 50, 1)
            self.a, self.b = nn.Conv1d(16, 16, 2), nn.Conv1d(16, 16, 2, dilation=2)

        def forward(self, tokens):
            x = self.embed(tokens).transpose(1, 2)
            x = x + self.a(functional.pad(x, (1, 0))).relu()
            return self.head(x + self.b(functional.pad(x, (2, 0))).relu())

    ids = text()
    return setup(Wave(), ids, ids, lambda out, y: functional.cross_entropy(out, y))  # <- LOS029


def build_time_first_rows_that_are_not_shifted():  # expect: LOS029
    class TimeMajor(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.head = nn.Embedding(50, 16), nn.LSTM(16, 32), nn.Linear(32, 50)

        def forward(self, tokens):
            return self.head(self.rnn(self.embed(tokens))[0]).view(-1, 50)  # <- LOS029

    ids = text(16, 21).t().contiguous()
    return setup(TimeMajor(), ids, ids.reshape(-1), nn.CrossEntropyLoss(), declared={"time-major"})


# -------------------------------------------------------------------- ends that are not labelled


def build_end_that_is_ignored_with_the_padding():  # expect: LOS030
    ids, sizes = words()
    ids = ids.scatter(1, sizes[:, None] - 1, 3)
    ids = torch.cat([torch.full((16, 1), 2), ids], 1)
    targets = ids[:, 1:].masked_fill((ids[:, 1:] == 0) | (ids[:, 1:] == 3), -100)
    return setup(Gru(), ids[:, :-1], targets, rows)


def build_mask_that_is_one_too_short():  # expect: LOS030
    ids, sizes = words()
    ids = ids.scatter(1, sizes[:, None] - 1, 3)
    targets = ids[:, 1:].masked_fill(~inside(sizes - 2)[:, 1:].roll(0, 1) | (ids[:, 1:] == 3), -1)

    def loss(logits, targets):
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)  # <- LOS030

    return setup(Gru(), ids[:, :-1], targets, loss)
