"""Mixed precision: what raises or overflows in the declared precision."""

import math

import torch
from _parts import classifier, table
from torch import nn
from torch.nn import functional

FUTURE = torch.ones(12, 12).triu(1).bool()


class Attending(nn.Module):
    """One attention whose scores are made into a result by a function."""

    def __init__(self, attend, width=32):
        super().__init__()
        self.embed, self.attend = nn.Embedding(50, width), attend
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.head = nn.Linear(width, 5)

    def forward(self, words):
        x = self.embed(words)
        return self.head((x + self.attend(self.query(x), self.key(x), self.value(x))).mean(1))


class Around(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.last, self.function = nn.Linear(20, 32), nn.Linear(32, 5), function

    def forward(self, x):
        return self.last(self.function(self.first(x)))


def mixed(model, inputs=None, precision="fp16", **more):
    given = torch.randint(0, 50, (32, 12)) if inputs is None else inputs
    return classifier(model, given, precision=precision, grad_scaler=precision == "fp16", **more)


def build_large_negative_mask_in_an_einsum_attention():  # expect: SIG008
    def attend(q, k, v):
        scores = torch.einsum("bid,bjd->bij", q, k) / math.sqrt(q.shape[-1])
        scores.masked_fill_(FUTURE, -1e10)  # <- SIG008
        return torch.einsum("bij,bjd->bid", scores.softmax(-1), v)

    return mixed(Attending(attend))


def build_mask_of_a_full_tensor():  # expect: SIG008
    def attend(q, k, v):
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        hidden = torch.full_like(scores, -1e9)  # <- SIG008
        return torch.where(FUTURE, hidden, scores).softmax(-1) @ v

    return mixed(Attending(attend))


def build_unscaled_scores_of_long_vectors():  # expect: SIG008
    def attend(q, k, v):
        scores = (200 * q) @ (200 * k).mT  # <- SIG008
        return (scores / 1e6).softmax(-1) @ v

    return mixed(Attending(attend))


def build_squares_of_large_values():  # expect: SIG008
    def energy(h):
        h = 400 * h
        return h * h / 160000  # <- SIG008

    return mixed(Around(energy), table())


def build_small_constant_lost_in_a_logarithm():  # expect: SIG008
    def loss(logits, y):
        p = torch.sigmoid(40 * (logits - logits.mean()))
        wanted = functional.one_hot(y, 5)
        return -(wanted * torch.log(p + 1e-9) + (1 - wanted) * torch.log(1 - p + 1e-9)).mean()  # <- SIG008

    return {**mixed(Around(torch.relu), table()), "loss": loss}  # expect: SIG002 at


def build_refused_loss_inside_the_model():  # expect: SIG008
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid())

        def forward(self, x, labels):
            made = self.net(x)
            return {"loss": functional.binary_cross_entropy(made, labels), "made": made}  # <- SIG008

    model = Own()
    batch = {"x": table(), "labels": (torch.arange(64) % 2.0)[:, None]}
    return {"model": model, "inputs": batch, "optimizer": torch.optim.Adam(model.parameters()), "precision": "fp16"}


def build_rows_added_in_another_dtype():  # expect: SIG008
    def scatter(h):
        out = torch.zeros(h.shape[0], 32)
        out.index_add_(0, torch.arange(h.shape[0]), h)  # <- SIG008
        return out

    return mixed(Around(scatter), table(), "bf16")


def build_rows_assigned_in_another_dtype():  # expect: SIG008
    def padded(h):
        out = torch.zeros(h.shape[0] + 4, 32)
        out[torch.arange(h.shape[0])] = h  # <- SIG008
        return out[: h.shape[0]]

    return mixed(Around(padded), table())


def build_messages_scattered_in_another_dtype():  # expect: SIG008
    def spread(h):
        where = torch.arange(h.shape[0])[:, None].expand_as(h)
        return torch.zeros(h.shape[0], 32).scatter_add_(0, where, h)  # <- SIG008

    return mixed(Around(spread), table())


def build_product_of_two_large_projections():  # expect: SIG008
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Linear(20, 32), nn.Linear(20, 32)
            self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 5)

        def forward(self, x):
            raised = 600 * self.one(x) * (600 * self.other(x))  # <- SIG008
            return self.head(self.norm(raised))

    return mixed(Gated(), table())
