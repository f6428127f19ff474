"""What was checked and measured, as plain values for the report."""

from __future__ import annotations

import dataclasses
import linecache
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnlint.evidence import PROBES, TABLE
from nnlint.finding import Location, Skip
from nnlint.probes.updates.stats import StepStats
from nnlint.report import SourceLocation

if TYPE_CHECKING:
    from nnlint.capture.op import Op
    from nnlint.probes.session import Session
    from nnlint.probes.training_pass.stats import BackwardStats, ForwardStats


def source_location(location: Location) -> SourceLocation:
    """A location with its source text, its file relative to the working directory where it lies below it."""
    shown = shown_file(location)
    text = linecache.getline(location.file, location.line).rstrip("\n") or None
    return SourceLocation(file=shown, line=location.line, function=location.function, text=text)


def shown_file(location: Location) -> str:
    """The file relative to the working directory where it lies below it."""
    try:
        return Path(location.file).resolve().relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):
        return location.file


def subject_of(session: Session) -> dict[str, Any]:
    """Model class, parameter count, device, batch, loss and optimizer."""
    setup = session.setup
    subject: dict[str, Any] = {
        "model": type(setup.model).__name__,
        "parameters": sum(_numel(parameter) for parameter in setup.model.parameters()),
    }
    inputs = _shapes(setup.inputs)
    if inputs:
        subject["inputs"] = inputs
    if setup.loss is not None or setup.own_loss is not None:
        loss = setup.loss if setup.loss is not None else setup.own_loss
        subject["loss"] = getattr(loss, "__name__", type(loss).__name__)
    device = next((parameter.device for parameter in setup.model.parameters()), None)
    if device is not None:
        subject["device"] = str(device)
    if setup.optimizer is not None:
        rates = sorted({float(group["lr"]) for group in setup.optimizer.param_groups if "lr" in group})
        subject["optimizer"] = f"{type(setup.optimizer).__name__} lr {', '.join(f'{rate:g}' for rate in rates)}"
    return subject


def training_steps(session: Session) -> dict[str, float]:
    """What the probes took, in warm training steps of this setup, as an entry of the timings; nothing where none was made."""
    made = session.measured().get("StepStats")
    step = made.step_seconds if isinstance(made, StepStats) else None
    return {"training_steps": sum(session.timings.values()) / step} if step else {}


def _numel(parameter: Any) -> int:
    """Entries of a parameter; 0 for one of a lazy module that has not seen an input yet."""
    from torch.nn.parameter import UninitializedParameter

    return 0 if isinstance(parameter, UninitializedParameter) else int(parameter.numel())


def _shapes(inputs: Any) -> str:
    from nnlint.tensors import shape_of, tensor_leaves

    shapes = [
        f"{' x '.join(map(str, shape_of(leaf))) or 'scalar'} {str(leaf.dtype).removeprefix('torch.')}"
        for _, leaf in tensor_leaves(inputs)
    ]
    return "; ".join(shapes)


def measurements_of(session: Session) -> dict[str, Any]:
    """The per-layer table and the loss, as far as they were measured."""
    made = session.measured().get("TrainingPass")
    if made is None or isinstance(made, Skip) or made.forward is None:
        return {}
    steps = session.measured().get("StepStats")
    updated = steps if isinstance(steps, StepStats) else None
    measured: dict[str, Any] = {
        "layers": _layers(made.forward, made.backward, updated),
        "samples": made.forward.samples,
    }
    if made.forward.loss is not None:
        measured["initial_loss"] = number(made.forward.loss)
    return measured | _longer_probes(session.measured(), PROBES if session.plan.deep else session.plan.probes)


def _layers(forward: ForwardStats, backward: BackwardStats | None, steps: StepStats | None) -> list[dict[str, Any]]:
    from nnlint.probes.training_pass.histograms import DRAWN

    rows = []
    for layer in forward.layers:
        if not layer.op.is_kind(*DRAWN):
            continue
        gradient = backward.of(layer.op) if backward is not None else None
        weights = [backward.parameter(name) for name in layer.op.parameters] if backward is not None else []
        weight = next((found for found in weights if found is not None and found.norm is not None), None)
        tracked = steps.parameter(weight.name) if steps is not None and weight is not None else None
        histograms = {
            "activation": layer.histogram,
            "gradient": gradient.histogram if gradient is not None else (),
            "weight": weight.weight_histogram if weight is not None else (),
            "weight_gradient": weight.histogram if weight is not None else (),
        }
        drawn = {name: list(counts) for name, counts in histograms.items() if counts}
        rows.append(
            {
                "layer": layer.op.module_path or layer.op.label,
                "op": layer.op.name,
                **_line_of_function(layer.op),
                "mean": number(layer.mean),
                "std": number(layer.std),
                "zeros": number(layer.zeros),
                "dead": number(layer.never_active / layer.units)
                if layer.units and layer.never_active is not None
                else None,
                "saturated": number(layer.saturated),
                "gradient": number(gradient.rms if gradient is not None else None),
                "weight_gradient": number(weight.norm if weight is not None else None),
                "update": number(tracked.update_ratio if tracked is not None else None),
                **({"histograms": drawn} if drawn else {}),
            }
        )
    return rows


def _line_of_function(op: Op) -> dict[str, str]:
    """The line of an operation that belongs to no submodule: its findings name no module either."""
    place = op.location if not op.module_path else None
    return {"line": f"{shown_file(place)}:{place.line}"} if place is not None else {}


def number(value: float | None) -> float | str | None:
    """Six significant digits; non-finite numbers by name, since JSON has none."""
    if value is None:
        return None
    return float(f"{value:.6g}") if math.isfinite(value) else str(value)


def _longer_probes(measured: Mapping[str, Any], wanted: Iterable[str]) -> dict[str, Any]:
    """What each of the wanted probes measured, or under "skipped" why it did not."""
    found: dict[str, Any] = {}
    for name in wanted:
        kind = PROBES[name]
        evidence = measured.get(kind)
        if isinstance(evidence, Skip):
            found[name] = {"skipped": evidence.reason}
        elif evidence is not None:
            shown = {field.name: getattr(evidence, field.name) for field in dataclasses.fields(evidence)}
            shown |= {field: getattr(evidence, field) for field in TABLE[kind].shown}
            found[name] = _plain(shown)
    return found


def _plain(value: Any) -> Any:
    """Six significant digits; non-finite numbers by name, since JSON has none."""
    if isinstance(value, Location):
        return f"{value.file}:{value.line}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value
