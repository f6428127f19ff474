"""NRM014: channel dropout on an input of another rank."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Skip, rule
from nnlint.kinds import SHAPE_ONLY
from nnlint_rules.normalization._layers import is_active_dropout

if TYPE_CHECKING:
    from nnlint import Graph, Op

#: Rank of the batched input each form is made for.
_RANKS = {"dropout1d": 3, "dropout2d": 4, "dropout3d": 5}
#: The effect that loses nothing: Dropout2d on (N, C).
_PLAIN = "does not drop channels, but single values as nn.Dropout does"
#: What keeps the last dimension as the features, so that dimension 1 of a 3-d tensor is time.
_FEATURES_LAST = ("linear", "layer-norm", "rms-norm", "embedding", "attention", "recurrent")


@rule("NRM014", "wrong-dropout-rank", level="warning", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """Dropout1d, Dropout2d or Dropout3d on an input with another number of dimensions.

    ## What it does
    Compares the rank of the input with what the form is made for: 3 for Dropout1d, 4 for Dropout2d, 5 for Dropout3d,
    batch included. A Dropout2d on (N, C, L) after a convolution drops channels as intended and is left out.

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
        source = graph.producer(dropout.activations[0], through=SHAPE_ONLY)
        return "drops whole time steps, not channels" if source.is_kind(*_FEATURES_LAST) else None
    if dropout.name != "dropout2d" and rank == wanted - 1:
        return "takes the batch for channels and zeroes whole samples"
    return _PLAIN if dropout.name == "dropout2d" and rank == 2 else "drops along a dimension that is not the channel"
