"""What only pictures need, as plain values: the module tree, the operations, the course of the steps, the classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nnlint.describe import number, shown_file
from nnlint.finding import Skip
from nnlint.kinds import CLASS_LOSSES
from nnlint.probes.updates.stats import StepStats

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op
    from nnlint.probes.session import Session
    from nnlint.probes.training_pass.losses import LossCalls

#: More operations or modules than these are cut: nobody looks at them, and the page has to stay small.
_MOST_OPERATIONS = 3000
_MOST_MODULES = 3000
#: Classes that a bar chart can show.
_MOST_CLASSES = 1000


def details_of(session: Session) -> dict[str, Any]:
    """Entries of the report's measurements for the pictures of the HTML report and of trackers."""
    measured = session.measured()
    found: dict[str, Any] = {"modules": _modules(session)}
    made = measured.get("TrainingPass")
    if made is not None and not isinstance(made, Skip):
        if made.graph is not None:
            found["operations"] = _operations(made.graph)
        if made.losses is not None:
            found |= _classes(made.losses) | _closed_forms(made.losses)
    return found | _steps(measured)


def _modules(session: Session) -> list[dict[str, Any]]:
    """Every module in the order of `named_modules()`: path, class, own parameters, and how many of them are trained."""
    from torch.nn.parameter import UninitializedParameter

    rows = []
    for path, module in list(session.setup.model.named_modules())[:_MOST_MODULES]:
        own = [p for p in module.parameters(recurse=False) if not isinstance(p, UninitializedParameter)]
        place = session.setup.construction.get(path)
        rows.append(
            {
                "path": path,
                "type": type(module).__name__,
                "parameters": sum(p.numel() for p in own),
                "trainable": sum(p.numel() for p in own if p.requires_grad),
                "line": f"{shown_file(place)}:{place.line}" if place is not None else None,
            }
        )
    return rows


def _operations(graph: Graph) -> list[dict[str, Any]]:
    """The operations without parameters; `inputs` are positions in this list."""
    kept = [op for op in graph.ops if not op.is_kind("parameter", "buffer")][:_MOST_OPERATIONS]
    position = {op: index for index, op in enumerate(kept)}
    return [_operation(op, position) for op in kept]


def _operation(op: Op, position: Mapping[Op, int]) -> dict[str, Any]:
    place = op.location
    return {
        "op": op.label if op.is_kind("input") else op.name,
        "module": op.module_path,
        "type": op.module_type,
        "shape": list(op.shape) if op.shape is not None else None,
        "line": f"{shown_file(place)}:{place.line}" if place is not None else None,
        "loss": op.in_loss,
        "inputs": [position[source] for source in op.inputs if source in position],
    }


def _classes(losses: LossCalls) -> dict[str, Any]:
    """How many targets each class has, where the loss took class numbers."""
    for call in losses.of(*CLASS_LOSSES):
        target, prediction = call.target_value, call.prediction_value
        if target is None or prediction is None or target.is_floating_point() or not target.numel():
            continue
        classes = prediction.shape[call.class_dim] if prediction.dim() else 0
        valid = target[(target >= 0) & (target < classes)]
        if 0 < classes <= _MOST_CLASSES and valid.numel():
            return {"classes": valid.reshape(-1).bincount(minlength=classes).tolist()}
    return {}


def _closed_forms(losses: LossCalls) -> dict[str, Any]:
    """What the loss of a prediction that says nothing is, by its name, where the loss has a closed form."""
    from nnlint.probes.longer.known_losses import blind_floor, chance_loss, single_call

    call = single_call(losses)
    if call is None:
        return {}
    target = call.target_value
    forms = {"nothing known": chance_loss(call, target), "best constant": blind_floor(call, target)}
    known = {name: number(loss) for name, loss in forms.items() if loss is not None}
    return {"closed_forms": known} if known else {}


def _steps(measured: Mapping[str, Any]) -> dict[str, Any]:
    made = measured.get("StepStats")
    if not isinstance(made, StepStats):
        return {}
    return {
        "steps": {
            "losses": [number(loss) for loss in made.losses],
            "chance": number(made.chance),
            "optimizer": made.optimizer,
            "learning_rate": number(made.learning_rate),
            "schedule": [number(rate) for rate in made.schedule],
            "gradient_norms": [number(norm) for norm in made.gradient_norms],
        }
    }
