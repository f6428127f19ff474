"""INI006: units of a layer with the same weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Skip, rule

if TYPE_CHECKING:
    from nnlint import Graph, Model, Op, Parameters, ParameterView

#: Rows of fewer numbers may be equal by chance, at the precision of a float.
_SHORTEST_ROW = 4
#: Share of the other weight tensors that must look untouched, where only some rows are alike.
_FRESH_SHARE = 0.8
#: Share of a matrix's rows that are one and the same row: from here on it is broken, trained or not.
_MOST = 0.5


@rule("INI006", "duplicate-units", level="warning", since="0.1")
def check(model: Model, parameters: Parameters, graph: Graph | None) -> Iterator[Finding]:
    """Two or more rows (units, filters) of a weight matrix that are identical.

    ## What it does
    Compares the rows of every trainable weight of a linear, convolution or recurrent layer, and of every parameter that a matrix
    product reads, bit for bit. Constant matrices (another rule's), rows of zeros, rows of fewer than four numbers, depthwise filters
    and embeddings are left out. Among trained weights only a matrix half of whose rows are one and the same row is reported:
    quantized and pruned weights and widened nets have a few copies.

    ## Why is this bad?
    Random rows are never identical. Units with the same weights compute the same number, and stay alike as far as the
    next layer treats them alike: the layer has fewer units than it seems. Such weights come from `repeat` or `expand`
    in a hand-written initialization, or from a seed set anew for each row.

    ## Example
        self.fc.weight.data = torch.randn(1, 64).repeat(128, 1)

    ## Use instead
        nn.init.kaiming_normal_(self.fc.weight)

    ## References
    - Goodfellow, Bengio and Courville: Deep Learning, 2016, section 8.4 (symmetry breaking)
    """
    multiplied = _multiplied(graph) if graph is not None else frozenset()
    suspects = {
        view: groups
        for view in parameters.of_kind("weight", "recurrent", "other")
        if (groups := _copies(view, model, is_operand=view.name in multiplied))
    }
    _require_fresh(parameters, suspects)
    for view, groups in suspects.items():
        copies = sum(len(rows) - 1 for rows in groups)
        sizes = {len(rows) for rows in groups}
        # Every row repeated equally often: the initialization of a sub-pixel convolution (ICNR, arXiv:1707.02937).
        covered = sum(len(rows) for rows in groups) == view.shape[0]
        repeated = len(view.shape) > 2 and len(groups) > 1 and len(sizes) == 1 and covered
        largest = max(groups, key=len)
        yield Finding(
            at=view,
            level=Level.INFO if repeated else None,
            message=f"{copies} of {view.shape[0]} rows of {view.name} are copies of another row "
            f"(rows {', '.join(map(str, largest[:6]))}{', ...' if len(largest) > 6 else ''}): these units compute the same function",
            evidence={"copies": copies, "rows": view.shape[0], "largest_group": list(largest[:20])},
            fix="draw every row by itself: nn.init.kaiming_normal_(layer.weight)",
        )


def _multiplied(graph: Graph) -> frozenset[str]:
    """Names of the parameters that are an operand of a matrix product, as they are or transposed."""
    operands = (_origin(source) for op in graph.calls("linear-map", "matmul") for source in op.inputs)
    return frozenset(op.name for op in operands if op.is_kind("parameter"))


def _origin(op: Op) -> Op:
    while op.is_kind("view", "identity", "cast") and op.inputs:
        op = op.inputs[0]
    return op


def _copies(view: ParameterView, model: Model, *, is_operand: bool) -> list[tuple[int, ...]]:
    """Groups of identical rows, if the parameter is one to be judged."""
    if not _is_judged(view, model, is_operand=is_operand):
        return []
    return [rows for rows in view.duplicate_rows if not view.row_is_zero(rows[0])]


def _require_fresh(parameters: Parameters, suspects: dict[ParameterView, list[tuple[int, ...]]]) -> None:
    """Quantized, pruned and widened weights have copies too: drop what they may be, where the weights look trained.

    A matrix with copies looks like no initialization, so the others are asked.
    """
    others = [view for view in parameters.of_kind("weight", "recurrent", "embedding") if view not in suspects]
    known = sum(view.init is not None for view in others)
    if not suspects:
        parameters.require_fresh()
    elif known < _FRESH_SHARE * len(others):
        for view, groups in list(suspects.items()):
            if max(map(len, groups)) < _MOST * view.shape[0]:
                del suspects[view]
        if not suspects:
            raise Skip(f"weights look trained: only {known} of {len(others)} weight tensors match a known initialization")


def _is_judged(view: ParameterView, model: Model, *, is_operand: bool) -> bool:
    if not view.requires_grad or view.constant or not view.finite or len(view.shape) < 2:
        return False
    owner = model.find(view.module_path)
    if not is_operand and not view.name.rpartition(".")[2].startswith(("weight", "original", "in_proj")):
        return False  # a parameter that no product reads (the decay rates of a state space): no matrix of units
    groups = owner.attribute("groups", 1) if owner is not None else 1
    depthwise = isinstance(groups, int) and groups > 1 and view.shape[1] == 1
    return math.prod(view.shape[1:]) >= _SHORTEST_ROW and not depthwise
