"""Small networks, data and losses that several idioms share."""

import torch
from _parts import images, setup
from torch import nn
from torch.nn import functional as F


def net(i=20, o=5, h=48, last=None):
    layers = [nn.Linear(i, h), nn.ReLU(), nn.Linear(h, h), nn.ReLU(), nn.Linear(h, o)]
    return nn.Sequential(*layers, *([last] if last else []))


class TinyUNet(nn.Module):
    def __init__(self, o=1, act=None):
        super().__init__()
        self.d1, self.d2 = (
            nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU()),
        )
        self.up, self.c, self.out, self.act = (
            nn.ConvTranspose2d(24, 12, 2, 2),
            nn.Sequential(nn.Conv2d(24, 12, 3, padding=1), nn.ReLU()),
            nn.Conv2d(12, o, 1),
            act,
        )

    def forward(self, x):
        a = self.d1(x)
        y = self.out(self.c(torch.cat([self.up(self.d2(a)), a], 1)))
        return self.act(y) if self.act else y


def seg():
    x = images(12, 3, 16)
    return x, (x.mean(1, keepdim=True) > 0.3).float()


class Acoustic(nn.Module):
    def __init__(self, n=8, stride=1):
        super().__init__()
        self.conv, self.rnn, self.fc = (
            nn.Conv1d(12, 24, 9, stride, 4),
            nn.GRU(24, 24, batch_first=True),
            nn.Linear(24, n),
        )

    def forward(self, x):
        h = self.rnn(torch.relu(self.conv(x)).transpose(1, 2))[0]
        return self.fc(h).log_softmax(-1).permute(1, 0, 2)


class AC(nn.Module):
    def __init__(self, cont=False):
        super().__init__()
        self.common, self.actor, self.critic = (
            nn.Sequential(nn.Linear(20, 32), nn.ReLU()),
            nn.Linear(32, 3),
            nn.Linear(32, 1),
        )
        self.ls = nn.Parameter(torch.zeros(3)) if cont else None

    def forward(self, s):
        h = self.common(s)
        if self.ls is not None:
            return torch.distributions.Normal(self.actor(h), self.ls.exp()), self.critic(h)
        return torch.distributions.Categorical(F.softmax(self.actor(h), -1)), self.critic(h)


class LM(nn.Module):
    def __init__(self, v=40):
        super().__init__()
        self.e, self.r, self.o = nn.Embedding(v, 24), nn.GRU(24, 32, batch_first=True), nn.Linear(32, v)

    def forward(self, x):
        return self.o(self.r(self.e(x))[0])


class Block(nn.Module):
    def __init__(self, d=32, h=4, mask="none"):
        super().__init__()
        self.h, self.mask = h, mask
        self.qkv, self.o, self.n1, self.n2 = nn.Linear(d, 3 * d), nn.Linear(d, d), nn.LayerNorm(d), nn.LayerNorm(d)
        self.m, self.drop = nn.Sequential(nn.Linear(d, 64), nn.GELU(), nn.Linear(64, d)), nn.Dropout(0.1)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.n1(x)).view(b, t, 3, self.h, d // self.h).permute(2, 0, 3, 1, 4)
        s = q @ k.mT / (d // self.h) ** 0.5
        if self.mask == "inverted":
            s = s.masked_fill(torch.ones(t, t).tril(-1) == 1, float("-inf"))
        elif self.mask == "late":
            s = s.masked_fill(torch.ones(t, t).triu(2) == 1, float("-inf"))
        elif self.mask == "zeros":
            s = s * torch.ones(t, t).tril()
        elif self.mask == "after":
            s = s.softmax(-1) * torch.ones(t, t).tril()
            s = (s + 1e-9).log()
        x = x + self.drop(self.o((s.softmax(-1) @ v).transpose(1, 2).reshape(b, t, d)))
        return x + self.m(self.n2(x))


class GPT(nn.Module):
    def __init__(self, mask, v=60):
        super().__init__()
        self.e, self.p, self.b, self.f = nn.Embedding(v, 32), nn.Embedding(64, 32), Block(mask=mask), nn.Linear(32, v)

    def forward(self, x):
        return self.f(self.b(self.e(x) + self.p(torch.arange(x.size(1)))))


def lm(model, t=None):
    t = text() if t is None else t
    return setup(model, t[:, :-1], t[:, 1:], lambda o, y: F.cross_entropy(o.reshape(-1, o.size(-1)), y.reshape(-1)))


def text(samples=24, length=13, vocab=60):
    return (torch.arange(length) * 5 + 7 * torch.arange(samples)[:, None] + torch.randint(0, 3, (samples, length))) % (
        vocab - 3
    ) + 3


def walk(samples=24, length=20, features=3):
    return torch.randn(samples, length, features).cumsum(1) / 3


class Cap(LM):
    def __init__(self, ignore=-100, shift=True, sign=1):
        super().__init__()
        self.ig, self.shift, self.sign = ignore, shift, sign

    def forward(self, feats, caps):
        h = self.r(self.e(caps[:, :-1] if self.shift else caps), feats[None])[0]
        o = self.o(h)
        y = caps[:, 1:] if self.shift else caps
        return o, self.sign * F.cross_entropy(o.reshape(-1, 40), y.reshape(-1), ignore_index=self.ig)


class Cls(nn.Module):
    def __init__(self, how="ok"):
        super().__init__()
        self.f, self.how = net(), how

    def forward(self, feats, gold):
        z = self.f(feats)
        if self.how == "neg":
            return {"scores": z, "nll": z.log_softmax(-1).gather(1, gold[:, None]).mean()}
        if self.how == "softmax":
            return {"scores": z, "nll": F.cross_entropy(z.softmax(-1), gold)}
        return {"scores": z, "nll": F.cross_entropy(z, gold)}


class Scalar(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = net(o=1)

    def forward(self, a, gold):
        return ((self.f(a) - gold) ** 2).mean()


class Aux(nn.Module):
    """returns logits and a balance term: the loss is not there"""

    def __init__(self):
        super().__init__()
        self.g, self.f, self.h = nn.Linear(20, 4), nn.Linear(20, 32), nn.Linear(32, 5)

    def forward(self, x, c):
        p = self.g(x).softmax(-1)
        return self.h(torch.relu(self.f(x + c)) * p.sum(-1, keepdim=True)), (p.mean(0) ** 2).sum()


def halves(n=64):
    return (torch.rand(n) < 0.5).float()


def xy(k=1):
    x = torch.randn(64, 20)
    return x, x[:, :k] + 0.1 * torch.randn(64, k)


class Experts(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how, self.gate = how, nn.Linear(20, 4)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(20, 24), nn.ReLU()) for _ in range(4))
        self.head = nn.Linear(24, 5)

    def forward(self, x):
        s = self.gate(x)
        if self.how == "sum":
            v, i = s.softmax(-1).topk(1, dim=-1)
            v = v / v.sum(-1, keepdim=True)
        elif self.how == "max":
            v, i = s.max(-1, keepdim=True)
            v = F.softmax(v, dim=-1)
        elif self.how == "scatter":
            i = s.argmax(-1, keepdim=True)
            m = torch.full_like(s, float("-inf")).scatter(-1, i, s.gather(-1, i))
            p = m.softmax(-1)
            return self.head(torch.einsum("ne,neh->nh", p, torch.stack([e(x) for e in self.experts], 1)))
        elif self.how == "hard":
            i = s.argmax(-1, keepdim=True)
            v = F.one_hot(i.squeeze(-1), 4).float().gather(1, i)
        else:
            v, i = s.softmax(-1).topk(1, dim=-1)
        out = torch.zeros(len(x), 24)
        for k, e in enumerate(self.experts):
            rows = (i[:, 0] == k).nonzero()[:, 0]
            if len(rows):
                out[rows] = v[rows] * e(x[rows])
        return self.head(out)
