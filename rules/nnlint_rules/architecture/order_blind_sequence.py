"""ARC021: an attention-only sequence model that cannot tell the order of its input."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Skip, rule
from nnlint_rules.architecture._windows import window_of

if TYPE_CHECKING:
    from nnlint import Declared, Graph, Mixing, Op, OrderInfluence

_LIMIT = 1e-5
_COORDINATES = (2, 3)


@rule("ARC021", "order-blind-sequence", level="warning", since="0.1")
def check(graph: Graph, mixing: Mixing, declared: Declared) -> Iterator[Finding]:
    """Attention over a sequence without any positional information.

    ## What it does
    For models with attention and no convolution, pooling window or recurrence: shuffles the positions of the input sequence
    (but the first, which may be a class token) and compares the evaluation-mode outputs (shuffled back where they have
    positions). Where an image or a signal is cut into patches (by a convolution whose stride is its kernel, by `unfold`, by
    views) and attention runs over these, the patches are shuffled. No change beyond rounding, also after a few updates, is
    reported. Where the positions may be in the features (floating inputs that go straight into attention, or that look like
    coordinates), and where attention is written out, which is as often over a set, it is an info, but for patches and for words with
    a label for each.
    `declared={"set-input"}` silences the rule.

    ## Why is this bad?
    Attention treats its input as a set. Without an embedding of the positions "man bites dog" and "dog bites man" are the
    same, and a time series has no time.

    ## Example
        x = self.encoder(self.embed(tokens))

    ## Use instead
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.encoder(self.embed(tokens) + self.position(positions))

    ## References
    - Vaswani et al.: Attention Is All You Need, 2017, arXiv:1706.03762, section 3.5
    - Zaheer et al.: Deep Sets, 2017, arXiv:1703.06114 (where order must not matter)
    """
    if "set-input" in declared.traits:
        return
    attention = next((op for op in graph.ops if is_attention(graph, op)), None)
    if attention is None or any(op.is_kind("recurrent", "scan") or _is_window(op) for op in graph.ops):
        return
    if graph.calls("conv") and not any(map(_cuts_patches, graph.calls("conv"))):
        return
    order = mixing.order
    if order is None:
        raise Skip("the inputs have no single axis of positions, or the outputs are constant")
    if order.change > _LIMIT:
        return
    weak = _may_carry_positions(attention, order)
    positions = f"{order.length} {'patches' if order.patches else 'positions'}"
    yield Finding(
        at=attention,
        level=Level.INFO if weak else None,
        message=f"shuffling the {positions} of the input changes the output by {order.change:.1g} of its largest "
        f"value (limit {_LIMIT:g}): the model cannot tell their order"
        + ("; unless the features hold it" if weak else ""),
        evidence={"change": order.change, "limit": _LIMIT, "length": order.length},
        fix='add positional embeddings before the first attention layer; for a set, declare it: `declared={"set-input"}`',
        confidence="low" if weak else "high",
    )


def is_attention(graph: Graph, op: Op) -> bool:
    """A fused attention op, or a softmax of a product of activations that is multiplied into values."""
    if op.is_kind("attention"):
        return True
    if not op.is_kind("softmax"):
        return False
    above = graph.producer(op, through=("softmax", "view", "identity", "cast", "mul", "div", "add", "merge", "dropout"))
    return above.is_kind("matmul") and any(user.is_kind("matmul") for user in graph.consumers(op))


def _is_window(op: Op) -> bool:
    """Whether neighbours meet in a window; windows that are patches, of a stride as large, are the positions themselves."""
    if op.is_kind("pool"):
        return not op.is_kind("adaptive-pool")
    return op.is_kind("conv") and not _is_apart(op)


def _is_apart(op: Op) -> bool:
    """Whether the windows of a convolution share no entry and no border."""
    window = None if op.is_kind("conv-transpose") else window_of(op)
    return window is not None and window.kernel == window.stride and not any(window.padding)


def _cuts_patches(op: Op) -> bool:
    window = window_of(op)
    return window is not None and math.prod(window.kernel) > 1 and _is_apart(op)


def _may_carry_positions(attention: Op, order: OrderInfluence) -> bool:
    """Floating features straight from the input, or coordinates: the order may be in the numbers themselves.

    Attention that is written out is as often over a set: words of a bag, objects, columns of a table, neighbours. Patches, and
    words with a label for each, are a sequence.
    """
    if order.patches or (order.tokens and order.labelled):
        return False
    if attention.is_kind("softmax"):
        return True
    if order.tokens:
        return False
    own = 0 if attention.is_kind("attention") and attention.name != "scaled_dot_product_attention" else 1
    return order.width in _COORDINATES or _depth(attention) <= own


def _depth(op: Op) -> int:
    """Linear maps one after the other on the longest way from an input to `op`."""
    depths: dict[Op, int] = {}
    for current in _in_order(op):
        above = max((depths[source] for source in current.activations if source in depths), default=0)
        depths[current] = above + int(current.is_kind("linear-map") and current is not op)
    return depths[op]


def _in_order(op: Op) -> list[Op]:
    found: set[Op] = set()
    waiting = [op]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting.extend(current.activations)
    return sorted(found, key=lambda item: item.index)
