"""What the mode of a module changes: its norms and dropouts, the parameters that train in it, and momentum copies of trained parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnlint import Graph, Model, ModuleView, Op, TrainingModes


def has_running_statistics(view: ModuleView) -> bool:
    """Whether it is a norm of torch that keeps running statistics."""
    return view.is_type("_NormBase") and view.attribute("running_mean") is not None


def depends_on_mode(view: ModuleView) -> bool:
    """Whether the module itself behaves differently in training and in evaluation."""
    return has_running_statistics(view) or (view.is_type("_DropoutNd") and bool(view.attribute("p")))


def is_at_its_start(view: ModuleView) -> bool:
    """Whether running statistics are those of a batch norm that has seen no data."""
    mean, variance = view.attribute("running_mean"), view.attribute("running_var")
    return bool((mean == 0.0).all()) and bool((variance == 1.0).all())


def trainable_tensors(view: ModuleView) -> int:
    """How many parameter tensors of the module itself require a gradient."""
    own = (view.attribute(name.rpartition(".")[2]) for name in view.parameters)
    return sum(bool(getattr(parameter, "requires_grad", False)) for parameter in own)


def is_frozen(view: ModuleView) -> bool:
    """Whether it has parameters, and none of them trains."""
    return bool(view.parameters) and not trainable_tensors(view)


def evaluated_in_forward(graph: Graph | None, model: Model) -> set[str]:
    """Paths of the modules that the forward itself runs in eval mode, and of those all of whose parts it does."""
    found = {op.module_path for op in graph.ops if not op.training and op.module_path} if graph is not None else set()
    for view in reversed(model.modules):
        if view.module_path and view.children and found.issuperset(view.children):
            found.add(view.module_path)
    return found


def functional_norms_in_eval(graph: Graph, modes: TrainingModes) -> Iterator[Op]:
    """Calls of `F.batch_norm` with a trainable scale, by modules in training mode, that normalize with running statistics all the same."""
    for norm in graph.calls("batch-norm"):
        # Of a layer of torch its own flag says whether it trains.
        is_layer = norm.label.endswith(f"({norm.module_type})")
        if norm.argument("training") or not modes.trains(norm.module_path) or is_layer:
            continue
        scale = norm.argument("weight")
        if norm.argument("running_mean") is not None and scale is not None and scale.requires_grad:
            yield norm


def frozen_but_moving(views: list[ModuleView]) -> list[ModuleView]:
    """Norms whose own parameters are frozen while their running statistics follow the batches."""
    frozen = [view for view in views if has_running_statistics(view) and is_frozen(view)]
    return [view for view in frozen if view.attribute("momentum") != 0.0 and not has_trained_twin(view, views)]


def has_trained_twin(view: ModuleView, views: list[ModuleView]) -> bool:
    """Whether it belongs to the momentum copy of a part that trains (BYOL, MoCo): all of its parameters are that part's.

    The copy normalizes by its batch in training mode, as the trained one does, and follows its weights.
    """
    part = view.module_path.partition(".")[0]
    own = _parameters_below(part, views)
    others = {other.module_path.partition(".")[0] for other in views if trainable_tensors(other)} - {part, ""}
    return len(own) > 2 and any(_are_equal(own, _parameters_below(other, views)) for other in others)


def _parameters_below(part: str, views: list[ModuleView]) -> dict[str, Any]:
    """Every parameter of a part, by its name within it."""
    inside = (view for view in views if view.module_path.partition(".")[0] == part)
    return {
        name.partition(".")[2]: view.attribute(name.rpartition(".")[2]) for view in inside for name in view.parameters
    }


def _are_equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        value.shape == other[name].shape and bool((value == other[name]).all()) for name, value in one.items()
    )


def parent(view: ModuleView) -> str | None:
    """The path of the module around it; None for the model itself."""
    return view.module_path.rpartition(".")[0] if view.module_path else None


def is_below(view: ModuleView, part: ModuleView) -> bool:
    """Whether a module is the part, or inside it."""
    inside = f"{part.module_path}." if part.module_path else ""
    return view.module_path == part.module_path or view.module_path.startswith(inside)


def around(part: ModuleView, model: Model) -> list[ModuleView]:
    """The modules of the one that the part is in."""
    above = model.find(parent(part) or "")
    return [view for view in model.modules if above is not None and is_below(view, above)]


def whose(part: ModuleView) -> str:
    """Whose parameters train, in words."""
    return "of its parameters" if part.parameters or part.children else "parameters of the layers around it"
