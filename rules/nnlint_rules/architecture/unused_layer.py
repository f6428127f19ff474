"""ARC001: a layer that is registered and never used in training."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint_rules.architecture._flow import under
from nnlint_rules.architecture._module_tree import branches_of, left_out
from nnlint_rules.architecture._names import may_be_reached

if TYPE_CHECKING:
    from nnlint import Declared, EvalCalls, Graph, Model, ModuleView

_CONTAINERS = ("ModuleList", "ModuleDict", "ParameterList", "ParameterDict")
#: Ops by which a forward decides from values which part to run (layer drop, mixtures of experts).
_DECISIONS = ("escape", "random", "integer")


@rule("ARC001", "unused-layer", level="warning", since="0.1")
def check(graph: Graph, model: Model, calls: EvalCalls, declared: Declared) -> Iterator[Finding]:
    """A registered layer with parameters that the training forward neither calls nor reads.

    ## What it does
    Compares the module tree with the modules that were called and the parameters that were read. A layer whose weights are
    used without a call (a tied head, `F.linear(x, self.embed.weight)`) is used. The finding is an info where the run proves
    little: inputs made up by nnlint, optional inputs left out, a model from a model library, a branch that only
    evaluation takes, one of several parts among which the forward chooses (layer drop, experts), a part that other modules of the
    same class call (the shortcut of a block that keeps its width); and for a dropout layer that is
    never called. A layer of your own (also one attached to a library's model) that no code of the forward names is reported as a
    warning all the same: no input and no branch leads to it. Heads left unused on purpose are declared with `declared={"unused-heads"}`.

    ## Why is this bad?
    The parameters are never trained, cost memory and optimizer state, and break `DistributedDataParallel` without
    `find_unused_parameters`. Most often a line of the forward was forgotten or calls another layer twice.

    ## Example
        self.drop1, self.fc2 = nn.Dropout(0.5), nn.Linear(128, 128)
        ...
        return self.head(torch.relu(self.fc1(x)))        # fc2 is never called

    ## Use instead
        return self.head(torch.relu(self.fc2(torch.relu(self.fc1(x)))))

    ## References
    - PyTorch: `torch.nn.parallel.DistributedDataParallel`, argument `find_unused_parameters`
    """
    if "unused-heads" in declared.traits:
        return
    unused = left_out(graph, model)
    for view, count in branches_of(unused, model):
        weak = _weakness(view, graph, model, calls)
        yield Finding(
            at=view,
            message=f"{view.label}, {count} parameters, is never used in the training forward{weak and f' ({weak})'}: "
            "its weights are not trained",
            evidence={"parameters": count, "calls": 0},
            fix=_fix(view, model),
            level=Level.INFO if weak else None,
            confidence="low" if weak else "high",
        )
    if not graph.facts.library:
        yield from _uncalled_dropouts(graph, model)


def _fix(view: ModuleView, model: Model) -> str:
    """The switch of the class that builds the layer, where it has one: a pooler of transformers cannot be called otherwise."""
    owner = model.find(view.module_path.rpartition(".")[0])
    switch = f"add_{view.module_path.rpartition('.')[2].removesuffix('er')}ing_layer"
    build = owner.attribute("__init__") if owner is not None else None
    if callable(build) and switch in inspect.signature(build).parameters:
        return f"{view.label} belongs to {owner.type_name if owner else 'its class'}: build that with {switch}=False"
    return f"call `self.{view.module_path}` in the forward, or remove it"


def _uncalled_dropouts(graph: Graph, model: Model) -> Iterator[Finding]:
    """A dropout has no parameters to lose, but who declares one means to use it."""
    for view in model.modules:
        is_dropout = view.is_type("torch.nn.modules.dropout._DropoutNd")
        owner = model.find(view.module_path.rpartition(".")[0])
        if (
            is_dropout
            and graph.called_modules.isdisjoint(view.paths)
            and owner
            and not graph.facts.is_of_library(owner.location)
            and not _drops_elsewhere(float(view.attribute("p", 0.0)), owner, graph)
        ):
            yield Finding(
                at=view,
                message=f"{view.label} is never called in the training forward: it drops no values",
                evidence={"p": float(view.attribute("p", 0.0)), "calls": 0},
                fix=f"call `self.{view.module_path}` in the forward, or remove it",
                level=Level.INFO,
            )


def _drops_elsewhere(p: float, owner: ModuleView, graph: Graph) -> bool:
    """Whether the owner passes the probability on: `scaled_dot_product_attention(..., dropout_p=self.dropout.p)`."""
    return any(
        op.argument("dropout_p" if op.is_kind("attention") else "p") == p and under(op.module_path, owner.module_path)
        for op in graph.calls("attention", "dropout")
        if op.is_kind("attention") or op.module_path == owner.module_path
    )


def _is_used_by_siblings(view: ModuleView, parent: ModuleView, graph: Graph, model: Model) -> bool:
    """Whether another module of the parent's class calls its own: a shortcut that only blocks of other widths take."""
    leaf = view.module_path.rpartition(".")[2]
    return not parent.is_type(*_CONTAINERS, "Sequential") and any(
        f"{other.module_path}.{leaf}" in graph.called_modules
        for other in model.modules
        if other.module_path and other.qualified_type == parent.qualified_type
    )


def _weakness(view: ModuleView, graph: Graph, model: Model, calls: EvalCalls) -> str:
    """Why the run may not show that the layer is unused; empty where it does."""
    facts = graph.facts
    evaluated = not calls.modules.isdisjoint(view.paths) or any(under(path, view.module_path) for path in calls.modules)
    own = view.construction is not None and not facts.is_of_library(view.construction)
    if not evaluated and (own or not facts.library) and not may_be_reached(view, model):
        return ""
    if facts.inputs_assumed:
        return "on inputs made up by nnlint"
    if facts.inputs_left_out:
        return f"optional inputs were not given: {', '.join(facts.inputs_left_out[:3])}"
    if facts.library:
        return "a model from a library"
    if evaluated:
        return "evaluation uses it"
    owner = view.module_path.rpartition(".")[0]
    if any(op.module_path == owner and op.name == "__bool__" for op in graph.calls("escape")):
        return "the forward branches on values"
    parent = model.find(owner)
    if parent is not None and _is_used_by_siblings(view, parent, graph, model):
        return f"other {parent.type_name} modules call theirs"
    if parent is not None and parent.is_type(*_CONTAINERS) and graph.calls(*_DECISIONS):
        siblings = [model.find(path) for path in parent.children if path in graph.called_modules]
        if any(sibling is not None and sibling.type_name == view.type_name for sibling in siblings):
            return "the forward chooses among several of its kind"
    return ""
