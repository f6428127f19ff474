"""Losses as people write them, right: objectives of all kinds, whose values mean what they are meant to."""

import torch
from _parts import images, labels, setup, table
from torch import nn
from torch.nn import functional


def mlp(outputs=5, last=None):
    layers = [nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, outputs)]
    return nn.Sequential(*layers, *([last] if last is not None else []))


def halves(samples=64):
    return (torch.arange(samples) % 2).float()[:, None]


def segmenter(outputs=1, last=None):
    layers = [nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, outputs, 3, 1, 1)]
    return nn.Sequential(*layers, *([last] if last is not None else []))


def masks(pictures):
    return (pictures.mean(1, keepdim=True) > 0).float()


def build_dice_loss():
    def dice(logits, target):
        p = torch.sigmoid(logits)
        return 1 - ((2 * (p * target).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + target.sum((1, 2, 3)) + 1)).mean()

    x = images(16, 3, 16)
    return setup(segmenter(), x, masks(x), dice)


def build_soft_jaccard_of_classes():
    def jaccard(logits, target):
        p, t = logits.softmax(1), functional.one_hot(target, 4).movedim(-1, 1).float()
        overlap = (p * t).sum((0, 2, 3))
        return (1 - overlap / (p.sum((0, 2, 3)) + t.sum((0, 2, 3)) - overlap)).mean()

    return setup(segmenter(4), images(16, 3, 16), torch.randint(0, 4, (16, 16, 16)), jaccard)


def build_structural_similarity():
    def ssim(a, b):
        mean_a, mean_b = functional.avg_pool2d(a, 5, 1), functional.avg_pool2d(b, 5, 1)
        var_a = functional.avg_pool2d(a * a, 5, 1) - mean_a**2
        var_b = functional.avg_pool2d(b * b, 5, 1) - mean_b**2
        both = functional.avg_pool2d(a * b, 5, 1) - mean_a * mean_b
        top = (2 * mean_a * mean_b + 0.01) * (2 * both + 0.03)
        return (top / ((mean_a**2 + mean_b**2 + 0.01) * (var_a + var_b + 0.03))).mean()

    x = images(8, 3, 16)
    return setup(segmenter(3), x + 0.1 * torch.randn_like(x), x, lambda output, y: 1 - ssim(output, y))


def build_policy_gradient_with_returns():
    def loss(logits, rollout):
        action, advantage = rollout
        return -(torch.distributions.Categorical(logits=logits).log_prob(action) * advantage).mean()

    return setup(mlp(4), table(), (torch.randint(0, 4, (64,)), torch.randn(64)), loss)


def build_policy_gradient_with_costs_only():
    """Every return is negative (one point off for each step): no action is right."""

    def loss(logits, rollout):
        action, returns = rollout
        return -(logits.log_softmax(-1).gather(1, action[:, None])[:, 0] * returns).mean()

    return setup(mlp(4), table(), (torch.randint(0, 4, (64,)), -torch.rand(64) - 0.5), loss)


def build_policy_gradient_in_a_closure():
    advantage = torch.linspace(-2, -0.1, 64)
    loss = lambda logits, action: -(logits.log_softmax(-1).gather(1, action[:, None])[:, 0] * advantage).mean()
    return setup(mlp(4), table(), torch.randint(0, 4, (64,)), loss)


def build_siamese_distances():
    """A distance of 0 is right where the label says "same" (1)."""

    class Siamese(nn.Module):
        def __init__(self):
            super().__init__()
            self.tower = mlp(8)

        def forward(self, a, b):
            return functional.pairwise_distance(self.tower(a), self.tower(b))

    def contrastive(distance, same):
        return (same * distance**2 + (1 - same) * functional.relu(1 - distance) ** 2).mean()

    return setup(Siamese(), (table(), table()), halves()[:, 0], contrastive)


def build_supervised_contrastive():
    def loss(z, y):
        z = functional.normalize(z, dim=1)
        mine = torch.eye(len(z), dtype=torch.bool)
        scores = (z @ z.T / 0.5).masked_fill(mine, -1e9).log_softmax(1)
        same = (y[:, None] == y) & ~mine
        return -(scores * same).sum(1).div(same.sum(1)).mean()

    return setup(mlp(16), table(), labels(64), loss)


def build_critic_of_scores():
    """A Wasserstein critic with labels of 1 for made samples and -1 for real ones."""
    return setup(mlp(1), table(), 1 - 2 * halves(), lambda score, side: (score * side).mean())


def build_energies():
    return setup(mlp(1), table(), halves(), lambda energy, y: functional.binary_cross_entropy_with_logits(-energy, y))


def build_proportional_hazards():
    def cox(hazard, survival):
        time, event = survival
        order = time.argsort(descending=True)
        hazard, event = hazard[order, 0], event[order]
        return -((hazard - hazard.logcumsumexp(0)) * event).sum() / event.sum()

    return setup(mlp(1), table(), (torch.rand(64) * 5, (torch.arange(64) % 3 > 0).float()), cox)


def build_quantiles():
    levels = torch.tensor([0.1, 0.5, 0.9])

    def pinball(prediction, target):
        error = target - prediction
        return torch.maximum(levels * error, (levels - 1) * error).mean()

    return setup(mlp(3), table(), torch.randn(64, 1), pinball)


def build_tweedie():
    def tweedie(output, target):
        rate = output.exp()
        return (-target * rate**-0.5 / -0.5 + rate**0.5 / 0.5).mean()

    return setup(mlp(1), table(), torch.poisson(torch.ones(64, 1)), tweedie)


def build_gaussian_likelihood():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(2)

        def forward(self, x):
            mean, log_variance = self.net(x).chunk(2, 1)
            return mean, log_variance

    loss = lambda out, y: 0.5 * (out[1] + (y - out[0]) ** 2 / out[1].exp()).mean()
    return setup(Head(), table(), torch.randn(64, 1), loss)


def build_ranking_of_pairs():
    class Ranker(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(1)

        def forward(self, a, b):
            return self.net(a), self.net(b)

    loss = lambda scores, order: functional.margin_ranking_loss(*scores, order, margin=0.5)
    return setup(Ranker(), (table(), table()), 2 * halves() - 1, loss)


def build_objective_maximized():
    model = mlp()
    loss = lambda logits, y: logits.log_softmax(1).gather(1, y[:, None]).mean()
    return setup(model, table(), labels(64), loss, optimizer=torch.optim.SGD(model.parameters(), lr=0.05, maximize=True))


# -------------------------------------------------------------------- written out by hand


class Head(nn.Module):
    """A body, a head, and what is done to its scores."""

    def __init__(self, last, outputs=5):
        super().__init__()
        self.body, self.head, self.last = mlp(32, nn.ReLU()), nn.Linear(32, outputs), last

    def forward(self, x):
        return self.last(self.head(self.body(x)))


def build_softmax_by_hand_and_its_likelihood():
    def last(z):
        e = torch.exp(z - z.max(1, keepdim=True).values)
        return e / e.sum(1, keepdim=True)

    return setup(Head(last), table(), labels(64), lambda p, y: -p.gather(1, y[:, None]).clamp(1e-9).log().mean())


def build_log_softmax_by_hand():
    return setup(Head(lambda z: z - z.logsumexp(1, keepdim=True)), table(), labels(64), nn.NLLLoss())


def build_sigmoid_by_hand():
    return setup(Head(lambda z: 1 / (1 + torch.exp(-z)), 1), table(), halves(), nn.BCELoss())


def build_focal_loss_of_logits():
    def focal(scores, target):
        p = torch.sigmoid(scores)
        share = p * target + (1 - p) * (1 - target)
        return ((1 - share) ** 2 * functional.binary_cross_entropy_with_logits(scores, target, reduction="none")).mean()

    return setup(Head(lambda z: z, 1), table(), halves(), focal)


def build_attention_by_hand():
    class Pooling(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.score, self.head = nn.Linear(6, 32), nn.Linear(32, 1), nn.Linear(32, 5)

        def forward(self, x):
            h = torch.tanh(self.embed(x))
            weights = torch.exp(self.score(h))
            weights = weights / weights.sum(1, keepdim=True)
            return self.head((h * weights).sum(1))

    return setup(Pooling(), torch.randn(64, 9, 6), labels(64), nn.CrossEntropyLoss())


def build_squared_error_by_hand():
    return setup(mlp(1), table(), torch.randn(64, 1), lambda output, y: (output - y).pow(2).mean())


def build_top_two_experts():
    class Mixture(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.experts, self.head = nn.Linear(20, 4), nn.ModuleList(nn.Linear(20, 32) for _ in range(4)), nn.Linear(32, 5)

        def forward(self, x):
            scores, index = self.gate(x).topk(2, dim=-1)
            weights = scores.softmax(-1)
            made = torch.stack([expert(x) for expert in self.experts], 1)
            picked = made.gather(1, index[:, :, None].expand(-1, -1, 32))
            return self.head(torch.relu((picked * weights[:, :, None]).sum(1)))

    return setup(Mixture(), table(), labels(64), nn.CrossEntropyLoss())
