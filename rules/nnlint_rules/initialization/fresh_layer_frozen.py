"""INI014: a layer that is frozen at its random initialization."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, Skip, rule
from nnlint_rules._shared.words import listed

if TYPE_CHECKING:
    from nnlint import Declared, Graph, Model, Op, Parameters, ParameterView, StepStats

_KINDS = ("weight", "recurrent", "embedding")
#: Fresh families that say no more than a shape occur among trained tensors too.
_UNSPECIFIC = frozenset({"uniform", "normal", "truncated-normal", "constant", "orthogonal", "identity"})

#: Fewer numbers than these are consistent with anything.
_SMALLEST_HEAD = 16


class FreshLayerFrozen(Options):
    """When the frozen part counts as trained; calibration: docs/evidence/calibration.md#fresh-weights."""

    trained_share: float = Field(0.5, description="share of trained tensors that makes the frozen part a trained one")
    chance: float = Field(0.9, description="loss over that of a prediction that says nothing: below it the frozen head is a trained one")
    smallest: int = Field(1024, description="weights in the smallest tensor whose values tell inside a trained part")


@rule("INI014", "fresh-layer-frozen", level="error", since="0.2")
def check(
    graph: Graph,
    parameters: Parameters,
    model: Model,
    declared: Declared,
    steps: StepStats | None,
    options: FreshLayerFrozen,
) -> Iterator[Finding]:
    """A layer with fresh random weights is frozen while other layers train.

    ## What it does
    Looks for frozen weights whose values are still those of an initialization. Two cases prove a mistake: a fresh layer inside a
    frozen part that is otherwise trained (its checkpoint did not have it), and a frozen output layer that turns what trainable
    layers compute into the answer (a new head outside an adapter's `modules_to_save`, a head frozen by name or tied to a frozen
    tensor) while the loss is no better than chance: a small trained head may look like a drawn one. A frozen backbone without
    trained weights is not judged: it may stand for one. Neither is a frozen network after the trained one (the critic of a
    generator), a head onto the vocabulary of a frozen language model, or what is declared frozen (`frozen=("head",)`,
    `declared={"random-features"}`).

    ## Why is this bad?
    The layer stays a random projection. The layers before it learn to serve random numbers, and accuracy stays below what
    the same model reaches with a trained head.

    ## Example
        model = get_peft_model(classifier, LoraConfig(target_modules=["q_proj", "v_proj"]))

    ## Use instead
        model = get_peft_model(classifier, LoraConfig(target_modules=["q_proj", "v_proj"], modules_to_save=["score"]))

    ## References
    - PEFT: Troubleshooting, randomly initialized layers
    - Hu et al.: LoRA: Low-Rank Adaptation of Large Language Models, 2021, arXiv:2106.09685
    """
    if "random-features" in declared.traits:
        return
    if graph.method == "symbolic":
        raise Skip("no recorded run: the layer that computes the output is unknown")
    frozen = [view for view in parameters.of_kind(*_KINDS) if not view.requires_grad and view.finite and view.numel > 1]
    if not frozen or all(view.kind == "norm" for view in parameters.trainable):
        return  # ARC020
    frozen = [view for view in frozen if not _is_declared(view, declared)]
    found = _missed(frozen, graph, options)
    if not found and not _is_better_than_chance(steps, options):
        known = steps is not None and steps.chance is not None
        found = _heads(frozen, graph, model, parameters) or (_behind_trained(frozen, graph, options) if known else [])
    if found:
        yield _finding(found, model, parameters)


def _is_better_than_chance(steps: StepStats | None, options: FreshLayerFrozen) -> bool:
    """Whether the model knows something of the targets: a small trained head may look like a drawn one, and does not work like one."""
    if steps is None or steps.chance is None or not steps.losses:
        return False
    return steps.losses[0] < options.chance * steps.chance


def _missed(frozen: list[ParameterView], graph: Graph, options: FreshLayerFrozen) -> list[ParameterView]:
    """Fresh tensors of a frozen part whose other tensors are trained."""
    judged = [view for view in frozen if view.numel >= options.smallest and view.kind != "embedding"]
    trained = [view for view in judged if view.init is None]
    if not trained or len(trained) < options.trained_share * len(judged):
        return []
    return [view for view in judged if view.name in graph.parameters_read and _is_certain(view)]


def _is_certain(view: ParameterView) -> bool:
    """Whether the values are those of one certain initialization, scale included."""
    family = view.init
    return family is not None and family.name not in _UNSPECIFIC and family.shape != "constant"


def _heads(frozen: list[ParameterView], graph: Graph, model: Model, parameters: Parameters) -> list[ParameterView]:
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
    return list(found.values())


def _behind_trained(frozen: list[ParameterView], graph: Graph, options: FreshLayerFrozen) -> list[ParameterView]:
    """A drawn output layer that is frozen with a trained part (by its name, say), while something before that part trains.

    Too small to tell by its values alone: the loss, which is no better than chance, has to agree.
    """
    large = [view for view in frozen if view.numel >= options.smallest and view.kind != "embedding"]
    trained = [view for view in large if view.init is None]
    if not trained or len(trained) < options.trained_share * len(large):
        return []
    names = {view.name: view for view in frozen if view not in large and _is_drawn(view) and _is_certain(view)}
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
    views = [view for name in op.parameters if (view := parameters.find(name)) is not None and view.kind in _KINDS]
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


def _is_declared(view: ParameterView, declared: Declared) -> bool:
    names = (view.name, view.module_path)
    return any(fnmatchcase(name, glob) or name.startswith(f"{glob}.") for glob in declared.frozen for name in names)


def _finding(found: list[ParameterView], model: Model, parameters: Parameters) -> Finding:
    first = found[0]
    names = [view.name for view in found]
    trained = sum(view.numel for view in parameters.trainable)
    family = first.init.name if first.init is not None else ""
    return Finding(
        at=first,
        message=f"{listed(names, limit=3)} {'is' if len(names) == 1 else 'are'} frozen at fresh random values ({family}) while "
        f"{len(parameters.trainable)} other parameters ({trained} numbers) train"
        + (f"; it is tied to {listed(first.tied_to, limit=2)}" if first.tied_to else ""),
        evidence={"frozen": [*names[:50]], "init": family, "trained_parameters": len(parameters.trainable)},
        fix=_fix(first, model),
        modules=tuple(dict.fromkeys(view.module_path for view in found)),
    )


def _fix(view: ParameterView, model: Model) -> str:
    leaf = view.module_path.rpartition(".")[2]
    if model.named("PeftModel"):
        return f'LoraConfig(..., modules_to_save=["{leaf}"]): the layer is then trained, and saved with the adapter'
    freed = f"{_expression(view)}.requires_grad_(True)"
    if view.tied_to:
        return f"give the layer a weight of its own, or train the tied one: {freed}"
    return f"{freed} before the optimizer is constructed; if its weights come from a checkpoint, load them"


def _expression(view: ParameterView) -> str:
    """Python that names the layer (its parameter, where that is the model's own): components of a path may be numbers."""
    path = view.module_path or view.name
    if all(part.isidentifier() for part in path.split(".")):
        return f"model.{path}"
    return f'model.get_submodule("{path}")'
