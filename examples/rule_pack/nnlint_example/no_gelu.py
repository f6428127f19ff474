"""EXA001: a house rule, as an example."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Options, rule

if TYPE_CHECKING:
    from nnlint import Graph


class Activations(Options):
    """What the house uses."""

    allowed: tuple[str, ...] = ("relu", "silu")  # canonical names of the activations that may be used


@rule("EXA001", "foreign-activation", level="warning", since="0.1")
def check(graph: Graph, options: Activations) -> Iterator[Finding]:
    """Activation that this house does not use.

    ## What it does
    Reports every rectifier or smooth rectifier that is not on the list.

    ## Why is this bad?
    The deployment kernels of this house know only the listed ones.

    ## Example
        x = F.gelu(self.fc1(x))

    ## Use instead
        x = F.silu(self.fc1(x))

    ## References
    - The house style guide
    """
    for op in graph.calls("rectifier", "smooth-rectifier"):
        if op.name not in options.allowed:
            yield Finding(
                at=op,
                message=f"{op.label}: {op.name} is none of {', '.join(options.allowed)}",
                evidence={"activation": op.name, "allowed": list(options.allowed)},
                fix=f"use {options.allowed[0]}",
            )
