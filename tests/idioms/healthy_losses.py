"""The loss as a module, function, lambda, method or part of forward, with all kinds of targets."""

import torch
from _parts import classifier, labels, setup
from torch import nn
from torch.nn import functional


def mlp(outputs=5, features=20):
    return nn.Sequential(nn.Linear(features, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, outputs))


def table(samples=64, features=20):
    return torch.randn(samples, features)


def build_module():
    return classifier(mlp(), table())


def build_function():
    return setup(mlp(), table(), labels(64), functional.cross_entropy)


def build_lambda():
    return setup(mlp(), table(), labels(64), lambda output, target: functional.cross_entropy(output, target) * 1.0)


def build_label_smoothing_and_class_weights():
    weights = torch.tensor([1.0, 0.5, 2.0, 1.0, 1.0])
    return setup(mlp(), table(), labels(64), nn.CrossEntropyLoss(weight=weights, label_smoothing=0.1))


class WithLoss(nn.Module):
    """Its loss is a method."""

    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        return self.net(x)

    def criterion(self, output, target):
        return functional.cross_entropy(output, target)


def build_method():
    model = WithLoss()
    return setup(model, table(), labels(64), model.criterion)


class LossInForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = mlp()
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, x, y):
        return self.criterion(self.net(x), y)


def build_loss_inside_forward():
    return setup(LossInForward(), (table(), labels(64)), loss=lambda output: output)


class ProbabilitiesBesideLogits(nn.Module):
    """Softmax for the metrics, logits for the loss."""

    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        logits = self.net(x)
        return {"logits": logits, "probabilities": logits.softmax(-1), "prediction": logits.argmax(-1)}


def build_softmax_for_metrics_only():
    return setup(ProbabilitiesBesideLogits(), table(), labels(64), lambda o, y: functional.cross_entropy(o["logits"], y))


class SoftmaxInEvaluation(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        logits = self.net(x)
        return logits if self.training else logits.softmax(-1)


def build_softmax_in_evaluation_only():
    return classifier(SoftmaxInEvaluation(), table())


def build_mixup_with_soft_labels():
    one_hot = functional.one_hot(labels(64), 5).float()
    share = torch.distributions.Beta(0.4, 0.4).sample((64, 1))
    return setup(mlp(), table(), share * one_hot + (1 - share) * one_hot.flip(0), nn.CrossEntropyLoss())


class Mixup:
    """The loss of mixup, with two sets of indices."""

    def __init__(self, share):
        self.share = share

    def __call__(self, output, targets):
        first, second = targets
        return self.share * functional.cross_entropy(output, first) + (1 - self.share) * functional.cross_entropy(output, second)


def build_mixup_with_two_losses():
    return setup(mlp(), table(), (labels(64), labels(64).flip(0)), Mixup(0.3))


def build_one_hot_floats():
    return setup(mlp(), table(), functional.one_hot(labels(64), 5).float(), nn.CrossEntropyLoss())


class FocalLoss(nn.Module):
    def __init__(self, gamma=2.0):
        super().__init__()
        self.gamma = gamma

    def forward(self, logits, target):
        plain = functional.cross_entropy(logits, target, reduction="none")
        return ((1 - torch.exp(-plain)) ** self.gamma * plain).mean()


def build_focal_loss():
    return setup(mlp(), table(), labels(64), FocalLoss())


def build_log_softmax_and_gather():
    def loss(logits, target):
        return -logits.log_softmax(-1).gather(1, target[:, None]).mean()

    return setup(mlp(), table(), labels(64), loss)


def build_logsumexp_written_out():
    def loss(logits, target):
        return (torch.logsumexp(logits, 1) - logits[torch.arange(len(target)), target]).mean()

    return setup(mlp(), table(), labels(64), loss)


def build_multilabel():
    return setup(mlp(), table(), torch.randint(0, 2, (64, 5)).float(), nn.BCEWithLogitsLoss())


def build_share_of_each_tag():
    def loss(logits, tags):
        return -((functional.log_softmax(logits, dim=1) * tags).sum(1) / tags.sum(1).clamp(min=1)).mean()

    return setup(mlp(), table(), torch.randint(0, 2, (64, 5)).float(), loss)


def build_multinomial_likelihood_of_a_basket():
    taste = torch.randn(128, 4) @ torch.randn(4, 30)
    baskets = (taste + torch.randn(128, 30) > 1.5).float()
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(30, 32), nn.Tanh(), nn.Linear(32, 30))
    return setup(model, baskets, baskets, lambda logits, y: -(functional.log_softmax(logits, 1) * y).sum(1).mean())


def build_multilabel_with_rare_positives():
    targets = (torch.rand(64, 5) < 0.2).float()
    return setup(mlp(), table(), targets, nn.BCEWithLogitsLoss(pos_weight=torch.full((5,), 4.0)))


def build_binary_with_squeezed_logit():
    class Binary(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(1)

        def forward(self, x):
            return self.net(x).squeeze(-1)

    return setup(Binary(), table(), labels(64, 2).float(), nn.BCEWithLogitsLoss())


def build_sigmoid_and_bce():
    return setup(nn.Sequential(mlp(1), nn.Sigmoid()), table(), labels(64, 2).float()[:, None], nn.BCELoss())


def build_two_logits():
    return classifier(mlp(2), table(), 2)


def build_regression():
    return setup(mlp(3), table(), torch.randn(64, 3), nn.MSELoss())


def build_regression_with_squeezed_output():
    return setup(mlp(1), table(), torch.randn(64), lambda output, y: functional.huber_loss(output.squeeze(1), y))


def build_positive_regression():
    return setup(nn.Sequential(mlp(1), nn.Softplus()), table(), torch.rand(64, 1) * 2, nn.L1Loss())


def build_bounded_regression():
    return setup(nn.Sequential(mlp(2), nn.Tanh()), table(), torch.rand(64, 2) * 2 - 1, nn.SmoothL1Loss())


def build_quantile_regression():
    levels = torch.tensor([0.1, 0.5, 0.9])

    def pinball(output, y):
        error = y - output
        return torch.maximum(levels * error, (levels - 1) * error).mean()

    return setup(mlp(3), table(), torch.randn(64, 1), pinball)


class Gaussian(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.mean, self.log_variance = nn.Sequential(nn.Linear(20, 32), nn.Tanh()), nn.Linear(32, 1), nn.Linear(32, 1)

    def forward(self, x):
        h = self.body(x)
        return self.mean(h), self.log_variance(h)


def build_gaussian_likelihood():
    def loss(output, y):
        mean, log_variance = output
        return functional.gaussian_nll_loss(mean, y, log_variance.exp())

    return setup(Gaussian(), table(), torch.randn(64, 1), loss)


def build_poisson_likelihood():
    return setup(mlp(1), table(), torch.poisson(torch.full((64, 1), 1.5)), nn.PoissonNLLLoss())


class MixtureDensity(nn.Module):
    def __init__(self, parts=4):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 32), nn.Tanh())
        self.weight, self.mean, self.scale = (nn.Linear(32, parts) for _ in range(3))

    def forward(self, x):
        h = self.body(x)
        return self.weight(h).log_softmax(-1), self.mean(h), functional.softplus(self.scale(h)) + 1e-3


def build_mixture_density():
    def loss(output, y):
        weight, mean, scale = output
        return -torch.logsumexp(weight + torch.distributions.Normal(mean, scale).log_prob(y), dim=-1).mean()

    return setup(MixtureDensity(), table(), torch.randn(64, 1), loss)


def build_ordinal_thresholds():
    def cumulative(logits, rank):
        return functional.binary_cross_entropy_with_logits(logits, (rank[:, None] > torch.arange(4)).float())

    return setup(mlp(4), table(), labels(64), cumulative)


def build_sum_over_tokens_divided_by_their_number():
    def loss(output, y):
        return functional.cross_entropy(output, y, reduction="sum") / len(y)

    return setup(mlp(), table(), labels(64), loss)


def build_weights_for_each_sample():
    targets = {"y": labels(64), "weight": torch.rand(64) + 0.5}

    def loss(output, target):
        plain = functional.cross_entropy(output, target["y"], reduction="none")
        return (plain * target["weight"]).sum() / target["weight"].sum()

    return setup(mlp(), table(), targets, loss)


def build_regularized_loss():
    model = mlp()

    def loss(output, y):
        return functional.cross_entropy(output, y) + 1e-4 * sum(p.abs().sum() for p in model.parameters())

    return setup(model, table(), labels(64), loss)


class MultiTask(nn.Module):
    """Three heads, and losses weighted by learned uncertainties."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 32), nn.ReLU())
        self.heads = nn.ModuleDict({"kind": nn.Linear(32, 5), "value": nn.Linear(32, 1), "flag": nn.Linear(32, 1)})
        self.log_variance = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        h = self.body(x)
        return {name: head(h) for name, head in self.heads.items()} | {"log_variance": self.log_variance}


def build_multi_task():
    def loss(output, target):
        losses = torch.stack(
            [
                functional.cross_entropy(output["kind"], target["kind"]),
                functional.mse_loss(output["value"], target["value"]),
                functional.binary_cross_entropy_with_logits(output["flag"], target["flag"]),
            ]
        )
        return (losses * torch.exp(-output["log_variance"]) + output["log_variance"]).sum()

    targets = {"kind": labels(64), "value": torch.randn(64, 1), "flag": torch.randint(0, 2, (64, 1)).float()}
    return setup(MultiTask(), table(), targets, loss)
