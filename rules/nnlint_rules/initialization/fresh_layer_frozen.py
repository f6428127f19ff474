"""INI014: a layer that is frozen at its random initialization."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, Skip, rule
from nnlint_rules._shared.words import listed
from nnlint_rules.initialization._frozen_fresh import (
    KINDS,
    heads_after_trained_layers,
    heads_of_trained_part,
    missed_in_trained_part,
)

if TYPE_CHECKING:
    from nnlint import Declared, Graph, Model, Parameters, ParameterView, StepStats


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
    tensor, a head of two layers after a partly trained network) while the loss is no better than chance: a small trained head may
    look like a drawn one. A frozen backbone without trained weights is not judged: it may stand for one. Neither is a frozen network
    after the trained one (the critic of a generator), a head onto the vocabulary of a frozen language model, or what is declared
    frozen (`frozen=("head",)`, `declared={"random-features"}`).

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
    frozen = [view for view in parameters.of_kind(*KINDS) if not view.requires_grad and view.finite and view.numel > 1]
    if not frozen or all(view.kind == "norm" for view in parameters.trainable):
        return  # ARC020
    frozen = [view for view in frozen if not declared.is_frozen(view.name)]
    smallest, trained_share = options.smallest, options.trained_share
    found = missed_in_trained_part(frozen, graph, smallest=smallest, trained_share=trained_share)
    if not found and not _is_better_than_chance(steps, options):
        found = heads_after_trained_layers(frozen, graph, model, parameters)
        if not found and steps is not None and steps.chance is not None:
            found = heads_of_trained_part(frozen, graph, smallest=smallest, trained_share=trained_share)
    if found:
        yield _finding(found, model, parameters)


def _is_better_than_chance(steps: StepStats | None, options: FreshLayerFrozen) -> bool:
    """Whether the model knows something of the targets: a small trained head may look like a drawn one, and does not work like one."""
    if steps is None or steps.chance is None or not steps.losses:
        return False
    return steps.losses[0] < options.chance * steps.chance


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
