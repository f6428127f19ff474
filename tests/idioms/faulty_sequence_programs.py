"""Padding, time and inputs of sequence models that are wrong, in other styles: pooled, packed, convolved, decoded by hand."""

import torch
from _nets import GPT, LM, Acoustic, lm, text, walk
from _padded import inside, lengths, series, words
from _parts import classifier, setup, tokens
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

# -------------------------------------------------------------------- ARC032


def build_attention_pool_without_mask():  # expect: ARC032
    class HAN(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.r = nn.Embedding(40, 16, padding_idx=0), nn.GRU(16, 16, batch_first=True)
            self.w, self.u, self.o = nn.Linear(16, 16), nn.Parameter(torch.randn(16) * 0.3), nn.Linear(16, 5)

        def forward(self, x):
            h, _ = self.r(self.e(x))
            a = torch.softmax(torch.tanh(self.w(h)) @ self.u, dim=1)  # <- ARC032
            return self.o(torch.einsum("bt,bth->bh", a, h))

    ids, _ = words(30)
    return classifier(HAN(), ids)


def build_statistics_over_padded_steps():  # expect: ARC032
    class TDNN(nn.Module):
        def __init__(self):
            super().__init__()
            self.c = nn.Sequential(nn.Conv1d(3, 24, 3, padding=1), nn.ReLU())
            self.o = nn.Linear(48, 5)

        def forward(self, x):
            h = self.c(x.transpose(1, 2))
            return self.o(torch.cat([h.mean(2), h.std(2)], 1))  # <- ARC032

    x, n = series(30)
    return classifier(TDNN(), x)


def build_mask_of_ones():  # expect: ARC032
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.p = nn.Embedding(40, 32), nn.Parameter(torch.randn(20, 32) * 0.3)
            self.q, self.k, self.v, self.o = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 5)

        def forward(self, x):
            mask = torch.ones_like(x)
            h = self.e(x) + self.p
            s = (self.q(h) @ self.k(h).mT / 32**0.5).masked_fill(mask[:, None, :] == 0, -1e9)
            return self.o((s.softmax(-1) @ self.v(h))[:, 0])  # <- ARC032

    ids, _ = words(30)
    return classifier(M(), ids)


def build_mask_on_query_axis_then_mean():  # expect: ARC032
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.p = nn.Embedding(40, 32), nn.Parameter(torch.randn(20, 32) * 0.3)
            self.qkv, self.o = nn.Linear(32, 96), nn.Linear(32, 5)

        def forward(self, x):
            keep = x != 0
            h = self.e(x) + self.p
            q, k, v = self.qkv(h).chunk(3, -1)
            s = torch.einsum("bqd,bkd->bqk", q, k) / 32**0.5
            s = s.masked_fill(~keep[:, :, None], -1e9)
            c = torch.einsum("bqk,bkd->bqd", s.softmax(-1), v)  # <- ARC032
            m = keep[..., None].float()
            return self.o((c * m).sum(1) / m.sum(1))

    ids, _ = words(30)
    return classifier(M(), ids)


def build_node_mean_of_padded_graphs():  # expect: ARC032
    class GCN(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.o = nn.Linear(6, 24), nn.Linear(24, 24), nn.Linear(24, 5)

        def forward(self, x, adj):
            h = torch.relu(adj @ self.a(x))
            h = torch.relu(adj @ self.b(h))
            return self.o(h.mean(1))  # <- ARC032

    n = lengths(30, 10, 3)
    m = inside(n, 10).float()
    x = torch.randn(30, 10, 6) * m[..., None]
    adj = torch.eye(10) + (torch.rand(30, 10, 10) < 0.3) * m[:, :, None] * m[:, None, :]
    adj = adj / adj.sum(-1, keepdim=True)
    return classifier(GCN(), (x, adj))


def build_packed_and_pooled_with_its_padding():  # expect: ARC032
    """Packed, unpacked, then the wrong thing: max over positions that are zeros."""

    class C(nn.Module):
        def __init__(self):
            super().__init__()
            self.r, self.a, self.f = nn.GRU(3, 24, batch_first=True), nn.Linear(24, 1), nn.Linear(24, 5)

        def forward(self, x, lens):
            p = pack_padded_sequence(x, lens, batch_first=True, enforce_sorted=False)
            o, _ = pad_packed_sequence(self.r(p)[0], batch_first=True, total_length=x.size(1))
            w = torch.softmax(self.a(o), 1)  # <- ARC032
            return self.f((w * o).sum(1))

    x, n = series(30)
    return classifier(C(), (x, n))


# -------------------------------------------------------------------- LOS028


def build_seq2seq_decoder_scores_pad():  # expect: LOS028
    class S(nn.Module):
        def __init__(self, v=40, h=24):
            super().__init__()
            self.a, self.b = nn.Embedding(v, h), nn.Embedding(v, h, padding_idx=0)
            self.enc, self.dec, self.o = nn.GRU(h, h, batch_first=True), nn.GRUCell(h, h), nn.Linear(h, v)

        def forward(self, src, tgt):
            h = self.enc(self.a(src))[1][0]
            out = []
            for t in range(tgt.size(1) - 1):
                h = self.dec(self.b(tgt[:, t]), h)
                out.append(self.o(h).log_softmax(-1))
            return torch.stack(out, 1)

    tgt, n = words(24, 12)
    return setup(S(), (tokens(24, 9, 40), tgt), tgt, lambda lp, t: F.nll_loss(lp.reshape(-1, 40), t[:, 1:].reshape(-1)))  # <- LOS028


def build_autoencoder_of_padded_series():  # expect: LOS028
    class AE(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.d, self.o = nn.GRU(3, 24, batch_first=True), nn.GRU(24, 24, batch_first=True), nn.Linear(24, 3)

        def forward(self, x, n):
            p = pack_padded_sequence(x, n, batch_first=True, enforce_sorted=False)
            h = self.e(p)[1][0]
            return self.o(self.d(h[:, None].expand(-1, x.size(1), -1))[0])

    x, n = series(32)
    return setup(AE(), (x, n), x, nn.L1Loss())


def build_bce_tags_padding():  # expect: LOS028
    class T(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.r, self.f = (
                nn.Embedding(40, 16, padding_idx=0),
                nn.GRU(16, 24, batch_first=True),
                nn.Linear(24, 1),
            )

        def forward(self, x):
            return self.f(self.r(self.e(x))[0]).squeeze(-1)

    ids, n = words(32, 24)
    y = ((ids % 3 == 0) & (ids != 0)).float()
    return setup(T(), ids, y, nn.BCEWithLogitsLoss())


def build_ignore_index_of_another_id():  # expect: LOS028
    ids, n = words(32, 24, pad=1)
    return setup(
        LM(), ids[:, :-1], ids[:, 1:], lambda o, y: F.cross_entropy(o.reshape(-1, 40), y.reshape(-1), ignore_index=0)  # <- LOS028
    )


# -------------------------------------------------------------------- LOS029, ARC018


def build_music_rnn_time_major_copy():  # expect: LOS029
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.r, self.o = nn.Embedding(40, 24), nn.LSTM(24, 32), nn.Linear(32, 40)

        def forward(self, x):
            return self.o(self.r(self.e(x))[0])

    t = text(24, 13, 40).t().contiguous()
    return setup(M(), t, t, lambda o, y: F.cross_entropy(o.view(-1, 40), y.view(-1)))  # <- LOS029


def build_hand_gpt_trained_to_copy():  # expect: LOS029
    class C(GPT):
        def forward(self, x):
            b, t = x.shape
            h = self.e(x) + self.p(torch.arange(t))
            m = self.b
            q, k, v = m.qkv(m.n1(h)).view(b, t, 3, 4, 8).permute(2, 0, 3, 1, 4)
            h = h + m.o(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, 32))
            return self.f(h + m.m(m.n2(h)))

    t = text()
    return setup(C("none"), t, t, lambda o, y: F.cross_entropy(o.view(-1, 60), y.view(-1)))  # <- LOS029


def build_loss_shift_on_shifted():  # expect: LOS029
    t = text(24, 14, 40)

    def loss(o, y):
        o, y = o[..., :-1, :].contiguous(), y[..., 1:].contiguous()
        return F.cross_entropy(o.view(-1, 40), y.view(-1))  # <- LOS029

    return setup(LM(40), t[:, :-1], t[:, 1:], loss)


def build_causal_conv_trimmed_wrong():  # expect: ARC018
    class C(nn.Module):
        def __init__(self, v=60):
            super().__init__()
            self.e, self.c, self.o = nn.Embedding(v, 24), nn.Conv1d(24, 32, 3, padding=2), nn.Conv1d(32, v, 1)

        def forward(self, x):
            h = self.c(self.e(x).transpose(1, 2))[:, :, 1:-1]  # <- ARC018
            return self.o(torch.relu(h))

    t = text()
    return setup(C(), t[:, :-1], t[:, 1:], nn.CrossEntropyLoss())


def build_transformer_encoder_lm_without_mask():  # expect: ARC018
    class M(nn.Module):
        def __init__(self, v=60):
            super().__init__()
            self.e, self.p = nn.Embedding(v, 32), nn.Parameter(torch.randn(1, 16, 32) * 0.3)
            self.t, self.o = (
                nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2),
                nn.Linear(32, v),
            )

        def forward(self, x):
            return self.o(self.t(self.e(x) + self.p[:, : x.size(1)]))  # <- ARC018

    t = text()
    return setup(M(), t[:, :-1], t[:, 1:], lambda o, y: F.cross_entropy(o.transpose(1, 2), y))


def build_time_mixing_mlp():  # expect: ARC018
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.t, self.f = nn.Linear(19, 19), nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 3))

        def forward(self, x):
            x = x + self.t(x.transpose(1, 2)).transpose(1, 2)  # <- ARC018
            return self.f(x)

    x = walk()
    return setup(M(), x[:, :-1], x[:, 1:], nn.MSELoss())


def build_bidirectional_language_model():  # expect: ARC018
    class B(nn.Module):
        def __init__(self, v=60):
            super().__init__()
            self.e, self.r, self.o = (
                nn.Embedding(v, 24),
                nn.LSTM(24, 32, batch_first=True, bidirectional=True, dropout=0.2, num_layers=2),
                nn.Linear(64, v),
            )

        def forward(self, x):
            return self.o(self.r(self.e(x))[0])  # <- ARC018

    return lm(B())


def build_decoder_gets_unshifted_target():  # expect: ARC018
    class T(nn.Module):
        def __init__(self, v=60, d=32):
            super().__init__()
            self.e, self.p = nn.Embedding(v, d), nn.Parameter(torch.randn(32, d) * 0.3)
            self.t = nn.Transformer(d, 4, 1, 1, 64, batch_first=True)
            self.o = nn.Linear(d, v)

        def forward(self, s, t):
            h = self.t(self.e(s) + self.p[: s.size(1)], self.e(t) + self.p[: t.size(1)])  # <- ARC018
            return self.o(h)

    s, t = text(24, 11), text(24, 9).flip(0)
    return setup(T(), (s, t[:, :-1]), t[:, 1:], lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten()))


# -------------------------------------------------------------------- DAT002


def build_second_input_all_zero():  # expect: DAT002
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.o = nn.Linear(20, 32), nn.Linear(8, 32), nn.Linear(32, 5)

        def forward(self, x, meta):
            return self.o(torch.relu(self.a(x) + self.b(meta)))

    return classifier(M(), (torch.randn(64, 20), torch.zeros(64, 8)))


def build_teacher_inputs_are_all_start_tokens():  # expect: DAT002 error
    class S(nn.Module):
        def __init__(self, v=40, h=24):
            super().__init__()
            self.a, self.b = nn.Embedding(v, h), nn.Embedding(v, h)
            self.enc, self.dec, self.o = nn.GRU(h, h, batch_first=True), nn.GRU(h, h, batch_first=True), nn.Linear(h, v)

        def forward(self, src, tgt):
            return self.o(self.dec(self.b(tgt), self.enc(self.a(src))[1])[0])

    return setup(
        S(),
        (tokens(24, 9, 40), torch.ones(24, 7, dtype=torch.long)),
        tokens(24, 7, 40),
        lambda o, y: F.cross_entropy(o.transpose(1, 2), y),
    )


# -------------------------------------------------------------------- LOS033


def build_labels_longer_than_frames():  # expect: LOS033
    def loss(lp, y):
        return F.ctc_loss(  # <- LOS033
            lp,
            y,
            torch.full((lp.size(1),), lp.size(0), dtype=torch.long),
            torch.full((len(y),), y.size(1)),
            zero_infinity=True,
        )

    return setup(Acoustic(stride=8), torch.randn(16, 12, 40), torch.randint(1, 8, (16, 7)), loss)


def build_repeats_need_more_frames():  # expect: LOS033
    y = torch.randint(1, 8, (16, 5))
    y[:8] = torch.tensor([3, 3, 3, 3, 3])
    loss = lambda lp, t: F.ctc_loss(lp, t, [lp.size(0)] * 16, [5] * 16, zero_infinity=True)  # <- LOS033
    return setup(Acoustic(stride=6), torch.randn(16, 12, 36), y, loss)


# -------------------------------------------------------------------- shifted the wrong way by the data


class Reader(nn.Module):
    def __init__(self, batch_first=True):
        super().__init__()
        self.embed, self.head = nn.Embedding(40, 24), nn.Linear(32, 40)
        self.rnn = nn.LSTM(24, 32, batch_first=batch_first)

    def forward(self, tokens):
        return self.head(self.rnn(self.embed(tokens))[0])


def flat(made, y):
    return F.cross_entropy(made.flatten(0, 1), y.flatten())  # <- LOS029


def build_inputs_and_labels_swapped():  # expect: LOS029 warning at
    ids = torch.randint(4, 40, (16, 21))
    return setup(Reader(), ids[:, 1:], ids[:, :-1], flat)


def build_labels_rolled_the_wrong_way():  # expect: LOS029 warning at
    ids = torch.randint(4, 40, (16, 21))
    target = ids.roll(1, 1)
    target[:, 0] = -100
    return setup(Reader(), ids, target, flat)


def build_time_major_labels_swapped():  # expect: LOS029 warning at
    ids = torch.randint(4, 40, (31, 24))
    return setup(Reader(batch_first=False), ids[1:], ids[:-1].flatten(), flat)
