"""ARC005: two linear maps that are one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Skip, rule

if TYPE_CHECKING:
    from nnlint import Graph, Op

#: Linear in evaluation: what stands between two maps without keeping them from being one.
_LINEAR = ("view", "identity", "cast", "dropout", "avg-pool", "batch-norm", "neg")
_SCALED = ("mul", "div", "add")


@dataclass(frozen=True)
class Widths:
    """Features that a linear map takes for each output position, and how many it gives."""

    inputs: int
    outputs: int
    kernel: tuple[int, ...]
    grouped: bool


@rule("ARC005", "missing-nonlinearity", level="warning", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """Two linear or convolution layers in a row with nothing nonlinear between.

    ## What it does
    Reports a linear map whose only input is another linear map's output, through operations that are linear themselves (views,
    dropout, average pooling, batch norm, a scale or shift by a parameter). Left alone: a factorisation (the width between is
    smaller than both ends), linear bottlenecks (a 1 x 1 projection with batch norm before the next block), grouped and
    depthwise convolutions, kernels that factorise space (1 x k after k x 1), values that something else reads too, residual
    sums, attention, and norms over features (LayerNorm), which are nonlinear. A convolution that one linear layer reads out is
    an info.

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
        raise Skip("no shapes: the model did not run")
    pairs = {second: first for second in graph.calls("linear-map") if (first := _before(second, graph)) is not None}
    seconds = set(pairs)
    reported: set[str] = set()
    for second, first in pairs.items():
        chain = [first, second]
        if first in seconds:
            continue  # in the middle of a longer chain, which its first pair reports
        while (following := next((op for op, above in pairs.items() if above is chain[-1]), None)) is not None:
            chain.append(following)
        if first.module_path not in reported:  # one finding for a layer that is applied several times
            reported.add(first.module_path)
            yield _finding(chain, graph)


def _before(second: Op, graph: Graph) -> Op | None:
    """The linear map that `second` composes with, or None."""
    after = _widths(second)
    op, user = _data(second), second
    normed = False
    while op is not None and op.users == (user,) and op not in graph.outputs and not op.in_loss:
        if op.is_kind("linear-map"):
            before = _widths(op)
            if normed and before is not None and before.kernel and math.prod(before.kernel) == 1:
                return None  # a linear bottleneck: 1 x 1 projection and batch norm, then the next block
            return op if before and after and _is_redundant(before, after) else None
        if not (op.is_kind(*_LINEAR) or (op.is_kind(*_SCALED) and _is_scale(op))):
            return None
        normed = normed or op.is_kind("batch-norm")
        user, op = op, _data(op)
    return None


def _is_scale(op: Op) -> bool:
    """Whether one operand alone carries the signal: `h * h` is no scale."""
    first = op.activations[0] if op.activations else None
    return len(op.activations) == 1 and first is not None and list(op.leading).count(first.node) < 2


def _data(op: Op) -> Op | None:
    return op.activations[0] if op.activations else None


def _is_redundant(first: Widths, second: Widths) -> bool:
    if first.grouped or second.grouped:
        return False
    if _is_line(first.kernel) and _is_line(second.kernel) and first.kernel != second.kernel:
        return False  # 1 x k and k x 1: a factorisation of space
    return first.outputs >= min(first.inputs, second.outputs) and first.outputs > 1


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
        return Widths(shape[0] * area, shape[1], kernel, grouped=grouped)
    return Widths(shape[1] * area, shape[0], kernel, grouped=grouped)


def _is_read_out(chain: list[Op]) -> bool:
    """Whether a convolution's positions are weighted by one linear layer: redundant, but a structure of its own."""
    return len(chain) == 2 and chain[0].is_kind("conv") and not chain[1].is_kind("conv")


def _finding(chain: list[Op], graph: Graph) -> Finding:
    first, last = chain[0], chain[-1]
    before, after = _widths(first), _widths(last)
    assert before is not None
    assert after is not None
    names = " -> ".join(op.label for op in chain)
    return Finding(
        at=first,
        message=f"{names} are {len(chain)} linear maps with nothing nonlinear between them: together they are one map "
        f"of {before.inputs} to {after.outputs} features, and the width {before.outputs} between them restricts nothing",
        evidence={
            "inputs": before.inputs,
            "inner_width": before.outputs,
            "outputs": after.outputs,
            "layers": len(chain),
        },
        fix=f"put an activation (ReLU, GELU) behind {first.label}, or keep one of the layers",
        level=Level.INFO if graph.facts.library or _is_read_out(chain) else None,
        modules=tuple(op.module_path for op in chain),
    )
