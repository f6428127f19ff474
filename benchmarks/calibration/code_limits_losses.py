"""Generated losses for code_limits.py, right and with a wrong sign, form or label, each asked as the probe asks it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nnlint.probes.loss_response.answers import forms
from nnlint.probes.loss_response.caller import LossCaller
from nnlint.probes.loss_response.certain import certainty, unheard
from nnlint.probes.loss_response.fall import fall
from nnlint.probes.loss_response.pairs import togetherness
from nnlint.probes.loss_response.terms import suspects

#: Seeds of each loss: 24 to 40 programs on each side.
DRAWS = 6

Program = tuple[str, bool, Callable[[], bool]]


def _caller(leaves: Sequence[Tensor], targets: Sequence[Tensor], loss: Callable[..., Tensor]) -> LossCaller:
    """A caller whose outputs come from linear maps."""

    def compute(leaves: Sequence[Tensor], targets: Sequence[Tensor]) -> Any:
        return loss(*leaves, *targets)

    made = tuple(leaf.requires_grad_() for leaf in leaves)
    return LossCaller(made, tuple(targets), compute, 0, frozenset(range(len(made))))


# -------------------------------------------------------------------- pairs


def _info_nce(sign: float, draw: random.Random) -> Callable[[Tensor, Tensor], Tensor]:
    heat = draw.choice((0.05, 0.1, 0.5, 1.0))

    def loss(one: Tensor, two: Tensor) -> Tensor:
        scores = sign * functional.normalize(one) @ functional.normalize(two).T / heat
        return functional.cross_entropy(scores, torch.arange(len(one)))

    return loss


def _cosine(sign: float, draw: random.Random) -> Callable[[Tensor, Tensor], Tensor]:
    weight = draw.choice((0.1, 1.0, 10.0))
    return lambda one, two: weight * (1 - sign * functional.cosine_similarity(one, two).mean())


def _squares(sign: float, draw: random.Random) -> Callable[[Tensor, Tensor], Tensor]:
    weight = draw.choice((0.1, 1.0, 10.0))
    return lambda one, two: sign * weight * (one - two).square().mean() + 1e-3 * (one.square().mean() + two.square().mean())


def _cross_correlation(sign: float, draw: random.Random) -> Callable[[Tensor, Tensor], Tensor]:
    weight = draw.choice((0.005, 0.05))

    def loss(one: Tensor, two: Tensor) -> Tensor:
        a, b = ((part - part.mean(0)) / (part.std(0) + 1e-6) for part in (one, two))
        matrix = sign * a.T @ b / len(a)
        off = matrix - torch.diag(matrix.diagonal())
        return (1 - matrix.diagonal()).square().sum() + weight * off.square().sum()

    return loss


def _contrastive(sign: float, draw: random.Random) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    margin = draw.choice((1.0, 2.0, 4.0))

    def loss(one: Tensor, two: Tensor, same: Tensor) -> Tensor:
        distance = (one - two).square().sum(1).add(1e-9).sqrt()
        together = same if sign > 0 else 1 - same
        return (together * distance.square() + (1 - together) * (margin - distance).relu().square()).mean()

    return loss


def _triplet(draw: random.Random, *, swapped: bool) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    margin = draw.choice((0.2, 1.0, 4.0))

    def loss(anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        near, far = ((anchor - other).square().sum(1) for other in (positive, negative))
        return ((far - near if swapped else near - far) + margin).relu().mean()

    return loss


def pairs() -> Iterator[Program]:
    """Two views of each sample with noise of 0.1 to 2 times what separates samples, and losses that draw them together or apart.

    Unrelated inputs that a loss draws apart (negatives) are healthy.
    """
    for name, make in {"InfoNCE": _info_nce, "cosine": _cosine, "squares": _squares, "cross-correlation": _cross_correlation}.items():
        for seed in range(DRAWS):
            draw = random.Random(seed)
            torch.manual_seed(seed)
            samples, width = draw.choice((12, 16, 32)), draw.choice((8, 16, 32))
            inputs = torch.randn(samples, 20)
            noise = 0.1 * 20 ** draw.random()
            views = [inputs + noise * torch.randn(samples, 20) for _ in range(2)]
            for sign in (1.0, -1.0):
                caller = _caller([torch.randn(samples, width) for _ in range(2)], [], make(sign, random.Random(seed)))
                coupled = name not in ("cosine", "squares")
                yield f"{name} {seed}, noise {noise:.2g}", sign < 0, _draws_apart(caller, views, coupled=coupled)
            yield f"{name} {seed}, unrelated", False, _draws_apart(caller, [inputs, torch.randn(samples, 20)], coupled=coupled)
    for seed in range(DRAWS):
        draw = random.Random(seed)
        torch.manual_seed(seed)
        anchor, noise = torch.randn(16, 20), 0.1 * 20 ** draw.random()
        views = [anchor, anchor + noise * torch.randn(16, 20), torch.randn(16, 20)]
        for swapped in (False, True):
            caller = _caller([torch.randn(16, 8) for _ in range(3)], [], _triplet(random.Random(seed), swapped=swapped))
            yield f"triplet {seed}, noise {noise:.2g}", swapped, _draws_apart(caller, views, coupled=False)
    for seed in range(2 * DRAWS):
        draw = random.Random(seed)
        torch.manual_seed(seed)
        same, anchor = torch.arange(32) % 2, torch.randn(32, 20)
        near = 0.1 * 10 ** draw.random()
        other = torch.where(same[:, None] == 1, anchor + near * torch.randn(32, 20), torch.randn(32, 20))
        for sign in (1.0, -1.0):
            outputs = [torch.randn(32, 8) for _ in range(2)]
            caller = _caller(outputs, [same.float()], _contrastive(sign, random.Random(seed)))
            yield f"contrastive {seed}", sign < 0, _draws_apart(caller, [anchor, other], coupled=False)


def _draws_apart(caller: LossCaller, views: Sequence[Tensor], *, coupled: bool) -> Callable[[], bool]:
    def found() -> bool:
        said = togetherness(caller, views, coupled=coupled)
        return said is not None and not said.prefers_agreement

    return found


# -------------------------------------------------------------------- terms


def _dice(logits: Tensor, target: Tensor) -> Tensor:
    p = logits.sigmoid()
    return (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)


_BINARY_TERMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "dice": _dice,
    "accuracy": lambda logits, target: (logits.sigmoid() * (2 * target - 1)).mean(),
    "correlation": lambda logits, target: ((logits - logits.mean()) * (target - target.mean())).mean() / (logits.std() * target.std() + 1e-6),
    "likelihood": lambda logits, target: -functional.binary_cross_entropy_with_logits(logits, target),
}


def terms() -> Iterator[Program]:
    """Binary cross-entropy and a score that is subtracted (right) or added (the fault), with weights of 0.1 to 3."""
    for name, score in _BINARY_TERMS.items():
        for seed in range(DRAWS):
            for faulty in (True, False):
                torch.manual_seed(seed)
                draw = random.Random(seed)
                shape = draw.choice(((32, 1), (16, 4), (4, 1, 8, 8)))
                weight = 0.1 * 30 ** draw.random() * (1.0 if faulty else -1.0)
                target = (torch.rand(shape) < 0.4).float()

                def loss(logits: Tensor, given: Tensor, f: Callable[..., Tensor] = score, w: float = weight) -> Tensor:
                    return functional.binary_cross_entropy_with_logits(logits, given) + w * f(logits, given)

                yield f"{name} {seed}", faulty, _has_flipped(_caller([torch.randn(shape)], [target], loss))
    for seed in range(DRAWS):  # entropy of the answers: a regularizer that wants them less sure, and reads no target
        torch.manual_seed(seed)
        target = (torch.rand(32, 1) < 0.4).float()
        weight = 0.05 * 20 ** random.Random(seed).random()

        def confident(logits: Tensor, given: Tensor, w: float = weight) -> Tensor:
            p = logits.sigmoid()
            entropy = -(p * (p + 1e-6).log() + (1 - p) * (1 - p + 1e-6).log()).mean()
            return functional.binary_cross_entropy_with_logits(logits, given) - w * entropy

        yield f"confidence penalty {seed}", False, _has_flipped(_caller([torch.randn(32, 1)], [target], confident))


def _has_flipped(caller: LossCaller) -> Callable[[], bool]:
    form = forms(caller.leaves, caller.targets, frozenset())[0]
    return lambda: any(True for _ in suspects(caller, form))


# -------------------------------------------------------------------- scores of probabilities


def scores() -> Iterator[Program]:
    """Overlap scores of probabilities that get raw outputs (the fault), and losses on raw outputs."""
    smooth = (1e-6, 1e-3, 1.0)

    def dice(p: Tensor, y: Tensor, s: float) -> Tensor:
        return 1 - (2 * (p * y).sum() + s) / (p.sum() + y.sum() + s)

    def jaccard(p: Tensor, y: Tensor, s: float) -> Tensor:
        both = (p * y).sum()
        return 1 - (both + s) / (p.sum() + y.sum() - both + s)

    def tversky(p: Tensor, y: Tensor, s: float) -> Tensor:
        both = (p * y).sum()
        return 1 - (both + s) / (both + 0.3 * (p * (1 - y)).sum() + 0.7 * ((1 - p) * y).sum() + s)

    def squared_dice(p: Tensor, y: Tensor, s: float) -> Tensor:
        return 1 - (2 * (p * y).sum() + s) / (p.square().sum() + y.square().sum() + s)

    def of_logits(f: Callable[[Tensor, Tensor, float], Tensor]) -> Callable[[Tensor, Tensor, float], Tensor]:
        return lambda x, y, s: f(x.sigmoid(), y, s)

    faulty = {"dice": dice, "jaccard": jaccard, "tversky": tversky}
    healthy = {
        "dice of sigmoid": of_logits(dice),
        "jaccard of sigmoid": of_logits(jaccard),
        "dice with squares": squared_dice,  # bounded: larger is no better
        "squares": lambda x, y, _: (x - y).square().mean(),
        "logits": lambda x, y, _: functional.binary_cross_entropy_with_logits(x, y),
        "hinge": lambda x, y, _: (1 - x * (2 * y - 1)).relu().mean(),
    }
    for side, kinds in ((True, faulty), (False, healthy)):
        for name, score in kinds.items():
            for seed in range(8 if side else 4):
                torch.manual_seed(seed)
                target = (torch.rand(4, 1, 8, 8) < 0.3).float()

                def loss(out: Tensor, given: Tensor, f: Callable[..., Tensor] = score, s: float = smooth[seed % 3]) -> Tensor:
                    return f(out, given, s)

                yield f"{name} {seed}", side, _is_better_beyond(_caller([torch.randn(4, 1, 8, 8)], [target], loss))


def _is_better_beyond(caller: LossCaller) -> Callable[[], bool]:
    """What LOS006 asks: whether the loss is lowest at the targets in [0, 1], and still lower outside."""
    form = forms(caller.leaves, caller.targets, frozenset())[0]

    def found() -> bool:
        said = certainty(caller, form)
        clear = 0.05 * (said.wrong - said.at) if said is not None else 0.0
        return said is not None and abs(said.at) <= clear and said.wrong > 0 and said.beyond < said.at - clear

    return found


# -------------------------------------------------------------------- labels 0 and 1 where -1 and 1 are meant


def labels() -> Iterator[Program]:
    """Margin losses on labels -1 and 1 that get 0 and 1 (the fault), and losses that are meant for 0 and 1, masks among them."""

    def margin(x: Tensor, y: Tensor, m: float) -> Tensor:
        return (m - x.squeeze(1) * y).relu().mean()

    def logistic(x: Tensor, y: Tensor, m: float) -> Tensor:
        return functional.softplus(-m * x.squeeze(1) * y).mean()

    def squared(x: Tensor, y: Tensor, m: float) -> Tensor:
        return (m - x.squeeze(1) * y).relu().square().mean()

    healthy = {
        "cross-entropy": lambda x, y, _: functional.binary_cross_entropy_with_logits(x.squeeze(1), y),
        "squares": lambda x, y, _: (x.squeeze(1) - y).square().mean(),
        "margin on 2 y - 1": lambda x, y, m: margin(x, 2 * y - 1, m),
        "a mask": lambda x, y, m: (y * (x.squeeze(1) - m).square()).sum() / y.sum(),
    }
    for side, kinds in ((True, {"margin": margin, "logistic": logistic, "squared margin": squared}), (False, healthy)):
        for name, kind in kinds.items():
            for seed in range(8 if side else DRAWS):
                torch.manual_seed(seed)
                target = (torch.rand(24) < 0.5).float()
                size = (0.1, 0.5, 1.0, 2.0)[seed % 4]

                def loss(out: Tensor, given: Tensor, f: Callable[..., Tensor] = kind, m: float = size) -> Tensor:
                    return f(out, given, m)

                caller = _caller([torch.randn(24, 1)], [target], loss)
                yield f"{name} {seed}", side, lambda c=caller: unheard(c, 24) is not None  # type: ignore[misc]


# -------------------------------------------------------------------- losses without a lowest value


def falls() -> Iterator[Program]:
    """A squared error or a divergence with the wrong sign (the fault), and losses that have a lowest value or fall in proportion."""

    def divergence(x: Tensor, sign: float) -> Tensor:
        mean, log = x.chunk(2, 1)
        return sign * -0.5 * (1 + log - mean.square() - log.exp()).sum(1).mean()

    faulty: dict[str, Callable[[Tensor, float], Tensor]] = {
        "divergence": lambda x, w: w * divergence(x, -1.0),
        "squares": lambda x, w: -w * x.square().mean(),
        "squares beside a small error": lambda x, w: (x[:, :1] - 1).abs().mean() - w * x[:, 1:].square().mean(),
        "cubes": lambda x, w: -w * x.abs().pow(3).mean(),
    }
    healthy: dict[str, Callable[[Tensor, float], Tensor]] = {
        "divergence": lambda x, w: w * divergence(x, 1.0),
        "squares": lambda x, w: w * x.square().mean(),
        "critic": lambda x, w: -w * x.mean(),
        "distance, pushed apart": lambda x, w: -w * x.abs().mean(),
        "likelihood": lambda x, w: w * (x[:, :4].exp().clamp(max=1e6) - x[:, 4:]).mean(),
        "root": lambda x, w: -w * (1 + x.square().sum(1)).sqrt().mean(),
    }
    for side, kinds in ((True, faulty), (False, healthy)):
        for name, kind in kinds.items():
            for seed in range(DRAWS if side else 4):
                torch.manual_seed(seed)
                weight = 10 ** random.Random(seed).uniform(-3, 1)
                caller = _caller([torch.randn(16, 8)], [], lambda out, f=kind, w=weight: f(out, w))
                yield f"{name} {seed}", side, lambda c=caller: fall(c, [0], 16) is not None  # type: ignore[misc]
