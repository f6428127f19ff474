"""NRM010: parts of the model in the wrong mode for training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint_rules._shared.words import listed
from nnlint_rules.normalization._modes import (
    around,
    depends_on_mode,
    evaluated_in_forward,
    frozen_but_moving,
    functional_norms_in_eval,
    has_running_statistics,
    is_at_its_start,
    is_below,
    parent,
    trainable_tensors,
    whose,
)

if TYPE_CHECKING:
    from nnlint import Declared, Graph, Model, ModuleView, TrainingModes


@rule("NRM010", "norm-left-in-eval", level="warning", since="0.1")
def check(model: Model, modes: TrainingModes, declared: Declared, graph: Graph | None) -> Iterator[Finding]:
    """Batch norm or dropout in evaluation mode while its layers train, or moving statistics of frozen layers.

    ## What it does
    Reads the training flag of every module as training has it: after the model's own `train()`, overridden or not, and at the
    calls of the forward; and as passed, where only a part was put into eval mode. A part in eval mode that holds batch
    norms or dropout is reported when parameters of it are trainable, and a batch norm in training mode when its own parameters
    are frozen, unless it is the momentum copy of one that trains. So is a call of `F.batch_norm` with a trainable scale that
    normalizes with running statistics in training (`training=False` is its default), and a dropout that `train()` leaves off while
    the layers around it train. An info is a whole model in eval mode (most training loops call `model.train()`), a frozen part that
    is in eval mode until `train()` is called, and all batch norms of a model kept in eval mode by themselves, as in fine-tuning with
    small batches; a warning, if their statistics are still those of a fresh net. A frozen part that an overridden `train()` keeps
    in eval mode is the usual way to fine-tune.

    ## Why is this bad?
    In eval mode a batch norm uses running statistics that training does not update, so the layers around it train
    against numbers that no longer fit, and dropout does nothing. The other way round, a frozen backbone whose norms
    stay in training mode still changes: its running statistics follow the new data.

    ## Example
        model.features.eval()                     # and then trained
        for p in model.backbone.parameters():
            p.requires_grad_(False)               # its norms still move

    ## Use instead
        model.train()
        model.backbone.requires_grad_(False)
        model.backbone.eval()                     # after every model.train()

    ## References
    - PyTorch: `torch.nn.Module.train`; https://github.com/pytorch/pytorch/issues/86590
    """
    if not model.root.training and modes.trains(""):
        yield from _whole_model(model)
    stays = {view.module_path for view in model.modules if not modes.trains(view.module_path)}
    handed = {view.module_path for view in model.modules if not view.training} if model.root.training else set()
    by_forward = evaluated_in_forward(graph, model) - handed
    evaluated = stays | handed | by_forward
    views = [view for view in model.modules if not declared.is_frozen(view.module_path)]
    for view in views:
        if view.module_path in evaluated and parent(view) not in evaluated:
            yield from _eval_part(model, view, evaluated, kept=view.module_path in stays | by_forward)
    moving = [view for view in views if view.module_path not in stays | by_forward]
    yield from _moving_statistics(model, moving)
    if graph is not None:
        yield from _functional(graph, modes)


def _whole_model(model: Model) -> Iterator[Finding]:
    affected = [view for view in model.modules if depends_on_mode(view)]
    if affected:
        yield Finding(
            at=model.root,
            level=Level.INFO,
            message="the model is passed in eval mode, where these layers behave differently from training: "
            f"{listed(view.label for view in affected)}",
            evidence={"layers": [view.label for view in affected[:20]]},
            fix="call model.train() before the first training step",
        )


def _eval_part(model: Model, part: ModuleView, evaluated: set[str], *, kept: bool) -> Iterator[Finding]:
    inside = [view for view in model.modules if is_below(view, part)]
    affected = [view for view in inside if depends_on_mode(view)]
    trainable = sum(trainable_tensors(view) for view in inside)
    if kept and affected == [part] and not part.parameters:
        trainable = sum(trainable_tensors(view) for view in around(part, model))  # a dropout: what it is to regularize
    if not affected or not trainable:
        return
    norms = [view for view in model.modules if has_running_statistics(view)]
    by_itself = part in norms and all(view.module_path in evaluated for view in norms)
    if by_itself and part is not norms[0]:
        return  # said once, at the first norm
    is_fresh = kept and all(is_at_its_start(view) for view in norms)
    yield Finding(
        at=part,
        level=Level.INFO if by_itself and not is_fresh else None,
        message=f"{'stays in eval mode in training' if kept else 'is in eval mode'} while {trainable} {whose(part)} are "
        "trainable: "
        + (
            "all batch norms keep the running statistics that they start with, 0 and 1, and normalize nothing"
            if by_itself and is_fresh
            else "all batch norms keep their running statistics, as in fine-tuning with small batches"
            if by_itself
            else f"{listed(view.label for view in affected)} will behave differently from training"
        ),
        evidence={"layers": [view.label for view in affected[:20]], "trainable_parameters": trainable},
        fix="take the eval() out of train() and forward, or freeze the part: requires_grad_(False) on its parameters"
        if kept
        else "call model.train(); or freeze the part: requires_grad_(False) on its parameters",
        modules=tuple(view.module_path for view in affected),
    )


def _functional(graph: Graph, modes: TrainingModes) -> Iterator[Finding]:
    for norm in functional_norms_in_eval(graph, modes):
        yield Finding(
            at=norm,
            message=f"{norm.label} normalizes with running statistics in training (training=False, its default), which then never "
            "change: its scale is trained on numbers that do not fit",
            evidence={"layers": [norm.label], "trainable_parameters": 1},
            fix="F.batch_norm(..., training=self.training), or nn.BatchNorm1d/2d/3d, which pass it themselves",
        )


def _moving_statistics(model: Model, views: list[ModuleView]) -> Iterator[Finding]:
    moving = frozen_but_moving(views)
    if moving and any(trainable_tensors(view) for view in model.modules):
        for_now = not any(view.training for view in moving)
        yield Finding(
            at=moving[0],
            level=Level.INFO if for_now else None,
            message="its parameters are frozen, but "
            + ("model.train() puts it into training mode, where" if for_now else "in training mode")
            + " its running statistics move with every batch: "
            f"{listed(view.label for view in moving)}",
            evidence={"norms": [view.label for view in moving]},
            fix="put the frozen part into eval mode after model.train(), best in an overridden train()",
            modules=tuple(view.module_path for view in moving),
        )
