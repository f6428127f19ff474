"""LOS007: softmax over a dimension of size 1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Skip, rule
from nnlint.kinds import VALUE_PRESERVING
from nnlint_rules.loss._heads import softmax_dim

if TYPE_CHECKING:
    from nnlint import Graph, Op

_BETWEEN = VALUE_PRESERVING | {"activation", "norm", "clamp"}


@rule("LOS007", "softmax-over-one-unit", level="error", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """Softmax over a dimension of size 1: the output is constant.

    ## What it does
    Reports every `softmax` and `log_softmax` over a dimension that has one entry. Where that entry is the single unit of a
    layer, or the one that `topk` kept of a layer's scores, it is an error; where the size comes from the data (attention over a
    sequence of one token), it is info.

    ## Why is this bad?
    The softmax of one number is 1, whatever the number: the output does not depend on the input and no gradient reaches the
    layer before it.

    ## Example
        nn.Sequential(nn.Linear(64, 1), nn.Softmax(dim=1))

    ## Use instead
        nn.Sequential(nn.Linear(64, 1))  # with nn.BCEWithLogitsLoss(), or two units and nn.CrossEntropyLoss()

    ## References
    - PyTorch: `torch.nn.Softmax` sums to 1 along `dim`
    """
    if graph.method == "symbolic":
        raise Skip("needs shapes, but the model did not run")
    for op in graph.calls("softmax", "log-softmax"):
        if op.shape is None or _size(op) != 1:
            continue
        layer = graph.producer(op.activations[0], through=_BETWEEN) if op.activations else op
        single, chosen = _is_single_unit(op, layer), _chosen(graph, op)
        name = (
            f"the single unit of {layer.label}"
            if single
            else f"the one entry that {chosen.name} keeps"
            if chosen
            else "a single entry"
        )
        yield Finding(
            at=op,
            level=None if single or chosen else Level.INFO,
            message=f"{op.label} normalizes {name}: its output is {0 if op.is_kind('log-softmax') else 1} whatever the input",
            evidence={"shape": list(op.shape), "dim": softmax_dim(op)},
            fix=_fix(graph, op, chosen, single=single),
            modules=(layer.module_path,) if single else _scored_by(graph, chosen),
        )


def _chosen(graph: Graph, op: Op) -> Op | None:
    """The `topk` or `max` that leaves the one entry of scores which a layer gave; None where nothing is chosen."""
    if not op.activations:
        return None
    source = graph.producer(op.activations[0])
    if source.name not in ("topk", "max", "amax", "sort") or not source.requires_grad:
        return None
    return source if _scored_by(graph, source) else None


def _scored_by(graph: Graph, chosen: Op | None) -> tuple[str, ...]:
    """Path of the layer whose scores a choice is made of."""
    if chosen is None or not chosen.activations:
        return ()
    layer = graph.producer(chosen.activations[0], through=_BETWEEN)
    return (layer.module_path,) if layer.is_kind("linear-map") else ()


def _fix(graph: Graph, op: Op, chosen: Op | None, *, single: bool) -> str:
    if chosen is not None:
        return "apply the softmax to all scores before choosing: `weights, index = logits.softmax(-1).topk(k, dim=-1)`"
    if not single:
        return "nothing to do if the size 1 comes from this batch only; else check `dim`"
    if any(user.is_kind("mul", "matmul") for user in graph.consumers(op)):
        return "apply the softmax along the axis of the positions that are weighed, as in `scores.softmax(dim=1)`"
    return "for two classes use one logit with BCEWithLogitsLoss and no softmax, or two units with cross-entropy"


def _size(op: Op) -> int | None:
    dim = softmax_dim(op)
    return op.shape[dim] if op.shape and dim is not None else None


def _is_single_unit(op: Op, layer: Op) -> bool:
    """Whether the dimension of size 1 is that of a layer's units, not one whose size comes from the data."""
    if not layer.is_kind("linear-map") or not layer.shape or not op.shape:
        return False
    units = 1 if layer.is_kind("conv") and len(layer.shape) > 1 else len(layer.shape) - 1
    if layer.shape[units] != 1:
        return False
    dim = softmax_dim(op)
    if len(op.shape) == len(layer.shape):
        return dim == units
    return op.shape.count(1) == 1
