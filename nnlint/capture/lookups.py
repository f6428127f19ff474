"""An embedding that raised: what it was asked for. The graph ends before it, so that it is no op."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from nnlint.tensors import tensor_leaves

if TYPE_CHECKING:
    from nnlint.capture.modules import ModuleCall
    from nnlint.finding import Location


@dataclass(frozen=True)
class RefusedLookup:
    """A call of an embedding that raised.

    Attributes:
        module_path, location: the innermost module being called, and the user's line.
        label: what to call it in a message.
        ids: the tensor of ids, as given.
        rows: how many rows the table has.
    """

    module_path: str
    location: Location | None
    label: str
    ids: torch.Tensor
    rows: int

    @property
    def outside(self) -> int:
        """How many of the ids the table has no row for."""
        return int(((self.ids < 0) | (self.ids >= self.rows)).sum())


def refused_lookup(
    args: tuple[Any, ...], kwargs: dict[str, Any], call: ModuleCall | None, location: Location | None
) -> RefusedLookup | None:
    """The lookup, from the arguments of any of torch's embedding functions: they differ in order, not in dtypes."""
    tensors = [tensor for _, tensor in tensor_leaves((args, kwargs), depth=2)]
    ids = next((tensor for tensor in tensors if tensor.dtype in (torch.int32, torch.int64)), None)
    table = next((tensor for tensor in tensors if tensor.is_floating_point() and tensor.dim() == 2), None)
    if ids is None or table is None or not ids.numel() or ids.device.type == "meta":
        return None
    path, kind = (call.path, call.type_name) if call is not None else ("", "")
    label = f"{path} ({kind})" if call is not None and call.is_torch_layer else f"the embedding in {path or kind}"
    return RefusedLookup(path, location, label, ids.detach(), len(table))
