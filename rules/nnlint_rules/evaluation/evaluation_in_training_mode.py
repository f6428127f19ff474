"""EVL001: the evaluation runs with dropout or batch norm in training mode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint_rules.evaluation._passes import at, content_of, evaluations, loader_of

if TYPE_CHECKING:
    from nnlint import Events, Forward

#: Passes on one input between two steps from which on they sample: Monte-Carlo dropout.
_SAMPLES = 3


@rule("EVL001", "evaluation-in-training-mode", level="warning", since="0.1")
def check(events: Events) -> Iterator[Finding]:
    """The model is evaluated with dropout or batch norm in training mode.

    ## What it does
    Looks at forwards that no backward follows, on batches of a loader that training never reads or on tensors that are evaluated again
    and again. Reports those whose dropout or batch-norm layers are in training mode; as an error where batch norm takes the
    evaluation data into its running statistics. Repeated passes over one input (Monte-Carlo dropout), dropout switched on inside a
    model in evaluation mode, and generators that sample are not reported.

    ## Why is this bad?
    Dropout makes the measured loss worse and noisy; batch norm normalizes with the statistics of the evaluation batch, so that
    the result depends on how samples are batched. Running statistics that follow the evaluation data leak it into the model.

    ## Example
        with torch.no_grad():
            for x, y in val_loader: ...

    ## Use instead
        model.eval()
        with torch.no_grad():
            for x, y in val_loader: ...
        model.train()

    ## References
    - PyTorch: `torch.nn.Module.eval`
    """
    found: dict[tuple[str, object], list[Forward]] = {}
    forwards = evaluations(events)
    repeated = Counter((content_of(forward), forward.iteration) for forward in forwards)
    for forward in forwards:
        samples = repeated[content_of(forward), forward.iteration] >= _SAMPLES and not forward.buffers_changed
        if forward.training and not samples and _active(events, forward):
            found.setdefault((forward.module, forward.location), []).append(forward)
    for (name, location), on in found.items():
        total = sum((forward.module, forward.location) == (name, location) for forward in forwards)
        active = _active(events, on[-1])
        changed = [forward for forward in on if forward.buffers_changed]
        data = loader_of(events, on[-1]) or "tensors that training does not use"
        yield Finding(
            at=at(on[0]),
            level=Level.ERROR if changed else None,
            message=f"{name} is in training mode in {len(on)} of {total} evaluation forwards on {data}: {len(active)} dropout and "
            "batch-norm layers are active"
            + (", and the running statistics take the evaluation data in" if changed else ""),
            evidence={"forwards": len(on), "of": total, "layers": len(active), "changed_statistics": len(changed)},
            fix=f"call `{name}.eval()` before the evaluation and `{name}.train()` after it",
        )


def _active(events: Events, forward: Forward) -> list[str]:
    """Its dropout and batch-norm layers in training mode that do something."""
    module = events.modules[forward.module]
    return [
        path for path, training in forward.modes.items() if training and path in (*module.dropouts, *module.batch_norms)
    ]
