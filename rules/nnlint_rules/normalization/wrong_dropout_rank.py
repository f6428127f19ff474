"""NRM014: channel dropout on an input of another rank."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Skip, rule
from nnlint_rules.normalization._layers import is_active_dropout

if TYPE_CHECKING:
    from nnlint import Dim, Graph, Op

#: Rank of the batched input each form is made for.
_RANKS = {"dropout1d": 3, "dropout2d": 4, "dropout3d": 5}
#: The effect that loses nothing: Dropout2d on (N, C).
_PLAIN = "does not drop channels, but single values as nn.Dropout does"
#: Roles of an axis whose entries are what a layer computes.
_COMPUTED = frozenset({"feature", "channel"})


@rule("NRM014", "wrong-dropout-rank", level="warning", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """Dropout1d, Dropout2d or Dropout3d on an input with another number of dimensions.

    ## What it does
    Compares the rank of the input with what the form is made for: 3 for Dropout1d, 4 for Dropout2d, 5 for Dropout3d,
    batch included. A Dropout2d on three dimensions is reported where the last one holds the features: layers make it or sum over
    it, and nothing does so with the second. On (N, C, L), of a convolution or turned round for it, it drops channels as intended.

    ## Why is this bad?
    These forms drop whole channels. With one dimension less torch takes the input for a single unbatched sample and
    the batch for its channels: Dropout1d on (N, C) and Dropout3d on (N, C, H, W) zero whole samples. Dropout2d on (N,
    T, C) drops whole time steps. On (N, C) it does exactly what plain dropout does: that is an info.

    ## Example
        x = self.conv(x).flatten(1)
        x = nn.Dropout1d(0.2)(x)      # zeros every fifth sample

    ## Use instead
        x = nn.Dropout(0.2)(x)

    ## References
    - PyTorch: `torch.nn.Dropout1d`, `torch.nn.Dropout2d`, `torch.nn.Dropout3d`, shapes
    """
    if graph.method == "symbolic":
        raise Skip("needs shapes, but the model was traced without an input")
    seen = set()
    for dropout in graph.calls(*_RANKS):
        effect = _effect(graph, dropout) if is_active_dropout(dropout) else None
        if effect is None or (dropout.module_path, dropout.location) in seen:
            continue
        seen.add((dropout.module_path, dropout.location))
        wanted, shape = _RANKS[dropout.name], dropout.shape or ()
        yield Finding(
            at=dropout,
            message=f"{dropout.name} is made for {wanted}-d input and gets {len(shape)}-d "
            f"({' x '.join(map(str, shape))}): it {effect}",
            evidence={"rank": len(shape), "expected_rank": wanted, "shape": list(shape)},
            fix=_fix(len(shape)),
            level=Level.INFO if effect == _PLAIN else None,
        )


def _fix(rank: int) -> str:
    forms = {3: "nn.Dropout1d on (N, C, L)", 4: "nn.Dropout2d", 5: "nn.Dropout3d"}
    channels = f", or {forms[rank]} for whole channels" if rank in forms else ""
    return f"use nn.Dropout for single values{channels}"


def _effect(graph: Graph, dropout: Op) -> str | None:
    """What the dropout does instead of dropping channels; None where it drops what is meant."""
    rank, wanted = len(dropout.shape or ()), _RANKS[dropout.name]
    if rank in (0, wanted):
        return None
    if dropout.name == "dropout2d" and rank == 3:
        dims = graph.axes(dropout.activations[0]).dims
        last = len(dims) == 3 and _is_features(graph, dims[2]) and not _is_features(graph, dims[1])
        dropped = "samples at a time step" if len(dims) == 3 and any(digit.axis.role == "batch" for digit in dims[1]) else "time steps"
        return f"drops whole {dropped}, not channels" if last else None
    if dropout.name != "dropout2d" and rank == wanted - 1:
        return "takes the batch for channels and zeroes whole samples"
    return _PLAIN if dropout.name == "dropout2d" and rank == 2 else "drops along a dimension that is not the channel"


def _is_features(graph: Graph, dim: Dim) -> bool:
    """Whether layers make the entries of a dimension, sum over it with weights, or normalize it."""
    axes = {digit.axis for digit in dim}
    if any(axis.role in _COMPUTED for axis in axes):
        return True
    ops = [(op, graph.axes(op)) for op in graph.calls("linear-map", "layer-norm", "rms-norm")]
    # Of a convolution the first is the sum over the channels; the others are those within its window.
    sums = [part for op, found in ops for part in found.contracted[: 1 if op.is_kind("conv") else None]]
    taken = [part.left for part in sums if part.right_op is None]
    taken += [part.dim for op, found in ops if not op.is_kind("linear-map") for part in found.along]
    return any(digit.axis in axes for part in taken for digit in part)
