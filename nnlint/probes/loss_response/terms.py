"""The terms of a loss, asked one by one: a right one hides a term whose sign is wrong, and one that is only a number.

Calibration of the limits: docs/evidence/calibration.md#code-limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from nnlint.capture.graph import Graph
from nnlint.capture.op import Op
from nnlint.capture.recorder import Recorder
from nnlint.probes.loss_response.answers import ENTRIES, Form
from nnlint.probes.loss_response.caller import LossCaller, Refused
from nnlint.probes.loss_response.halves import halves
from nnlint.probes.loss_terms.summands import Summand, summands

#: Terms that are looked at.
_MOST = 6
#: Fewer samples are not halved.
_FEWEST = 8
#: Terms below this are 0, whatever their reduction.
_NOTHING = 1e-9
#: Share of a term by which halves may differ: samples are not alike, and a factor of 2 is told apart still.
_SAME = 0.1
#: Share of a term by which wrong answers have to lower it.
_CLEAR = 0.01


@dataclass(frozen=True, eq=False)
class Term:
    """One term of the loss, as a function of the outputs."""

    summand: Summand
    caller: LossCaller
    first: float


def suspects(caller: LossCaller, form: Form) -> Iterator[Term]:
    """The terms that compare the outputs with the targets of `form` and are lower for wrong answers than for right ones."""
    right = form.answer(form.labels)
    wrong = form.answer(next(iter(form.mixed_up(torch.Generator().manual_seed(0)))))
    try:
        graph = _recorded(caller, caller.leaves, {})
        parts = [part for part in summands(graph) if _reads(graph, part, form)]
        if not 1 < len(summands(graph)) <= _MOST:
            return
        kept = {part: _values(caller, caller.with_leaf(form.leaf, answer), parts) for part, answer in enumerate((right, wrong))}
        first = _values(caller, caller.leaves, parts)
    except Refused:
        return
    if not any(kept[0][place] < kept[1][place] for place in range(len(parts))):
        return  # nothing else here wants these answers: an objective that pushes away from them on purpose
    for place, part in enumerate(parts):
        if kept[0][place] > kept[1][place] + _CLEAR * max(abs(kept[0][place]), abs(kept[1][place])):
            yield Term(part, _alone(caller, part), first[place])


def numbers(caller: LossCaller) -> tuple[Op, ...]:
    """The ops that turn something of the output into a Python number that is added to the loss."""
    moved = [
        leaf.detach() * 1.1 + 0.05 if leaf.is_floating_point() and leaf.requires_grad else leaf for leaf in caller.leaves
    ]
    try:
        graph = _recorded(caller, caller.leaves, {})
        if not any(op.is_kind("escape") for op in graph.ops):
            return ()
        other = _recorded(caller, moved, {})
    except Refused:
        return ()
    added = {op.node.name: _literals(op) for op in other.ops}
    found = []
    for op in _sums(graph):
        theirs = added.get(op.node.name, ())
        if len(theirs) == len(_literals(op)) and theirs != _literals(op):
            made = [one for one in graph.ops if one.is_kind("escape") and one.index < op.index and one.activations]
            found += made[-1:]
    return tuple(dict.fromkeys(found))


def uneven(caller: LossCaller, samples: int) -> tuple[Summand, Summand] | None:
    """A term that adds up the samples, and one that averages them; both read the output. None where all are reduced alike."""
    if samples < _FEWEST or sum(leaf.numel() for leaf in caller.leaves) > ENTRIES:
        return None
    try:
        graph = _recorded(caller, caller.leaves, {})
        parts = summands(graph)
        if not 1 < len(parts) <= _MOST:
            return None
        wholes = _values(caller, caller.leaves, parts)
    except Refused:
        return None
    found: dict[str, Summand] = {}
    for part, whole in zip(parts, wholes, strict=True):
        read = any(str(op.node.meta.get("label", "")).startswith("output") for op in graph.ancestors(part.op))
        half = halves(_alone(caller, part), samples) if read else None
        if half is None or abs(half) < _NOTHING:
            continue
        if abs(whole - half) <= _SAME * abs(half):
            found.setdefault("sum", part)
        elif abs(whole - half / 2) <= _SAME * abs(half):
            found.setdefault("mean", part)
    return (found["sum"], found["mean"]) if len(found) == 2 else None


def _sums(graph: Graph) -> Iterator[Op]:
    """The sums and differences that the loss is, from the last one on."""
    waiting = [graph.loss] if graph.loss is not None else []
    while waiting:
        op = waiting.pop()
        if op.name in ("add", "sub", "rsub"):
            yield op
        if op.name in ("add", "sub", "rsub", "neg", "mul", "div", "mean", "sum"):
            waiting.extend(op.activations)


def _literals(op: Op) -> tuple[float, ...]:
    return tuple(float(one) for one in op.leading if isinstance(one, (int, float)) and not isinstance(one, bool))


def _reads(graph: Graph, part: Summand, form: Form) -> bool:
    """Whether the term reads both the output and the targets."""
    read = {op.node.meta.get("label") for op in graph.ancestors(part.op)}
    return {f"output{form.leaf}", f"target{form.target}"} <= read and part.factor != 0.0


def _alone(caller: LossCaller, part: Summand) -> LossCaller:
    """A caller whose loss is this term."""

    def compute(leaves: Sequence[Tensor], targets: Sequence[Tensor]) -> Any:
        kept: dict[str, Tensor] = {part.op.node.name: torch.empty(0)}
        graph = _recorded(replace(caller, targets=tuple(targets)), leaves, kept)
        # Its factor may hold the size of the batch that is given here (`/ len(y)`).
        now = next((one for one in summands(graph) if one.op.node.name == part.op.node.name), part)
        return _value(now, kept)

    return replace(caller, compute=compute)


def _values(caller: LossCaller, leaves: Sequence[Tensor], parts: Sequence[Summand]) -> list[float]:
    kept = {part.op.node.name: torch.empty(0) for part in parts}
    _recorded(caller, leaves, kept)
    return [float(_value(part, kept)) for part in parts]


def _value(part: Summand, kept: Mapping[str, Tensor]) -> Tensor:
    tensor = kept[part.op.node.name]
    if not tensor.numel() or not bool(tensor.isfinite().all()):
        raise Refused("the term has no finite value")
    return part.factor * part.reduced(tensor).double().mean()


@dataclass
class _Keeper:
    """Observer of a recorder: the tensors of the nodes that `kept` names."""

    kept: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, node: fx.Node, output: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if node.name in self.kept:
            self.kept[node.name] = output.detach().clone()


def _recorded(caller: LossCaller, leaves: Sequence[Tensor], kept: dict[str, Tensor]) -> Graph:
    """The loss call alone, recorded; nodes have the same names each time.

    Raises:
        Refused: the loss does not take these outputs.
    """
    recorder = Recorder(nn.Identity(), stop=_recorded.__code__, observer=_Keeper(kept))
    recorder.add_inputs((f"output{place}", leaf) for place, leaf in enumerate(leaves))
    recorder.add_inputs(((f"target{place}", target) for place, target in enumerate(caller.targets)), is_target=True)
    recorder.enter_loss()
    with recorder.recording():
        loss = caller.tensor(leaves)
    node = recorder.node_of(loss)
    recorder.finish(tuple(leaves))
    return Graph(recorder.graph, method="recorded", loss=node)
