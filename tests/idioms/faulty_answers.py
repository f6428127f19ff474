"""Losses that want the wrong thing and look like losses: pairs, codes, distributions, sums with one wrong sign, answers of the wrong form."""

import torch
from _nets import TinyUNet, net, seg
from _parts import labels, setup, table
from torch import nn
from torch.distributions import Bernoulli, Beta, Categorical, Independent, Normal
from torch.nn import functional as F


def views(samples=48, noise=0.2):
    x = table(samples)
    return x + noise * torch.randn_like(x), x + noise * torch.randn_like(x)


class Twin(nn.Module):
    def __init__(self, unit=False):
        super().__init__()
        self.body, self.unit = net(o=16), unit

    def forward(self, *parts):
        made = tuple(self.body(part) for part in parts)
        return tuple(F.normalize(one, dim=1) for one in made) if self.unit else made


# -------------------------------------------------------------------- LOS031: what belongs together is drawn apart


def build_cosine_of_two_views_minimized():  # expect: LOS031
    return setup(Twin(unit=True), views(), loss=lambda out, _=None: torch.einsum("nd,nd->n", *out).mean())  # <- LOS031


def build_infonce_without_its_minus():  # expect: LOS031
    def loss(out, _=None):
        logits = out[0] @ out[1].t() / 0.2
        return torch.diagonal(logits.log_softmax(1)).mean()  # <- LOS031

    return setup(Twin(unit=True), views(), loss=loss)


def build_image_and_text_drawn_apart():  # expect: LOS031
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.image, self.text = net(o=16), nn.EmbeddingBag(50, 16)

        def forward(self, image, text):
            return F.normalize(self.image(image), dim=-1), F.normalize(self.text(text), dim=-1)

    def loss(out, _=None):
        scores = out[0] @ out[1].T / 0.1
        return -F.cross_entropy(scores, torch.arange(len(scores)))  # <- LOS031

    return setup(Two(), (table(32), torch.randint(0, 50, (32, 7))), loss=loss)


def build_anchor_drawn_to_the_negative():  # expect: LOS031
    def loss(out, _=None):
        anchor, near, far = out
        return F.triplet_margin_loss(anchor, far, near)  # <- LOS031

    x, near = views(32)
    return setup(Twin(), (x, near, table(32)), loss=loss)


def build_supervised_contrast_turned_around():  # expect: LOS031
    def loss(z, y):
        z = F.normalize(z)
        scores = (z @ z.T / 0.3).masked_fill(torch.eye(len(z), dtype=torch.bool), -1e9)
        same = (y[:, None] == y[None]).float().fill_diagonal_(0)
        return (same * scores.log_softmax(1)).sum(1).div(same.sum(1)).mean()  # <- LOS031

    return setup(net(o=16), table(), labels(64), loss)


def build_views_one_below_the_other_drawn_apart():  # expect: LOS031
    def loss(z, _=None):
        z = F.normalize(z)
        scores = (z @ z.T / 0.2).masked_fill(torch.eye(len(z), dtype=torch.bool), -1e9)
        partner = torch.arange(len(z)).roll(len(z) // 2)
        return -F.cross_entropy(scores, partner)  # <- LOS031

    return setup(net(o=16), torch.cat(views(32)), loss=loss)


def build_pairs_whose_label_means_different():  # expect: LOS031
    x = table(64)
    same = torch.arange(64) % 2
    other = torch.where(same[:, None] == 1, x + 0.2 * torch.randn_like(x), x.roll(1, 0))

    def loss(out, y):
        d = (out[0] - out[1]).norm(dim=1)
        return ((1 - y) * d**2 + y * (1.5 - d).clamp(min=0) ** 2).mean()  # <- LOS031

    return setup(Twin(unit=True), (x, other), same.float(), loss)


# -------------------------------------------------------------------- LOS031: no lowest value


class Coder(nn.Module):
    def __init__(self, own=False, sign=1.0):
        super().__init__()
        self.inner, self.code, self.outer = nn.Linear(20, 48), nn.Linear(48, 8), net(4, 20)
        self.own, self.sign = own, sign

    def forward(self, x):
        mean, log_variance = self.code(F.relu(self.inner(x))).chunk(2, -1)
        made = self.outer(mean + torch.randn_like(mean) * (0.5 * log_variance).exp())
        if not self.own:
            return made, mean, log_variance
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()
        return F.mse_loss(made, x) + self.sign * 0.1 * divergence  # <- LOS031


def build_code_pushed_from_its_prior():  # expect: LOS031
    def loss(out, x):
        made, mean, log_variance = out
        divergence = -0.5 * torch.mean(1 + log_variance - mean.pow(2) - log_variance.exp())
        return F.l1_loss(made, x) - divergence  # <- LOS031

    x = table()
    return setup(Coder(), x, x, loss)


def build_code_pushed_from_its_prior_in_the_model():  # expect: LOS031
    return setup(Coder(own=True, sign=-1.0), table(), loss=lambda out, _=None: out)


# -------------------------------------------------------------------- LOS031: distributions


class Says(nn.Module):
    def __init__(self, kind, o):
        super().__init__()
        self.body, self.kind = net(o=o), kind

    def forward(self, x):
        h = self.body(x)
        if self.kind == "normal":
            mean, scale = h.chunk(2, 1)
            return Independent(Normal(mean, F.softplus(scale) + 1e-2), 1)
        return Categorical(logits=h) if self.kind == "classes" else Bernoulli(logits=h)


def build_likelihood_of_a_normal_minimized():  # expect: LOS031
    x = table()
    return setup(Says("normal", 4), x, x[:, :2] + x[:, 2:4], lambda d, y: d.log_prob(y).mean())  # <- LOS031


def build_likelihood_of_shares_minimized():  # expect: LOS031
    class Shares(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = net(o=2)

        def forward(self, x):
            return Beta(*(F.softplus(self.body(x)) + 0.5).unbind(1))

    x = table()
    return setup(Shares(), x, torch.sigmoid(x[:, 0]), lambda d, y: d.log_prob(y).mean())  # <- LOS031


def build_likelihood_of_classes_minimized():  # expect: LOS031
    return setup(Says("classes", 5), table(), labels(64), lambda d, y: d.log_prob(y).sum() / len(y))  # <- LOS031


def build_likelihood_of_bits_minimized():  # expect: LOS031
    x = table()
    return setup(Says("bits", 3), x, (x[:, :3] > 0).float(), lambda d, y: d.log_prob(y).mean())  # <- LOS031


# -------------------------------------------------------------------- LOS031: one term of several


def build_entropy_and_the_overlap_itself():  # expect: LOS031
    def loss(z, y):
        p = torch.sigmoid(z)
        overlap = (p * y).sum() / (p + y - p * y).sum()  # <- LOS031
        return F.binary_cross_entropy_with_logits(z, y) + 0.5 * overlap

    return setup(TinyUNet(), *seg(), loss)


def build_error_and_the_similarity_itself():  # expect: LOS031
    def loss(made, y):
        return F.mse_loss(made, y) + F.cosine_similarity(made, y, dim=1).mean()  # <- LOS031

    x = table()
    return setup(net(o=20), x, x.roll(1, 1), loss)


def structure(x, y):
    window = torch.ones(1, 1, 5, 5) / 25
    mx, my = F.conv2d(x, window), F.conv2d(y, window)
    vx, vy = F.conv2d(x * x, window) - mx**2, F.conv2d(y * y, window) - my**2
    both = F.conv2d(x * y, window) - mx * my
    return ((2 * mx * my + 1e-4) * (2 * both + 1e-3) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 1e-3))).mean()  # <- LOS031


def build_error_and_the_structure_itself():  # expect: LOS031
    x, _ = seg()
    y = x.mean(1, keepdim=True)
    return setup(TinyUNet(), x, y, lambda made, y: 0.2 * F.l1_loss(made, y) + 0.8 * structure(made, y))


def build_overlap_minimized():  # expect: LOS031
    def loss(p, y):
        both = (p * y).flatten(1).sum(1)
        return ((2 * both + 1) / (p.flatten(1).sum(1) + y.flatten(1).sum(1) + 1)).mean()  # <- LOS031

    return setup(nn.Sequential(TinyUNet(), nn.Sigmoid()), *seg(), loss)


def build_intersection_over_union_minimized():  # expect: LOS031
    def loss(p, y):
        both = (p * y).sum((1, 2, 3))
        return ((both + 1) / ((p + y).sum((1, 2, 3)) - both + 1)).mean()  # <- LOS031

    return setup(nn.Sequential(TinyUNet(), nn.Sigmoid()), *seg(), loss)


# -------------------------------------------------------------------- the form of answers and targets


def build_overlap_of_raw_scores():  # expect: LOS006
    def loss(z, y):
        both = (z * y).sum((1, 2, 3))
        return (1 - (both + 1) / ((z + y).sum((1, 2, 3)) - both + 1)).mean()  # <- LOS006

    return setup(TinyUNet(), *seg(), loss)


def build_overlap_of_raw_class_scores():  # expect: LOS006
    x, y = seg()
    y = F.one_hot((y[:, 0] + (x[:, 0] > 0.8)).long(), 3).permute(0, 3, 1, 2).float()

    def loss(z, y):
        score = (2 * (z * y).sum((0, 2, 3)) + 1) / (z.sum((0, 2, 3)) + y.sum((0, 2, 3)) + 1)
        return 1 - score.mean()  # <- LOS006

    return setup(TinyUNet(3), x, y, loss)


def build_margin_of_labels_zero_and_one():  # expect: LOS026
    x = table()
    y = (x[:, 0] > 0).float()
    return setup(net(o=1), x, y, lambda z, y: F.relu(1 - y * z.flatten()).mean())  # <- LOS026


def build_soft_margin_of_labels_zero_and_one():  # expect: LOS026
    x = table()
    return setup(net(o=1), x, (x[:, :1] > 0).float(), nn.SoftMarginLoss())


def build_cosines_of_labels_zero_and_one():  # expect: LOS026
    x = table()
    same = torch.arange(64) % 2
    other = torch.where(same[:, None] == 1, x + 0.2 * torch.randn_like(x), x.roll(1, 0))

    def loss(out, y):
        return F.cosine_embedding_loss(out[0], out[1], y, margin=0.3)  # <- LOS026

    return setup(Twin(), (x, other), same.float(), loss)


def build_ranking_of_labels_zero_and_one():  # expect: LOS026
    x = table()
    y = (x[:32, 0] > x[32:, 0]).float()

    def loss(out, y):
        return F.margin_ranking_loss(out[0].flatten(), out[1].flatten(), y, margin=0.5)  # <- LOS026

    class Scores(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = net(o=1)

        def forward(self, one, other):
            return self.body(one), self.body(other)

    return setup(Scores(), (x[:32], x[32:]), y, loss)


def build_length_of_the_error_on_one_hot_rows():  # expect: LOS014
    def loss(z, y):
        return torch.linalg.norm(z - y, dim=-1).mean()  # <- LOS014

    return setup(net(), table(), torch.eye(5)[labels(64)], loss)


# -------------------------------------------------------------------- what trains nothing


def build_generator_cut_from_its_critic():  # expect: LOS020
    critic = net(20, 1)
    real = torch.ones(32, 1)

    def loss(fake, real):
        return F.binary_cross_entropy_with_logits(critic(fake.detach()), real)  # <- LOS020

    return setup(net(), torch.randn(32, 20), real, lambda fake, real: loss(fake.repeat(1, 4), real))


def build_generator_judged_without_gradient():  # expect: LOS020
    critic = net(5, 1)

    def loss(fake, _=None):
        with torch.no_grad():
            kept = fake * 1.0  # <- LOS020
        return -critic(kept).mean()

    return setup(net(), torch.randn(32, 20), loss=loss)


def build_penalty_that_is_a_number():  # expect: LOS035
    def loss(z, y):
        return F.cross_entropy(z, y) + 0.01 * float(z.pow(2).mean())  # <- LOS035

    return setup(net(), table(), labels(64), loss)


def build_divergence_that_is_a_number():  # expect: LOS035
    def loss(out, x):
        made, mean, log_variance = out
        divergence = -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum(1).mean()
        return F.mse_loss(made, x) + divergence.item()  # <- LOS035

    x = table()
    return setup(Coder(), x, x, loss)


class Prefers(nn.Module):
    def __init__(self):
        super().__init__()
        self.policy = nn.Sequential(nn.Embedding(30, 24), nn.Linear(24, 30))
        self.reference = self.policy

    def said(self, model, ids):
        return F.log_softmax(model(ids[:, :-1]), -1).gather(-1, ids[:, 1:, None]).sum((1, 2))

    def forward(self, good, poor):
        with torch.no_grad():
            before = self.said(self.reference, good), self.said(self.reference, poor)
        margin = self.said(self.policy, good) - before[0]  # <- LOS032
        return -F.logsigmoid(0.1 * (margin - (self.said(self.policy, poor) - before[1]))).mean()


def build_preference_against_the_policy_itself():  # expect: LOS032
    return setup(
        Prefers(), (torch.randint(0, 30, (16, 9)), torch.randint(0, 30, (16, 9))), loss=lambda out, _=None: out
    )


def build_ratio_of_the_policy_to_itself():  # expect: LOS032
    policy = net(o=3)
    s = table()

    def loss(z, given):
        action, advantage = given
        said = z.log_softmax(-1).gather(1, action).squeeze(1)
        with torch.no_grad():
            before = policy(s).log_softmax(-1).gather(1, action).squeeze(1)
        ratio = (said - before).exp()  # <- LOS032
        return -torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()

    return setup(policy, s, (torch.randint(0, 3, (64, 1)), torch.randn(64)), loss)
