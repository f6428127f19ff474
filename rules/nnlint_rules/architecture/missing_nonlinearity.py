"""ARC005: two linear maps that are one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Skip, rule
from nnlint_rules._shared.words import listed

if TYPE_CHECKING:
    from nnlint import Graph, Op

#: Linear in evaluation: what stands between two maps without keeping them from being one.
_LINEAR = ("view", "identity", "cast", "dropout", "avg-pool", "batch-norm", "neg")
_SCALED = ("mul", "div", "add")
#: From a projection to the product that it is made for: heads are split, scaled, normalized and rotated.
_PROJECTED = ("view", "identity", "cast", "index", "concat", "norm", "mul", "div", "add", "neg", "elementwise")


@dataclass(frozen=True)
class Widths:
    """Features that a linear map takes for each output position, and how many it gives."""

    inputs: int
    outputs: int
    kernel: tuple[int, ...]
    grouped: bool
    spreads: bool = False  # a transposed convolution: each position makes a whole patch


@rule("ARC005", "missing-nonlinearity", level="warning", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """Two linear or convolution layers in a row with nothing nonlinear between.

    ## What it does
    Reports a linear map whose output goes into other linear maps alone, into one or into several (an embedding of the time that
    every block projects), through operations that are linear themselves (views, dropout, average pooling, batch norm, a scale or
    shift by a parameter). Left alone: a factorisation (the width between is smaller than both ends), linear bottlenecks (a 1 x 1
    projection with batch norm before the next block), fixed transforms (cosines, mel filters, frozen layers), grouped and
    depthwise convolutions, kernels that factorise space (1 x k after k x 1), values that something nonlinear reads too, residual
    sums, queries and keys, a score convolution that a transposed one spreads, and norms over features (LayerNorm), which are
    nonlinear. A dense layer whose outputs become the map of a convolution (the start of a decoder) is an info.

    ## Why is this bad?
    Two matrices multiply to one: the second layer costs parameters and time and adds nothing that the model can express.

    ## Example
        return self.fc2(self.fc1(x))

    ## Use instead
        return self.fc2(torch.relu(self.fc1(x)))

    ## References
    - Goodfellow, Bengio and Courville, Deep Learning, section 6.1
    """
    if graph.method == "symbolic":
        raise Skip("needs shapes, but the model did not run")
    following = {first: seconds for first in graph.calls("linear-map") if (seconds := _after(first, graph))}
    inner = {second for seconds in following.values() if len(seconds) == 1 for second in seconds}
    reported: set[str] = set()
    for first, seconds in following.items():
        if first.module_path in reported:
            continue  # one finding for a layer that is applied several times
        if len(seconds) > 1:
            reported.add(first.module_path)
            yield _finding([first, *seconds], graph, several=True)
        elif first not in inner:  # in the middle of a longer chain, which its first pair reports
            chain = [first]
            while len(after := following.get(chain[-1], ())) == 1:
                chain.append(after[0])
            reported.add(first.module_path)
            yield _finding(chain, graph, several=False)


def _after(first: Op, graph: Graph) -> tuple[Op, ...]:
    """The linear maps that `first` composes with, where its value goes nowhere else; empty where it is needed."""
    before = _widths(first)
    if before is None or first.in_loss or not _is_trained(first):
        return ()
    seconds, normed = _readers(first, graph)
    if normed and before.kernel and math.prod(before.kernel) == 1:
        return ()  # a linear bottleneck: 1 x 1 projection and batch norm, then the next block
    widths = [found for second in seconds if (found := _widths(second)) is not None]
    if len(widths) < len(seconds) or not all(map(_is_trained, seconds)):
        return ()
    if len(seconds) > 1 and any(_is_compared(second, graph) for second in seconds):
        return ()
    return seconds if widths and _is_redundant(before, widths) else ()


def _readers(first: Op, graph: Graph) -> tuple[tuple[Op, ...], bool]:
    """The linear maps that read the value, and whether a batch norm stands between; none where anything else reads it too."""
    seconds: list[Op] = []
    waiting, normed = [first], False
    while waiting:
        op = waiting.pop()
        if op in graph.outputs or not op.users:
            return (), False
        for user in op.users:
            if user.in_loss or _data(user) is not op:
                return (), False
            if user.is_kind("linear-map"):
                seconds.append(user)
            elif user.is_kind(*_LINEAR) or (user.is_kind(*_SCALED) and _is_scale(user)):
                normed = normed or user.is_kind("batch-norm")
                waiting.append(user)
            else:
                return (), False
    return tuple(sorted(dict.fromkeys(seconds), key=lambda op: op.index)), normed


def _is_trained(op: Op) -> bool:
    """Whether the matrix is learned: a fixed transform (cosines, mel filters, a frozen projection) is no second layer."""
    given = op.activations[0] if op.activations else None
    return any(source.requires_grad for source in op.inputs if source is not given)


def _is_compared(op: Op, graph: Graph) -> bool:
    """Whether the value goes into a product of activations: queries, keys and values are projections of one thing."""
    return any(
        user.is_kind("matmul", "attention", "softmax") and not user.is_kind("linear-map")
        for user in graph.consumers(op, through=_PROJECTED)
    )


def _is_scale(op: Op) -> bool:
    """Whether one operand alone carries the signal: `h * h` is no scale."""
    first = op.activations[0] if op.activations else None
    return len(op.activations) == 1 and first is not None and list(op.leading).count(first.node) < 2


def _data(op: Op) -> Op | None:
    return op.activations[0] if op.activations else None


def _is_redundant(first: Widths, seconds: list[Widths]) -> bool:
    """Whether the width between restricts nothing: it is no smaller than what goes in, or than all that comes out of it."""
    if first.grouped or any(second.grouped for second in seconds):
        return False
    if any(_is_line(first.kernel) and _is_line(second.kernel) and first.kernel != second.kernel for second in seconds):
        return False  # 1 x k and k x 1: a factorisation of space
    # A position that a 1 x 1 convolution makes is read at each place of the next kernel.
    pointwise = math.prod(first.kernel) == 1 and bool(first.kernel)
    reached = sum(second.outputs * (math.prod(second.kernel) if pointwise or second.spreads else 1) for second in seconds)
    return first.outputs >= min(first.inputs, reached) and first.outputs > 1


def _is_line(kernel: tuple[int, ...]) -> bool:
    return len(kernel) > 1 and sum(extent > 1 for extent in kernel) == 1


def _widths(op: Op) -> Widths | None:
    if op.is_kind("matmul"):
        matrix = next((above for above in op.inputs[1:] if above.is_kind("parameter")), None)
        sides = matrix.shape if matrix is not None else None
        return Widths(sides[-2], sides[-1], (), grouped=False) if sides is not None and len(sides) == 2 else None
    weight = op.argument("weight")
    shape = getattr(weight, "shape", None)
    if shape is None or len(shape) < 2 or op.name == "bilinear":
        return None
    grouped = op.argument("groups", 1) != 1
    kernel = tuple(shape[2:])
    area = math.prod(kernel)
    if op.is_kind("conv-transpose"):
        return Widths(shape[0] * area, shape[1], kernel, grouped=grouped, spreads=True)
    return Widths(shape[1] * area, shape[0], kernel, grouped=grouped)


def _makes_a_map(chain: list[Op]) -> bool:
    """Whether a dense layer makes the map that a convolution spreads, as decoders start: one dense layer for both would be larger."""
    first, second = _widths(chain[0]), _widths(chain[1])
    return len(chain) == 2 and first is not None and second is not None and not first.kernel and bool(second.kernel)


def _finding(chain: list[Op], graph: Graph, *, several: bool) -> Finding:
    first, last = chain[0], chain[-1]
    before, widths = _widths(first), [found for op in chain[1:] if (found := _widths(op)) is not None]
    assert before is not None
    outputs = sum(found.outputs for found in widths) if several else widths[-1].outputs
    if several:
        names = f"{first.label} feeds {listed((op.label for op in chain[1:]), limit=3)}"
        what = f"{names} with no activation between: each pair computes one linear map"
    else:
        names = " -> ".join(op.label for op in chain)
        what = f"{names}: no activation between these {len(chain)} linear maps, so that they compute one linear map"
    ends = f" from {before.inputs} to {outputs} features (the width {before.outputs} between them is no bottleneck)"
    return Finding(
        at=first,
        message=what + ends,
        evidence={
            "inputs": before.inputs,
            "inner_width": before.outputs,
            "outputs": outputs,
            "layers": len(chain),
        },
        fix=f"put an activation (ReLU, GELU, SiLU) after {first.label}, or keep one of the layers",
        level=Level.INFO if graph.facts.library or _makes_a_map(chain) else None,
        modules=tuple(op.module_path for op in (*chain[:-1], last)),
    )
