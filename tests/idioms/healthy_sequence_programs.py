"""The same with padding masked, time respected and inputs that vary."""

import torch
from _nets import LM, Block, lm, text, walk
from _padded import inside, series, words
from _parts import classifier, setup
from torch import nn
from torch.nn import functional as F


def build_hand_masked_loss_mean_over_all():
    """The mask zeroes the padding's loss, the mean divides by all positions: nothing of the padding is learned."""
    ids, n = words(32, 24)

    def loss(o, y):
        each = F.cross_entropy(o.transpose(1, 2), y, reduction="none")
        return (each * (y != 0)).sum(1).mean() / 23

    return setup(LM(), ids[:, :-1], ids[:, 1:], loss)


def build_transformer_cls_masked():
    class C(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.p = nn.Embedding(40, 32, padding_idx=0), nn.Parameter(torch.randn(1, 20, 32) * 0.3)
            self.t, self.f = (
                nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 1),
                nn.Linear(32, 5),
            )

        def forward(self, x):
            return self.f(self.t(self.e(x) + self.p, src_key_padding_mask=x == 0)[:, 0])

    ids, _ = words(30)
    return classifier(C(), ids)


def build_lstm_last_valid_output():
    class C(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.r, self.f = nn.Embedding(40, 16), nn.LSTM(16, 24, batch_first=True), nn.Linear(24, 5)

        def forward(self, x, lens):
            o, _ = self.r(self.e(x))
            return self.f(o[torch.arange(len(x)), lens - 1])

    ids, n = words(30)
    return classifier(C(), (ids, n))


def build_masked_average_of_transformer():
    class C(nn.Module):
        def __init__(self):
            super().__init__()
            self.inp, self.p = nn.Linear(3, 32), nn.Parameter(torch.randn(24, 32) * 0.3)
            self.t, self.f = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), nn.Linear(32, 5)

        def forward(self, x, mask):
            h = self.t(self.inp(x) + self.p, src_key_padding_mask=~mask)
            m = mask[..., None].float()
            return self.f((h * m).sum(1) / m.sum(1))

    x, n = series(30)
    return classifier(C(), (x, inside(n, 24)))


def build_noisy_lm():
    class B(nn.Module):
        def __init__(self, v=60):
            super().__init__()
            self.e, self.r, self.o = nn.Embedding(v, 24), nn.GRU(24, 32, batch_first=True), nn.Linear(32, v)

        def forward(self, x):
            h = self.e(x)
            if self.training:
                h = h + 0.1 * torch.randn_like(h)
            return self.o(self.r(h)[0])

    return lm(B())


def build_translator_masked():
    class T(nn.Module):
        def __init__(self, v=60, d=32):
            super().__init__()
            self.e, self.p = nn.Embedding(v, d), nn.Parameter(torch.randn(32, d) * 0.3)
            self.t, self.o = nn.Transformer(d, 4, 1, 1, 64, batch_first=True), nn.Linear(d, v)

        def forward(self, s, t):
            m = nn.Transformer.generate_square_subsequent_mask(t.size(1))
            return self.o(self.t(self.e(s) + self.p[: s.size(1)], self.e(t) + self.p[: t.size(1)], tgt_mask=m))

    s, t = text(24, 11), text(24, 9).flip(0)
    return setup(T(), (s, t[:, :-1]), t[:, 1:], lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten()))


def build_masked_lm():
    class E(nn.Module):
        def __init__(self, v=60):
            super().__init__()
            self.e, self.p, self.b, self.f = nn.Embedding(v, 32), nn.Embedding(64, 32), Block(), nn.Linear(32, v)

        def forward(self, x):
            return self.f(self.b(self.e(x) + self.p(torch.arange(x.size(1)))))

    t = text(32, 16)
    hit = torch.rand(t.shape) < 0.2
    return setup(
        E(),
        t.masked_fill(hit, 1),
        t.masked_fill(~hit, -100),
        lambda o, y: F.cross_entropy(o.reshape(-1, 60), y.reshape(-1)),
    )


def build_denoising_over_both_directions():
    class D(nn.Module):
        def __init__(self):
            super().__init__()
            self.r, self.o = nn.LSTM(3, 24, batch_first=True, bidirectional=True), nn.Linear(48, 3)

        def forward(self, x):
            return self.o(self.r(x)[0])

    x = walk()
    return setup(D(), x + 0.2 * torch.randn_like(x), x, nn.MSELoss())


def build_decoder_seeded_with_last_value():
    class S(nn.Module):
        def __init__(self, h=24):
            super().__init__()
            self.e, self.d, self.o = nn.GRU(3, h, batch_first=True), nn.GRUCell(1, h), nn.Linear(h, 1)

        def forward(self, x):
            _, h = self.e(x)
            h, y, out = h[0], x[:, -1, :1], []
            for _ in range(6):
                h = self.d(y, h)
                y = y + self.o(h)
                out.append(y)
            return torch.stack(out, 1)

    x = walk(48)
    return setup(S(), x[:, :14], x[:, 14:, :1], nn.MSELoss())


def build_conditional_generator_with_varied_label():
    class C(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.f = nn.Embedding(10, 16), nn.Sequential(nn.Linear(36, 48), nn.ReLU(), nn.Linear(48, 20))

        def forward(self, z, y):
            return self.f(torch.cat([z, self.e(y)], -1))

    z, y = torch.randn(64, 20), torch.randint(0, 10, (64,))
    return setup(C(), (z, y), z * 0.5 + 0.1 * y[:, None], nn.MSELoss())


def build_lm_with_end_labelled():
    ids, n = words(32, 20, pad=0)
    ids[torch.arange(32), (n - 1)] = 2
    y = ids[:, 1:].clone()
    y[y == 0] = -100
    return setup(LM(), ids[:, :-1], y, lambda o, t: F.cross_entropy(o.reshape(-1, 40), t.reshape(-1)))
