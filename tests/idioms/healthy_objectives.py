"""Objectives beyond cross-entropy and squared errors, written as in the papers' code."""

import math

import torch
from _parts import images, labels, setup, tokens
from torch import nn
from torch.nn import functional


def table(samples=64):
    return torch.randn(samples, 20)


def mlp(outputs=5):
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, outputs))


class Net(nn.Module):
    def __init__(self, outputs=5, last=lambda x: x):
        super().__init__()
        self.net, self.last = mlp(outputs), last

    def forward(self, x):
        return self.last(self.net(x))


# -------------------------------------------------------------------- structured outputs


class Crf(nn.Module):
    """A linear chain: the forward algorithm in log space."""

    def __init__(self, tags=5):
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.lstm, self.emit = nn.LSTM(16, 16, bidirectional=True, batch_first=True), nn.Linear(32, tags)
        self.transitions = nn.Parameter(0.1 * torch.randn(tags, tags))
        self.start = nn.Parameter(torch.zeros(tags))

    def forward(self, ids):
        return self.emit(self.lstm(self.embedding(ids))[0])

    def loss(self, emissions, tags):
        score = self.start[tags[:, 0]] + emissions[:, 0].gather(1, tags[:, :1]).squeeze(1)
        total = self.start + emissions[:, 0]
        for time in range(1, emissions.shape[1]):
            score = score + self.transitions[tags[:, time - 1], tags[:, time]]
            score = score + emissions[:, time].gather(1, tags[:, time : time + 1]).squeeze(1)
            total = torch.logsumexp(total[:, :, None] + self.transitions + emissions[:, time, None], dim=1)
        return (torch.logsumexp(total, dim=1) - score).mean() / emissions.shape[1]


def build_conditional_random_field():
    model = Crf()
    return setup(model, tokens(32, 8), torch.randint(0, 5, (32, 8)), model.loss)


class PointerNet(nn.Module):
    """The classes are the positions of the input."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.LSTM(2, 32, batch_first=True)
        self.query, self.key, self.score = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 1, bias=False)

    def forward(self, points):
        states, (last, _) = self.encoder(points)
        return self.score(torch.tanh(self.key(states) + self.query(last[-1])[:, None])).squeeze(-1)


def build_pointer_to_the_input():
    points = torch.rand(64, 6, 2)
    return setup(PointerNet(), points, points.sum(-1).argmax(1), nn.CrossEntropyLoss())


class Span(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.position = nn.Embedding(100, 32), nn.Embedding(16, 32)
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation="gelu")
        self.ends = nn.Linear(32, 2)

    def forward(self, ids):
        h = self.layer(self.embedding(ids) + self.position(torch.arange(ids.shape[1])))
        start, end = self.ends(h).split(1, dim=-1)
        return start.squeeze(-1), end.squeeze(-1)


def build_question_answering():
    def loss(output, y):
        return 0.5 * (functional.cross_entropy(output[0], y["start"]) + functional.cross_entropy(output[1], y["end"]))

    start = torch.randint(0, 12, (32,))
    return setup(Span(), tokens(), {"start": start, "end": start + torch.randint(0, 4, (32,))}, loss)


def build_adaptive_softmax():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.rnn = nn.Embedding(200, 32), nn.GRU(32, 32, batch_first=True)
            self.head = nn.AdaptiveLogSoftmaxWithLoss(32, 200, cutoffs=[20, 80], div_value=2.0)

        def forward(self, ids, targets):
            h = self.rnn(self.embedding(ids))[0]
            return self.head(h.flatten(0, 1), targets.flatten()).loss

    ids = torch.randint(0, 200, (16, 17))
    return setup(Words(), (ids[:, :-1], ids[:, 1:]), loss=lambda output: output)


class SkipGram(nn.Module):
    """word2vec: sums of logarithms of sigmoids over true and drawn words."""

    def __init__(self):
        super().__init__()
        self.center, self.context = nn.Embedding(300, 16), nn.Embedding(300, 16)
        nn.init.uniform_(self.center.weight, -0.5 / 16, 0.5 / 16)
        nn.init.zeros_(self.context.weight)

    def forward(self, center, context, negative):
        u, v, drawn = self.center(center), self.context(context), self.context(negative)
        positive = functional.logsigmoid((u * v).sum(1))
        negatives = functional.logsigmoid(-torch.bmm(drawn, u[:, :, None]).squeeze(2)).sum(1)
        return -(positive + negatives).mean()


def build_word_vectors():
    inputs = (torch.randint(0, 300, (64,)), torch.randint(0, 300, (64,)), torch.randint(0, 300, (64, 5)))
    model = SkipGram()
    return setup(model, inputs, loss=lambda output: output, optimizer=torch.optim.Adam(model.parameters(), lr=0.01))


# -------------------------------------------------------------------- distributions


def build_categorical_distribution_object():
    loss = lambda logits, y: -torch.distributions.Categorical(logits=logits).log_prob(y).mean()
    return setup(Net(), table(), labels(64), loss)


def build_normal_distribution_object():
    class Normal(Net):
        def forward(self, x):
            mean, scale = self.net(x).chunk(2, 1)
            return torch.distributions.Normal(mean, functional.softplus(scale) + 1e-3)

    return setup(Normal(2), table(), torch.randn(64, 1), lambda output, y: -output.log_prob(y).mean())


def build_gaussian_nll_module():
    class Heteroscedastic(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(20, 32), nn.ReLU())
            self.mean, self.variance = nn.Linear(32, 1), nn.Sequential(nn.Linear(32, 1), nn.Softplus())

        def forward(self, x):
            h = self.body(x)
            return self.mean(h), self.variance(h)

    return setup(Heteroscedastic(), table(), torch.randn(64, 1), lambda o, y: nn.GaussianNLLLoss()(o[0], y, o[1]))


def build_negative_binomial_counts():
    def loss(output, y):
        total, logits = functional.softplus(output[:, 0]) + 1e-4, output[:, 1]
        return -torch.distributions.NegativeBinomial(total, logits=logits).log_prob(y).mean()

    return setup(Net(2), table(), torch.poisson(torch.full((64,), 3.0)), loss)


def build_zero_inflated_counts():
    def loss(output, y):
        gate, rate = output[:, 0], output[:, 1]
        zero = torch.logaddexp(functional.logsigmoid(gate), functional.logsigmoid(-gate) - rate.exp())
        some = functional.logsigmoid(-gate) + y * rate - rate.exp() - torch.lgamma(y + 1)
        return -torch.where(y == 0, zero, some).mean()

    return setup(Net(2), table(), torch.poisson(torch.full((64,), 2.0)) * (torch.rand(64) < 0.6), loss)


def build_evidential_classification():
    def loss(output, y):
        alpha = functional.softplus(output) + 1
        strength = alpha.sum(1, keepdim=True)
        return (functional.one_hot(y, 5) * (torch.digamma(strength) - torch.digamma(alpha))).sum(1).mean()

    return setup(Net(), table(), labels(64), loss)


def build_survival_with_partial_likelihood():
    def loss(risk, y):
        order = y["time"].argsort(descending=True)
        risk, event = risk.squeeze(1)[order], y["event"][order]
        return -((risk - torch.logcumsumexp(risk, dim=0)) * event).sum() / event.sum()

    return setup(Net(1), table(), {"time": torch.rand(64), "event": (torch.rand(64) < 0.7).float()}, loss)


def build_earth_movers_distance_for_ratings():
    def loss(output, y):
        difference = functional.softmax(output, 1).cumsum(1) - y.cumsum(1)
        return difference.pow(2).mean(1).sqrt().mean()

    return setup(Net(10), table(), torch.rand(64, 10).softmax(1), loss)


def build_expected_value_over_bins():
    """Distributional regression: probabilities over bins, and their mean."""

    class Binned(Net):
        def forward(self, x):
            return (self.net(x).softmax(-1) * torch.linspace(-2, 2, 11)).sum(-1)

    return setup(Binned(11), table(), torch.randn(64).clamp(-2, 2), nn.SmoothL1Loss())


def build_histogram_loss():
    y = torch.randn(64, 1).clamp(-2, 2)
    centers = torch.linspace(-2, 2, 11)
    return setup(Net(11), table(), (-((y - centers) ** 2) / 0.1).softmax(-1), nn.CrossEntropyLoss())


# -------------------------------------------------------------------- ranking, metrics, several losses


def build_pairwise_ranking():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.score = mlp(1)

        def forward(self, better, worse):
            return self.score(better), self.score(worse)

    loss = lambda o: nn.MarginRankingLoss(0.5)(o[0], o[1], torch.ones_like(o[0]))
    return setup(Pair(), (table(), table()), loss=loss)


def build_bayesian_personalized_ranking():
    class Factors(nn.Module):
        def __init__(self):
            super().__init__()
            self.users, self.items = nn.Embedding(50, 16), nn.Embedding(80, 16)
            for part in (self.users, self.items):
                nn.init.normal_(part.weight, std=0.1)

        def forward(self, user, item, other):
            u = self.users(user)
            return ((self.items(item) - self.items(other)) * u).sum(1)

    inputs = tuple(torch.randint(0, count, (64,)) for count in (50, 80, 80))
    return setup(Factors(), inputs, loss=lambda difference: -functional.logsigmoid(difference).mean())


def build_listwise_ranking():
    class Lists(nn.Module):
        def __init__(self):
            super().__init__()
            self.score = mlp(1)

        def forward(self, documents):
            return self.score(documents).squeeze(-1)

    loss = lambda score, y: -(functional.softmax(y, 1) * functional.log_softmax(score, 1)).sum(1).mean()
    return setup(Lists(), torch.randn(32, 6, 20), torch.randint(0, 4, (32, 6)).float(), loss)


def build_triplets_mined_in_the_batch():
    def loss(z, y):
        distance = torch.cdist(z, z)
        same = y[:, None] == y
        furthest = distance.masked_fill(~same, 0).amax(1)
        nearest = distance.masked_fill(same, math.inf).amin(1)
        return functional.relu(furthest - nearest + 0.3).mean()

    return setup(Net(16, lambda x: functional.normalize(x, dim=1)), table(), labels(64), loss)


def build_supervised_contrast():
    def loss(z, y):
        logits = (z @ z.T / 0.5).masked_fill(torch.eye(len(z), dtype=torch.bool), -1e9)
        same = (y[:, None] == y).float() - torch.eye(len(z))
        return -((logits.log_softmax(1) * same).sum(1) / same.sum(1)).mean()

    return setup(Net(16, lambda x: functional.normalize(x, dim=1)), table(), labels(64), loss)


def build_prototypes():
    """Few-shot: distances to the means of the support samples."""

    class Prototypes(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp(16)

        def forward(self, support, query):
            prototypes = self.body(support).mean(1)
            return -torch.cdist(self.body(query), prototypes).pow(2)

    inputs = (torch.randn(5, 4, 20) + torch.randn(5, 1, 20), torch.randn(40, 20))
    return setup(Prototypes(), inputs, labels(40), nn.CrossEntropyLoss(), declared={"set-input"})


def build_center_loss():
    class Centers(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 8)), nn.Linear(8, 5)
            self.centers = nn.Parameter(torch.randn(5, 8))

        def forward(self, x):
            z = self.body(x)
            return self.head(z), z

        def loss(self, output, y):
            return functional.cross_entropy(output[0], y) + 0.01 * (output[1] - self.centers[y]).pow(2).sum(1).mean()

    model = Centers()
    return setup(model, table(), labels(64), model.loss)


def build_hinge_and_multi_margin():
    return setup(Net(), table(), labels(64), nn.MultiMarginLoss())


def build_binary_hinge():
    return setup(Net(1, lambda x: x.squeeze(1)), table(), 2.0 * labels(64, 2) - 1, nn.SoftMarginLoss())


def build_multilabel_soft_margin():
    return setup(Net(), table(), torch.randint(0, 2, (64, 5)).float(), nn.MultiLabelSoftMarginLoss())


def build_asymmetric_loss_for_many_labels():
    def loss(logits, y):
        p = torch.sigmoid(logits)
        missing = (p - 0.05).clamp(min=0)
        positive = y * torch.log(p.clamp(min=1e-8))
        negative = (1 - y) * torch.log((1 - missing).clamp(min=1e-8)) * missing**4
        return -(positive + negative).mean()

    return setup(Net(), table(), torch.randint(0, 2, (64, 5)).float(), loss)


def build_tversky_and_cross_entropy():
    class Segmenter(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 1, 1))

        def forward(self, x):
            return self.net(x)

    def loss(logits, mask):
        p = torch.sigmoid(logits)
        hit, over, miss = (p * mask).sum(), (p * (1 - mask)).sum(), ((1 - p) * mask).sum()
        return functional.binary_cross_entropy_with_logits(logits, mask) + 1 - (hit + 1) / (hit + 0.3 * over + 0.7 * miss + 1)

    return setup(Segmenter(), images(16, 3, 16), (images(16, 1, 16) > 0).float(), loss)


def build_losses_weighted_by_learned_uncertainty():
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.kind, self.value = nn.Sequential(nn.Linear(20, 32), nn.ReLU()), nn.Linear(32, 5), nn.Linear(32, 1)
            self.log_variance = nn.Parameter(torch.zeros(2))

        def forward(self, x):
            h = self.body(x)
            return self.kind(h), self.value(h).squeeze(1)

        def loss(self, output, y):
            losses = torch.stack([functional.cross_entropy(output[0], y[0]), functional.mse_loss(output[1], y[1])])
            return (torch.exp(-self.log_variance) * losses + self.log_variance).sum()

    model = Weighted()
    return setup(model, table(), (labels(64), torch.randn(64)), model.loss)


def build_gradient_reversal():
    class Reverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.view_as(x)

        @staticmethod
        def backward(ctx, gradient):
            return -0.1 * gradient

    class Adversarial(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.kind, self.domain = nn.Sequential(nn.Linear(20, 32), nn.ReLU()), nn.Linear(32, 5), nn.Linear(32, 2)

        def forward(self, x):
            h = self.body(x)
            return self.kind(h), self.domain(Reverse.apply(h))

    loss = lambda o, y: functional.cross_entropy(o[0], y[0]) + functional.cross_entropy(o[1], y[1])
    return setup(Adversarial(), table(), (labels(64), labels(64, 2)), loss)


def build_perceptual_loss():
    features = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1)).eval().requires_grad_(False)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.PReLU(), nn.Conv2d(16, 3, 3, 1, 1))
    loss = lambda output, y: functional.l1_loss(output, y) + 0.1 * functional.mse_loss(features(output), features(y))
    clean = images(16, 3, 16)
    return setup(model, clean + 0.2 * torch.randn_like(clean), clean, loss)


def build_consistency_and_pseudo_labels():
    """FixMatch: confident predictions on weak views are labels for strong views."""

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, labelled, weak, strong):
            return self.net(torch.cat([labelled, weak, strong])).split([len(labelled), len(weak), len(strong)])

    def loss(output, y):
        known, weak, strong = output
        confidence, guess = weak.detach().softmax(-1).max(-1)
        unsupervised = functional.cross_entropy(strong, guess, reduction="none") * (confidence > 0.22).float()
        return functional.cross_entropy(known, y) + unsupervised.mean()

    x = table()
    inputs = (table(16), x + 0.1 * torch.randn_like(x), x + 0.5 * torch.randn_like(x))
    return setup(Both(), inputs, labels(16), loss)


# -------------------------------------------------------------------- labels for a part of the outputs


class MeanTeacher(nn.Module):
    """Logits of the labelled and of the unlabelled batch; only the former are compared with labels."""

    def __init__(self):
        super().__init__()
        self.net = mlp(2)

    def forward(self, labelled, unlabelled):
        return self.net(labelled), self.net(unlabelled)


def build_mean_teacher():
    def loss(outputs, targets):
        (logits, student), (truth, teacher) = outputs, targets
        return functional.cross_entropy(logits, truth) + functional.mse_loss(student.softmax(1), teacher.softmax(1))

    truth, teacher = torch.randint(0, 2, (20,)), mlp(2)(table(20)).detach()
    return setup(MeanTeacher(), (table(20), table(20)), (truth, teacher), loss)
