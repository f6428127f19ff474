"""What the mask of an attention blocks: padded keys, padded queries, the content, later positions, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from nnlint.frames import is_fatal
from nnlint.probes.evaluation.first_difference import Difference, Run, recorded

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op
    from nnlint.probes.dependence.padded import PaddedSequence
    from nnlint.probes.dependence.padding_runs import Chosen
    from nnlint.setup.training_setup import TrainingSetup

#: A number added to, or written over, a score below this blocks it.
_BLOCKING = -50.0
#: Kinds between the product of queries and keys and that with the values.
_OF_SCORES = ("softmax", "merge", "add", "mul", "div", "cast", "view", "identity", "clamp", "elementwise", "dropout")
#: Share of the blocked entries that makes a part of the scores blocked, and one that makes it open.
_MOST, _FEW = 0.9, 0.5


def mask_of(found: Difference, setup: TrainingSetup, chosen: Chosen, sequence: PaddedSequence, *, seed: int) -> str:
    """What the mask of an attention op blocks: see `Cause.mask`. The caller holds the state guard."""
    masks = _Masks()
    try:
        graph = recorded(setup, Run(chosen.inputs, seed, setup.model.eval), masks)
    except Exception as error:
        if is_fatal(error):
            raise
        return "other"
    op = next((op for op in graph.ops if op.index == found.op.index and op.name == found.op.name), None)
    return _blocked_part(op, graph, masks, sequence) if op is not None else "other"


@dataclass
class _Masks:
    """Observer: for every op that can block scores, where it does."""

    blocked: dict[fx.Node, Tensor] = field(default_factory=dict)

    def __call__(self, node: fx.Node, output: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found = [flags for flags in _blocking(node.meta["name"], args, kwargs) if flags is not None]
        shape = _score_shape(node.meta["name"], output, args, kwargs)
        for flags in found:
            try:
                spread = torch.broadcast_to(flags, shape).detach()
            except RuntimeError:
                continue
            known = self.blocked.get(node)
            self.blocked[node] = spread if known is None else known | spread


def _score_shape(name: str, output: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, ...]:
    """Shape of the scores that an op makes inside, or of its output."""
    if name == "scaled_dot_product_attention":
        query, key = args[0], args[1] if len(args) > 1 else kwargs["key"]
        return (*query.shape[:-1], key.shape[-2])
    if name == "multi_head_attention_forward":
        query, key = args[0], args[1]  # (time, batch, features)
        return (query.shape[1] if query.dim() == 3 else 1, 1, query.shape[0], key.shape[0])
    return tuple(output.shape)


def _blocking(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor | None]:
    if name == "scaled_dot_product_attention":
        mask = kwargs.get("attn_mask", args[3] if len(args) > 3 else None)
        yield _of_argument(mask, allows=True)
        if kwargs.get("is_causal") or (len(args) > 5 and args[5]):
            size = (args[0].shape[-2], args[1].shape[-2])
            yield torch.ones(size, dtype=torch.bool, device=args[0].device).triu(1)
    elif name == "multi_head_attention_forward":
        padding = _of_argument(kwargs.get("key_padding_mask"), allows=False)
        yield padding[:, None, None, :] if padding is not None and padding.dim() == 2 else None
        mask = _of_argument(kwargs.get("attn_mask"), allows=False)
        yield mask if mask is None or mask.dim() == 2 else mask.reshape(-1, *mask.shape[-2:])[:1]
    elif name in ("masked_fill", "where", "setitem"):
        yield from _of_merge(name, args)
    elif name in ("add", "sub"):
        for value in args[:2]:
            signed = -value if name == "sub" and isinstance(value, Tensor) and value is args[1] else value
            yield _of_argument(signed, allows=False)


def _of_argument(mask: Any, *, allows: bool) -> Tensor | None:
    if not isinstance(mask, Tensor):
        return None
    if mask.dtype is torch.bool:
        return ~mask if allows else mask
    return mask < _BLOCKING if mask.is_floating_point() else None


def _of_merge(name: str, args: tuple[Any, ...]) -> Iterator[Tensor | None]:
    if len(args) < 3:
        return
    if name == "where":
        flags, first, second = args[:3]
        yield flags if _is_low(first) else ~flags if _is_low(second) else None
    else:
        _, flags, value = args[:3]
        yield flags if isinstance(flags, Tensor) and flags.dtype is torch.bool and _is_low(value) else None


def _is_low(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and float(value) < _BLOCKING
    return isinstance(value, (int, float)) and value < _BLOCKING


def _blocked_part(op: Op, graph: Graph, masks: _Masks, sequence: PaddedSequence) -> str:
    """Which part of the scores before `op` is blocked."""
    known = {graph.of(node): flags for node, flags in masks.blocked.items()}
    found = [known[source] for source in _score_ops(op) if source in known]
    if not found:
        return "none"
    shape = max((tuple(flags.shape) for flags in found), key=len)
    alike = [flags for flags in found if tuple(flags.shape) == shape]
    blocked = torch.stack(alike).any(0).reshape(-1, *shape[-2:])[0]
    if not bool(blocked.any()):
        return "nothing"
    valid = sequence.valid[0].to(blocked.device)
    if blocked.shape[1] != len(valid):
        return "queries" if blocked.shape[0] == len(valid) else "other"
    rows = valid if blocked.shape[0] == len(valid) else torch.ones_like(blocked[:, 0])
    keys = float(blocked[rows][:, ~valid].double().mean())
    # Nobody blocks a position for itself and those before it but a mask of padding.
    lower = blocked.tril() if blocked.shape[0] == blocked.shape[1] else blocked
    content = float(lower[rows][:, valid].double().sum() / max(1.0, float(_allowed(blocked)[rows][:, valid].sum())))
    if keys >= _FEW and not _is_upper_only(blocked):
        return "other"
    if content > _MOST:
        return "inverted"
    queries = float(blocked[~rows][:, valid].tril(0).double().sum()) if bool((~rows).any()) else 0.0
    if queries > 0.0 and float(lower[~rows].double().mean()) > 0.0:
        return "queries"
    return "causal" if _is_upper_only(blocked) else "other"


def _allowed(blocked: Tensor) -> Tensor:
    whole = torch.ones_like(blocked)
    return whole.tril() if blocked.shape[0] == blocked.shape[1] else whole


def _is_upper_only(blocked: Tensor) -> bool:
    return blocked.shape[0] == blocked.shape[1] and not bool(blocked.tril().any())


def _score_ops(op: Op) -> Iterator[Op]:
    """`op` and the ops between it and the product of queries and keys."""
    yield op
    waiting, seen = list(op.activations), {op}
    while waiting:
        current = waiting.pop()
        if current in seen or not current.is_kind(*_OF_SCORES):
            continue
        seen.add(current)
        yield current
        waiting.extend(current.activations)
