"""NRM007: a batch-norm momentum in another framework's convention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule
from nnlint_rules._shared.words import listed

if TYPE_CHECKING:
    from nnlint import Model, ModuleView


class InvertedMomentum(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#momentum."""

    largest: float = Field(default=0.9, description="smallest momentum that is reported as inverted")


#: An epsilon as large as a variance: no norm is meant to have it.
_LARGEST_EPSILON = 0.05


@rule("NRM007", "inverted-momentum", level="warning", since="0.1")
def check(model: Model, options: InvertedMomentum) -> Iterator[Finding]:
    """A batch-norm momentum of 0.9 or more, of 0, or given where the epsilon is taken.

    ## What it does
    Reads the momentum of every norm that keeps running statistics. `momentum=None` (a cumulative average), norms
    without running statistics, and norms put in eval mode are left out. An eps of 0.05 or more is a momentum that was passed
    second: `nn.BatchNorm2d(64, 0.8)` sets eps to 0.8.

    ## Why is this bad?
    In torch the momentum is the weight of the new batch: running = 0.9 running + 0.1 batch by default. TensorFlow,
    Keras and JAX count the other way, so that their 0.99 is torch's 0.01. With 0.99 here evaluation uses practically
    the statistics of the last training batch alone, and its results jump about. With 0 the statistics stay at mean 0
    and variance 1.

    ## Example
        nn.BatchNorm2d(64, momentum=0.99)

    ## Use instead
        nn.BatchNorm2d(64, momentum=0.01)

    ## References
    - PyTorch: `torch.nn.BatchNorm2d`, note on the momentum argument
    """
    norms = [view for view in model.named("_NormBase") if _keeps_statistics(view)]
    high = [view for view in norms if _momentum(view) >= options.largest]
    if high:
        momentum = _momentum(high[0])
        yield Finding(
            at=high[0],
            message=f"momentum {momentum:g} weights the last batch with {momentum:.0%} (default 10%, limit "
            f"{options.largest:.0%}): the running statistics are its own: {listed(view.label for view in high)}",
            evidence={"momentum": momentum, "limit": options.largest, "norms": [view.label for view in high]},
            fix=f"momentum={1.0 - momentum:.3g} if {momentum:g} was another framework's decay; else the default 0.1"
            if momentum < 1.0
            else "leave the default momentum=0.1",
            modules=tuple(view.module_path for view in high),
        )
    yield from _epsilons(model)
    still = [view for view in norms if _momentum(view) == 0.0]
    if still:
        yield Finding(
            at=still[0],
            message="momentum 0: the running statistics never move from their initial values: "
            f"{listed(view.label for view in still)}",
            evidence={"momentum": 0.0, "norms": [view.label for view in still]},
            fix="leave the default momentum=0.1",
            modules=tuple(view.module_path for view in still),
        )


def _epsilons(model: Model) -> Iterator[Finding]:
    """Norms whose second positional argument was meant as a momentum."""
    found = [view for view in model.named("_NormBase") if float(view.attribute("eps") or 0.0) >= _LARGEST_EPSILON]
    if found:
        eps = float(found[0].attribute("eps"))
        yield Finding(
            at=found[0],
            message=f"eps={eps:g} is added to the variance (default 1e-05, limit {_LARGEST_EPSILON:g}): features of small variance are "
            f"shrunk instead of normalized: {listed(view.label for view in found)}",
            evidence={"eps": eps, "limit": _LARGEST_EPSILON, "norms": [view.label for view in found]},
            fix=f"the second argument is eps: pass the momentum by name, momentum={1.0 - eps:.3g} where {eps:g} was the share that is kept"
            if eps < 1.0
            else "leave the default eps=1e-5",
            modules=tuple(view.module_path for view in found),
        )


def _keeps_statistics(view: ModuleView) -> bool:
    """Whether training updates running statistics of this norm with a momentum that is a number."""
    tracks = view.attribute("running_mean") is not None and bool(view.attribute("track_running_stats"))
    return view.training and tracks and isinstance(view.attribute("momentum"), (int, float))


def _momentum(view: ModuleView) -> float:
    return float(view.attribute("momentum"))
