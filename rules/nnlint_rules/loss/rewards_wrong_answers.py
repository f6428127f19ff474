"""LOS031: wrong answers get a lower loss than the targets themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule
from nnlint_rules.loss._answers import has_signed_weights, inverted_classes, is_frozen, wrong_over_right

if TYPE_CHECKING:
    from nnlint import Fall, FlippedTerm, LossCalls, LossResponse, Optimizer, Preference, Togetherness

#: A score runs from 0 to 1, and right answers have 1: the loss is the score itself.
_SCORE = 0.05
#: Cosine with the gradient of the likelihood from which a loss lowers it. No calibration: a likelihood has 1, its negative -1.
_ALONG = 0.5


@rule("LOS031", "rewards-wrong-answers", level="error", since="0.1")
def check(response: LossResponse, losses: LossCalls, optimizer: Optimizer | None) -> Iterator[Finding]:
    """Wrong answers get a lower loss than the targets themselves.

    ## What it does
    Calls the loss, whoever wrote it, on outputs that are the targets themselves in the form of the output (sure logits,
    probabilities, values) and on the same outputs assigned to the wrong samples. Reports a loss for which right answers are the
    worst of all answers tried, each single one of them, over all targets or over those of one class, and a loss that falls without end
    wherever an output is moved (a log-likelihood, of classes, of survival, of a ranking, without its minus). A loss that is maximized
    (`maximize=True`) is OPT005's. Objectives without right answers are left alone: policy gradients, critics whose
    scores are only averaged, energies and distances (small where the label says "same"), losses whose targets are all one value.

    ## Why is this bad?
    Training does what the loss asks for: the net learns to be wrong, while the loss falls as it should.

    ## Example
        loss = dice_coefficient(pred, target)

    ## Use instead
        loss = 1 - dice_coefficient(pred, target)

    ## References
    - F. Milletari et al., V-Net, 2016: the dice coefficient is maximized
    - PyTorch: `torch.nn.BCEWithLogitsLoss`, `pos_weight` has to be positive
    """
    if optimizer is not None and any(group.maximize for group in optimizer.groups):
        return  # an objective: OPT005 looks at a loss that is maximized
    losses.require_result()
    if has_signed_weights(losses, response.samples):
        raise Skip("the loss weights each sample by signed values: which sign is right is unknown")
    # A head that this loss does not train may be meant to be fooled.
    fooled = (optimizer is not None and bool(optimizer.missing)) or is_frozen(losses, response.fall)
    if response.fall is not None and response.prefers_right is not False and (response.fall.faster or not fooled):
        yield _bottomless(response, response.fall)
        return
    if response.likelihood is not None and response.prefers_right is None:
        if response.likelihood > _ALONG:
            yield _unlikely(response, response.likelihood)
        return
    if response.pairs is not None:
        if not response.pairs.prefers_agreement:
            yield _apart(response, response.pairs)
        return
    losses.require_targets()
    response.require_preference()
    if response.prefers_right is False:
        yield _finding(response, next(wrong_over_right(response)))
        return
    yield from (_finding(response, found) for found in inverted_classes(response))
    if optimizer is None or not optimizer.missing:
        yield from (_of_term(term) for term in response.flipped[:1])


def _finding(response: LossResponse, found: Preference) -> Finding:
    if found.about is None:
        message = (
            f"the loss is lower for wrong answers than for right ones: {found.wrong:.3g} where every answer is wrong, "
            f"{found.right:.3g} where every answer is its target"
        )
        fix = _repair(found)
    else:
        message = (
            f"the loss falls from {found.right:.3g} to {found.wrong:.3g} when the answers for targets of {found.about:g} "
            f"({found.share:.0%} of them) are wrong: these targets have a negative weight"
        )
        fix = "make every class weight and `pos_weight` positive: `pos_weight = negatives / positives`"
    return Finding(
        at=response,
        message=message,
        evidence={"right": found.right, "wrong": found.wrong, "form": found.form, "target": found.about},
        fix=fix,
    )


def _unlikely(response: LossResponse, cosine: float) -> Finding:
    return Finding(
        at=response,
        message="the loss makes the targets less likely: its gradient points along that of the log-likelihood of the distribution that "
        f"the model returns (cosine {cosine:.2f}, limit {_ALONG:g})",
        evidence={"cosine": cosine, "limit": _ALONG},
        fix="minimize the negative: `-distribution.log_prob(targets).mean()`",
    )


def _apart(response: LossResponse, found: Togetherness) -> Finding:
    return Finding(
        at=response,
        message=f"the loss draws apart what belongs together: it is {found.together:.3g} where the outputs of such samples agree and "
        f"{found.apart:.3g} where they do not ({found.how})",
        evidence={"together": found.together, "apart": found.apart},
        fix="minimize the distance of pairs that belong together, not their similarity (`-similarity`), and look at which label means "
        "the same: `same * d**2 + (1 - same) * relu(margin - d)**2`",
    )


def _of_term(term: FlippedTerm) -> Finding:
    found = term.preference
    return Finding(
        at=term,
        message=f"a term of the loss is lower for wrong answers than for right ones: {found.wrong:.3g} where every answer is wrong, "
        f"{found.right:.3g} where every answer is its target; the other terms train for the opposite",
        evidence={"right": found.right, "wrong": found.wrong, "form": found.form},
        fix=_repair(found),
    )


def _bottomless(response: LossResponse, found: Fall) -> Finding:
    return Finding(
        at=response,
        message=f"the loss has no lowest value: it falls from {found.start:.3g} to {found.end:.3g} when output {found.leaf} of the "
        f"model is moved away from its value by {found.times:g}x its size, "
        + ("in either direction, and faster the farther" if found.faster else "in whatever direction, and goes on falling"),
        evidence={"start": found.start, "end": found.end, "times": found.times, "output": found.leaf},
        fix="turn the sign of the term that grows (a squared error or a divergence is added, not subtracted): "
        "`kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1)`"
        if found.faster
        else "change the sign: a log-likelihood is maximized, so that the loss is its negative, as in `return -log_likelihood.mean()`",
    )


def _repair(found: Preference) -> str:
    if abs(found.right - 1.0) <= _SCORE and found.wrong >= -1.0 - _SCORE:
        return "return 1 minus the score, as in `return 1 - score`: the optimizer minimizes the loss"
    return "change the sign, as in `return -objective` (or remove the minus): the optimizer minimizes the loss"
