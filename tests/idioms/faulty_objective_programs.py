"""Gates, heads, embeddings and objectives that train nothing or the opposite: experts, graphs of nodes, denoisers, preferences."""

import math

import torch
from _nets import LM, Experts, net, text
from _parts import classifier, images, setup
from torch import nn
from torch.nn import functional as F

# -------------------------------------------------------------------- GRD003


def build_experts_renormalized_by_their_sum():  # expect: GRD003
    return classifier(Experts("sum"), torch.randn(64, 20))


def build_experts_renormalized_by_softmax():  # expect: GRD003
    return classifier(Experts("max"), torch.randn(64, 20))


def build_experts_masked_to_one():  # expect: GRD003
    return classifier(Experts("scatter"), torch.randn(64, 20))


# -------------------------------------------------------------------- LOS005


def build_nodes_log_softmax_bce():  # expect: LOS005
    class G(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(16, 32), nn.Linear(32, 6)

        def forward(self, x, adj):
            h = F.relu(adj @ self.a(x))
            return F.log_softmax(adj @ self.b(h), dim=1)  # <- LOS005

    adj = torch.eye(60) + (torch.rand(60, 60) < 0.05).float()
    adj = adj / adj.sum(1, keepdim=True)
    return setup(
        G(),
        (torch.randn(60, 16), adj),
        (torch.rand(60, 6) < 0.4).float(),
        lambda o, y: F.binary_cross_entropy_with_logits(o[:40], y[:40]),
    )


def build_log_softmax_sigmoid_bce_by_hand():  # expect: LOS005
    m = net(o=6, last=nn.LogSoftmax(-1))  # <- LOS005

    def loss(o, y):
        p = 1 / (1 + torch.exp(-o))
        return -(y * torch.log(p + 1e-7) + (1 - y) * torch.log(1 - p + 1e-7)).mean()

    return setup(m, torch.randn(64, 20), (torch.rand(64, 6) < 0.4).float(), loss)


def build_softmax_multilabel_soft_margin():  # expect: LOS005
    m = net(o=6, last=nn.Softmax(-1))  # <- LOS005
    return setup(m, torch.randn(64, 20), (torch.rand(64, 6) < 0.4).float(), nn.MultiLabelSoftMarginLoss())


# -------------------------------------------------------------------- ARC005


def build_time_embedding_without_activation():  # expect: ARC005
    class Den(nn.Module):
        def __init__(self):
            super().__init__()
            self.t1, self.t2 = nn.Linear(16, 32), nn.Linear(32, 32)
            self.x1, self.x2, self.o = nn.Linear(20, 32), nn.Linear(32, 32), nn.Linear(32, 20)

        def forward(self, x, t):
            f = torch.exp(-math.log(1e4) * torch.arange(8) / 7)
            e = torch.cat([(t[:, None] * f).sin(), (t[:, None] * f).cos()], -1)
            e = self.t2(self.t1(e))  # <- ARC005
            h = F.silu(self.x1(x))
            return self.o(F.silu(self.x2(h) + e))

    x = torch.randn(64, 20)
    return setup(Den(), (x, torch.rand(64) * 100), torch.randn(64, 20) * 0.1 + x, nn.MSELoss())


def build_film_linear_of_linear():  # expect: ARC005
    class Film(nn.Module):
        def __init__(self):
            super().__init__()
            self.c, self.film = nn.Linear(8, 32), nn.Linear(32, 32)
            self.conv, self.o = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 3, 3, padding=1)

        def forward(self, x, c):
            g, b = self.film(self.c(c)).chunk(2, 1)  # <- ARC005
            h = self.conv(x) * (1 + g[:, :, None, None]) + b[:, :, None, None]
            return self.o(F.gelu(h))

    x = images(16, 3, 12)
    return setup(Film(), (x, torch.randn(16, 8)), x * 0.5, nn.MSELoss())


# -------------------------------------------------------------------- LOS031, LOS035


def build_simpo_beta_zero():  # expect: LOS035 error
    class P(nn.Module):
        def __init__(self, beta):
            super().__init__()
            self.lm, self.beta = LM(), beta

        def lp(self, ids):
            return self.lm(ids[:, :-1]).log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1).mean(-1)

        def forward(self, chosen, rejected):
            d = self.lp(chosen) - self.lp(rejected)
            return F.softplus(-self.beta * d).mean()  # <- LOS035

    t = text(16, 12, 40)
    return setup(P(0.0), (t, t.flip(0).roll(1, 1)), None, lambda o, _=None: o)


def build_tuple_gaussian_flipped():  # expect: LOS031
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.b, self.m, self.s = nn.Sequential(nn.Linear(20, 32), nn.ReLU()), nn.Linear(32, 2), nn.Linear(32, 2)

        def forward(self, x):
            h = self.b(x)
            return self.m(h), self.s(h)

    x = torch.randn(64, 20)

    def ll(o, y):
        mu, lv = o
        return (-0.5 * (lv + (y - mu) ** 2 * torch.exp(-lv))).sum(-1).mean()  # <- LOS031

    return setup(M(), x, x[:, :2] + 0.1 * torch.randn(64, 2), ll)


def build_contrastive_logits_flipped():  # expect: LOS031
    class C(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = net(o=16), net(o=16)

        def forward(self, x, y):
            return F.normalize(self.a(x), dim=-1) @ F.normalize(self.b(y), dim=-1).t() / 0.1

    x = torch.randn(40, 20)
    return setup(
        C(),
        (x, x + 0.1 * torch.randn_like(x)),
        torch.arange(40),
        lambda s, y: F.log_softmax(s, 1).diagonal().mean() + 0 * y.sum(),  # <- LOS031
    )
