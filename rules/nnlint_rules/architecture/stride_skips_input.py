"""ARC013: a stride that steps over input."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule
from nnlint_rules._shared.words import listed, paths
from nnlint_rules.architecture._windows import Window, window_of

if TYPE_CHECKING:
    from nnlint import Declared, Graph, Op


@rule("ARC013", "stride-skips-input", level="warning", since="0.1")
def check(graph: Graph, declared: Declared) -> Iterator[Finding]:
    """A convolution or pooling whose stride is larger than what its kernel reads.

    ## What it does
    Computes for every convolution and pooling which input positions any of its windows reads, from kernel, dilation and stride.
    Left alone: a 1 x 1 convolution beside another path from the same input (the shortcut and the first layer of a residual
    block), a pooling of one position (plain subsampling), windows that fit only once, and what is declared with
    `declared={"subsampling"}`.

    ## Why is this bad?
    The positions between the windows have no influence on the output: information is thrown away that a larger kernel would
    have used at nearly the same price.

    ## Example
        nn.Conv1d(1, 32, kernel_size=3, stride=8)        # reads 3 of every 8 samples

    ## Use instead
        nn.Conv1d(1, 32, kernel_size=8, stride=8)

    ## References
    - Dumoulin and Visin, 2016, arXiv:1603.07285: A guide to convolution arithmetic
    """
    if graph.method == "symbolic":
        raise Skip("needs shapes, but the model did not run")
    if "subsampling" in declared.traits:
        return
    skipping: dict[Hashable, list[tuple[Op, Window]]] = {}
    for op in graph.calls("conv", "max-pool", "avg-pool"):
        window = None if op.is_kind("conv-transpose") or op.in_loss else window_of(op)
        if window is not None and _skips(window) and not _is_subsampling(op, window):
            # Layers that one line of a block builds (or calls, where that is not known) are one fault.
            line = op.construction or op.location or op.module_path
            skipping.setdefault((line, window.kernel, window.dilation, window.stride), []).append((op, window))
    for found in skipping.values():
        yield _finding(*zip(*found, strict=True))


def _finding(ops: tuple[Op, ...], windows: tuple[Window, ...]) -> Finding:
    first, window = ops[0], windows[0]
    share = math.prod(_read_share(window, axis) for axis in range(len(window.kernel)))
    dilated = f", dilation {_text(window.dilation)}" if max(window.dilation) > 1 else ""
    likewise = f"; likewise {listed(op.label for op in ops[1:])}" if len(ops) > 1 else ""
    return Finding(
        at=first,
        message=f"{first.label} reads {share:.0%} of its input: kernel {_text(window.kernel)}{dilated}, "
        f"stride {_text(window.stride)}{likewise}",
        evidence={"kernel": list(window.kernel), "stride": list(window.stride), "share_read": share},
        fix=f"a kernel of at least {_text(window.stride)}, or a smaller stride",
        modules=paths(ops),
    )


def _skips(window: Window) -> bool:
    return any(_read_share(window, axis) < 1.0 and window.outputs[axis] > 1 for axis in range(len(window.kernel)))


def _read_share(window: Window, axis: int) -> float:
    """Share of the positions along an axis that some window reads: the residues of its taps modulo the stride."""
    stride = window.stride[axis]
    if window.outputs[axis] < 2:
        return 1.0
    return len({tap * window.dilation[axis] % stride for tap in range(window.kernel[axis])}) / stride


def _is_subsampling(op: Op, window: Window) -> bool:
    """Whether one position of many is taken on purpose: by a pooling, or beside another path (a residual block)."""
    if any(extent > 1 for extent in window.kernel):
        return False
    return not op.is_kind("conv") or (op.input is not None and len(op.input.users) > 1)


def _text(extents: tuple[int, ...]) -> str:
    return " x ".join(map(str, extents))
