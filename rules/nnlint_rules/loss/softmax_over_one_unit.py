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


@rule(
    "LOS007",
    "softmax-over-one-unit",
    level="error",
    since="0.1",
    explains=[
        "ARC002",
        "ARC006",
        "ARC010",
        "ARC011",
        "ARC019",
        "LOS001",
        "LOS018",
        "GRD001",
        "GRD003",
        "SIG006",
        "TRN001",
        "TRN005",
    ],
)
def check(graph: Graph) -> Iterator[Finding]:
    """Softmax over a dimension of size 1: the output is constant.

    ## What it does
    Reports every `softmax` and `log_softmax` over a dimension that has one entry. Where that entry is the single unit of a
    layer it is an error; where the size comes from the data (attention over a sequence of one token), it is info.

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
        raise Skip("shapes are unknown without a run")
    for op in graph.calls("softmax", "log-softmax"):
        if op.shape is None or _size(op) != 1:
            continue
        layer = graph.producer(op.activations[0], through=_BETWEEN) if op.activations else op
        single = _is_single_unit(op, layer)
        name = f"the single unit of {layer.label}" if single else "a single entry"
        yield Finding(
            at=op,
            level=None if single else Level.INFO,
            message=f"{op.label} normalizes {name}: its output is {0 if op.is_kind('log-softmax') else 1} whatever the input",
            evidence={"shape": list(op.shape), "dim": softmax_dim(op)},
            fix="for two classes use one logit with BCEWithLogitsLoss and no softmax, or two units with cross-entropy"
            if single
            else "nothing to do if the size 1 comes from this batch only; else check `dim`",
            modules=(layer.module_path,) if single else (),
        )


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
