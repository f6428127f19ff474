"""One forward with its loss under the recorder, and the graph or the failure that came of it.

The training pass, and every probe that looks at the same pass again, start here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nnlint.capture.facts import run_facts
from nnlint.capture.formulas.recognize import recognize
from nnlint.capture.graph import Graph
from nnlint.capture.modules import Failure as CallFailure
from nnlint.capture.recorder import Observer, Recorder, Substitute
from nnlint.failure import Failure
from nnlint.frames import format_trace, is_fatal, location_of_exception
from nnlint.probes.torch_errors import likely_cause, one_line
from nnlint.probes.training_pass.collector import Collector
from nnlint.seeding import seed_everything
from nnlint.setup.inputs.names import named_inputs, named_within

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup


@dataclass
class RecordedForward:
    """A forward with its loss while it runs, and what it left: an exception is kept, with the stage that it came from."""

    setup: TrainingSetup
    seed: int
    recorder: Recorder
    collector: Collector | None
    output: Any = None
    loss: Any = None
    error: BaseException | None = None
    stage: str = "forward"


def recorded_forward(
    setup: TrainingSetup, observer: Observer | None, *, seed: int, substitute: Substitute | None = None
) -> RecordedForward:
    """Run forward and loss under the recorder; the caller holds the state guard.

    Args:
        setup: what is checked; its inputs are given.
        observer: called after each operation; None where shapes are enough.
        seed: of python, numpy and torch, set before the forward.
        substitute: what runs in the place of operations, as for the recorder.
    """
    run = RecordedForward(
        setup, seed, _recorder(setup, observer, substitute), observer if isinstance(observer, Collector) else None
    )
    seed_everything(seed)
    _drive(run)
    return run


def _recorder(setup: TrainingSetup, observer: Observer | None, substitute: Substitute | None) -> Recorder:
    extra = [setup.loss] if isinstance(setup.loss, nn.Module) else []
    recorder = Recorder(setup.model, extra=extra, stop=_drive.__code__, observer=observer, substitute=substitute)
    recorder.add_inputs(named_inputs(setup))
    recorder.add_inputs(
        ((name or "target", tensor) for name, tensor in named_within(setup.targets, "target")), is_target=True
    )
    return recorder


def _drive(run: RecordedForward) -> None:
    """Forward and loss under the recorder. User frames are searched for below this function."""
    setup, recorder = run.setup, run.recorder
    try:
        with recorder.recording():
            if setup.own_loss is not None:
                run.loss = setup.call_own_loss()
                return
            run.output = setup.call_model()
            run.stage = "loss"
            recorder.enter_loss()
            run.loss = setup.compute_loss(run.output)
    except BaseException as error:
        if is_fatal(error):
            raise
        run.error = error


def graph_of(run: RecordedForward, *, method: str) -> Graph:
    """The graph of the run, closed: "recorded" from values, or "fake" from shapes alone."""
    loss = run.recorder.node_of(run.loss) if isinstance(run.loss, torch.Tensor) else None
    run.recorder.finish(run.output)
    recognize(run.recorder.graph)
    return Graph(
        run.recorder.graph,
        method=method,
        constructions=dict(run.setup.construction),
        called_modules=dict(run.recorder.tracker.calls),
        loss=loss,
        facts=run_facts(run.setup, run.recorder),
        # A loss that raises takes nothing from the graph of the model.
        complete=run.error is None or run.stage == "loss",
    )


def failure_of(run: RecordedForward, error: BaseException) -> Failure:
    """What the exception of the forward or of the loss call says as a finding: RUN002, RUN003, or its own code."""
    code = getattr(error, "code", None)
    call = run.recorder.tracker.failure
    location = getattr(error, "location", None) or location_of_exception(error, _drive.__code__)
    if isinstance(code, str) and code.startswith("RUN"):
        fix = getattr(error, "fix", "")
        return Failure(code, str(error), fix, location=location, trace=getattr(error, "trace", None))
    where = _where(call) if run.stage == "forward" else " in the loss call"
    cause = likely_cause(error)
    return Failure(
        code="RUN002" if run.stage == "forward" else "RUN003",
        message=f"{'the forward' if run.stage == 'forward' else 'the loss'} raised{where}: {one_line(error)}",
        fix=cause or "run the model once on this batch outside nnlint: it raises there too",
        module=call.path if call is not None and run.stage == "forward" else "",
        location=location,
        trace=format_trace(error),
    )


def _where(call: CallFailure | None) -> str:
    if call is None:
        return ""
    name = f"{call.path} ({call.type_name})" if call.path else call.type_name
    return f" in {name}, given {', '.join(call.shapes) or 'no tensors'}"
