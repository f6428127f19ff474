"""EVL004: a state dict that is kept follows the training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule
from nnlint_rules.evaluation._passes import at

if TYPE_CHECKING:
    from nnlint import Events, StateKept, Update

#: Steps that it has to outlive: one that each iteration takes anew is used at once.
_ENOUGH = 2


@rule("EVL004", "best-weights-by-reference", level="warning", since="0.1")
def check(events: Events) -> Iterator[Finding]:
    """A `state_dict()` that is kept across updates shares its memory with the live parameters.

    ## What it does
    Follows each state dict: whether something still refers to it after later steps of the same model, and whether its tensors lie
    in the memory of the parameters. Copies, and states that were saved or loaded elsewhere before the next step, are not reported.

    ## Why is this bad?
    `state_dict()` returns references. The "best" weights are the weights of the last step, and early stopping restores nothing.

    ## Example
        if accuracy > best_accuracy:
            best = model.state_dict()

    ## Use instead
        if accuracy > best_accuracy:
            best = copy.deepcopy(model.state_dict())

    ## References
    - PyTorch tutorial, "Saving and loading models": `best_model_state = deepcopy(model.state_dict())`
    """
    if not events.kept_states:
        raise Skip("no state dict was taken")
    shown: set[object] = set()
    for kept in events.kept_states:
        loaded = _loaded(events, kept)
        follows = kept.shares_storage and kept.changed and not kept.consumed
        if not follows or not (loaded or len(kept.alive_at) >= _ENOUGH) or kept.location in shown:
            continue
        shown.add(kept.location)
        line = f" and loading it (line {loaded.location.line}) restores nothing" if loaded and loaded.location else ""
        yield Finding(
            at=at(kept),
            message=f"the state_dict() of {kept.module} is kept over {len(kept.alive_at)} steps and shares the memory of the live "
            f"parameters: it holds the newest weights, not those of this line{line}",
            evidence={"steps": len(kept.alive_at), "loaded": loaded is not None},
            fix=f"copy it: `copy.deepcopy({kept.module}.state_dict())`",
        )


def _loaded(events: Events, kept: StateKept) -> Update | None:
    """The later `load_state_dict` that put the module's own tensors back."""
    own = (event for event in events.updates if event.own_state and event.module == kept.module)
    return next((event for event in own if kept.alive_at and event.index > kept.alive_at[0]), None)
