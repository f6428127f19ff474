"""Further programs of faults whose rules were written anew for the field: attention, several labels, sums over the batch."""

import math

import torch
from _nets import net
from _parts import classifier, labels, setup, table, tokens
from torch import nn
from torch.nn import functional as F


class Attending(nn.Module):
    """A reader of tokens around one attention; `attend(q, k, v)` on (batch, heads, time, features)."""

    def __init__(self, attend, heads=4, width=32):
        super().__init__()
        self.embed, self.place = nn.Embedding(100, width), nn.Parameter(torch.randn(16, width) * 0.1)
        self.q, self.k, self.v = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.mix, self.head, self.heads, self.attend = nn.Linear(width, width), nn.Linear(width, 5), heads, attend

    def forward(self, ids):
        x = self.embed(ids) + self.place
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.q(x), self.k(x), self.v(x)))
        made = self.attend(q, k, v).transpose(1, 2).flatten(2)
        return self.head(torch.relu(self.mix(made) + x).mean(1))


def build_exponentials_over_the_queries():  # expect: ARC027
    def attend(q, k, v):
        scores = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).exp()
        return (scores / scores.sum(-2, keepdim=True)) @ v  # <- ARC027

    return classifier(Attending(attend), tokens())


def build_scores_transposed():  # expect: ARC027
    def attend(q, k, v):
        scores = k @ q.transpose(-2, -1) / math.sqrt(q.shape[-1])
        return scores.softmax(-1).transpose(-2, -1) @ v  # <- ARC027

    return classifier(Attending(attend), tokens())


def build_names_swapped_in_an_einsum():  # expect: ARC027
    def attend(q, k, v):
        weights = torch.softmax(torch.einsum("bhqd,bhkd->bhkq", q, k) / q.shape[-1] ** 0.5, dim=-1)  # <- ARC027
        return torch.einsum("bhkq,bhkd->bhqd", weights, v)

    return classifier(Attending(attend), tokens())


# -------------------------------------------------------------------- several labels for a sample


def several(samples=64, classes=5):
    y = torch.zeros(samples, classes)
    y[torch.arange(samples), torch.arange(samples) % classes] = 1.0
    y[::2, 1], y[::3, 3] = 1.0, 1.0
    return y


def build_several_labels_in_a_module():  # expect: LOS013
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, x, tags):
            z = self.net(x)
            return {"logits": z, "loss": F.cross_entropy(z, tags)}  # <- LOS013

    return setup(Tagger(), {"x": table(), "tags": several()})


def build_several_labels_by_a_log_of_softmax():  # expect: LOS013 warning
    def loss(p, y):
        return -(y * p.clamp_min(1e-7).log()).sum(1).mean()  # <- LOS013

    return setup(net(last=nn.Softmax(1)), table(), several(), loss)


def build_several_labels_of_positions():  # expect: LOS013
    y = several(32 * 16).reshape(32, 16, 5).transpose(1, 2)
    model = nn.Sequential(nn.Conv1d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv1d(24, 5, 3, padding=1))
    return setup(model, torch.randn(32, 3, 16), y, F.cross_entropy)


# -------------------------------------------------------------------- sums over the batch


def descent(model, *given, lr=0.05):
    return {**setup(model, *given), "optimizer": torch.optim.SGD(model.parameters(), lr=lr)}


def build_entropies_added_up():  # expect: LOS021
    return descent(net(), table(), labels(64), nn.CrossEntropyLoss(reduction="sum"))


def build_squares_added_up_by_hand():  # expect: LOS021 error
    x = table()
    return descent(net(o=1), x, x[:, :1], lambda z, y: ((z - y) ** 2).sum())  # <- LOS021


def build_likelihoods_added_up_in_a_loop():  # expect: LOS021
    def loss(z, y):
        total = 0.0
        for row, label in zip(z.log_softmax(1), y, strict=True):
            total = total - row[label]  # <- LOS021
        return total

    return descent(net(), torch.randn(16, 20), labels(16), loss)


def build_reconstruction_summed_beside_a_mean_divergence():  # expect: LOS021
    class Coder(nn.Module):
        def __init__(self):
            super().__init__()
            self.encode, self.decode = nn.Linear(20, 16), nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 20))

        def forward(self, x):
            mu, logvar = self.encode(x).chunk(2, -1)
            return self.decode(mu + torch.randn_like(mu) * (logvar / 2).exp()), mu, logvar

    def loss(made, x):
        rebuilt, mu, logvar = made
        divergence = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1).mean()
        return F.mse_loss(rebuilt, x, reduction="sum") + divergence  # <- LOS021

    x = torch.randn(64, 4) @ torch.randn(4, 20) / 2
    return setup(Coder(), x, x, loss)
