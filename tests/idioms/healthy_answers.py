"""Losses that look like those of `faulty_answers` and are right: each must pass with nothing at warning or above."""

import copy
import math

import torch
from _nets import TinyUNet, net, seg
from _parts import labels, setup, table
from faulty_answers import Coder, Prefers, Says, Twin, structure, views
from torch import nn
from torch.distributions import Categorical, MixtureSameFamily, Normal
from torch.nn import functional as F

# -------------------------------------------------------------------- pairs


def build_cosine_of_two_views_maximized():
    return setup(Twin(unit=True), views(), loss=lambda out, _=None: -torch.einsum("nd,nd->n", *out).mean())


def build_squared_triplet_without_margin():
    x, near = views(32)

    def loss(out, _=None):
        a, p, n = out
        return (a - p).pow(2).sum(1).mean() - (a - n).pow(2).sum(1).mean()  # bounded: the rows have length one

    return setup(Twin(unit=True), (x, near, table(32)), loss=loss)


def build_private_and_shared_parts_made_different():
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared, self.private, self.outer = net(o=12), net(o=12), net(12, 20)

        def forward(self, x):
            shared, private = self.shared(x), self.private(x)
            return self.outer(shared + private), shared, private

    def loss(out, x):
        made, shared, private = out
        return F.mse_loss(made, x) + 0.1 * (F.normalize(shared) * F.normalize(private)).sum(1).pow(2).mean()

    x = table()
    return setup(Parts(), x, x, loss)


def build_redundancy_reduced_between_views():
    def loss(out, _=None):
        a, b = ((z - z.mean(0)) / (z.std(0) + 1e-4) for z in out)
        c = a.T @ b / len(a)
        return (c.diagonal() - 1).pow(2).sum() + 0.005 * (c - torch.diag(c.diagonal())).pow(2).sum()

    return setup(Twin(), views(64), loss=loss)


def build_pairs_whose_label_means_same():
    x = table(64)
    same = torch.arange(64) % 2
    other = torch.where(same[:, None] == 1, x + 0.2 * torch.randn_like(x), x.roll(1, 0))

    def loss(out, y):
        d = (out[0] - out[1]).norm(dim=1)
        return (y * d**2 + (1 - y) * (1.5 - d).clamp(min=0) ** 2).mean()

    return setup(Twin(unit=True), (x, other), same.float(), loss)


def build_critic_of_real_and_fake():
    return setup(
        Twin(),
        (table(32), 0.5 * table(32) + 0.3),
        loss=lambda out, _=None: out[1].mean() - out[0].mean() + 1e-3 * out[0].pow(2).mean(),
    )


# -------------------------------------------------------------------- codes and distributions


def build_code_drawn_to_its_prior():
    def loss(out, x):
        made, mean, log_variance = out
        return F.mse_loss(made, x) - 0.05 * torch.mean(1 + log_variance - mean.pow(2) - log_variance.exp())

    x = table()
    return setup(Coder(), x, x, loss)


def build_code_drawn_to_its_prior_in_the_model():
    return setup(Coder(own=True), table(), loss=lambda out, _=None: out)


def build_code_with_a_learned_prior():
    class Conditional(nn.Module):
        def __init__(self):
            super().__init__()
            self.prior, self.posterior, self.outer = net(o=8), net(40, 8), net(24, 20)

        def forward(self, x, y):
            mean, log_scale = self.posterior(torch.cat([x, y], 1)).chunk(2, 1)
            code = mean + torch.randn_like(mean) * log_scale.exp()
            return self.outer(torch.cat([x, code], 1)), mean, log_scale, *self.prior(x).chunk(2, 1)

    def loss(out, y):
        made, mean, log_scale, m, s = out
        divergence = s - log_scale + ((2 * log_scale).exp() + (mean - m) ** 2) / (2 * (2 * s).exp()) - 0.5
        return F.mse_loss(made, y) + 0.1 * divergence.sum(1).mean()

    x = table()
    y = x.roll(1, 1)
    return setup(Conditional(), (x, y), y, loss)


def build_flow_of_the_data():
    class Flow(nn.Module):
        def __init__(self):
            super().__init__()
            self.nets = nn.ModuleList([net(10, 20, 32) for _ in range(2)])

        def forward(self, x):
            volume = x.new_zeros(len(x))
            for part in self.nets:
                a, b = x.chunk(2, 1)
                shift, scale = part(a).chunk(2, 1)
                x = torch.cat([b * torch.tanh(scale).exp() + shift, a], 1)
                volume = volume + torch.tanh(scale).sum(1)
            return x, volume

    def loss(out, _=None):
        z, volume = out
        return (0.5 * z.pow(2).sum(1) + 10 * math.log(2 * math.pi) - volume).mean() / 20

    return setup(Flow(), table(), loss=loss)


def build_likelihood_of_a_normal_maximized():
    x = table()
    return setup(Says("normal", 4), x, x[:, :2] + x[:, 2:4], lambda d, y: -d.log_prob(y).mean())


def build_likelihood_of_classes_with_entropy():
    return setup(
        Says("classes", 5), table(), labels(64), lambda d, y: -d.log_prob(y).mean() - 0.01 * d.entropy().mean()
    )


def build_likelihood_of_a_mixture():
    class Mixture(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = net(o=18)

        def forward(self, x):
            weights, mean, scale = self.body(x).chunk(3, 1)
            return MixtureSameFamily(Categorical(logits=weights), Normal(mean, F.softplus(scale) + 0.1))

    x = table()
    return setup(Mixture(), x, x[:, 0] * x[:, 1], lambda d, y: -d.log_prob(y).mean())


# -------------------------------------------------------------------- sums


def build_entropy_and_one_minus_the_overlap():
    def loss(z, y):
        p = torch.sigmoid(z)
        return F.binary_cross_entropy_with_logits(z, y) + 0.5 * (1 - (p * y).sum() / (p + y - p * y).sum())

    return setup(TinyUNet(), *seg(), loss)


def build_classes_and_a_confused_domain():
    """The domain head is trained by a loss of its own; this one fools it."""

    class Adapts(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.classes, self.domain = net(o=32), nn.Linear(32, 5), nn.Linear(32, 2)

        def forward(self, x):
            h = F.relu(self.body(x))
            return self.classes(h), self.domain(h)

    model = Adapts()
    trained = [*model.body.parameters(), *model.classes.parameters()]

    def loss(out, y):
        return F.cross_entropy(out[0], y[0]) - 0.1 * F.cross_entropy(out[1], y[1])

    optimizer = torch.optim.Adam(trained, lr=1e-3)
    return setup(model, table(), (labels(64), labels(64, 2)), loss, optimizer=optimizer, frozen=("domain*",))


def build_clusters_without_targets():
    def loss(z, _=None):
        p = z.softmax(1)
        each, mean = -(p * p.clamp(min=1e-9).log()).sum(1).mean(), p.mean(0)
        return each + (mean * mean.clamp(min=1e-9).log()).sum()  # sure of each, even over all

    return setup(net(), table(), loss=loss)


# -------------------------------------------------------------------- forms


def build_margin_of_signs():
    x = table()
    return setup(net(o=1), x, x[:, 0].sign(), lambda z, y: F.relu(1 - y * z.flatten()).mean())


def build_errors_of_the_samples_that_a_mask_chooses():
    x = table()
    seen = (torch.arange(64) % 3 > 0).float()
    return setup(net(o=20), x, seen, lambda out, seen: ((out - x.roll(1, 1)).pow(2).mean(1) * seen).sum() / seen.sum())


def build_errors_of_the_targets_that_are_known():
    x = table()
    y, seen = x[:, 0] * x[:, 1], (torch.arange(64) % 3 > 0).float()
    return setup(net(o=1), x, (y, seen), lambda out, y: ((out.flatten() - y[0]).pow(2) * y[1]).sum() / y[1].sum())


def build_least_squares_critic():
    x = table()
    return setup(net(o=1), x, (x[:, :1] > 0).float(), lambda score, real: 0.5 * (score - real).pow(2).mean())


def build_rare_classes_weighted_by_hand():
    y = (torch.rand(400, generator=torch.Generator().manual_seed(0)) < 0.05).long()
    share = y.float().mean()
    weight = torch.stack([1 / (1 - share), 1 / share])

    def loss(z, y):
        each = -z.log_softmax(1).gather(1, y[:, None]).squeeze(1)
        return (weight[y] * each).sum() / weight[y].sum()

    return setup(net(o=2), table(400) + y[:, None], y, loss)


def build_next_words_picked_by_hand():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.rnn, self.out = nn.Embedding(30, 24), nn.GRU(24, 24, batch_first=True), nn.Linear(24, 30)

        def forward(self, ids):
            return self.out(self.rnn(self.words(ids))[0])

    def loss(z, given):
        ids, advantage = given
        said = z[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
        return -(said.mean(1) * advantage).mean()

    ids = torch.randint(0, 30, (16, 10))
    return setup(Words(), ids, (ids, torch.randn(16)), loss)


def build_views_one_below_the_other():
    def loss(z, _=None):
        z = F.normalize(z)
        scores = (z @ z.T / 0.2).masked_fill(torch.eye(len(z), dtype=torch.bool), -1e9)
        return F.cross_entropy(scores, torch.arange(len(z)).roll(len(z) // 2))

    return setup(net(o=16), torch.cat(views(32)), loss=loss)


def build_error_and_the_structure_that_is_missing():
    x, _ = seg()
    y = x.mean(1, keepdim=True)
    return setup(TinyUNet(), x, y, lambda made, y: 0.2 * F.l1_loss(made, y) + 0.8 * (1 - structure(made, y)))


# -------------------------------------------------------------------- references


def build_preference_against_a_frozen_copy():
    model = Prefers()
    model.reference = copy.deepcopy(model.policy).requires_grad_(False)
    ids = torch.randint(0, 30, (2, 16, 9))
    return setup(model, tuple(ids), loss=lambda out, _=None: out)


def build_two_passes_under_dropout():
    model = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Dropout(0.5), nn.Linear(48, 5))
    x = table()

    def loss(z, y):
        with torch.no_grad():
            other = model(x)
        return F.cross_entropy(z, y) + F.mse_loss(z.softmax(1), other.softmax(1))

    return setup(model, x, labels(64), loss)


def build_teacher_left_out_of_the_optimizer():
    class Taught(nn.Module):
        def __init__(self):
            super().__init__()
            self.teacher, self.student = net(), net(h=24)

        def forward(self, x):
            with torch.no_grad():
                answer = self.teacher(x)
            return self.student(x), answer

    model = Taught()

    def loss(out, y):
        return F.cross_entropy(out[0], y) + F.kl_div(out[0].log_softmax(1), out[1].softmax(1), reduction="batchmean")

    return setup(model, table(), labels(64), loss, optimizer=torch.optim.Adam(model.student.parameters(), lr=1e-3))


def build_loss_with_a_number_for_the_schedule():
    weight = torch.tensor(0.3)
    return setup(net(), table(), labels(64), lambda z, y: F.cross_entropy(z, y) * weight.item() + 0.0)


def build_classifier_after_its_training():
    torch.manual_seed(0)
    y = labels(96, 3)
    x = torch.randn(3, 4)[y] * 2 + 0.5 * torch.randn(96, 4)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return setup(model, x, y, nn.CrossEntropyLoss())
