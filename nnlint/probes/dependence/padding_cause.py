"""Where padding first reaches the outputs at valid positions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnlint.probes.dependence.padding_masks import mask_of
from nnlint.probes.dependence.padding_packed import Unpacked
from nnlint.probes.dependence.padding_runs import Chosen, Comparisons, rate, refilled, trimmed
from nnlint.probes.evaluation.first_difference import Difference, Run, changed_entries, first_difference

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op
    from nnlint.probes.dependence.padded import PaddedSequence
    from nnlint.setup.training_setup import TrainingSetup

#: Positions that a model may put before a sequence.
_EXTRA = 4
_WINDOWS = ("conv", "resample")


@dataclass(frozen=True)
class Cause:
    """What reads the padding.

    Attributes:
        kind: "attention", "last-state", "last-position", "recurrent", "steps", "pooling", "max-pooling", "norm",
            "window" (a convolution near the border), "flattened" (a linear map over all positions), "other".
        op: the op where the outputs at valid positions first change.
        mask: what the attention mask blocks: "none" (there is no mask), "nothing", "causal", "queries" (padded queries instead of
            padded keys), "inverted" (the content instead of the padding), "other"; None where it is no attention.
    """

    kind: str
    op: Op
    mask: str | None = None


def find_cause(
    setup: TrainingSetup, chosen: Chosen, sequence: PaddedSequence, *, seed: int, cuts: bool
) -> Cause | None:
    """Name the first op that lets padding through to a valid position.

    Args:
        setup: whose model is run; the caller holds the state guard.
        chosen: copies of one sample.
        sequence: the padded one of its sequences.
        seed: of the forwards.
        cuts: compare with a run without the padding; else with one whose padding is filled with content, comparisons as before.

    Returns:
        None where no valid position changes.
    """
    search = _Search(setup, chosen, sequence, seed, cuts)
    found = search.first()
    if found is None:
        return None
    kind = _kind(found, sequence)
    if kind == "window":
        # With some padding kept, what windows read over the border is the same in both runs: a leak further down is not.
        beyond = search.first(margin=search.padding // 2)
        if beyond is None:
            return Cause("window", found.op)
        found, kind = beyond, _kind(beyond, sequence)
    return Cause(kind, found.op, mask_of(found, setup, chosen, sequence, seed=seed) if kind == "attention" else None)


@dataclass
class _Search:
    setup: TrainingSetup
    chosen: Chosen
    sequence: PaddedSequence
    seed: int
    cuts: bool

    @property
    def padding(self) -> int:
        """Padded positions of the sample."""
        return self.sequence.length - int(self.sequence.valid[0].sum())

    def first(self, *, margin: int | None = None) -> Difference | None:
        """The first op that changes at a valid position; a margin of the padding is the same in both runs."""
        # One padded position is left where there are more: a mask of nothing but ones is dropped by some libraries. What reads
        # the end alone, or attends to padding alone, reads the same with one as with many: then none is left.
        margins = dict.fromkeys((min(1, self.padding - 1), 0)) if margin is None else (margin,)
        for kept in margins if self.cuts else ():
            found = self._by_cutting(kept)
            if found is not None and (not found.parted or _is_repeated(found.op, found.graph, self.sequence)):
                return found
        return self._by_filling(margin or 0)

    def _by_cutting(self, margin: int) -> Difference | None:
        shorter = trimmed(self.chosen, only=self.sequence, margin=margin)
        if shorter is None:
            return None
        unpacked = Unpacked(shorter.unpacked)

        def with_padding() -> None:
            unpacked.lengths = self.chosen.unpacked
            self.setup.model.eval()

        short = Run(shorter.inputs, self.seed, self.setup.model.eval)
        whole = Run(self.chosen.inputs, self.seed, with_padding)
        differs = _ShorterDiffers(self.sequence, shorter.sizes[self.sequence.length][0])
        with unpacked:
            return first_difference(self.setup, short, whole, differs)

    def _by_filling(self, margin: int) -> Difference | None:
        comparisons = Comparisons()

        def prepare() -> None:
            comparisons.begin()
            self.setup.model.eval()

        run = partial(Run, seed=self.seed, prepare=prepare)
        changed = refilled(self.chosen, self.sequence, margin=margin)
        plain = _ShorterDiffers(self.sequence, self.sequence.length)

        def differs(before: Tensor, after: Tensor) -> bool:
            with comparisons.paused():
                return plain(before, after)

        with Unpacked(self.chosen.unpacked), comparisons:
            return first_difference(self.setup, run(self.chosen.inputs), run(changed), differs)


@dataclass(frozen=True)
class _ShorterDiffers:
    """Compares an op's output of a shorter sequence with that of the whole one, at valid positions.

    Attributes:
        sequence: the whole one; all samples are copies of the first.
        short: length of the shorter one, padding left included.
    """

    sequence: PaddedSequence
    short: int

    def __call__(self, before: Tensor, after: Tensor) -> bool:
        """Whether a valid position changed, wherever the axis of time went."""
        if before.dim() != after.dim():
            return False
        readings = [(before, after)]
        strided = after.dim() > 2 and self.sequence.length not in after.shape
        for axis in range(after.dim()):
            choices = self._choices(before.shape[axis], after.shape[axis], strided=strided)
            if choices is None:
                return False
            readings = [
                (_taken(one, axis, mine), _taken(other, axis, theirs))
                for one, other in readings
                for mine, theirs in choices
            ]
        # Either reading of a folded axis may be the right one: the one that explains more of the changes.
        return all(one.numel() > 0 and bool(changed_entries(one, other).any()) for one, other in readings)

    def _choices(self, short: int, long: int, *, strided: bool) -> list[tuple[Tensor | None, Tensor | None]] | None:
        """For an axis of these sizes, which positions of each are compared; None for axes that do not correspond."""
        length = self.sequence.length
        if long == length and short == self.short:
            return [(self._valid(short), self._valid(length))]
        if 0 < long - length <= _EXTRA and short == self.short + long - length:
            extra = torch.ones(long - length, dtype=torch.bool)
            return [(torch.cat([extra, self._valid(self.short)]), torch.cat([extra, self._valid(length)]))]
        if long % length == 0 and long > length and short == self.short * (long // length):
            inner = long // length
            mine, theirs = self._valid(self.short), self._valid(length)
            outside = (mine.repeat_interleave(inner), theirs.repeat_interleave(inner))
            return [(mine.repeat(inner), theirs.repeat(inner)), outside]
        step = rate(long, length) if strided and not self.sequence.at_start else None
        if step is not None and step == rate(short, self.short):
            kept = int(self.sequence.valid[0].sum()) // step
            return [(torch.arange(short) < kept, torch.arange(long) < kept)]
        return [(None, None)] if short == long else None

    def _valid(self, length: int) -> Tensor:
        kept = int(self.sequence.valid[0].sum())
        flags = torch.arange(length) < kept
        return flags.flip(0) if self.sequence.at_start else flags


def _taken(tensor: Tensor, axis: int, flags: Tensor | None) -> Tensor:
    return tensor if flags is None else tensor.index_select(axis, flags.nonzero()[:, 0].to(tensor.device))


# -------------------------------------------------------------------- what kind of op


def _kind(found: Difference, sequence: PaddedSequence) -> str:
    op, graph = found.op, found.graph
    if op.is_kind("attention") or (op.is_kind("softmax") and _is_weighting(op, graph)):
        return "attention"
    if _takes_last_state(op, graph):
        return "last-state"
    if op.is_kind("recurrent"):
        return "recurrent"
    if _is_repeated(op, graph, sequence):
        return "steps"
    if op.is_kind("index"):
        return "last-position"
    if op.is_kind(*_WINDOWS) or (op.is_kind("pool") and not op.is_kind("adaptive-pool") and _keeps_time(op)):
        return "window"
    return _kind_of_reduction(op)


def _kind_of_reduction(op: Op) -> str:
    if op.is_kind("norm"):
        return "norm"
    if op.is_kind("max-pool", "select"):
        return "max-pooling"
    if op.is_kind("reduce", "pool", "scan"):
        return "pooling"
    if op.is_kind("linear-map"):
        return "flattened" if not _takes_products(op) else "other"
    return "attention" if op.is_kind("matmul") else "other"


def _takes_last_state(op: Op, graph: Graph) -> bool:
    """Whether the op reads what a recurrent layer holds at its end, or is one that starts from another's end."""
    passing = ("view", "identity", "cast", "dropout", "index", "concat")
    if op.is_kind("recurrent"):
        states = op.activations[1:]
    elif op.is_kind("index", "linear-map", "norm", "activation", "elementwise", "view", "concat"):
        states = (op,) if op.is_kind(*passing) else op.activations
    else:
        return False
    return any(graph.producer(state, through=passing).is_kind("recurrent") for state in states)


def _is_weighting(op: Op, graph: Graph) -> bool:
    return any(user.is_kind("matmul", "mul") for user in graph.consumers(op))


def _takes_products(op: Op) -> bool:
    return op.is_kind("matmul") and len(op.activations) > 1


def _is_repeated(op: Op, graph: Graph, sequence: PaddedSequence) -> bool:
    """Whether one line makes the op for each position: a loop over time."""
    place = (op.module_path, op.call_location, op.name)
    same = sum(1 for other in graph.ops if (other.module_path, other.call_location, other.name) == place)
    return same >= sequence.length // 2 > 1


def _keeps_time(op: Op) -> bool:
    return op.shape is not None and len(op.shape) > 2 and op.shape[-1] > 1
