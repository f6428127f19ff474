"""What a parameter is for, and how many connections its layer has: from its owner's type, its name and its shape."""

from __future__ import annotations

import math

from nnlint.probes.given.init_families import Fans
from nnlint.probes.given.model import ModuleView

_LINEAR = ("Linear", "Bilinear", "Identity", "MultiheadAttention", "Conv1D", "_ConvNd")
_EMBEDDING = ("Embedding", "EmbeddingBag")
_RECURRENT = ("RNNBase", "RNNCellBase")
_NORM = ("_NormBase", "LayerNorm", "GroupNorm", "RMSNorm")
#: Vectors that a norm holds: scale, shift, and the weight of a second statistic.
_LARGEST_SCALE = 3


def owner_and_leaf(name: str) -> tuple[str, str]:
    """Module path and name within it; a parametrized tensor belongs to the layer, not to the parametrization."""
    head, marker, tail = name.partition(".parametrizations.")
    if marker:
        return head, tail
    if name.startswith("parametrizations."):
        return "", name.removeprefix("parametrizations.")
    path, _, leaf = name.rpartition(".")
    return path, leaf


def kind_of(owner: ModuleView, leaf: str, shape: tuple[int, ...]) -> str:
    """One of "weight", "bias", "norm", "embedding", "recurrent", "other"."""
    if owner.is_type(*_NORM) or (len(shape) == 1 and _only_scales(owner, shape)):
        return "norm"
    if owner.is_type(*_EMBEDDING):
        return "embedding"
    if owner.is_type(*_RECURRENT):
        return "recurrent" if leaf.startswith("weight") else "bias"
    plain = len(shape) <= 1
    if plain and "bias" in leaf:
        return "bias"
    wide = sum(length > 1 for length in shape) >= 2
    if plain or not wide or "bias" in leaf or "embed" in leaf or "token" in leaf:
        # A layer with one output or one input is still a layer.
        return "weight" if not plain and owner.is_type(*_LINEAR) and "weight" in leaf else "other"
    return "weight" if len(shape) == 2 or owner.is_type(*_LINEAR) or _is_weight_name(leaf) else "other"


def _only_scales(owner: ModuleView, shape: tuple[int, ...]) -> bool:
    """Whether all that a module holds is a scale, with a shift or without: a norm written by hand, whatever it is called.

    Vectors of one length, one for each feature, and no module of its own. A shift alone is a bias, and a slope an activation's.
    """
    own = [owner.attribute(name.rpartition(".")[2]) for name in owner.parameters]
    alike = all(tuple(getattr(tensor, "shape", ())) == shape for tensor in own)
    is_other = (len(own) == 1 and "bias" in owner.parameters[0]) or owner.is_type("PReLU")
    return alike and 1 <= len(own) <= _LARGEST_SCALE and shape[0] > 1 and not owner.children and not is_other


def _is_weight_name(leaf: str) -> bool:
    return any(part in leaf for part in ("weight", "proj", "kernel", "filter")) or leaf in {"w", "W"}


def fans_of(owner: ModuleView, leaf: str, shape: tuple[int, ...]) -> Fans:
    """Connections as `torch.nn.init` counts them, and the bound of torch's own default for the layer.

    A transposed convolution stores (in, out / groups, ...), and torch counts its fan-in from the second dimension all
    the same. An embedding row is looked up, not summed over: it has no fan.
    """
    if owner.is_type(*_EMBEDDING):
        return Fans()
    if owner.is_type(*_RECURRENT):
        hidden = owner.attribute("hidden_size")
        bound = 1.0 / math.sqrt(hidden) if isinstance(hidden, int) and hidden > 0 else None
        return Fans(shape[1], shape[0], default_bound=bound) if len(shape) == 2 else Fans(default_bound=bound)
    if len(shape) < 2:
        return Fans(default_bound=_bias_bound(owner)) if leaf == "bias" else Fans()
    if owner.type_name == "Conv1D" and len(shape) == 2:  # the transposed linear layer of GPT-2 in transformers
        return Fans(shape[0], shape[1], default_bound=_bound(shape[0]))
    field = math.prod(shape[2:])
    fan_in, fan_out = shape[1] * field, shape[0] * field
    groups = owner.attribute("groups", 1)
    if owner.is_type("Bilinear"):
        return Fans(fan_in, fan_out, default_bound=_bound(shape[1]))
    return Fans(fan_in, fan_out, groups if isinstance(groups, int) else 1, default_bound=_bound(fan_in))


def _bound(fan_in: int) -> float | None:
    return 1.0 / math.sqrt(fan_in) if fan_in > 0 else None


def _bias_bound(owner: ModuleView) -> float | None:
    """A bias is drawn by the fan-in of the weight beside it."""
    weight = owner.attribute("weight")
    shape = tuple(getattr(weight, "shape", ()))
    if len(shape) < 2:
        return None
    return fans_of(owner, "weight", shape).default_bound
