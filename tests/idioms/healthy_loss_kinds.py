"""The same losses as they are meant, and objectives that look like their faults."""

import copy
import math

import torch
from _nets import net
from _parts import labels, setup
from torch import nn
from torch.nn import functional as F


def build_cox_likelihood():
    x = torch.randn(96, 20)

    def loss(risk, target):
        time, event = target
        order = torch.argsort(time, descending=True)
        r, e = risk[order, 0], event[order]
        return -((r - torch.logcumsumexp(r, 0)) * e).sum() / e.sum()

    return setup(net(o=1), x, (-torch.rand(96).log() / x[:, 0].exp(), (torch.rand(96) < 0.7).float()), loss)


def build_generator_that_minimizes_the_score_of_being_caught():
    return setup(net(o=1), torch.randn(64, 20), loss=lambda s: -F.softplus(s).mean())


def build_likelihood_weighed_by_costs():
    x, action, cost = torch.randn(64, 20), torch.randint(0, 5, (64,)), -torch.rand(64) - 0.5
    loss = lambda z, t: -(F.log_softmax(z, 1).gather(1, t[0][:, None])[:, 0] * t[1]).mean()
    return setup(net(), x, (action, cost), loss)


def build_lower_bound_of_information():
    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = net(o=1)

        def forward(self, together, apart):
            return self.body(together), self.body(apart)

    x = torch.randn(64, 20)
    apart = torch.cat([x[:, :10], x[torch.randperm(64), 10:]], 1)
    return setup(Critic(), (x, apart), loss=lambda o: -(o[0].mean() - (o[1].logsumexp(0).squeeze() - math.log(64))))


def build_entropy_as_a_penalty():
    def loss(z, y):
        said = z.log_softmax(1)
        return F.nll_loss(said, y) + 0.1 * (said.exp() * said).sum(1).mean()

    return setup(net(), torch.randn(64, 20), labels(64), loss)


def build_two_tables_with_one_distribution():
    class Tables(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows = nn.Embedding(200, 8)

        def forward(self, a, b):
            return self.rows(a), self.rows(b)

    def loss(o):
        kernel = lambda u, v: torch.exp(-torch.cdist(u, v).pow(2) / 8).mean()
        return kernel(o[0], o[0]) + kernel(o[1], o[1]) - 2 * kernel(o[0], o[1])

    return setup(Tables(), (torch.randint(0, 200, (32,)), torch.randint(0, 200, (32,))), loss=loss)


def build_squared_error_of_probabilities():
    y = (torch.rand(64, 4) < 0.5).float()
    return setup(net(o=4, last=nn.Sigmoid()), torch.randn(64, 20), y, lambda p, y: ((p - y) ** 2).sum(1).mean())


def build_one_against_the_rest_from_its_prior():
    model = net(o=10)
    nn.init.constant_(model[-1].bias, -math.log(9))
    return setup(model, torch.randn(64, 20), F.one_hot(labels(64, 10), 10).float(), nn.BCEWithLogitsLoss())


def build_positive_rates():
    x = torch.randn(128, 20)
    loss = lambda r, y: (r - y * torch.log(r + 1e-8)).mean()
    return setup(net(o=1, last=nn.Softplus()), x, torch.poisson((0.6 * x[:, :1] - 0.5).exp()), loss)


def build_logarithms_of_rates():
    x = torch.randn(128, 20)
    return setup(net(o=1), x, torch.poisson((0.6 * x[:, :1] + 1).exp()), lambda z, y: (z.exp() - y * z).mean())


def build_positives_alone():
    y = (torch.rand(64, 6) < 0.5).float()
    return setup(net(o=6), torch.randn(64, 20), y, lambda z, y: -(y * F.log_softmax(z, 1)).sum() / y.sum())


def build_masked_entries_rebuilt():
    x, hidden = torch.randn(64, 20), (torch.rand(64, 20) < 0.3).float()
    loss = lambda o, hidden: ((o - x) ** 2 * hidden).sum() / hidden.sum()
    return setup(net(o=20), x * (1 - hidden), hidden, loss)


class _Pair(nn.Module):
    def __init__(self, student, teacher):
        super().__init__()
        self.student, self.teacher = student, teacher

    def forward(self, x, y=None):
        return self.student(x), self.teacher(x if y is None else y)


def build_teacher_that_learns_from_labels():
    loss = lambda o, y: F.cross_entropy(o[1], y) + F.mse_loss(o[0], o[1])
    return setup(_Pair(net(), net()), torch.randn(64, 20), labels(64), loss)


def build_towers_held_apart_by_their_variance():
    def loss(o):
        spread = sum(F.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() for z in o)
        return F.mse_loss(*o) + spread

    x = torch.randn(64, 20)
    return setup(_Pair(net(o=16), net(o=16)), (x, x + 0.1 * torch.randn(64, 20)), loss=loss)


def build_pairs_with_a_margin():
    x, same = torch.randn(64, 20), (torch.arange(64) % 2).float()
    other = torch.where(same[:, None] == 1, x, x.roll(1, 0)) + 0.05

    def loss(o, same):
        d = (o[0] - o[1]).pow(2).sum(1)
        return (same * d + (1 - same) * F.relu(1 - (d + 1e-8).sqrt()).pow(2)).mean()

    return setup(_Pair(net(o=16), net(o=16)), (x, other), same, loss)


def build_centres_of_classes():
    class Centred(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = net(o=16), nn.Linear(16, 5)
            self.centres = nn.Parameter(0.1 * torch.randn(5, 16))

        def forward(self, x):
            h = self.body(x)
            return self.head(h), h

    model = Centred()
    loss = lambda o, y: F.cross_entropy(o[0], y) + 0.01 * (o[1] - model.centres[y]).pow(2).sum(1).mean()
    return setup(model, torch.randn(64, 20), labels(64), loss)


def build_detached_teacher_outside_the_optimizer():
    model = _Pair(net(), net())

    def loss(o, y):
        return F.cross_entropy(o[0], y) + F.kl_div(o[0].log_softmax(1), o[1].detach().softmax(1), reduction="batchmean")

    optimizer = torch.optim.Adam(model.student.parameters(), lr=1e-3)
    return setup(model, torch.randn(64, 20), labels(64), loss, optimizer=optimizer)


def build_q_learning_with_one_network():
    model, x = net(o=3), torch.randn(64, 20)

    def loss(q, batch):
        action, reward, after = batch
        with torch.no_grad():
            wanted = reward + 0.9 * model(after).max(1, keepdim=True).values
        return F.smooth_l1_loss(q.gather(1, action), wanted)

    return setup(model, x, (torch.randint(0, 3, (64, 1)), x[:, :1], x + 0.1), loss)


def build_weights_drawn_to_where_they_started():
    model = net()
    start = copy.deepcopy(model).requires_grad_(False)

    def loss(z, y):
        moved = sum(((p - q) ** 2).sum() for p, q in zip(model.parameters(), start.parameters(), strict=True))
        return F.cross_entropy(z, y) + 1e-3 * moved

    return setup(model, torch.randn(64, 20), labels(64), loss)


def build_divergence_added_up_and_divided_by_the_samples_given():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.student, self.teacher = net(20, 5), net(20, 5).requires_grad_(False)

        def forward(self, x):
            return self.student(x), self.teacher(x)

    def loss(both, y):
        (z, taught), t = both, 4.0
        told = F.kl_div((z / t).log_softmax(1), (taught / t).softmax(1), reduction="sum") * t**2 / z.shape[0]
        return 0.1 * F.cross_entropy(z, y) + 0.9 * told

    return setup(Pair(), torch.randn(32, 20), labels(32, 5), loss)


def build_activity_added_up_with_a_small_weight():
    class Sparse(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = net(o=48), nn.Linear(48, 20)

        def forward(self, x):
            h = self.encoder(x).relu()
            return self.decoder(h), h

    x = torch.randn(128, 4) @ torch.randn(4, 20) / 2
    return setup(Sparse(), x, x, lambda o, x: F.mse_loss(o[0], x) + 1e-4 * o[1].abs().sum())


def build_language_model_of_as_many_ids_as_steps():
    class LM(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.body, self.head = nn.Embedding(16, 32), nn.LSTM(32, 32, batch_first=True), nn.Linear(32, 16)

        def forward(self, ids):
            return self.head(self.body(self.embed(ids))[0])

    ids = (torch.randint(0, 16, (24, 1)) + torch.randint(1, 4, (24, 17)).cumsum(1)) % 16
    return setup(LM(), ids[:, :-1], ids[:, 1:], lambda o, y: F.cross_entropy(o.mT, y))
