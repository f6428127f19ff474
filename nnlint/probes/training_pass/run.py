"""One training-mode forward and backward: the graph, the statistics and the loss of every default check come from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from nnlint.capture.graph import Graph
from nnlint.capture.recorder import Recorder
from nnlint.capture.torch_wrapping import refused_by_fake_tensors
from nnlint.failure import Failure
from nnlint.finding import Skip
from nnlint.frames import format_trace, is_fatal, location_of_exception
from nnlint.probes.longer.forward_loss import random_projection
from nnlint.probes.longer.loop import moment
from nnlint.probes.torch_errors import likely_cause, one_line
from nnlint.probes.training_pass.collector import Collector
from nnlint.probes.training_pass.loss_values import measured_losses
from nnlint.probes.training_pass.losses import LossCalls
from nnlint.probes.training_pass.recorded_forward import RecordedForward, failure_of, graph_of, recorded_forward
from nnlint.probes.training_pass.stats import BackwardStats, ForwardStats
from nnlint.probes.training_pass.summarize import forward_statistics, parameter_gradients
from nnlint.samples import batch_layout
from nnlint.setup.errors import LossTypeError
from nnlint.tensors import map_tensors

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup


@dataclass
class TrainingPass:
    """What one pass gave; a part that could not be had is None and `reasons` says why, by evidence name.

    `output` is what the model returned, its tensors cut from the graph (they still say which require grad): the loss probe
    puts others in their places. `backward_seconds` is the time of the backward, its statistics included.
    """

    graph: Graph | None = None
    forward: ForwardStats | None = None
    backward: BackwardStats | None = None
    losses: LossCalls | None = None
    failures: list[Failure] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    recorder: Recorder | None = None
    gradients: dict[str, torch.Tensor] = field(default_factory=dict)
    output: Any = None
    backward_seconds: float | None = None


def run_training_pass(
    setup: TrainingSetup, *, seed: int, values: bool = True, histograms: bool = False
) -> TrainingPass:
    """Record one forward with its loss, and the backward.

    The caller holds the state guard. The model is put into training mode the way its own `train()` does it.

    Args:
        setup: what is checked; its inputs are given.
        seed: of python, numpy and torch, set before the forward.
        values: False under FakeTensorMode: no statistics and no backward.
        histograms: whether to count magnitudes for pictures.
    """
    if not setup.model.training:
        setup.model.train()
    collector = Collector(batch_layout(setup), histograms=histograms) if values else None
    with torch.enable_grad():
        run = recorded_forward(setup, collector, seed=seed)
    made = TrainingPass(recorder=run.recorder)
    made.graph = graph_of(run, method="recorded" if values else "fake")
    if run.error is not None:
        if collector is None and refused_by_fake_tensors(run.error):
            raise Skip(f"the forward cannot run on shapes alone ({one_line(run.error)}): run without --static")
        made.failures.append(failure_of(run, run.error))
        made.losses = _refused_losses(run, made.graph)
        return made
    made.losses = _losses(run, made.graph)
    if collector is None:
        return made
    error, surrogate = _backward(run, made)
    if error is not None:
        made.failures.append(_backward_failure(error))
    _settle(run, made, collector, surrogate=surrogate)
    made.output = map_tensors(_cut, run.output)
    return made


def _cut(tensor: torch.Tensor) -> torch.Tensor:
    """The values as a leaf that requires grad if the tensor did."""
    return tensor.detach().requires_grad_(tensor.requires_grad)


def _backward(run: RecordedForward, made: TrainingPass) -> tuple[BaseException | None, bool]:
    """Run backward; (the exception it raised or None, whether a random projection stood in for the loss)."""
    loss, surrogate = run.loss, False
    if loss is None:
        loss, surrogate = random_projection(run.output, seed=run.seed), True
    if not isinstance(loss, torch.Tensor) or not loss.requires_grad:
        made.reasons["BackwardStats"] = (
            "no loss given and no output requires grad" if surrogate else "the loss does not require grad"
        )
        return None, surrogate
    if loss.numel() != 1:
        made.reasons["BackwardStats"] = f"the loss is not a scalar: shape {tuple(loss.shape)}"
        return None, surrogate
    started = moment(run.setup.model)
    try:
        loss.backward()
    except BaseException as error:
        if is_fatal(error):
            raise
        made.reasons["BackwardStats"] = "backward raised (RUN004)"
        return error, surrogate
    made.backward_seconds = moment(run.setup.model) - started
    return None, surrogate


def _backward_failure(error: BaseException) -> Failure:
    return Failure(
        code="RUN004",
        message=f"backward raised: {one_line(error)}",
        fix=likely_cause(error)
        or "run loss.backward() under torch.autograd.set_detect_anomaly(True) to see the forward line",
        location=location_of_exception(error, run_training_pass.__code__),
        trace=format_trace(error),
    )


def _losses(run: RecordedForward, graph: Graph) -> LossCalls | None:
    if run.loss is None:
        return None
    loss = run.loss
    is_tensor = isinstance(loss, torch.Tensor)
    return LossCalls(
        calls=measured_losses(graph, run.recorder, run.collector, (run.output, run.setup.targets)),
        graph=graph,
        op=graph.loss,
        value=float(loss.detach()) if is_tensor and loss.numel() == 1 and run.collector is not None else None,
        shape=tuple(loss.shape) if is_tensor else (),
        requires_grad=bool(is_tensor and loss.requires_grad),
        is_tensor=is_tensor,
        type_name=type(loss).__name__,
        trainable=any(parameter.requires_grad for parameter in run.setup.model.parameters()),
        targets_assumed=run.setup.targets_assumed,
        inputs_assumed=run.setup.inputs_assumed,
        measured=run.collector is not None,
    )


def _refused_losses(run: RecordedForward, graph: Graph) -> LossCalls | None:
    """What the loss functions were given in a pass where one of them raised, or where the loss was no tensor."""
    if run.recorder.refused_loss is not None and run.collector is not None:
        node, args, kwargs = run.recorder.refused_loss
        run.collector.keep_loss(node, None, args, kwargs)
    elif not isinstance(run.error, LossTypeError):
        return None
    returned = run.error.returned if isinstance(run.error, LossTypeError) else ""
    return LossCalls(
        calls=measured_losses(graph, run.recorder, run.collector, (run.output, run.setup.targets)),
        graph=graph,
        op=None,
        value=None,
        shape=(),
        requires_grad=False,
        is_tensor=not returned,
        type_name=returned,
        trainable=any(parameter.requires_grad for parameter in run.setup.model.parameters()),
        targets_assumed=run.setup.targets_assumed,
        inputs_assumed=run.setup.inputs_assumed,
        raised=True,
        measured=run.collector is not None,
    )


def _settle(run: RecordedForward, made: TrainingPass, collector: Collector, *, surrogate: bool) -> None:
    graph = made.graph
    assert graph is not None  # set by the caller
    made.forward, gradients = forward_statistics(
        graph,
        collector,
        output=run.output,
        loss=made.losses.value if made.losses is not None else None,
        assumed=run.setup.inputs_assumed,
    )
    if "BackwardStats" in made.reasons:
        return
    # Kept for the steps probe: they are the gradients of its first step.
    made.gradients = {name: p.grad for name, p in run.setup.model.named_parameters() if p.grad is not None}
    weights = parameter_gradients(run.setup, histograms=collector.histograms)
    made.backward = BackwardStats(gradients, weights, graph, surrogate)
