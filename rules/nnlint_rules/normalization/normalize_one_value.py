"""NRM008: a norm over a single value gives a constant."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Skip, rule
from nnlint_rules._shared.library import initialized_by_library
from nnlint_rules._shared.words import listed, paths
from nnlint_rules.normalization._layers import uses_batch_statistics

if TYPE_CHECKING:
    from nnlint import Graph, Model, Op, RefusedNorm


@rule("NRM008", "normalize-one-value", level="error", since="0.1")
def check(graph: Graph | None, model: Model, refused: RefusedNorm | None) -> Iterator[Finding]:
    """A normalization whose mean and variance are those of one number.

    ## What it does
    Counts the values that each norm takes its statistics from: channels and positions of a group (GroupNorm),
    positions (InstanceNorm), the normalized shape (LayerNorm, RMSNorm), samples and positions (BatchNorm with batch
    statistics), the length of the normalized dimension (`F.normalize`). Reports a count of one, also where torch refuses to run
    the norm (a batch of one sample in training mode); a warning at most where a model library built the norm: its published
    weights were trained so.

    ## Why is this bad?
    One value minus its own mean is zero: the output is the norm's bias, whatever the input, and no gradient passes.
    RMSNorm and `F.normalize` keep only the sign.

    ## Example
        nn.GroupNorm(num_groups=64, num_channels=64)   # on features of shape (N, 64)

    ## Use instead
        nn.GroupNorm(num_groups=8, num_channels=64)

    ## References
    - Wu and He: Group Normalization, 2018, arXiv:1803.08494
    """
    if refused is not None:
        yield _raised(refused)
        return
    if graph is None or graph.method == "symbolic":
        raise Skip("needs shapes, but no run on an input was recorded")
    single: dict[str, list[Op]] = {}
    for norm in graph.calls("norm"):
        if _values(norm) == 1:
            single.setdefault(norm.name, []).append(norm)
    for name, norms in single.items():
        first = norms[0]
        keeps_sign = first.is_kind("rms-norm", "unit-norm")
        result = "only the sign of its input is left" if keeps_sign else "its output does not depend on its input"
        yield Finding(
            at=first,
            level=Level.WARNING if all(initialized_by_library(norm, graph) for norm in norms) else None,
            message=f"normalizes over a single value (input {' x '.join(map(str, first.shape or ()))}): {result}"
            + (f"; likewise {listed(norm.label for norm in norms[1:])}" if len(norms) > 1 else ""),
            evidence={"values": 1, "shape": list(first.shape or ()), "norms": [norm.label for norm in norms]},
            fix=_inside_transformer(first, model) or _FIXES.get(name, "normalize over the feature dimension"),
            modules=paths(op for norm in norms for op in (norm, *graph.consumers(norm))),
        )


def _raised(refused: RefusedNorm) -> Finding:
    """A norm that torch refuses to run: it sees one value where the others see one and go on."""
    size = " x ".join(map(str, refused.shape))
    of_batch = refused.op != "instance_norm"
    return Finding(
        at=refused,
        message=f"{refused.label} takes mean and variance of a single value (input {size}) and raises"
        + (": the batch holds one sample" if of_batch else ": each channel has one position"),
        evidence={"values": 1, "shape": list(refused.shape), "norms": [refused.label]},
        fix="train on batches of two samples or more (DataLoader(..., drop_last=True) if only the last one is short), or use GroupNorm "
        "or LayerNorm, which need no batch"
        if of_batch
        else _FIXES["instance_norm"],
    )


#: Layers of torch that hold norms of their own, whose size is the layer's d_model.
_TRANSFORMER = ("Transformer", "TransformerEncoder", "TransformerDecoder", "TransformerEncoderLayer", "TransformerDecoderLayer")


def _inside_transformer(norm: Op, model: Model) -> str:
    """The fix for a norm that a layer of torch has made itself, and that cannot be exchanged; empty elsewhere."""
    path = norm.module_path
    while path:
        path = path.rpartition(".")[0]
        view = model.find(path)
        if view is not None and view.is_type(*(f"torch.nn.modules.transformer.{name}" for name in _TRANSFORMER)):
            return (
                f"give {view.label} a d_model of several features: map the input to it first, as in nn.Linear({norm.shape[-1]}, 64), "
                "and back after it" if norm.shape else "raise d_model"
            )
    return ""


_FIXES = {
    "group_norm": "use fewer groups, so that each holds several channels, or LayerNorm",
    "instance_norm": "use BatchNorm or GroupNorm where there is one position only",
    "layer_norm": "give normalized_shape the feature dimension",
    "rms_norm": "give normalized_shape the feature dimension",
    "batch_norm": "use a batch of several samples, or GroupNorm or LayerNorm",
    "normalize": "normalize over the feature dimension",
}


def _values(norm: Op) -> int | None:
    """How many values one mean (or one length) is taken of; None where it cannot be told."""
    shape = norm.shape
    if not shape:
        return None
    if norm.is_kind("layer-norm", "rms-norm"):
        normalized = norm.argument("normalized_shape")
        return math.prod(normalized) if isinstance(normalized, (tuple, list)) else None
    if norm.is_kind("unit-norm"):
        dim = norm.argument("dim", 1)
        return shape[dim] if isinstance(dim, int) and -len(shape) <= dim < len(shape) else None
    if len(shape) < 2:
        return None
    if norm.is_kind("group-norm"):
        groups = norm.argument("num_groups")
        return shape[1] // groups * math.prod(shape[2:]) if isinstance(groups, int) and groups > 0 else None
    if not uses_batch_statistics(norm):
        return None
    return math.prod(shape[2:]) * (shape[0] if norm.is_kind("batch-norm") else 1)
