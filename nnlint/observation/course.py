"""The course of an observation: how much is enough, how epochs are folded, how the script is stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nnlint.observation.events import Backward, Clear, Forward
from nnlint.observation.later import evaluates_around
from nnlint.observation.reads import Read
from nnlint.observation.rest import Reading
from nnlint.observation.state import State
from nnlint.observation.things import script_frames

#: Updates of each optimizer that are watched, and of all optimizers together for each of them.
UPDATES = 4
_MOST_FOR_EACH = 10
#: Backwards without any update after which there will be none, where gradients were cleared between them, and where they add up.
_UNANSWERED = 8
_UNANSWERED_SUMS = 64
#: Batches of an evaluation that are watched, and updates after the fold.
_EVALUATED = 2
_AFTER_FOLD = 2
#: Backwards for which a loop without a loader, whose pass could be ended, is watched on until it has evaluated so often. No
#: calibration: they cover an epoch of a small script, and cost what sixteen times the watched updates cost.
_RUN_ON = 64
_VISITS = 2


@dataclass(frozen=True)
class Plan:
    """How long to watch.

    Attributes:
        iterations: updates of each optimizer.
        fold: end the training loader's pass early, to see what happens between epochs.
        keep_going: never stop the script.
        until_evaluation: go on until the first evaluation.
    """

    iterations: int = UPDATES
    fold: bool = True
    keep_going: bool = False
    until_evaluation: bool = False


class ObservationEnded(SystemExit):
    """Unwinds the script. A script that catches everything meets it again at its next update."""


@dataclass
class Course:
    """Follows the events and says when it is enough.

    Attributes:
        state: the log.
        plan: how long to watch.
        on_end: called once when enough was seen, with the reason; the script goes on or is unwound afterwards.
        reading: finds the pass that an iterator makes.
        goes_on: asked when enough was seen, whether the script is to run on to another training.
        after_folds: an earlier observation of the script ended passes early.
    """

    state: State
    plan: Plan
    on_end: Callable[[str], None]
    reading: Callable[[Any], Reading | None]
    goes_on: Callable[[], bool] = bool
    after_folds: bool = False
    reason: str | None = None
    failure: Exception | None = None
    passes_on: bool = False
    _folding_since: int | None = None
    _folded: dict[Any, None] = field(default_factory=dict)
    _folds: int = 0
    #: The pass that is going on is to end early although one before it did.
    _folds_again: bool = False
    #: The event from which on a loop without a loader is watched for its evaluation; None before, False where it has none.
    _run_on_from: int | bool | None = None

    def stepped(self) -> None:
        """After an outermost step: end where enough was seen."""
        self._raise_again()
        if self._folding_since is not None:
            more = _AFTER_FOLD if self._folded else 2 * self.plan.iterations
            if self._updates() >= self._folding_since + more:
                self.end("enough")
        elif self._is_enough():
            if self._can_fold():
                self._folding_since = self._updates()
            elif not self._waits_for_evaluation() and not self._runs_on():
                self.end("enough")

    def backwarded(self) -> None:
        """After a backward: end where updates are not to come, or were made by hand often enough."""
        self._raise_again()
        if self._waits_for_evaluation():
            return
        state = self.state
        if state.unanswered >= self._patience():
            if self._folds == self._updates() < self.plan.iterations and self._can_fold():
                # The step may come once an epoch, at its end.
                self._folding_since, self._folds_again, state.unanswered = self._updates(), True, 0
                return
            self.end("no updates")
        elif state.updates.get(None, 0) >= self.plan.iterations and len(state.updates) == 1:
            self.end("enough")

    def folds(self, iterator: Any) -> bool:
        """Whether a pass is to end here: the training loader's after the iterations, an evaluation's after two batches."""
        reading = self.reading(iterator)
        if self._folding_since is None or reading is None or reading.folded:
            return False
        is_training = bool(reading.thing.facts.get("training"))
        if is_training and not self._folds_again and reading.thing.ref in self._folded:
            if any(draft.kind is Backward for draft in self.state.journal.drafts[reading.begun :]):
                return False  # the first iterations of the next epoch
            is_training = False  # the training data are evaluated
        if reading.batches < (1 if is_training else _EVALUATED):
            return False  # `next(iter(loader))` is no loop that could end
        if is_training:
            self._folded[reading.thing.ref] = None
            self._folds, self._folds_again = self._folds + 1, False
            self._folding_since = self._updates()
        reading.folded = True
        return True

    @property
    def has_folded(self) -> bool:
        """Whether a pass was ended early: what the script raises afterwards may come from that."""
        return bool(self._folded) or self.after_folds

    def broke(self, error: Exception) -> None:
        """The observation failed: it ends, the script goes on."""
        if self.failure is None:
            self.failure = error
        self.state.active = False

    def end(self, reason: str) -> None:
        """Enough was seen: unwind the script unless it is to go on."""
        if self.reason is None:
            self.reason = reason
            self.passes_on = self.plan.fold and not self.plan.keep_going and reason == "enough" and self.goes_on()
            self.on_end(reason)
        self._raise_again()

    def _raise_again(self) -> None:
        if self.reason is not None and not self.plan.keep_going and not self.passes_on:
            raise ObservationEnded(0)

    def _runs_on(self) -> bool:
        """Whether a loop without a loader is watched on: it evaluates in a loop around this line, and has not done so often enough."""
        drafts = self.state.journal.drafts
        if self._run_on_from is None:
            may = self.plan.fold and not self.plan.keep_going and evaluates_around(script_frames())
            self._run_on_from = len(drafts) if may else False
        if self._run_on_from is False:
            return False
        first = next((draft.index for draft in drafts if draft.kind is Backward), len(drafts))
        visits = {
            draft.fields["iteration"]
            for draft in drafts[first:]
            if draft.kind is Forward and not (draft.fields["grad_enabled"] and draft.fields["training"])
        }
        since = sum(draft.kind is Backward for draft in drafts[self._run_on_from :])
        return len(visits) < _VISITS and since < _RUN_ON

    def _updates(self) -> int:
        return sum(self.state.updates.values())

    def _is_enough(self) -> bool:
        """Every player was updated often enough, or all of them together were."""
        updates = self.state.updates
        players = self._players()
        wanted = self.plan.iterations
        if sum(updates.values()) >= _MOST_FOR_EACH * wanted * max(1, len(players)):
            return True
        return bool(players) and all(self._updates_by(ref) >= wanted for ref in players)

    def _updates_by(self, ref: int) -> int:
        """Updates of an optimizer and of those that the same line made over the same parameters: one that is made anew each time."""
        things = self.state.things
        made = things.known[ref].location
        shared = next((known.optimizers for known in things.parameters if ref in known.optimizers), {ref: None})
        again = (
            other for other in shared if other == ref or (made is not None and things.known[other].location == made)
        )
        return sum(self.state.updates.get(other, 0) for other in again)

    def _players(self) -> set[int]:
        """The optimizers that stepped, or that still hold parameters which a backward filled."""
        filled = {key for draft in self.state.journal.of(Backward) for key in draft.fields.get("filled", ())}
        alive = {
            thing.ref for thing in self.state.things.known if thing.what == "optimizer" and thing.object() is not None
        }
        holders = {ref for key in filled for ref in self.state.things.parameters[key].optimizers}
        stepped = {ref for ref in self.state.updates if ref is not None}
        return {ref for ref in holders & alive if self._answers(ref)} | stepped

    def _answers(self, ref: int) -> bool:
        """An optimizer that never steps while others do is not waited for longer than twice as long."""
        return ref in self.state.updates or max(self.state.updates.values(), default=0) < 2 * self.plan.iterations

    def _patience(self) -> int:
        """How many backwards without an update are enough: more where they may be an accumulation."""
        since = 0
        for draft in reversed(self.state.journal.drafts):
            if draft.kind is Clear and since:
                return _UNANSWERED
            since += draft.kind is Backward
            if since > _UNANSWERED:
                break
        return _UNANSWERED_SUMS

    def _can_fold(self) -> bool:
        """Whether training reads a loader whose pass can be ended."""
        self.mark_training_loaders()
        known = self.state.things.known
        return (
            self.plan.fold
            and not self.plan.keep_going
            and any(thing.what == "loader" and thing.facts.get("training") for thing in known)
        )

    def mark_training_loaders(self) -> None:
        """Note which loaders the batches of trained forwards came from."""
        drafts = self.state.journal.drafts
        backwards = [draft for draft in drafts if draft.kind is Backward]
        trained = {index for draft in backwards for index in draft.fields.get("forwards", ())}
        if not trained:  # a script that raised before its first backward, or whose losses are detached
            trained = {draft.index for draft in self.state.journal.of(Forward) if draft.fields["grad_enabled"]}
        for index in trained:
            for read in drafts[index].fields.get("reads", ()):
                if drafts[read].kind is Read:
                    self.state.things.known[drafts[read].fields["loader"]].facts["training"] = True

    def _waits_for_evaluation(self) -> bool:
        """Whether the first evaluation is still to come."""
        if not self.plan.until_evaluation or self._folding_since is not None:
            return False
        loaders = {
            thing.ref for thing in self.state.things.known if thing.what == "loader" and thing.facts.get("training")
        }
        for draft in self.state.journal.of(Forward):
            reads = [self.state.journal.drafts[index] for index in draft.fields.get("reads", ())]
            if reads and not loaders & {read.fields["loader"] for read in reads}:
                return False
        return True
