"""SIG007: evaluation-mode output is random for another cause than dropout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint.kinds import VALUE_PRESERVING

if TYPE_CHECKING:
    from nnlint import Declared, EvalStats, Op, Randomness

_LIMIT = 1e-4
_NORMAL = frozenset({"randn", "randn_like", "normal"})
_UNIFORM = ("rand", "uniform", "exponential")
_LOGARITHMS = frozenset({"log", "log1p", "logit"})
_POSITIVE = frozenset({"exp", "exp2", "softplus", "sqrt"})
#: Views, and a number added for safety, between a deviation and its product.
_WALKED = 4


@rule("SIG007", "random-eval", level="error", since="0.1")
def check(evaluation: EvalStats, declared: Declared) -> Iterator[Finding]:
    """Two evaluation-mode passes on the same batch give different outputs.

    ## What it does
    Runs the model twice in evaluation mode on the same batch with different seeds and compares the outputs. A difference
    above 1e-4 of the largest output is reported with the first operation that differs. Noise that is added to activations,
    or a random mask that scales them, is an error. Noise that samples a latent variable (a draw times a computed deviation)
    or a category (scores plus the logarithm of a uniform draw), or chooses among values (masked autoencoders, diffusion
    steps), is the model's way of working: an info. Values in a random order, none left out, are a warning. Dropout has a rule
    of its own (ARC012). `declared={"stochastic"}` silences it.

    ## Why is this bad?
    Validation scores and predictions change from call to call, and a fault cannot be reproduced. Noise that regularizes
    belongs into training mode only.

    ## Example
        x = x + 0.1 * torch.randn_like(x)

    ## Use instead
        if self.training:
            x = x + 0.1 * torch.randn_like(x)

    ## References
    - https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval
    - https://docs.pytorch.org/docs/stable/notes/randomness.html
    """
    if "stochastic" in declared.traits:
        return
    found = evaluation.randomness
    if found is None or found.from_dropout:
        return
    place = f"{found.op.label} is random in evaluation mode" if found.op is not None else "evaluation mode is random"
    reason = _purpose(found)
    yield Finding(
        at=found.op,
        level=_level(found) if reason else None,
        message=f"{place}: two passes on the same batch differ by {found.difference:.2g} of the largest output (limit {_LIMIT:g})"
        + (f"; {reason}" if reason else ""),
        evidence={"difference": found.difference, "limit": _LIMIT},
        fix="draw the noise only `if self.training:`; where the model is meant to be stochastic, declare it: "
        '`declared={"stochastic"}`',
        confidence="medium" if reason else "high",
    )


def _level(found: Randomness) -> Level:
    """Sampling and masking are a model's way of working; all values in another order, or noise of unknown origin, hardly are."""
    op = found.op
    if op is None or found.meets is None:
        return Level.WARNING
    shuffles = op.is_kind("index") and op.input is not None and op.shape == op.input.shape
    return Level.WARNING if shuffles else Level.INFO


def _is_scaled_to_a_deviation(product: Op) -> bool:
    """Whether noise that torch did not draw meets a computed deviation, and a computed mean after it: `mean + std * noise`."""
    scaled = any(_is_positive(source) for source in product.activations)
    return scaled and any(user.is_kind("add") and len(user.activations) > 1 for user in product.users)


def _is_positive(op: Op) -> bool:
    """Whether the value was made a deviation: by exp, softplus or a root."""
    for _ in range(_WALKED):
        if op.name.rstrip("_") in _POSITIVE:
            return True
        if not op.is_kind(*VALUE_PRESERVING, "add") or len(op.activations) != 1:
            return False
        op = op.activations[0]
    return False


def _is_gumbel(noise: Op, met: Op) -> bool:
    """Whether uniform or exponential noise is turned by a logarithm before it meets scores that a softmax or sigmoid takes."""
    if not any(name in noise.name for name in _UNIFORM) or not met.is_kind("add", "sub"):
        return False
    pure, waiting = {noise}, [noise]
    while waiting:
        op = waiting.pop()
        waiting += [user for user in op.users if user is not met and user not in pure]
        pure.update(op.users)
    return any(op.name.rstrip("_") in _LOGARITHMS for op in pure - {met})


def _purpose(found: Randomness) -> str:
    """What the noise may be meant for; empty for noise that only disturbs."""
    if found.op is None or found.meets is None:
        return "what is random was not found"
    if found.meets.is_kind("mul", "div"):
        sampled = found.op.name in _NORMAL or _is_scaled_to_a_deviation(found.meets)
        return "it samples a latent variable, and evaluation usually takes the mean" if sampled else ""
    if _is_gumbel(found.op, found.meets):
        return "it samples a category, and evaluation usually takes the likeliest"
    if found.meets.is_kind("add", "sub", "linear-map", "matmul"):  # added to the signal, or to the weights it meets
        return ""
    return "it chooses among values instead of disturbing them"
