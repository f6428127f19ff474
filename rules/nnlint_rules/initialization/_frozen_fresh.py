"""Which frozen weights are fresh ones that something trained needs: in a trained part, or as the layer that gives the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnlint_rules.initialization._fresh import is_certain

if TYPE_CHECKING:
    from nnlint import Graph, Model, Op, Parameters, ParameterView


KINDS = ("weight", "recurrent", "embedding")


#: Fewer numbers than these are consistent with anything.
_SMALLEST_HEAD = 16


def missed_in_trained_part(frozen: list[ParameterView], graph: Graph, *, smallest: int, trained_share: float) -> list[ParameterView]:
    """Fresh tensors of a frozen part whose other tensors are trained."""
    judged = [view for view in frozen if view.numel >= smallest and view.kind != "embedding"]
    trained = [view for view in judged if view.init is None]
    if not trained or len(trained) < trained_share * len(judged):
        return []
    return [view for view in judged if view.name in graph.parameters_read and is_certain(view)]


def heads_after_trained_layers(frozen: list[ParameterView], graph: Graph, model: Model, parameters: Parameters) -> list[ParameterView]:
    """Frozen fresh output layers after layers that train and that belong to the same network."""
    names = {name: view for view in frozen if _is_drawn(view) for name in (view.name, *view.tied_to)}
    mixed = _mixed_modules(model, parameters)
    found: dict[str, ParameterView] = {}
    for op in graph.calls("linear-map"):
        view = next((names[name] for name in op.parameters if name in names), None)
        if view is None or not _gives_the_answer(op, graph):
            continue
        above = _nearest_maps(op)
        trained = bool(above) and all(_is_trained(layer, parameters) for layer in above)
        adapted = any(_is_inside(layer.module_path, mixed) for layer in above)
        if trained or (adapted and not _is_of_vocabulary(view, parameters)):
            found[view.name] = view
        elif (inner := _inner_head(above, names, mixed)) is not None and not _is_of_vocabulary(view, parameters):
            found |= {inner.name: inner, view.name: view}
    return list(found.values())


def _inner_head(above: list[Op], names: dict[str, ParameterView], mixed: set[str]) -> ParameterView | None:
    """The first layer of a head of two, drawn and frozen as the second, after the layers of an adapted part."""
    if len(above) != 1 or not above[0].is_kind("linear-map"):
        return None
    view = next((names[name] for name in above[0].parameters if name in names), None)
    before = _nearest_maps(above[0])
    return view if before and all(_is_inside(layer.module_path, mixed) for layer in before) else None


def heads_of_trained_part(frozen: list[ParameterView], graph: Graph, *, smallest: int, trained_share: float) -> list[ParameterView]:
    """A drawn output layer that is frozen with a trained part (by its name, say), while something before that part trains.

    Too small to tell by its values alone: the loss, which is no better than chance, has to agree.
    """
    large = [view for view in frozen if view.numel >= smallest and view.kind != "embedding"]
    trained = [view for view in large if view.init is None]
    if not trained or len(trained) < trained_share * len(large):
        return []
    names = {view.name: view for view in frozen if view not in large and _is_drawn(view) and is_certain(view)}
    return [
        names[name]
        for op in graph.calls("linear-map")
        for name in op.parameters
        if name in names and _gives_the_answer(op, graph) and any(above.requires_grad for above in op.activations)
    ]


def _is_drawn(view: ParameterView) -> bool:
    """Whether the values are random, or zero as a head may start: fixed filters, scales and bins have a structure."""
    family = view.init
    if family is None or view.numel < _SMALLEST_HEAD:
        return False
    return family.name == "zeros" or (
        family.shape in {"uniform", "normal", "truncated-normal", "orthogonal"}
        and (not family.name.startswith("shifted"))
    )


def _gives_the_answer(op: Op, graph: Graph) -> bool:
    """Whether a gradient passes the op on its way from the loss, and no other layer lies between."""
    below = {op, *graph.descendants(op)}
    if any(other.is_kind("linear-map", "recurrent") and other is not op and not other.in_loss for other in below):
        return False
    ends = {graph.loss} if graph.loss is not None else set(graph.outputs)
    return op.requires_grad and not op.in_loss and not ends.isdisjoint(below)


def _nearest_maps(op: Op) -> list[Op]:
    """The layers whose outputs reach the op through no other layer."""
    waiting, seen, found = list(op.activations), set(), []
    while waiting:
        above = waiting.pop()
        if above in seen:
            continue
        seen.add(above)
        if above.is_kind("linear-map", "recurrent", "embedding") and above.parameters:
            found.append(above)
        else:
            waiting.extend(above.activations)
    return found


def _is_trained(op: Op, parameters: Parameters) -> bool:
    views = [view for name in op.parameters if (view := parameters.find(name)) is not None and view.kind in KINDS]
    return bool(views) and all(view.requires_grad for view in views)


def _mixed_modules(model: Model, parameters: Parameters) -> set[str]:
    """Modules below the model itself in which small trained additions sit beside the frozen weights: adapted layers."""
    trained: dict[str, int] = {}
    frozen: dict[str, int] = {}
    for view in parameters:
        counts = trained if view.requires_grad else frozen
        path = view.module_path
        while path:
            counts[path] = counts.get(path, 0) + view.numel
            path = path.rpartition(".")[0]
    return {path for path, count in trained.items() if count < frozen.get(path, 0) and model.find(path) is not None}


def _is_inside(path: str, mixed: set[str]) -> bool:
    """Whether the path is one of these modules or inside one."""
    while path:
        if path in mixed:
            return True
        path = path.rpartition(".")[0]
    return False


def _is_of_vocabulary(view: ParameterView, parameters: Parameters) -> bool:
    """Whether the layer answers with the words of a frozen embedding: a part of the language model, not a new head."""
    tables = (other for other in parameters.of_kind("embedding") if not other.requires_grad and other.shape)
    return view.kind == "embedding" or any(view.shape[0] == other.shape[0] for other in tables)
