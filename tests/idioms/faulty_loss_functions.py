"""Losses that people wrote themselves, or flipped: what they ask of the net is the opposite of what is meant."""

import torch
from _parts import images, labels, setup, table, tokens
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


# -------------------------------------------------------------------- LOS031: wrong answers are rewarded


def build_intersection_over_union_minimized():  # expect: LOS031
    class Jaccard(nn.Module):
        def forward(self, logits, target):
            p = torch.sigmoid(logits)
            overlap = (p * target).sum((1, 2, 3))
            union = p.sum((1, 2, 3)) + target.sum((1, 2, 3)) - overlap
            return ((overlap + 1e-6) / (union + 1e-6)).mean()  # <- LOS031

    x = images(16, 3, 16)
    return setup(segmenter(), x, masks(x), Jaccard())


def build_tversky_of_several_classes():  # expect: LOS031
    def tversky(logits, target):
        p = logits.softmax(1)
        t = functional.one_hot(target, 4).movedim(-1, 1)
        hit = torch.einsum("bchw,bchw->bc", p, t.float())
        missed, false = (t * (1 - p)).sum((2, 3)), ((1 - t) * p).sum((2, 3))
        return torch.mean(hit / (hit + 0.7 * missed + 0.3 * false + 1e-6))  # <- LOS031

    return setup(segmenter(4), images(16, 3, 16), torch.randint(0, 4, (16, 16, 16)), tversky)


def build_negated_squared_error():  # expect: LOS031
    loss = lambda output, target: -((output - target) ** 2).mean()  # <- LOS031
    return setup(mlp(1), table(), torch.randn(64, 1), loss)


def build_log_likelihood_minimized():  # expect: LOS031
    def likelihood(logits, y):
        return logits.log_softmax(-1)[torch.arange(len(y)), y].mean()  # <- LOS031

    return setup(mlp(), table(), labels(64), likelihood)


def build_similarity_minimized():  # expect: LOS031
    class Recommender(nn.Module):
        def __init__(self):
            super().__init__()
            self.tower = mlp(16)

        def forward(self, x):
            return {"embedding": self.tower(x)}

    loss = lambda out, wanted: functional.cosine_similarity(out["embedding"], wanted).mean()  # <- LOS031
    return setup(Recommender(), table(), torch.randn(64, 16), loss)


def build_correlation_minimized():  # expect: LOS031
    def pearson(prediction, target):
        a, b = prediction - prediction.mean(), target - target.mean()
        return (a * b).sum() / (a.norm() * b.norm() + 1e-8)  # <- LOS031

    return setup(mlp(1), table(), torch.randn(64, 1), pearson)


def build_negated_focal_loss():  # expect: LOS031
    def focal(logits, target):
        p = torch.sigmoid(logits)
        share = torch.where(target == 1, p, 1 - p)
        return ((1 - share) ** 2 * torch.log(share)).mean()  # <- LOS031

    return setup(mlp(1), table(), halves(), focal)


def build_signal_to_noise_minimized():  # expect: LOS031
    def psnr(prediction, target):
        return 10 * torch.log10(1 / functional.mse_loss(prediction, target))  # <- LOS031

    x = images(8, 3, 16)
    return setup(segmenter(3), x + 0.1 * torch.randn_like(x), x, psnr)


def build_negative_weight_of_positives():  # expect: LOS031
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([-1.0]))
    return setup(mlp(1), table(), halves(), lambda output, y: loss(output, y))  # <- LOS031


def build_probability_of_the_right_class_minimized():  # expect: LOS031
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.rnn, self.out = nn.Embedding(100, 32), nn.GRU(32, 32, batch_first=True), nn.Linear(32, 6)

        def forward(self, ids):
            return self.out(self.rnn(self.embedding(ids))[0])

    def loss(output, tags):
        return torch.gather(output.softmax(-1), 2, tags.unsqueeze(-1)).mean()  # <- LOS031

    ids = tokens()
    return setup(Tagger(), ids, ids % 6, loss)


class Step(nn.Module):
    """A module that computes its loss itself, as Lightning has it."""

    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x, y):
        scores = self.net(x)
        return (scores.gather(1, y[:, None])[:, 0] - scores.logsumexp(-1)).mean()  # <- LOS031


def build_sign_lost_inside_forward():  # expect: LOS031
    return setup(Step(), (table(), labels(64)), loss=lambda out: out)


# -------------------------------------------------------------------- heads and losses written out by hand


class Head(nn.Module):
    """A body, a head, and what is done to its scores."""

    def __init__(self, last, outputs=5):
        super().__init__()
        self.body, self.head, self.last = mlp(32, nn.ReLU()), nn.Linear(32, outputs), last

    def forward(self, x):
        return self.last(self.head(self.body(x)))  # <- LOS005


def build_softmax_as_exp_over_its_sum():  # expect: LOS001
    def last(z):
        e = torch.exp(z)
        return e / e.sum(dim=1, keepdim=True)  # <- LOS001

    return setup(Head(last), table(), labels(64), nn.CrossEntropyLoss())


def build_stable_softmax_by_hand():  # expect: LOS001
    class Attentive(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def normalized(self, scores):
            shifted = torch.exp(scores - scores.max(dim=-1, keepdim=True)[0])
            return torch.div(shifted, shifted.sum(-1, keepdim=True))  # <- LOS001

        def forward(self, x):
            return {"scores": self.normalized(self.net(x))}

    loss = lambda out, y: functional.cross_entropy(out["scores"], y, label_smoothing=0.1)
    return setup(Attentive(), table(), labels(64), loss)


def build_probabilities_of_an_own_kind():  # expect: LOS001
    def last(z):
        positive = functional.softplus(z)
        return positive / positive.sum(1, keepdim=True)  # <- LOS001

    return setup(Head(last), table(), labels(64), nn.CrossEntropyLoss())


def build_softmax_of_pixels_and_own_cross_entropy():  # expect: LOS001
    class Pixels(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = segmenter(4)

        def forward(self, x):
            e = self.net(x).exp()
            return e / e.sum(1, keepdim=True)  # <- LOS001

    def loss(p, y):
        scores = p.movedim(1, -1).reshape(-1, 4)
        return -(scores.log_softmax(-1)[torch.arange(len(scores)), y.flatten()]).mean()

    return setup(Pixels(), images(16, 3, 16), torch.randint(0, 4, (16, 16, 16)), loss)


def build_sigmoid_by_hand():  # expect: LOS005
    last = lambda z: 1 / (1 + torch.exp(-z))  # <- LOS005
    return setup(Head(last, 1), table(), halves(), nn.BCEWithLogitsLoss())


def build_sigmoid_and_a_focal_loss_on_logits():  # expect: LOS005
    def focal(scores, target):
        p = torch.sigmoid(scores)
        share = p * target + (1 - p) * (1 - target)
        return -((1 - share) ** 2 * share.clamp(1e-6).log()).mean()

    return setup(Head(torch.sigmoid, 1), table(), halves(), focal)


def build_sigmoid_and_a_dice_loss_on_logits():  # expect: LOS005 at 3
    class SoftDice(nn.Module):
        def forward(self, scores, target):
            p = scores.sigmoid().flatten(1)
            t = target.flatten(1)
            return 1 - ((2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)).mean()

    x = images(16, 3, 16)
    return setup(segmenter(last=nn.Sigmoid()), x, masks(x), SoftDice())


def build_log_softmax_and_a_binary_loss():  # expect: LOS005 at 5
    return setup(mlp(last=nn.LogSoftmax(1)), table(), torch.randint(0, 2, (64, 5)).float(), nn.BCEWithLogitsLoss())


def build_log_softmax_by_hand_and_a_binary_loss():  # expect: LOS005
    last = lambda z: z - z.logsumexp(1, keepdim=True)  # <- LOS005
    return setup(Head(last), table(), torch.randint(0, 2, (64, 5)).float(), nn.BCEWithLogitsLoss())


def build_log_softmax_into_bce():  # expect: LOS006 at 5, RUN003
    return setup(mlp(last=nn.LogSoftmax(1)), table(), torch.randint(0, 2, (64, 5)).float(), nn.BCELoss())


def build_gate_that_normalizes_its_only_choice():  # expect: GRD003
    class Mixture(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.first, self.second, self.head = nn.Linear(20, 2), nn.Linear(20, 32), nn.Linear(20, 32), nn.Linear(32, 5)

        def forward(self, x):
            scores, index = torch.topk(self.gate(x), 1)
            weight = scores.softmax(-1)  # <- GRD003
            made = torch.stack([self.first(x), self.second(x)], 1)
            picked = made.gather(1, index[:, :, None].expand(-1, -1, 32))[:, 0]
            return self.head(torch.relu(picked * weight))

    return setup(Mixture(), table(), labels(64), nn.CrossEntropyLoss())
