"""The same losses as they are meant, and their look-alikes."""

import torch
from _nets import LM, Aux, Cap, Cls, TinyUNet, net, seg, text, walk, xy
from _padded import series, words
from _parts import classifier, images, labels, setup, tokens
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def build_gathered_log_softmax_of_tokens():
    ids = tokens(32, 24, 40)
    return setup(
        LM(), ids[:, :-1], ids[:, 1:], lambda o, y: -o.log_softmax(-1).gather(-1, y.unsqueeze(-1)).squeeze(-1).mean()
    )


def build_logsumexp_of_tokens():
    ids = tokens(32, 24, 40)
    return setup(
        LM(), ids[:, :-1], ids[:, 1:], lambda o, y: (o.logsumexp(-1) - o.gather(-1, y[..., None])[..., 0]).mean()
    )


def build_indexed_log_softmax_of_tokens():
    ids = tokens(32, 24, 40)

    def loss(o, y):
        lp = F.log_softmax(o, -1).view(-1, 40)
        return -lp[torch.arange(len(lp)), y.reshape(-1)].mean()

    return setup(LM(), ids[:, :-1], ids[:, 1:], loss)


def build_taken_log_of_softmax_of_tokens():
    ids = tokens(32, 24, 40)

    def loss(o, y):
        lp = torch.log(torch.softmax(o, -1) + 1e-9)
        return -torch.take_along_dim(lp, y.unsqueeze(2), dim=2).mean()

    return setup(LM(), ids[:, :-1], ids[:, 1:], loss)


def build_laplace_likelihood():
    x, y = xy()
    return setup(
        net(o=2), x, y[:, 0], lambda o, t: -torch.distributions.Laplace(o[:, 1], o[:, 0].exp()).log_prob(t).mean()
    )


def build_weibull_times():
    """Survival with a Weibull: scale and shape, neither is the time."""
    x = torch.randn(64, 20)
    t = (x[:, 0] * 0.3).exp() * (0.5 + torch.rand(64))

    def loss(o, t):
        lam, k = F.softplus(o[:, 0]) + 0.1, F.softplus(o[:, 1]) + 0.1
        return -(k.log() - lam.log() + (k - 1) * (t / lam).log() - (t / lam) ** k).mean()

    return setup(net(o=2), x, t, loss)


def build_gamma_times():
    """Evidential / gamma NLL"""
    x = torch.randn(64, 20)
    t = (x[:, 0] * 0.3).exp() * (0.5 + torch.rand(64))
    return setup(
        net(o=2),
        x,
        t,
        lambda o, t: (
            -torch.distributions.Gamma(F.softplus(o[:, 0]) + 0.1, F.softplus(o[:, 1]) + 0.1).log_prob(t).mean()
        ),
    )


def build_gaussian_policy_in_one_tensor():
    """Policy of a Gaussian in one tensor, advantages beside the actions."""
    x = torch.randn(64, 20)

    def loss(o, b):
        a, adv = b
        return -(torch.distributions.Normal(o[:, :3], o[:, 3:].clamp(-2, 2).exp()).log_prob(a).sum(-1) * adv).mean()

    return setup(net(o=6), x, (torch.randn(64, 3), torch.randn(64)), loss)


def build_gaussian_nll_by_hand():
    def loss(out, y):
        mu, logvar = out.chunk(2, -1)
        return (0.5 * (logvar + (y - mu) ** 2 / logvar.exp())).mean()

    x = torch.randn(64, 20)
    return setup(net(o=2), x, x[:, :1] + 0.1 * torch.randn(64, 1), loss)


def build_mixture_density():
    def loss(out, y):
        pi, mu, ls = out.chunk(3, -1)
        lp = pi.log_softmax(-1) - ls - 0.5 * ((y - mu) / ls.exp()) ** 2
        return -lp.logsumexp(-1).mean()

    x = torch.randn(64, 20)
    return setup(net(o=9), x, x[:, :1] + 0.1 * torch.randn(64, 1), loss)


def build_quantiles_of_columns():
    q = torch.tensor([0.1, 0.5, 0.9])

    def loss(out, y):
        e = y[:, None] - out
        return torch.maximum(q * e, (q - 1) * e).mean()

    x = torch.randn(64, 20)
    return setup(net(o=3), x, x[:, 0] + 0.1 * torch.randn(64), loss)


def build_si_snr_negated():
    def si_snr(est, ref):
        est, ref = est - est.mean(-1, keepdim=True), ref - ref.mean(-1, keepdim=True)
        proj = (est * ref).sum(-1, keepdim=True) * ref / (ref.pow(2).sum(-1, keepdim=True) + 1e-8)
        noise = est - proj
        return -(10 * torch.log10(proj.pow(2).sum(-1) / (noise.pow(2).sum(-1) + 1e-8) + 1e-8)).mean()

    ref = torch.sin(torch.linspace(0, 12, 64) + 6 * torch.rand(16, 1))
    return setup(
        nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)), ref + 0.3 * torch.randn(16, 64), ref, si_snr
    )


def build_bce_plus_log_dice():
    def dice(p, y):
        p = torch.sigmoid(p)
        return (2 * (p * y).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + y.sum((1, 2, 3)) + 1)

    x, y = seg()
    return setup(
        TinyUNet(), x, y, lambda o, t: 0.5 * F.binary_cross_entropy_with_logits(o, t) - torch.log(dice(o, t)).mean()
    )


def build_ssim_and_l1():
    def ssim(a, b, c1=1e-4, c2=9e-4):
        p = lambda z: F.avg_pool2d(z, 3, 1, 1)
        ma, mb = p(a), p(b)
        va, vb, cov = p(a * a) - ma**2, p(b * b) - mb**2, p(a * b) - ma * mb
        return (((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean()

    x = torch.sigmoid(images(8, 3, 16))
    return setup(
        nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 3, 3, 1, 1), nn.Sigmoid()),
        x + 0.1 * torch.randn_like(x),
        x,
        lambda a, b: 0.85 * (1 - ssim(a, b)) / 2 + 0.15 * F.l1_loss(a, b),
    )


def build_contrastive_pairs():
    class Siamese(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = net(o=8)

        def forward(self, a, b):
            return F.pairwise_distance(self.f(a), self.f(b))

    def contrastive(d, same):
        return (same * d.pow(2) + (1 - same) * F.relu(1.0 - d).pow(2)).mean()

    a = torch.randn(64, 20)
    same = labels(64, 2).float()
    b = torch.where(same[:, None] == 1, a + 0.1 * torch.randn(64, 20), torch.randn(64, 20))
    return setup(Siamese(), (a, b), same, contrastive)


def build_ranking_of_all_pairs():
    """pairwise ranking meant"""

    def rank(o, y):
        d = o[:, 0].unsqueeze(1) - o[:, 0].unsqueeze(0)
        s = torch.sign(y.unsqueeze(1) - y.unsqueeze(0))
        return F.softplus(-s * d).mean()

    return setup(net(o=1), torch.randn(64, 20), torch.randn(64), rank)


def build_ratings_by_squared_error():
    class MF(nn.Module):
        def __init__(self):
            super().__init__()
            self.u, self.v, self.b = nn.Embedding(40, 8), nn.Embedding(40, 8), nn.Parameter(torch.tensor(2.5))
            nn.init.normal_(self.u.weight, 0, 0.3)
            nn.init.normal_(self.v.weight, 0, 0.3)

        def forward(self, u, v):
            return (self.u(u) * self.v(v)).sum(-1) + self.b

    return setup(
        MF(),
        (torch.randint(0, 40, (128,)), torch.randint(0, 40, (128,))),
        torch.randint(0, 6, (128,)).float(),
        nn.MSELoss(),
    )


def build_counts_by_squared_error():
    x = torch.randn(128, 20)
    y = torch.poisson((x[:, 0] * 0.6 + 0.8).exp()).clamp(max=9)
    return setup(net(o=1), x, y[:, None], lambda o, t: ((o - t) ** 2).mean())


def build_multi_hot_divided_by_count():
    def loss(o, y):
        lp = o - o.logsumexp(-1, keepdim=True)
        return -((lp[:, None, :] @ y[:, :, None]).squeeze() / y.sum(-1).clamp(min=1)).mean()

    return setup(net(o=6), torch.randn(64, 20), (torch.rand(64, 6) < 0.5).float(), loss)


def build_captions_that_leave_padding_out():
    ids, n = words(32, 24)
    return setup(Cap(0), (torch.randn(32, 32), ids))


def build_loss_under_another_name():
    return setup(Cls(), {"feats": torch.randn(64, 20), "gold": labels(64)})


def build_balance_beside_the_logits():
    return setup(Aux(), (torch.randn(64, 20), torch.randn(64, 20)))


def build_masked_forecast_mse():
    class R(nn.Module):
        def __init__(self):
            super().__init__()
            self.r, self.o = nn.LSTM(3, 24, batch_first=True), nn.Linear(24, 3)

        def forward(self, x):
            return self.o(self.r(x)[0])

    def loss(p, y):
        m = (y.abs().sum(-1, keepdim=True) > 0).float()
        return (((p - y) ** 2) * m).sum() / (m.sum() * 3)

    x, n = series(32)
    return setup(R(), x[:, :-1], x[:, 1:], loss)


def build_mask_multiplied_into_per_token_loss():
    ids, n = words(32, 24)

    def loss(o, y):
        nll = -o.log_softmax(-1).gather(-1, y.unsqueeze(-1)).squeeze(-1)
        m = (y != 0).float()
        return (nll * m).sum() / m.sum()

    return setup(LM(), ids[:, :-1], ids[:, 1:], loss)


def build_wavenet_left_padding():
    class W(nn.Module):
        def __init__(self):
            super().__init__()
            self.i, self.o = nn.Conv1d(3, 16, 1), nn.Conv1d(16, 3, 1)
            self.c = nn.ModuleList(nn.Conv1d(16, 32, 3, dilation=2**k) for k in range(3))

        def forward(self, x):
            h = self.i(x.transpose(1, 2))
            for k, c in enumerate(self.c):
                a, b = c(F.pad(h, (2 * 2**k, 0))).chunk(2, 1)
                h = h + torch.tanh(a) * torch.sigmoid(b)
            return self.o(h).transpose(1, 2)

    x = walk()
    return setup(W(), x[:, :-1], x[:, 1:], nn.MSELoss())


def build_own_loss_shifts_inside():
    class M(LM):
        def forward(self, idx, y):
            logits = super().forward(idx)
            return logits, F.cross_entropy(logits[:, :-1].reshape(-1, 40), y[:, 1:].reshape(-1))

    t = text(24, 14, 40)
    return setup(M(), (t, t))


def build_packed_masked_attention():
    class C(nn.Module):
        def __init__(self):
            super().__init__()
            self.r, self.a, self.f = nn.GRU(3, 24, batch_first=True), nn.Linear(24, 1), nn.Linear(24, 5)

        def forward(self, x, lens):
            p = pack_padded_sequence(x, lens, batch_first=True, enforce_sorted=False)
            o, _ = pad_packed_sequence(self.r(p)[0], batch_first=True, total_length=x.size(1))
            s = self.a(o).squeeze(-1).masked_fill(torch.arange(x.size(1)) >= lens[:, None], -1e9)
            return self.f((torch.softmax(s, 1)[..., None] * o).sum(1))

    x, n = series(30)
    return classifier(C(), (x, n))


def build_one_label_by_matmul():
    def loss(o, y):
        return -torch.bmm(o.log_softmax(1).unsqueeze(1), y.unsqueeze(2)).mean()

    return setup(net(o=6), torch.randn(64, 20), F.one_hot(labels(64, 6), 6).float(), loss)
