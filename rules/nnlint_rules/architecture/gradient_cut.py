"""ARC007: a detach, no_grad, item or argmax between trainable parameters and the loss."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Skip, rule
from nnlint_rules._shared.words import listed
from nnlint_rules.architecture._gradient_flow import GradientFlow

if TYPE_CHECKING:
    from nnlint import Declared, Graph, Op, Parameters


_WEIGHTS = ("weight", "recurrent", "embedding")
#: Numbers in the smallest tensor whose values tell whether they were just drawn.
_TELLING = 1024


@rule("ARC007", "gradient-cut", level="error", since="0.1")
def check(graph: Graph, declared: Declared, parameters: Parameters | None) -> Iterator[Finding]:
    """Trainable parameters whose value reaches the loss and whose gradient is cut off on the way.

    ## What it does
    Follows every trainable parameter forward. Where its value reaches the loss but every way passes an operation that no
    gradient passes (detach, `.data`, `torch.no_grad()`, `.item()`, `.numpy()`, argmax, rounding, a comparison, an integer cast),
    the finding names that operation. Cuts that are meant are left alone: targets of the loss, straight-through estimators
    (`x + (q - x).detach()`), teachers run without gradient, and what is declared frozen. A whole submodule run under
    `no_grad` whose output feeds trainable layers is a warning: frozen perhaps, but its parameters still say trainable. Cuts
    inside a model library are an info: its design, which its user should know of; so is a detach after weights that were trained
    before (pretrained embeddings).

    ## Why is this bad?
    Everything before the cut keeps its initial random values, while the loss may still fall by what the layers after it can do.

    ## Example
        h = self.encoder(x)
        return self.head(h.detach())             # the encoder is never trained

    ## Use instead
        return self.head(self.encoder(x))
        # or, to freeze it: self.encoder.requires_grad_(False)

    ## References
    - PyTorch: Locally disabling gradient computation (autograd mechanics)
    """
    if graph.method == "symbolic":
        raise Skip("no recorded run: which values require grad is unknown")
    flow = GradientFlow(graph)
    if not flow.has_sink:
        raise Skip("neither a loss nor an output that requires grad")
    if flow.is_cut_by_loss:
        return  # LOS020: the model's answer carries a gradient, and the loss has none
    groups: dict[Op, list[str]] = defaultdict(list)
    for parameter in flow.without_gradient:
        if not declared.is_frozen(parameter.name):
            cut = flow.cut_of(parameter)
            if cut is not None and not cut.in_cut_checkpoint:  # GRD003: the way to have it checkpointed is another
                # All that runs without gradient is one cut, however many layers it holds.
                first = next((op for op in groups if _is_no_grad(op) and _is_no_grad(cut)), cut)
                groups[first].append(parameter.name)
    for cut, names in groups.items():
        level = Level.INFO if _is_loaded(cut, names, parameters) else _level(cut, flow, graph)
        yield replace(_finding(cut, names, flow), level=level)


def _finding(cut: Op, names: list[str], flow: GradientFlow) -> Finding:
    modules = tuple(dict.fromkeys(name.rpartition(".")[0] for name in names))
    what = _what(cut)
    everything = not flow.with_gradient
    return Finding(
        at=cut,
        message=f"{what} cuts the gradient of {'every parameter' if everything else _count(names)} ({listed(names, limit=3)}): "
        "the value reaches the loss, no gradient comes back",
        evidence={
            "parameters_cut": len(names),
            "parameters_with_gradient": len(flow.with_gradient),
            "operation": cut.name,
        },
        fix=_fix(cut),
        modules=modules,
        confidence="medium" if flow.is_doubtful(cut) else "high",
    )


def _level(cut: Op, flow: GradientFlow, graph: Graph) -> Level | None:
    if graph.facts.is_of_library(cut.call_location or cut.construction):
        return Level.INFO  # the library's design, which its user can only know of
    return Level.WARNING if flow.is_doubtful(cut) else None


def _is_loaded(cut: Op, names: list[str], parameters: Parameters | None) -> bool:
    """Whether a detach keeps weights as they are that no initialization made: they came from a checkpoint or a table of vectors."""
    if parameters is None or not cut.is_kind("detach"):
        return False
    weights = [view for view in parameters.of_kind(*_WEIGHTS) if view.name in names and view.numel >= _TELLING]
    return bool(weights) and all(view.init is None for view in weights)


def _is_no_grad(op: Op) -> bool:
    return not op.grad_enabled and not op.is_kind("detach", "integer", "compare", "escape")


def _count(names: list[str]) -> str:
    return "1 parameter" if len(names) == 1 else f"{len(names)} parameters"


def _what(cut: Op) -> str:
    if cut.is_kind("detach", "integer", "compare", "escape"):
        return cut.label
    return f"torch.no_grad() around {cut.label}" if _is_no_grad(cut) else cut.label


def _fix(cut: Op) -> str:
    if cut.is_kind("integer", "compare"):
        return f"replace {cut.name} by something differentiable (softmax weights, gumbel_softmax, a straight-through x + (q - x).detach())"
    if cut.is_kind("escape"):
        return "keep the value a tensor: no .item(), .numpy() or float() on the way to the loss"
    if _is_no_grad(cut):
        return "take the layers out of torch.no_grad(); to freeze them, say so with requires_grad_(False)"
    return "remove the detach (or .data); to freeze what comes before, say so with requires_grad_(False)"
