"""ARC005: two linear maps that are one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Skip, rule
from nnlint_rules._shared.words import listed
from nnlint_rules.architecture._linear_ends import is_an_end
from nnlint_rules.architecture._linear_runs import composed_after, widths_of, without_shared

if TYPE_CHECKING:
    from nnlint import Graph, Op


@rule("ARC005", "missing-nonlinearity", level="warning", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """Two linear or convolution layers in a row with nothing nonlinear between.

    ## What it does
    Reports a linear map whose output goes into other linear maps alone, into one or into several (an embedding of the time that
    every block projects), through operations that are linear themselves (views, dropout, average pooling, batch norm, a scale or
    shift by a parameter, messages along the edges of a graph). Left alone: a factorisation (the width between is smaller than
    both ends; between two convolutions with kernels larger than 1, smaller than the channels that come in), low-rank adapters,
    linear bottlenecks (a 1 x 1 projection with batch norm before the next block), fixed transforms (cosines, mel filters, frozen
    layers), grouped and depthwise convolutions, kernels that factorise space (1 x k after k x 1), sub-pixel upsampling, values that
    something nonlinear reads too, residual sums, queries and keys, a score convolution that a transposed one spreads, and norms
    over features (LayerNorm), which are nonlinear, and a layer that reads the maps of several others (the head of a pyramid).
    An info is what costs a layer and no depth that anyone counts on: a dense layer whose outputs become the map of a convolution
    (the start of a decoder), the last layer of a trunk that several heads read (mean and log variance, actor and critic), a
    square 1 x 1 convolution at the narrow end of an encoder or the start of a decoder, and class vectors without a bias that
    score an embedding (prototypes).

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
    following = without_shared({first: seconds for first in graph.calls("linear-map") if (seconds := composed_after(first, graph))})
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


def _finding(chain: list[Op], graph: Graph, *, several: bool) -> Finding:
    first, last = chain[0], chain[-1]
    before, widths = widths_of(first), [found for op in chain[1:] if (found := widths_of(op)) is not None]
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
        level=Level.INFO if graph.facts.library or is_an_end(chain, graph, several=several) else None,
        modules=tuple(op.module_path for op in (*chain[:-1], last)),
    )
