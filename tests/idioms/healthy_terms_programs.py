"""The same losses as they are meant, and others whose terms, targets and weights look like the faulty ones."""

import copy

import torch
from _nets import AC, Acoustic, TinyUNet, net, seg
from _parts import images, labels, setup
from torch import nn
from torch.nn import functional as F


def build_temporal_difference_without_gradient():
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.b, self.p, self.v = nn.Sequential(nn.Linear(20, 32), nn.ReLU()), nn.Linear(32, 3), nn.Linear(32, 1)

        def forward(self, s, s2):
            h = self.b(s)
            with torch.no_grad():
                nxt = self.v(self.b(s2))
            return self.p(h).log_softmax(-1), self.v(h), nxt

    def loss(out, batch):
        lp, v, v2 = out
        a, r = batch
        delta = r + 0.99 * v2.squeeze(1) - v.squeeze(1)
        return (-lp.gather(1, a[:, None])[:, 0] * delta.detach()).mean() + delta.pow(2).mean()

    return setup(M(), (torch.randn(48, 20), torch.randn(48, 20)), (torch.randint(0, 3, (48,)), torch.randn(48)), loss)


def build_weighted_likelihood_of_uncertainty():
    """Heteroscedastic regression: 0.5*exp(-s)*(y-mu)^2 + 0.5*s has no target that is trained."""

    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.b, self.m, self.s = nn.Sequential(nn.Linear(20, 32), nn.ReLU()), nn.Linear(32, 1), nn.Linear(32, 1)

        def forward(self, x):
            h = self.b(x)
            return self.m(h), F.softplus(self.s(h)) + 1e-3

    def loss(out, y):
        mu, sd = out
        return (torch.log(sd) * 1.0 + (y - mu) ** 2 / (2 * sd**2)).mean()

    x = torch.randn(64, 20)
    return setup(M(), x, x[:, :1] + 0.1 * torch.randn(64, 1), loss)


def build_log_uncertainty_times_error():
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.b, self.m, self.s = nn.Sequential(nn.Linear(20, 32), nn.ReLU()), nn.Linear(32, 1), nn.Linear(32, 1)

        def forward(self, x):
            h = self.b(x)
            return self.m(h), torch.sigmoid(self.s(h))

    def loss(out, y):
        mu, c = out
        return ((y - mu).abs() * c).mean() - 0.1 * torch.log(c + 1e-6).mean()

    x = torch.randn(64, 20)
    return setup(M(), x, x[:, :1] + 0.1 * torch.randn(64, 1), loss)


def build_a2c_continuous():
    def loss(out, batch):
        dist, value = out
        act, ret = batch
        adv = ret - value.squeeze(-1)
        return (
            (-dist.log_prob(act).sum(-1) * adv.detach()).mean()
            + 0.5 * adv.pow(2).mean()
            - 0.001 * dist.entropy().mean()
        )

    return setup(AC(True), torch.randn(48, 20), (torch.randn(48, 3), torch.randn(48)), loss)


def build_sac_actor():
    class Actor(nn.Module):
        def __init__(self):
            super().__init__()
            self.f, self.mu, self.ls = nn.Sequential(nn.Linear(20, 32), nn.ReLU()), nn.Linear(32, 4), nn.Linear(32, 4)

        def forward(self, s):
            h = self.f(s)
            d = torch.distributions.Normal(self.mu(h), self.ls(h).clamp(-5, 2).exp())
            u = d.rsample()
            a = torch.tanh(u)
            return a, (d.log_prob(u) - torch.log(1 - a.pow(2) + 1e-6)).sum(-1, keepdim=True), s

    critic = net(24, 1).requires_grad_(False)
    return setup(
        Actor(),
        torch.randn(48, 20),
        None,
        lambda o, _=None: (0.2 * o[1] - critic(torch.cat([o[2], o[0]], 1))).mean(),
        declared={"stochastic"},
    )


def build_td3_with_targets():
    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.q1, self.q2 = net(24, 1), net(24, 1)

        def forward(self, s, a):
            sa = torch.cat([s, a], 1)
            return self.q1(sa), self.q2(sa)

    critic, actor_t = Critic(), net(20, 4, last=nn.Tanh()).requires_grad_(False)
    slow = copy.deepcopy(critic)

    def loss(out, batch):
        r, s2, done = batch
        with torch.no_grad():
            y = r + 0.99 * (1 - done) * torch.min(*slow(s2, actor_t(s2)))
        return F.mse_loss(out[0], y) + F.mse_loss(out[1], y)

    return setup(
        critic,
        (torch.randn(48, 20), torch.randn(48, 4)),
        (torch.randn(48, 1), torch.randn(48, 20), torch.zeros(48, 1)),
        loss,
    )


def build_ctc_strided_enough():
    def loss(lp, y):
        return F.ctc_loss(
            lp, y, torch.full((lp.size(1),), lp.size(0), dtype=torch.long), torch.full((len(y),), y.size(1)), blank=7
        )

    return setup(Acoustic(stride=2), torch.randn(16, 12, 40), torch.randint(0, 7, (16, 7)), loss)


def build_wgan_gp():
    critic = nn.Sequential(nn.Linear(20, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    real = torch.randn(32, 20) + 1

    def loss(out, fake):
        eps = torch.rand(len(fake), 1)
        mid = (eps * real + (1 - eps) * fake).requires_grad_(True)
        g = torch.autograd.grad(critic(mid).sum(), mid, create_graph=True)[0]
        return critic(fake).mean() - out.mean() + 10 * ((g.norm(2, dim=1) - 1) ** 2).mean()

    return setup(critic, real, torch.randn(32, 20), loss)


def build_critic_of_squares():
    D = nn.Sequential(nn.Linear(20, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), nn.Sigmoid())

    class W(nn.Module):
        def __init__(self):
            super().__init__()
            self.D = D

        def forward(self, r, f):
            return self.D(r), self.D(f)

    return setup(
        W(),
        (torch.randn(32, 20) + 1, torch.randn(32, 20)),
        None,
        lambda o, _=None: 0.5 * ((o[0] - 1) ** 2).mean() + 0.5 * (o[1] ** 2).mean(),
    )


def build_straight_through_objective():
    """Gumbel choice by a straight-through estimator whose cost is minimized."""
    cost = torch.rand(5)

    def loss(logits, _):
        soft = logits.softmax(-1)
        hard = F.one_hot(soft.argmax(-1), 5).float()
        return ((hard - soft.detach() + soft) * cost).sum(-1).mean() - 0.01 * (
            -(soft * logits.log_softmax(-1)).sum(-1)
        ).mean()

    return setup(net(), torch.randn(64, 20), labels(64), loss)


def build_straight_through_alone():
    def loss(logits, y):
        p = torch.sigmoid(logits)
        hard = (p > 0.5).float()
        b = hard + p - p.detach()
        return ((b - y) ** 2).mean()

    return setup(net(o=1), torch.randn(64, 20), (torch.rand(64, 1) < 0.5).float(), loss)


def build_value_for_the_logs():
    def loss(logits, y):
        ce = F.cross_entropy(logits, y)
        reg = 0.01 * logits.pow(2).mean()
        return ce + reg + reg.detach() * 0.0

    return setup(net(), torch.randn(64, 20), labels(64), loss)


def build_switch_balance():
    class MoE(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.experts, self.head = (
                nn.Linear(20, 4),
                nn.ModuleList(nn.Sequential(nn.Linear(20, 32), nn.ReLU()) for _ in range(4)),
                nn.Linear(32, 5),
            )

        def forward(self, x):
            p = self.gate(x).softmax(-1)
            top, idx = p.topk(2, -1)
            top = top / top.sum(-1, keepdim=True)
            h = sum(
                top[:, k : k + 1] * torch.stack([e(x) for e in self.experts], 1)[torch.arange(len(x)), idx[:, k]]
                for k in range(2)
            )
            load = F.one_hot(idx, 4).float().mean((0, 1))
            return self.head(h), (load * p.mean(0)).sum() * 4

    return setup(MoE(), torch.randn(64, 20), labels(64), lambda o, y: F.cross_entropy(o[0], y) + 0.5 * o[1])


def build_counts_that_weigh():
    """Counts weigh a term: they have no gradient, the term has."""

    def loss(logits, y):
        hard = (logits.argmax(1) != y).float().mean()
        return F.cross_entropy(logits, y) * (1 + hard) + 1e-3 * logits.abs().mean()

    return setup(net(), torch.randn(64, 20), labels(64), loss)


def build_vae_both_summed():
    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.mu, self.lv = nn.Sequential(nn.Linear(20, 32), nn.ReLU()), nn.Linear(32, 4), nn.Linear(32, 4)
            self.d = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 20))

        def forward(self, x):
            h = self.e(x)
            mu, lv = self.mu(h), self.lv(h)
            return self.d(mu + torch.randn_like(mu) * (0.5 * lv).exp()), mu, lv

    def loss(out, x):
        r, mu, lv = out
        return F.mse_loss(r, x, reduction="sum") / len(x) - 0.5 * torch.sum(1 + lv - mu.pow(2) - lv.exp()) / len(x)

    x = torch.randn(64, 20)
    return setup(VAE(), x, x, loss)


def build_sample_weights():
    return setup(
        net(),
        torch.randn(64, 20),
        (labels(64), torch.rand(64) * 2),
        lambda o, t: (F.cross_entropy(o, t[0], reduction="none") * t[1]).mean(),
    )


def build_mean_loss_times_scalar_weights():
    w = torch.tensor(0.3)
    return setup(
        net(),
        torch.randn(64, 20),
        labels(64),
        lambda o, t: F.cross_entropy(o, t) * w + o.pow(2).mean() * torch.tensor([0.01]).sum(),
    )


def build_retina_focal_alpha_quarter():
    y = (torch.rand(200, 1) < 0.1).float()

    def focal(o, t, alpha=0.25, gamma=2):
        p = torch.sigmoid(o)
        ce = F.binary_cross_entropy_with_logits(o, t, reduction="none")
        pt = p * t + (1 - p) * (1 - t)
        return ((alpha * t + (1 - alpha) * (1 - t)) * (1 - pt) ** gamma * ce).mean()

    return setup(net(o=1), torch.randn(200, 20), y, focal)


def build_hand_weighted_bce_right():
    y = (torch.rand(200, 1) < 0.1).float()
    beta = float(y.mean())

    def wbce(o, t):
        p = torch.sigmoid(o).clamp(1e-6, 1 - 1e-6)
        return -((1 - beta) * t * p.log() + beta * (1 - t) * (1 - p).log()).mean()

    return setup(net(o=1), torch.randn(200, 20), y, wbce)


def build_dice_of_large_objects():
    x = images(12, 3, 16)
    y = (x.mean(1, keepdim=True) > -0.8).float()

    def dice(o, t):
        p = torch.sigmoid(o)
        return (1 - (2 * (p * t).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + t.sum((1, 2, 3)) + 1)).mean()

    return setup(TinyUNet(), x, y, dice)


def build_tversky_favouring_precision():
    x, y = seg()

    def tversky(o, t):
        p = torch.sigmoid(o)
        tp, fp, fn = (p * t).sum(), (p * (1 - t)).sum(), ((1 - p) * t).sum()
        return 1 - (tp + 1) / (tp + 0.7 * fp + 0.3 * fn + 1)

    return setup(TinyUNet(), x, y, tversky)


def build_focal_alpha_inverse():
    y = torch.cat([torch.zeros(80), torch.ones(30), torch.full((10,), 2)]).long()[torch.randperm(120)]
    alpha = len(y) / (3 * torch.bincount(y).float())

    def focal(logits, y):
        lp = F.log_softmax(logits, 1)[torch.arange(len(y)), y]
        return (-alpha[y] * (1 - lp.exp()) ** 2 * lp).mean()

    return setup(net(o=3), torch.randn(120, 20), y, focal)


def build_byol():
    class BYOL(nn.Module):
        def __init__(self):
            super().__init__()
            self.online = net(o=16)
            self.predictor = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
            self.target = copy.deepcopy(self.online).requires_grad_(False)

        def forward(self, a, b):
            p1, p2 = self.predictor(self.online(a)), self.predictor(self.online(b))
            with torch.no_grad():
                z1, z2 = self.target(a), self.target(b)
            f = lambda p, z: 2 - 2 * F.cosine_similarity(p, z, dim=-1)
            return (f(p1, z2) + f(p2, z1)).mean()

    x = torch.randn(64, 20)
    return setup(BYOL(), (x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x)), None, lambda o, _=None: o)


def build_simclr():
    class S(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = net(o=16)

        def forward(self, a, b):
            z = F.normalize(self.f(torch.cat([a, b])), dim=-1)
            sim = z @ z.t() / 0.2
            sim = sim.masked_fill(torch.eye(len(z), dtype=torch.bool), -1e9)
            n = len(a)
            return F.cross_entropy(sim, torch.cat([torch.arange(n, 2 * n), torch.arange(n)]))

    x = torch.randn(48, 20)
    return setup(S(), (x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x)), None, lambda o, _=None: o)
