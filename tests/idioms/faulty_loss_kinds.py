"""Losses by what they answer: signs, forms of targets and outputs, masks, teachers and weights that learn what they should not."""

import copy

import torch
from _nets import net, xy
from _parts import labels, setup
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

# -------------------------------------------------------------------- LOS031: no lowest value, pairs of ids


def _survival():
    x = torch.randn(96, 20)
    return x, (-torch.rand(96).log() / x[:, 0].exp(), (torch.rand(96) < 0.7).float())


def build_cox_likelihood_with_its_sign_turned():  # expect: LOS031
    def loss(risk, target):
        time, event = target
        order = torch.argsort(time, descending=True)
        r, e = risk[order, 0], event[order]
        return ((r - torch.logcumsumexp(r, 0)) * e).sum() / e.sum()  # <- LOS031

    return setup(net(o=1), *_survival(), loss)


def build_cox_by_risk_sets_with_its_sign_turned():  # expect: LOS031
    def loss(risk, target):
        time, event = target
        r = risk.squeeze(1)
        at_risk = time[None, :] >= time[:, None]
        total = torch.logsumexp(r[None, :].masked_fill(~at_risk, -1e9), 1)
        return (r - total)[event > 0].mean()  # <- LOS031

    return setup(net(o=1), *_survival(), loss)


def build_listnet_with_its_sign_turned():  # expect: LOS031
    x = torch.randn(16, 10, 20)

    def loss(scores, relevance):
        return (F.softmax(relevance, 1) * F.log_softmax(scores.squeeze(-1), 1)).sum(1).mean()  # <- LOS031

    return setup(net(o=1), x, (2 * x[..., 0]).round().clamp(0, 4), loss)


class _Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.users, self.items = nn.Embedding(64, 32), nn.Embedding(64, 32)

    def forward(self, users, items):
        return F.normalize(self.users(users), dim=-1), F.normalize(self.items(items), dim=-1)


def build_users_and_items_drawn_apart():  # expect: LOS031
    users = torch.randperm(64)[:32]

    def loss(output):
        similarity = output[0] @ output[1].T / 0.1
        return F.cross_entropy(-similarity, torch.arange(len(similarity)))  # <- LOS031

    return setup(_Towers(), (users, (7 * users + 3) % 64), loss=loss)


# -------------------------------------------------------------------- LOS001, LOS002, LOS005, LOS017 by what the loss answers


def build_softmax_into_pairwise_cross_entropy():  # expect: LOS001
    def loss(z, y):
        others = 1 - F.one_hot(y, 5)
        return torch.log1p(((z - z.gather(1, y[:, None])).exp() * others).sum(1)).mean()

    class Shares(nn.Module):
        def forward(self, z):
            z = z.double().exp()
            return (z / z.sum(1, keepdim=True)).float()  # <- LOS001

    return setup(net(last=Shares()), torch.randn(64, 20), labels(64), loss)


def build_sigmoid_into_cross_entropy_by_differences():  # expect: LOS002
    def loss(z, y):
        return torch.log((z - z[torch.arange(len(y)), y][:, None]).exp().sum(1)).mean()

    return setup(net(last=nn.Sigmoid()), torch.randn(64, 20), labels(64), loss)  # <- LOS002


def build_sigmoid_into_softplus_loss():  # expect: LOS005
    y = (torch.rand(64, 6) < 0.3).float()
    model = net(o=6, last=nn.Sigmoid())  # <- LOS005
    return setup(model, torch.randn(64, 20), y, lambda z, y: (F.softplus(z) - z * y).mean())


def build_clamp_at_zero_before_a_stable_binary_loss():  # expect: LOS017
    def loss(z, y):
        return (z.clamp(min=0) - z * y + torch.log1p(torch.exp(-z.abs()))).mean()

    class Positive(nn.Module):
        def forward(self, z):
            return z.clamp(min=0)  # <- LOS017

    y = (torch.rand(64, 6) < 0.3).float()
    return setup(net(o=6, last=Positive()), torch.randn(64, 20), y, loss)


def build_probabilities_meant_and_scores_given():  # expect: LOS006
    def loss(p, y):  # a focal loss of probabilities
        hit, rest = torch.log(p) * (1 - p) ** 2 * y, torch.log(1 - p) * p**2 * (1 - y)
        return -(hit + rest).sum() / y.sum()

    y = (torch.rand(64, 6) < 0.3).float()
    return setup(net(o=6), torch.randn(64, 20), y, loss)  # <- LOS006


def build_critic_with_scaled_sigmoid():  # expect: LOS034
    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = net(o=1)

        def forward(self, real, made):
            return [2 * torch.sigmoid(self.body(x)) - 1 for x in (real, made)]  # <- LOS034

    loss = lambda o: o[1].mean() - o[0].mean()
    return setup(Critic(), (torch.randn(64, 20) + 1, torch.randn(64, 20)), loss=loss)


def build_scores_scaled_to_one_over_the_samples():  # expect: LOS008
    class Shares(nn.Module):
        def forward(self, z):
            e = z.exp()
            return e / torch.einsum("nc->c", e)  # <- LOS008

    loss = lambda p, y: -(p.gather(1, y[:, None]) + 1e-9).log().mean()
    return setup(net(last=Shares()), torch.randn(64, 20), labels(64), loss)


# -------------------------------------------------------------------- LOS014, LOS016, LOS026: forms of targets


def build_signs_for_a_stable_binary_loss():  # expect: LOS016
    y = 2.0 * (labels(64, 2)[:, None] == 1) - 1
    return setup(net(o=1), torch.randn(64, 20), y, lambda z, y: (F.softplus(z) - z * y).mean())  # <- LOS016


def build_squares_of_cast_class_numbers():  # expect: LOS014
    y = torch.randint(0, 6, (64,))
    x = torch.randn(64, 20) + 4 * torch.eye(6, 20)[y]
    loss = lambda o, y: torch.mean((o.squeeze(-1) - y.to(torch.float32)) ** 2)  # <- LOS014
    return setup(net(o=1), x, y, loss)


def _counts(size=-0.5):
    x = torch.randn(128, 20)
    return x, torch.poisson((0.6 * x[:, :1] + size).exp())


def build_rates_taken_for_their_logarithm():  # expect: LOS016
    return setup(net(o=1, last=_Exp()), *_counts(), nn.PoissonNLLLoss())


class _Exp(nn.Module):
    def forward(self, x):
        return x.exp()  # <- LOS016


def build_exponential_twice_by_hand():  # expect: LOS016
    return setup(net(o=1, last=_Exp()), *_counts(2.0), lambda o, y: (o.exp() - y * o).mean())


def build_logarithms_taken_for_rates():  # expect: LOS016
    loss = lambda r, y: -(y * torch.log(r.clamp(min=1e-6)) - r).mean()
    return setup(net(o=1), *_counts(), loss)  # <- LOS016


def build_one_hot_rows_that_pick_as_indices():  # expect: LOS026
    def loss(z, rows):
        p = z.softmax(1).gather(1, rows)  # <- LOS026
        return (-((1 - p) ** 2) * (p + 1e-8).log()).mean()

    return setup(net(), torch.randn(64, 20), F.one_hot(labels(64), 5), loss)


def build_hinge_of_many_outputs_on_zero_and_one():  # expect: LOS026
    y = (torch.rand(64, 6) < 0.5).float()
    return setup(net(o=6), torch.randn(64, 20), y, lambda s, y: F.relu(1 - y * s).square().sum(1).mean())  # <- LOS026


# -------------------------------------------------------------------- LOS025: nothing counts


def build_hand_made_mask_leaves_out_all_labels():  # expect: LOS025
    def loss(z, y):
        counts = (y != -100).float()
        each = F.cross_entropy(z, y.clamp(min=0), reduction="none")
        return (each * counts).sum() / counts.sum().clamp(min=1)  # <- LOS025

    return setup(net(), torch.randn(64, 20), torch.full((64,), -100), loss)


def build_mask_of_known_values_inverted():  # expect: LOS025
    x = torch.randn(64, 20)

    def loss(o, target):
        y, known = target
        return ((o - y).abs() * (1 - known)).sum() / (1 - known).sum().clamp(min=1)  # <- LOS025

    return setup(net(o=3), x, (2 * x[:, :3], torch.ones(64, 3)), loss)


# -------------------------------------------------------------------- LOS032: a teacher that learns


class _Pair(nn.Module):
    def __init__(self, student, teacher):
        super().__init__()
        self.student, self.teacher = student, teacher

    def forward(self, x, y=None):
        return self.student(x), self.teacher(x if y is None else y)  # <- LOS032


def build_random_target_network_is_trained():  # expect: LOS032
    model = _Pair(net(o=16), net(o=16))
    return setup(model, torch.randn(64, 20), loss=lambda o: (o[0] - o[1]).pow(2).sum(1).mean())


def build_teacher_of_soft_labels_is_trained():  # expect: LOS032
    def loss(o, y, temperature=4.0):
        soft = (F.softmax(o[1] / temperature, 1) * F.log_softmax(o[0] / temperature, 1)).sum(1).mean()  # <- LOS032
        return F.cross_entropy(o[0], y) - temperature**2 * soft

    return setup(_Pair(net(), net()), torch.randn(64, 20), labels(64), loss)


def build_both_views_of_a_copied_target_are_trained():  # expect: LOS032
    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            self.online, self.predictor = net(o=16), net(16, 16)
            self.target = copy.deepcopy(self.online)

        def forward(self, a, b):
            first, second = self.predictor(self.online(a)), self.predictor(self.online(b))
            return first, second, self.target(a), self.target(b)  # <- LOS032

    def loss(o):
        first, second, a, b = o
        return 2 - F.cosine_similarity(first, b).mean() - F.cosine_similarity(second, a).mean()

    x = torch.randn(64, 20)
    return setup(Views(), (x, x + 0.1 * torch.randn(64, 20)), loss=loss)


def build_target_network_that_is_the_network():  # expect: LOS032
    class Agent:
        def __init__(self, network):
            self.network = self.target = network

        def loss(self, q, batch):
            action, reward, after = batch
            with torch.no_grad():
                wanted = reward + 0.99 * self.target(after).max(1, keepdim=True).values
            return F.smooth_l1_loss(q.gather(1, action), wanted)  # <- LOS032

    model, x = net(o=3), torch.randn(64, 20)
    return setup(model, x, (torch.randint(0, 3, (64, 1)), x[:, :1], x + 0.1), Agent(model).loss)


# -------------------------------------------------------------------- LOS021, LOS035


def build_sum_that_overwrites_the_weights():  # expect: LOS021 error
    model, (x, _) = net(o=20), xy()
    loss = lambda o, y: (o - y).pow(2).sum()  # <- LOS021
    return setup(model, x, x, loss, optimizer=torch.optim.SGD(model.parameters(), lr=0.05))


class _VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = net(o=8), net(4, 20)

    def forward(self, x):
        mu, scale = self.encoder(x).chunk(2, -1)
        code = Normal(mu, F.softplus(scale) + 1e-3)
        return self.decoder(code.rsample()), code


def build_divergence_of_distributions_added_up_beside_a_mean():  # expect: LOS021
    def loss(o, x):
        divergence = kl_divergence(o[1], Normal(torch.zeros_like(o[1].loc), torch.ones_like(o[1].scale)))
        return (o[0] - x).pow(2).sum(-1).mean() + divergence.sum()  # <- LOS021

    x = torch.randn(128, 4) @ torch.randn(4, 20) / 2
    return setup(_VAE(), x, x, loss)


def build_losses_put_into_a_new_tensor():  # expect: LOS020
    def loss(z, y):
        parts = [F.cross_entropy(z[i : i + 8], y[i : i + 8]) for i in range(0, 64, 8)]
        return torch.tensor(parts, requires_grad=True).mean()  # <- LOS020

    return setup(net(), torch.randn(64, 20), labels(64), loss)


def build_weight_penalty_on_data():  # expect: LOS035
    model = net()

    def loss(z, y):
        total = F.cross_entropy(z, y)
        for weight in model.parameters():
            total = total + 1e-3 * weight.data.pow(2).sum()  # <- LOS035
        return total

    return setup(model, torch.randn(64, 20), labels(64), loss)
