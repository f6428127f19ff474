"""Losses as people write them, out of the model or inside it: signs, shapes, softmaxes and labels that are wrong."""

import torch
from _nets import GPT, LM, Cap, Cls, Scalar, TinyUNet, halves, lm, net, seg, text, walk, xy
from _padded import inside, series, words
from _parts import classifier, images, labels, setup, tokens
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

# -------------------------------------------------------------------- LOS031


def build_dice_module_returns_coefficient():  # expect: LOS031
    class DiceLoss(nn.Module):
        def __init__(self, weight=None, size_average=True):
            super().__init__()

        def forward(self, inputs, targets, smooth=1):
            inputs = torch.sigmoid(inputs)
            inputs = inputs.view(-1)
            targets = targets.view(-1)
            intersection = (inputs * targets).sum()
            return (2.0 * intersection + smooth) / (inputs.sum() + targets.sum() + smooth)  # <- LOS031

    x, y = seg()
    return setup(TinyUNet(), x, y, DiceLoss())


def build_ssim_minimised():  # expect: LOS031
    def ssim(a, b, c1=1e-4, c2=9e-4):
        p = lambda z: F.avg_pool2d(z, 3, 1, 1)
        ma, mb = p(a), p(b)
        va, vb, cov = p(a * a) - ma**2, p(b * b) - mb**2, p(a * b) - ma * mb
        s = ((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
        return s.mean()  # <- LOS031

    x = torch.sigmoid(images(8, 3, 16))
    return setup(
        nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 3, 3, 1, 1), nn.Sigmoid()),
        (x + 0.1 * torch.randn_like(x)),
        x,
        ssim,
    )


def build_soft_f1_minimized():  # expect: LOS031
    def soft_f1(logits, y):
        p = torch.sigmoid(logits)
        tp, fp, fn = (p * y).sum(0), (p * (1 - y)).sum(0), ((1 - p) * y).sum(0)
        f1 = 2 * tp / (2 * tp + fn + fp + 1e-16)
        return f1.mean()  # <- LOS031

    return setup(net(o=6), torch.randn(64, 20), (torch.rand(64, 6) < 0.4).float(), soft_f1)


def build_cosine_embedding_flipped_label():  # expect: LOS031
    x, w = torch.randn(64, 20), torch.randn(64, 16)
    return setup(net(o=16), x, w, lambda o, y: F.cosine_embedding_loss(o, y, -torch.ones(len(o))))  # <- LOS031


def build_si_snr_minimised():  # expect: LOS031
    def si_snr(est, ref):
        est, ref = est - est.mean(-1, keepdim=True), ref - ref.mean(-1, keepdim=True)
        proj = (est * ref).sum(-1, keepdim=True) * ref / (ref.pow(2).sum(-1, keepdim=True) + 1e-8)
        noise = est - proj
        return (10 * torch.log10(proj.pow(2).sum(-1) / (noise.pow(2).sum(-1) + 1e-8) + 1e-8)).mean()  # <- LOS031

    ref = torch.sin(torch.linspace(0, 12, 64) + 6 * torch.rand(16, 1))
    return setup(
        nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)), ref + 0.3 * torch.randn(16, 64), ref, si_snr
    )


def build_r2_minimised():  # expect: LOS031
    def r2(p, y):
        return 1 - ((y - p) ** 2).sum() / ((y - y.mean()) ** 2).sum()  # <- LOS031

    x = torch.randn(64, 20)
    return setup(net(o=1), x, x[:, :1] + 0.1 * torch.randn(64, 1), r2)


def build_model_own_loss_negated():  # expect: LOS031
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = net()

        def forward(self, feats, y):
            lp = F.log_softmax(self.f(feats), -1)
            loss = lp.gather(1, y[:, None]).mean()  # <- LOS031
            return loss, lp

    return setup(Model(), (torch.randn(64, 20), labels(64)))


def build_gaussian_log_likelihood_minimized():  # expect: LOS031
    x, y = xy()
    return setup(net(o=2), x, y, lambda o, t: (-0.5 * (o[:, 1:] + (t - o[:, :1]) ** 2 / o[:, 1:].exp())).mean())  # <- LOS031


def build_normal_log_prob_minimized():  # expect: LOS031
    x, y = xy(3)
    return setup(
        net(o=6),
        x,
        y,
        lambda o, t: torch.distributions.Normal(o[:, :3], F.softplus(o[:, 3:]) + 1e-3).log_prob(t).mean(),  # <- LOS031
    )


def build_laplace_log_prob_minimized():  # expect: LOS031
    x, y = xy()
    return setup(
        net(o=2), x, y[:, 0], lambda o, t: torch.distributions.Laplace(o[:, 1], o[:, 0].exp()).log_prob(t).mean()  # <- LOS031
    )


def build_loss_under_another_name_negated():  # expect: LOS031
    return setup(Cls("neg"), {"feats": torch.randn(64, 20), "gold": labels(64)})


# -------------------------------------------------------------------- LOS015


def build_softplus_form_of_a_column():  # expect: LOS015
    def bce(o, y):
        return (F.softplus(o) - y * o).mean()  # <- LOS015

    return setup(net(o=1), torch.randn(64, 20), halves(), bce)


def build_probability_of_the_truth_of_a_column():  # expect: LOS015
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = net(o=1)

        def forward(self, x):
            return torch.sigmoid(self.f(x))

    def bce(p, y):
        pt = torch.where(y == 1, p, 1 - p)  # <- LOS015
        return -torch.log(pt + 1e-6).mean()

    return setup(M(), torch.randn(64, 20), halves(), bce)


def build_focal_loss_of_a_column():  # expect: LOS015
    def focal(o, y):
        p = torch.sigmoid(o)
        pt = p * y + (1 - p) * (1 - y)  # <- LOS015
        return (-((1 - pt) ** 2) * (pt + 1e-7).log()).mean()

    return setup(net(o=1), torch.randn(64, 20), halves(), focal)


def build_weights_in_a_row():  # expect: LOS015
    return setup(
        net(o=1),
        torch.randn(64, 20),
        (halves(), torch.rand(64)),
        lambda o, t: (F.binary_cross_entropy_with_logits(o, t[0][:, None], reduction="none") * t[1]).mean(),  # <- LOS015
    )


def build_squares_inside_the_model():  # expect: LOS015
    return setup(Scalar(), (torch.randn(64, 20), torch.randn(64)))


# -------------------------------------------------------------------- LOS001, LOS003, LOS008, LOS013, LOS021


def build_softmax_and_cross_entropy_by_hand():  # expect: LOS001
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(20, 64), nn.Linear(64, 5)

        def forward(self, x):
            z = self.b(self.a(x).relu())
            return torch.exp(z) / torch.exp(z).sum(1, keepdim=True)  # <- LOS001

    def ce(o, y):
        lse = torch.logsumexp(o, 1)
        return (lse - o[torch.arange(len(y)), y]).mean()

    return setup(Net(), torch.randn(64, 20), labels(64), ce)


def build_softmax_of_tokens_and_gathered_log_softmax():  # expect: LOS001
    class S(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.r, self.o = nn.Embedding(40, 24), nn.GRU(24, 32, batch_first=True), nn.Linear(32, 40)

        def forward(self, x):
            return self.o(self.r(self.e(x))[0]).softmax(-1)  # <- LOS001

    ids = tokens(32, 24, 40)
    return setup(
        S(), ids[:, :-1], ids[:, 1:], lambda o, y: -o.log_softmax(-1).gather(-1, y.unsqueeze(-1)).squeeze(-1).mean()
    )


def build_softmax_before_a_loss_inside():  # expect: LOS001
    return setup(Cls("softmax"), {"feats": torch.randn(64, 20), "gold": labels(64)})


def build_gathered_logits_of_tokens():  # expect: LOS003
    ids = tokens(32, 24, 40)
    return setup(LM(), ids[:, :-1], ids[:, 1:], lambda o, y: -o.gather(-1, y.unsqueeze(-1)).squeeze(-1).mean())


def build_several_labels_by_einsum():  # expect: LOS013 warning
    def loss(o, y):
        return -torch.einsum("nc,nc->n", F.log_softmax(o, 1), y).mean()  # <- LOS013

    return setup(net(o=6), torch.randn(64, 20), (torch.rand(64, 6) < 0.5).float(), loss)


def build_several_labels_by_matmul():  # expect: LOS013 warning
    def loss(o, y):
        lp = o - o.logsumexp(-1, keepdim=True)
        return -(lp[:, None, :] @ y[:, :, None]).mean()  # <- LOS013

    return setup(net(o=6), torch.randn(64, 20), (torch.rand(64, 6) < 0.5).float(), loss)


def build_hand_ce_summed():  # expect: LOS021
    def loss(o, y):
        lp = F.log_softmax(o, -1)
        return -(lp * F.one_hot(y, 5)).sum()  # <- LOS021

    model = net()
    return setup(model, torch.randn(256, 20), labels(256), loss, optimizer=torch.optim.SGD(model.parameters(), lr=0.01))


def build_hand_ce_over_batch_axis():  # expect: LOS008
    def loss(o, y):
        lp = torch.log_softmax(o, 0)  # <- LOS008
        return -lp[torch.arange(len(y)), y].mean()

    return setup(net(), torch.randn(64, 20), labels(64), loss)


# -------------------------------------------------------------------- LOS028, LOS029, ARC018


def build_captions_scored_on_padding():  # expect: LOS028
    ids, n = words(32, 24)
    return setup(Cap(), (torch.randn(32, 32), ids))


def build_captions_that_are_copied():  # expect: LOS029
    return setup(Cap(shift=False), (torch.randn(24, 32), text(24, 14, 40)))


def build_own_loss_positional_names_unknown():  # expect: LOS029
    class M(LM):
        def forward(self, idx, y):
            logits = super().forward(idx)
            return logits, F.cross_entropy(logits.transpose(1, 2), y)  # <- LOS029

    t = text(24, 14, 40)
    return setup(M(), (t, t))


def build_standardized_over_time_forecaster():  # expect: ARC018
    class F1(nn.Module):
        def __init__(self):
            super().__init__()
            self.r, self.o = nn.GRU(3, 24, batch_first=True), nn.Linear(24, 3)

        def forward(self, x):
            x = (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-5)  # <- ARC018
            return self.o(self.r(x)[0])

    x = walk()
    return setup(F1(), x[:, :-1], x[:, 1:], nn.MSELoss())


def build_gpt_mask_inverted():  # expect: ARC018
    return lm(GPT("inverted"))


def build_gpt_mask_multiplied():  # expect: ARC018
    return lm(GPT("zeros"))


def build_wavenet_same_padding():  # expect: ARC018
    class W(nn.Module):
        def __init__(self):
            super().__init__()
            self.i = nn.Conv1d(3, 16, 1)
            self.c = nn.ModuleList(nn.Conv1d(16, 32, 3, dilation=2**k, padding=2**k) for k in range(3))
            self.o = nn.Conv1d(16, 3, 1)

        def forward(self, x):
            h = self.i(x.transpose(1, 2))
            for c in self.c:
                a, b = c(h).chunk(2, 1)  # <- ARC018
                h = h + torch.tanh(a) * torch.sigmoid(b)
            return self.o(h).transpose(1, 2)

    x = walk()
    return setup(W(), x[:, :-1], x[:, 1:], nn.MSELoss())


# -------------------------------------------------------------------- ARC032


def build_lstm_last_output_after_padding():  # expect: ARC032
    class C(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.r, self.f = nn.Embedding(40, 16), nn.LSTM(16, 24, batch_first=True), nn.Linear(24, 5)

        def forward(self, x, lens):
            o, _ = self.r(self.e(x))
            return self.f(o[:, -1])  # <- ARC032

    ids, n = words(30)
    return classifier(C(), (ids, n))


def build_key_padding_mask_not_inverted():  # expect: ARC032
    class C(nn.Module):
        def __init__(self):
            super().__init__()
            self.inp, self.p = nn.Linear(3, 32), nn.Parameter(torch.randn(24, 32) * 0.3)
            self.t, self.f = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), nn.Linear(32, 5)

        def forward(self, x, mask):
            h = self.t(self.inp(x) + self.p, src_key_padding_mask=mask)  # <- ARC032
            m = mask[..., None].float()
            return self.f((h * m).sum(1) / m.sum(1))

    x, n = series(30)
    return classifier(C(), (x, inside(n, 24)))


def build_mask_given_and_multiplied_before_softmax():  # expect: ARC032
    """The mask multiplies the scores: masked scores are 0, not -inf."""

    class C(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.p = nn.Embedding(40, 32), nn.Parameter(torch.randn(20, 32) * 0.3)
            self.q, self.k, self.v, self.f = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 5)

        def forward(self, x, mask):
            h = self.e(x) + self.p
            s = self.q(h) @ self.k(h).transpose(1, 2) / 32**0.5
            s = s * mask[:, None, :]
            return self.f((torch.softmax(s, -1) @ self.v(h))[:, 0])  # <- ARC032

    ids, n = words(30)
    return classifier(C(), (ids, inside(n).float()))


def build_seq2seq_attention_reads_source_padding():  # expect: ARC032
    class S2S(nn.Module):
        def __init__(self, v=40, h=24):
            super().__init__()
            self.e1, self.e2, self.enc, self.dec = (
                nn.Embedding(v, h),
                nn.Embedding(v, h),
                nn.GRU(h, h, batch_first=True),
                nn.GRUCell(2 * h, h),
            )
            self.w1, self.w2, self.v, self.o = nn.Linear(h, h), nn.Linear(h, h), nn.Linear(h, 1), nn.Linear(h, v)

        def forward(self, src, lens, tgt):
            p = pack_padded_sequence(self.e1(src), lens, batch_first=True, enforce_sorted=False)
            mem, h = self.enc(p)
            mem, _ = pad_packed_sequence(mem, batch_first=True, total_length=src.size(1))
            h, outs = h[0], []
            for t in range(tgt.size(1)):
                a = self.v(torch.tanh(self.w1(mem) + self.w2(h)[:, None])).softmax(1)  # <- ARC032
                h = self.dec(torch.cat([self.e2(tgt[:, t]), (a * mem).sum(1)], -1), h)
                outs.append(self.o(h))
            return torch.stack(outs, 1)

    src, n = words(20)
    tgt = tokens(20, 8, 40)
    return setup(S2S(), (src, n, tgt[:, :-1]), tgt[:, 1:], lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten()))
