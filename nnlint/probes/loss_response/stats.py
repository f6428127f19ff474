"""Evidence `LossResponse`: how the loss answers when it is given right answers, wrong ones, shifted and scaled ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nnlint.capture.loss_call import AtOp
from nnlint.finding import Location, Skip

if TYPE_CHECKING:
    from nnlint.capture.op import Op
    from nnlint.probes.loss_terms.summands import Summand


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
class FlippedTerm(AtOp):
    """A term of the loss that rewards wrong answers, beside others that make the whole loss prefer right ones.

    Attributes:
        op: makes the term's value.
        preference: what the term alone says of right and wrong answers.
    """

    op: Op
    preference: Preference


@dataclass(frozen=True)
class Togetherness:
    """What a loss without right answers says of outputs that agree where they belong together.

    Attributes:
        prefers_agreement: whether it is lower for them than for outputs that do not.
        together: the loss where the outputs agree.
        apart: the loss where they do not.
        how: where it is known from which belong together, in words.
    """

    prefers_agreement: bool
    together: float
    apart: float
    how: str


@dataclass(frozen=True)
class Certainty:
    """The loss at the targets themselves (0 and 1), and at larger numbers of the same signs.

    Attributes:
        at: the loss where the output is exactly the targets.
        wrong: where it is their opposite.
        beyond: where it is three times the targets.
        outside: share of the model's outputs outside [0, 1].
        free: a linear map makes these outputs, so that nothing keeps them in [0, 1].
        one_hot: the targets are classes, turned into rows of 0 and a single 1.
    """

    at: float
    wrong: float
    beyond: float
    outside: float
    free: bool
    one_hot: bool


@dataclass(frozen=True)
class Fall:
    """A loss without a lowest value: it falls without end as an output grows, whatever its sign.

    Attributes:
        leaf: which tensor of the output.
        start: the loss at the model's own output.
        end: the loss where this tensor was moved away by `times` its own size.
        times: how far.
        faster: it falls faster and faster, as the negative of a square does; False where it falls in proportion, in any direction.
    """

    leaf: int
    start: float
    end: float
    times: float
    faster: bool = True


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
        flipped: terms that prefer wrong answers where the whole loss prefers right ones.
        certainty: what it makes of the targets as outputs, where they are 0 and 1 or classes; None for others.
        unheard: share of the targets that are 0, which it does not react to, where it would to -1; None where it does.
        likelihood: cosine between its gradient and that of the log-likelihood of the targets, where the output is a distribution:
            1 where it lowers the likelihood, -1 where it raises it.
        numbers: ops that made a Python number of the output (`item`), which is added to the loss.
        pairs: whether outputs that belong together may agree; None where nothing tells which do, or right answers are known.
        fall: where the loss has no lowest value; None where it has one, or falls no faster than in proportion.
        uneven: a term that adds up the samples, and one that averages them; None where all terms are reduced alike.
        half, whole: the loss of both halves of the batch added up, and of the whole batch; None where halves do not fit.
        samples: how many samples the batch has.
        why_unknown: what kept it from being told, in words.
        op: the op that makes the loss.
        leaf: which tensor of the output it compares with the targets; None where none has a form of theirs.
        shares: the axis along which that output sums to one everywhere, as probabilities do (0: over the samples); None where it
            does along none.
        deaf: no output gets a gradient with these targets, while other targets of their kind would give it.
    """

    kind: str = "unknown"
    reduction: str = "unknown"
    takes: str = "unknown"
    shift_invariant: bool | None = None
    couples_samples: bool | None = None
    preferences: tuple[Preference, ...] = ()
    weights: tuple[ClassWeight, ...] = ()
    flipped: tuple[FlippedTerm, ...] = ()
    certainty: Certainty | None = None
    unheard: float | None = None
    likelihood: float | None = None
    numbers: tuple[Op, ...] = ()
    pairs: Togetherness | None = None
    fall: Fall | None = None
    uneven: tuple[Summand, Summand] | None = None
    half: float | None = None
    whole: float | None = None
    samples: int = 0
    why_unknown: str = ""
    op: Op | None = field(default=None, repr=False)
    leaf: int | None = None
    shares: int | None = None
    deaf: bool = False

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
