"""The first op where two runs of one model part: both are recorded, and what each op returned is compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from nnlint.capture.facts import run_facts
from nnlint.capture.graph import Graph
from nnlint.capture.op import Op
from nnlint.capture.recorder import Observer, Recorder, Substitute
from nnlint.probes.dependence.outputs import zeroed
from nnlint.seeding import seed_everything
from nnlint.setup.inputs.names import named_inputs
from nnlint.setup.training_setup import call
from nnlint.tensors import is_dense

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup

#: Says of the entries of an op's output that changed (a boolean tensor) whether that is a change that matters.
Judge = Callable[[torch.Tensor], bool]
#: Says of an op's outputs in the first and the second run whether they differ in a way that matters.
Differs = Callable[[torch.Tensor, torch.Tensor], bool]

_TOLERANCE = 1e-5
#: What these return is whatever the memory held: no difference that means anything.
_UNSET = frozenset({"empty", "empty_like", "new_empty", "empty_strided"})


@dataclass(frozen=True)
class Run:
    """How the model is run: on what, with which seed, in which mode, with which operations replaced."""

    inputs: Any
    seed: int
    prepare: Callable[[], object]
    substitute: Substitute | None = None


@dataclass(frozen=True)
class Difference:
    """The first op whose output differs between two runs, in the graph of the second.

    Attributes:
        op: the op.
        graph: of the second run.
        parted: the runs make other operations from there on.
    """

    op: Op
    graph: Graph
    parted: bool = False


@dataclass
class _Kept:
    """Observer of the first run: keeps what every op returned."""

    found: list[tuple[str, torch.Tensor | None]] = field(default_factory=list)

    def __call__(self, node: fx.Node, output: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        name = node.meta["name"]
        comparable = (
            output.is_floating_point() and is_dense(output) and output.numel() and name not in _UNSET
        )
        self.found.append((name, output.detach().clone() if comparable else None))


@dataclass
class _Compared:
    """Observer of the second run: compares with the first as it goes, and keeps nothing."""

    kept: list[tuple[str, torch.Tensor | None]]
    differs: Differs
    differing: list[fx.Node] = field(default_factory=list)
    parted: fx.Node | None = None
    _position: int = 0

    def __call__(self, node: fx.Node, output: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.parted is not None:
            return
        name, before = self.kept[self._position] if self._position < len(self.kept) else ("", None)
        self._position += 1
        if name != node.meta["name"]:
            self.parted = node
        elif before is not None and self.differs(before, output.detach()):
            self.differing.append(node)


def by_entries(judge: Judge) -> Differs:
    """Outputs differ where `judge` says so of their changed entries.

    Other shapes (as many rows as there were tokens for an expert) cannot be compared, and are no fault by themselves.
    """
    return lambda before, after: before.shape == after.shape and judge(changed_entries(before, after))


def changed_entries(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Where two tensors differ by more than rounding."""
    finite = before.isfinite()
    a, b = zeroed(before), zeroed(after)
    scale = torch.maximum(a.abs().max(), b.abs().max())
    return ((a - b).abs() > _TOLERANCE * scale) | (finite != after.isfinite())


def first_difference(setup: TrainingSetup, one: Run, other: Run, differs: Differs) -> Difference | None:
    """The first op whose output differs between two runs, among those that the differing outputs depend on.

    None where no op differs. The caller holds the state guard; an exception of the model passes.
    """
    first, second = _Kept(), _Compared([], differs)
    recorded(setup, one, first)
    second.kept = first.found
    graph = recorded(setup, other, second)
    suspects = [*second.differing, *([second.parted] if second.parted is not None else [])]
    differing = {graph.of(node) for node in suspects}
    reached = [output for output in graph.outputs if output in differing] or list(graph.outputs)
    upstream = graph.above(reached).union(reached)
    found = next((node for node in suspects if graph.of(node) in upstream), None)
    return Difference(graph.of(found), graph, found is second.parted) if found is not None else None


def recorded(setup: TrainingSetup, run: Run, observer: Observer | None = None) -> Graph:
    """Record one forward without gradients; the caller holds the state guard, and an exception of the model passes."""
    recorder = Recorder(setup.model, stop=recorded.__code__, observer=observer, substitute=run.substitute)
    recorder.add_inputs(named_inputs(setup.with_inputs(run.inputs)))
    run.prepare()
    seed_everything(run.seed)
    with torch.no_grad(), recorder.recording():
        output = call(setup.model, run.inputs)
    recorder.finish(output)
    return Graph(
        recorder.graph,
        method="recorded",
        constructions=dict(setup.construction),
        called_modules=dict(recorder.tracker.calls),
        facts=run_facts(setup.with_inputs(run.inputs), recorder),
    )


# -------------------------------------------------------------------- judges


def any_change(changed: torch.Tensor) -> bool:
    """Any entry at all."""
    return bool(changed.any())


def beyond_first_sample(samples: int) -> Judge:
    """Entries that belong to other samples than the first, wherever the axis of the samples went.

    A sample's entries stay together along an axis whose size is a multiple of the batch: in blocks where another axis was
    folded in after it (batch x heads), in steps where it was folded in before it (time x batch).
    """

    def judge(changed: torch.Tensor) -> bool:
        if not bool(changed.any()):
            return False
        return not any(
            bool((touched < size // samples).all()) or bool((touched % samples == 0).all())
            for size, touched in _touched(changed)
            if size % samples == 0
        )

    return judge


def before_time(cut: int, length: int) -> Judge:
    """Entries all of whose times are before `cut`, wherever the axes of time went.

    A score of a later key is no leak yet, so one later time of several is enough. A few positions may have been put before
    the sequence (a class token), and another axis may have been folded in before or after that of time.
    """

    def judge(changed: torch.Tensor) -> bool:
        sizes = enumerate(changed.shape)
        plain = [axis for axis, size in sizes if length <= size < 2 * length]
        folded = [axis for axis, size in enumerate(changed.shape) if size >= 2 * length and size % length == 0]
        for axis in plain:
            changed = changed.narrow(axis, 0, cut)
        for axis in folded:
            size = changed.shape[axis]
            positions = torch.arange(size, device=changed.device)
            early = (positions % length < cut, positions < cut * (size // length))
            # Either reading of the axis may be the right one: the one that explains more of the changes.
            changed = min((changed.index_select(axis, keep.nonzero().flatten()) for keep in early), key=_count)
        return bool(changed.any())

    return judge


def _count(flags: torch.Tensor) -> int:
    return int(flags.sum())


def _touched(changed: torch.Tensor) -> list[tuple[int, torch.Tensor]]:
    """For each axis its size and the positions along it where any entry changed."""
    found = []
    for axis in range(changed.dim()):
        rows = changed.movedim(axis, 0).reshape(changed.shape[axis], -1)
        found.append((changed.shape[axis], rows.any(dim=1).nonzero().flatten()))
    return found
