"""Tables, recommenders and small regressions."""

import torch
import torch.nn.functional as F
from torch import nn


def table(n=128, width=10):
    x = torch.randn(n, width)
    return x, (x[:, 0] * x[:, 1] + x[:, 2]).unsqueeze(1)


def build_mlp_regression():
    model = nn.Sequential(
        nn.Linear(10, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Linear(32, 1),
    )
    x, y = table()
    return {
        "model": model,
        "inputs": x,
        "targets": y,
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5),
    }


def build_logistic_regression():
    model = nn.Linear(10, 1)
    x, y = table()
    return {
        "model": model,
        "inputs": x,
        "targets": (y > 0).float(),
        "loss": nn.BCEWithLogitsLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
    }


class TabularModel(nn.Module):
    def __init__(self, sizes=(5, 8, 12)):
        super().__init__()
        self.embeds = nn.ModuleList([nn.Embedding(n, min(50, (n + 1) // 2)) for n in sizes])
        width = sum(e.embedding_dim for e in self.embeds)
        self.bn_cont, self.emb_drop = nn.BatchNorm1d(4), nn.Dropout(0.05)
        self.layers = nn.Sequential(
            nn.Linear(width + 4, 64), nn.ReLU(), nn.BatchNorm1d(64), nn.Dropout(0.1), nn.Linear(64, 1)
        )

    def forward(self, x_cat, x_cont):
        x = self.emb_drop(torch.cat([e(x_cat[:, i]) for i, e in enumerate(self.embeds)], 1))
        return self.layers(torch.cat([x, self.bn_cont(x_cont)], 1))


def categories(n=128, sizes=(5, 8, 12)):
    return torch.stack([torch.randint(0, s, (n,)) for s in sizes], 1)


def build_tabular_embeddings():
    model = TabularModel()
    cat, cont = categories(), torch.randn(128, 4)
    y = (cat[:, 0] > 2).float() + cont[:, 0]
    return {
        "model": model,
        "inputs": (cat, cont),
        "targets": y.unsqueeze(1),
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-2),
    }


class FTTransformer(nn.Module):
    def __init__(self, features=10, width=16):
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(torch.randn(features, width) * 0.3),
            nn.Parameter(torch.randn(features, width) * 0.3),
        )
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.3)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(width, 2, 32, 0.1, batch_first=True), 1)
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        tokens = x[:, :, None] * self.weight + self.bias
        return self.head(self.encoder(torch.cat([self.cls.expand(len(x), -1, -1), tokens], 1))[:, 0])


def build_ft_transformer():
    model = FTTransformer()
    x, y = table()
    return {
        "model": model,
        "inputs": x,
        "targets": y,
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-5),
    }


class MatrixFactorization(nn.Module):
    def __init__(self, users=30, items=40, width=8):
        super().__init__()
        self.u, self.i = nn.Embedding(users, width), nn.Embedding(items, width)
        self.ub, self.ib = nn.Embedding(users, 1), nn.Embedding(items, 1)
        self.mean = nn.Parameter(torch.tensor(3.5))
        for e in (self.u, self.i):
            nn.init.normal_(e.weight, std=0.1)
        for e in (self.ub, self.ib):
            nn.init.zeros_(e.weight)

    def forward(self, user, item):
        return (self.u(user) * self.i(item)).sum(1) + self.ub(user).squeeze(1) + self.ib(item).squeeze(1) + self.mean


def build_matrix_factorization():
    model = MatrixFactorization()
    user, item = torch.randint(0, 30, (256,)), torch.randint(0, 40, (256,))
    return {
        "model": model,
        "inputs": (user, item),
        "targets": 1.0 + (user + item) % 5,
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-2),
    }


class NCF(nn.Module):
    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Embedding(30, 16), nn.Embedding(40, 16)
        self.mlp = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
        self.predict = nn.Linear(32, 1)
        nn.init.normal_(self.user.weight, std=0.01)
        nn.init.normal_(self.item.weight, std=0.01)
        nn.init.kaiming_uniform_(self.predict.weight, a=1, nonlinearity="sigmoid")

    def forward(self, user, item):
        u, i = self.user(user), self.item(item)
        return self.predict(torch.cat((u * i, self.mlp(torch.cat((u, i), -1))), -1)).view(-1)


def build_neural_collaborative_filtering():
    model = NCF()
    user, item = torch.randint(0, 30, (256,)), torch.randint(0, 40, (256,))
    return {
        "model": model,
        "inputs": (user, item),
        "targets": ((user + item) % 4 == 0).float(),
        "loss": nn.BCEWithLogitsLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


class BPR(nn.Module):
    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Embedding(30, 16), nn.Embedding(40, 16)
        nn.init.normal_(self.user.weight, std=0.01)
        nn.init.normal_(self.item.weight, std=0.01)

    def forward(self, user, pos, neg):
        u = self.user(user)
        return (u * self.item(pos)).sum(-1), (u * self.item(neg)).sum(-1)


def build_bpr():
    model = BPR()
    user = torch.randint(0, 30, (256,))
    return {
        "model": model,
        "inputs": (user, (user + torch.randint(0, 5, (256,))) % 40, torch.randint(0, 40, (256,))),
        "loss": lambda out: -F.logsigmoid(out[0] - out[1]).sum(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.01, weight_decay=1e-3),
    }


class DeepFM(nn.Module):
    def __init__(self, sizes=(5, 8, 12)):
        super().__init__()
        self.register_buffer("offsets", torch.tensor([0, *sizes[:-1]]).cumsum(0))
        self.linear, self.bias = nn.Embedding(sum(sizes), 1), nn.Parameter(torch.zeros(1))
        self.embedding = nn.Embedding(sum(sizes), 8)
        nn.init.xavier_uniform_(self.embedding.weight)
        self.mlp = nn.Sequential(nn.Linear(24, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1))

    def forward(self, x):
        x = x + self.offsets
        e = self.embedding(x)
        fm = 0.5 * (e.sum(1) ** 2 - (e**2).sum(1)).sum(1, keepdim=True)
        return torch.sigmoid((self.linear(x).sum(1) + self.bias + fm + self.mlp(e.view(-1, 24))).squeeze(1))


def build_deepfm():
    model = DeepFM()
    x = categories(256)
    return {
        "model": model,
        "inputs": x,
        "targets": ((x[:, 0] + x[:, 1]) % 2).float(),
        "loss": nn.BCELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-6),
    }


class MixtureDensity(nn.Module):
    def __init__(self, parts=3):
        super().__init__()
        self.z_h = nn.Sequential(nn.Linear(1, 20), nn.Tanh())
        self.z_pi, self.z_mu, self.z_sigma = nn.Linear(20, parts), nn.Linear(20, parts), nn.Linear(20, parts)

    def forward(self, x):
        h = self.z_h(x)
        return F.softmax(self.z_pi(h), -1), torch.exp(self.z_sigma(h)), self.z_mu(h)


def mdn_loss(out, y):
    pi, sigma, mu = out
    likelihood = torch.exp(torch.distributions.Normal(mu, sigma).log_prob(y.expand_as(mu)))
    return -torch.log((likelihood * pi).sum(1) + 1e-8).mean()


def build_mixture_density():
    model = MixtureDensity()
    y = torch.rand(128, 1) * 4 - 2
    x = (y * 2).sin() + 0.3 * y + 0.1 * torch.randn(128, 1)
    return {
        "model": model,
        "inputs": x,
        "targets": y,
        "loss": mdn_loss,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


class DeepSets(nn.Module):
    def __init__(self):
        super().__init__()
        self.phi, self.rho = (
            nn.Sequential(nn.Linear(3, 32), nn.ELU(), nn.Linear(32, 32), nn.ELU()),
            nn.Sequential(nn.Linear(32, 32), nn.ELU(), nn.Linear(32, 1)),
        )

    def forward(self, x):
        return self.rho(self.phi(x).mean(1))


def build_deep_sets():
    model = DeepSets()
    x = torch.rand(64, 12, 3)
    return {
        "model": model,
        "inputs": x,
        "targets": x[:, :, 0].amax(1, keepdim=True),
        "loss": nn.L1Loss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


class Pinn(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(self, t):
        t = t.requires_grad_(True)
        u = self.net(t)
        du = torch.autograd.grad(u, t, torch.ones_like(u), create_graph=True)[0]
        return ((du + u) ** 2).mean() + (self.net(torch.zeros(1, 1)) - 1).pow(2).mean()


def build_physics_informed():
    model = Pinn()
    return {
        "model": model,
        "inputs": torch.rand(64, 1) * 2,
        "loss": lambda out: out,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }
