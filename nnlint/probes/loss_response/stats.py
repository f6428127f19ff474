"""Evidence `LossResponse`: how the loss answers when it is given right answers, wrong ones, shifted and scaled ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nnlint.finding import Location, Skip

if TYPE_CHECKING:
    from nnlint.capture.op import Op


@dataclass(frozen=True)
class Preference:
    """The loss of right answers beside that of wrong ones, of one output against one tensor of targets.

    Attributes:
        form: what the targets were turned into: "logits", "probabilities", "log-probabilities" or "values".
        right: the loss where every answer is the target.
        wrong: the smallest loss among the assignments of wrong answers.
        prefers_right: True where the right answers have the lowest loss, False where they have the highest of all answers
            tried, sample by sample; None where neither is so.
        about: the target value that it is about, None for all.
        share: share of the targets that have this value.
    """

    form: str
    right: float
    wrong: float
    prefers_right: bool | None
    about: float | None = None
    share: float = 1.0


@dataclass(frozen=True)
class ClassWeight:
    """What the loss makes of the decisions of one class.

    Attributes:
        label: the class, or the value of a binary target.
        weight: size of the gradient at one of its decisions, where all answers are alike.
        count: how many decisions of the batch have it.
    """

    label: float
    weight: float
    count: int


@dataclass(frozen=True)
class LossResponse:
    """What a few calls of the loss on chosen outputs show. Only the loss is called, not the model.

    Attributes:
        kind: "cross-entropy", "binary", "regression", "linear" (adversarial critics, policy objectives), "contrastive"
            (samples are compared with each other) or "unknown".
        reduction: "mean", "sum", "none" (one value for each sample) or "unknown".
        takes: "logits", "probabilities", "log-probabilities", "values" or "unknown".
        shift_invariant: whether adding one number to all scores of a decision leaves the loss as it is; None without scores.
        couples_samples: whether the gradient at a sample depends on the other samples' outputs; None where not measured.
        preferences: right against wrong answers; empty where the targets have no form of the output.
        weights: the weight of each class, where decisions of one class weigh the same; empty where they do not, or are none.
        half, whole: the loss of both halves of the batch added up, and of the whole batch; None where halves do not fit.
        samples: how many samples the batch has.
        why_unknown: what kept it from being told, in words.
        op: the op that makes the loss.
    """

    kind: str = "unknown"
    reduction: str = "unknown"
    takes: str = "unknown"
    shift_invariant: bool | None = None
    couples_samples: bool | None = None
    preferences: tuple[Preference, ...] = ()
    weights: tuple[ClassWeight, ...] = ()
    half: float | None = None
    whole: float | None = None
    samples: int = 0
    why_unknown: str = ""
    op: Op | None = field(default=None, repr=False)

    @property
    def prefers_right(self) -> bool | None:
        """Whether right answers have a lower loss than wrong ones, over all targets; None where it cannot be told."""
        verdicts = {found.prefers_right for found in self.preferences if found.about is None}
        return True if True in verdicts else False if False in verdicts else None

    @property
    def module_path(self) -> str:
        """Module that computed the loss; empty for a separate loss function."""
        return self.op.module_path if self.op is not None else ""

    @property
    def location(self) -> Location | None:
        """The line that made the loss."""
        return self.op.location if self.op is not None else None

    def require_preference(self) -> LossResponse:
        """This, or Skip where no right answer can be made from the targets."""
        if not self.preferences:
            raise Skip(self.why_unknown or "the targets have no form of the output")
        return self
