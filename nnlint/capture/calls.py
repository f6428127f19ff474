"""What the recorder asks about a single call: whether it is an operation, what it is called, what its node keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx

from nnlint import kinds
from nnlint.capture.torch_private import has_dynamo

#: Asked of a tensor, not done with it.
QUIET = frozenset(
    [
        "dim",
        "size",
        "stride",
        "numel",
        "nelement",
        "ndimension",
        "element_size",
        "is_floating_point",
        "is_complex",
        "is_contiguous",
        "storage_offset",
        "data_ptr",
        "__len__",
        "__repr__",
        "__format__",
        "__hash__",
        "__delete__",
        "register_hook",
        "register_post_accumulate_grad_hook",
        "retain_grad",
        "backward",
        "is_same_size",
        "untyped_storage",
        "storage",
        "get_device",
        "is_pinned",
        "is_inference",
        "is_neg",
        "is_conj",
        "__reduce_ex__",
        "__deepcopy__",
        "dim_order",
        "share_memory_",
        "is_shared",
        "_is_view",
        "is_signed",
        "result_type",
        "can_cast",
        "is_tensor",
        "is_storage",
        "requires_grad_",
        "_has_compatible_shallow_copy_type",
        "set_",
        "resize_",
        "__contains__",
        "names",
        "refine_names",
        "__dlpack__",
    ]
)
#: Attributes that are operations.
TENSOR_PROPERTIES = frozenset({"data", "T", "mT", "H", "mH", "real", "imag"})
#: Arguments that stand in the graph as they are.
KEPT = (
    str,
    bool,
    int,
    float,
    complex,
    type(None),
    torch.dtype,
    torch.device,
    slice,
    type(Ellipsis),
    range,
    torch.Size,
)


def unknown_tensor() -> None:
    """Target of the node that stands for a tensor of unknown origin."""


def after_write(value: Any, writer: Any) -> Any:
    """Target of the node that stands for `value` after `writer` wrote to its memory through another view."""
    return value


#: What a node for a part or a later state of a value takes over from the node of the value.
INHERITED = (
    "module_path",
    "module_type",
    "module_call",
    "training",
    "code_location",
    "location",
    "in_loss",
    "modules",
    "shape",
    "dtype",
    "requires_grad",
)


def canonical_of(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """The canonical name of a call; `nn.ReLU6` calls `hardtanh` with bounds 0 and 6."""
    canonical = kinds.canonical(name)
    if canonical == "hardtanh" and (*args[1:3], kwargs.get("min_val"), kwargs.get("max_val"))[:2] == (0, 6):
        return "relu6"
    return canonical


@contextmanager
def eager() -> Iterator[None]:
    """Run parts wrapped in `torch.compile` eagerly: dynamo would trace through the patched module call and fail.

    Only when dynamo is already loaded: a model without compiled parts must not pay for its import.
    """
    if not has_dynamo() or not hasattr(torch.compiler, "set_stance"):
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def gained_gradient(tensor: torch.Tensor, node: fx.Node) -> bool:
    """Whether a value made without gradients has one now: it came out of an autograd function.

    Its `apply` was bound before recording (`squareplus = Squareplus.apply`), so that only the inside was seen.
    """
    made_without = node.meta.get("grad_enabled") is False and not node.meta.get("requires_grad", True)
    return made_without and tensor.grad_fn is not None
