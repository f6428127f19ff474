"""One training-mode forward and backward: the graph, the statistics and the loss of every default check come from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nnlint import kinds
from nnlint.capture.facts import run_facts
from nnlint.capture.formulas.recognize import recognize
from nnlint.capture.graph import Graph
from nnlint.capture.modules import Failure as CallFailure
from nnlint.capture.recorder import Observer, Recorder, Substitute
from nnlint.capture.torch_wrapping import refused_by_fake_tensors
from nnlint.failure import Failure
from nnlint.finding import Skip
from nnlint.frames import format_trace, is_fatal, location_of_exception
from nnlint.probes.longer.forward_loss import random_projection, sparing_gradients
from nnlint.probes.torch_errors import likely_cause, one_line
from nnlint.probes.training_pass.collector import Collector
from nnlint.probes.training_pass.loss_values import measured_losses
from nnlint.probes.training_pass.losses import LossCalls
from nnlint.probes.training_pass.non_finite import NonFiniteFinder, NonFiniteGradientFinder, all_finite
from nnlint.probes.training_pass.stats import BackwardStats, ForwardStats
from nnlint.probes.training_pass.summarize import layer_statistics, parameter_gradients
from nnlint.samples import batch_layout
from nnlint.seeding import seed_everything
from nnlint.setup.errors import LossTypeError
from nnlint.tensors import map_tensors, tensor_leaves

if TYPE_CHECKING:
    from nnlint.probes.training_pass.stats import NonFinite, NonFiniteGradient
    from nnlint.setup.training_setup import TrainingSetup


@dataclass
class TrainingPass:
    """What one pass gave; a part that could not be had is None and `reasons` says why, by evidence name.

    `output` is what the model returned, its tensors cut from the graph (they still say which require grad): the loss probe
    puts others in their places.
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


@dataclass
class _Run:
    """A pass while it runs."""

    setup: TrainingSetup
    seed: int
    recorder: Recorder
    collector: Collector | None
    output: Any = None
    loss: Any = None
    error: BaseException | None = None
    stage: str = "forward"


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
        run = _recorded(setup, collector, seed=seed)
    made = TrainingPass(recorder=run.recorder)
    made.graph = _graph(run, method="recorded" if values else "fake")
    if run.error is not None:
        if collector is None and refused_by_fake_tensors(run.error):
            raise Skip(f"the forward cannot run on shapes alone ({one_line(run.error)}): run without --static")
        made.failures.append(_failure(run, run.error))
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


def run_without_dropout(setup: TrainingSetup, *, seed: int) -> ForwardStats:
    """The same training-mode forward with every dropout an identity; the caller holds the guard.

    The ops are those of the training pass, in the same order, so that layers correspond by `op.index`.
    """
    if not setup.model.training:
        setup.model.train()

    def plain() -> tuple[_Run, Collector]:
        collector = Collector(batch_layout(setup), gradients=False)
        made = _recorded(setup, collector, seed=seed, substitute=without_dropout)
        if made.error is not None:
            raise made.error
        return made, collector

    run, collector = sparing_gradients(plain)
    made = TrainingPass(graph=_graph(run, method="recorded"), reasons={"BackwardStats": "forward only"})
    _settle(run, made, collector, surrogate=True)
    assert made.forward is not None  # settled just now
    return made.forward


def without_dropout(name: str) -> Callable[..., Any] | None:
    """Stands for every dropout, as a substitute of the recorder: what comes in goes out."""
    if "dropout" not in kinds.info(name).kinds:
        return None
    return lambda value, *args, **kwargs: value.clone()


def find_non_finite(setup: TrainingSetup, *, seed: int) -> NonFinite | None:
    """_Run the same forward again and name the op where the first NaN or Inf appears; the caller holds the state guard."""
    if not setup.model.training:
        setup.model.train()
    finder = NonFiniteFinder()
    run = _recorded(setup, finder, seed=seed)
    if run.error is not None:
        raise run.error
    return finder.found(_graph(run, method="recorded"))


def differentiated(setup: TrainingSetup, observer: Observer, *, seed: int) -> Graph | None:
    """The same forward and backward once more under another observer; None where they raise. The caller holds the guard."""
    if not setup.model.training:
        setup.model.train()
    with torch.enable_grad():
        run = _recorded(setup, observer, seed=seed)
        graph = _graph(run, method="recorded")
        loss = run.loss if run.loss is not None else random_projection(run.output, seed=seed)
        if run.error is not None or not isinstance(loss, torch.Tensor) or not loss.requires_grad or loss.numel() != 1:
            return None
        loss.backward()
    return graph


def find_non_finite_gradient(setup: TrainingSetup, *, seed: int) -> NonFiniteGradient | None:
    """_Run forward and backward again and name the op whose backward makes the first NaN or Inf; the caller holds the guard."""
    if not setup.model.training:
        setup.model.train()
    finder = NonFiniteGradientFinder()
    run = _recorded(setup, finder, seed=seed)
    if run.error is not None:
        raise run.error
    graph = _graph(run, method="recorded")
    loss = run.loss if run.loss is not None else random_projection(run.output, seed=seed)
    if not isinstance(loss, torch.Tensor) or not loss.requires_grad:
        return None
    finder.watch(loss)
    loss.backward()
    return finder.found(graph)


def run_observed(setup: TrainingSetup, observer: Observer, *, seed: int) -> torch.Tensor | None:
    """_Run the same forward again under an observer and give the loss; None where it raises. The caller holds the guard.

    The nodes have the names that they had in the training pass.
    """
    if not setup.model.training:
        setup.model.train()
    run = _recorded(setup, observer, seed=seed)
    return run.loss if run.error is None and isinstance(run.loss, torch.Tensor) else None


def _recorded(
    setup: TrainingSetup, observer: Observer | None, *, seed: int, substitute: Substitute | None = None
) -> _Run:
    run = _Run(
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
        ((name or "target", tensor) for name, tensor in _named(setup.targets, "target")), is_target=True
    )
    return recorder


def _drive(run: _Run) -> None:
    """Forward and loss under the recorder. User frames are searched for below this function."""
    setup, recorder = run.setup, run.recorder
    try:
        with recorder.recording():
            if setup.own_loss is not None:
                run.loss = setup.own_loss(setup.model, setup.inputs, setup.targets)
                return
            run.output = setup.call_model()
            run.stage = "loss"
            recorder.enter_loss()
            run.loss = setup.compute_loss(run.output)
    except BaseException as error:
        if is_fatal(error):
            raise
        run.error = error


def _graph(run: _Run, *, method: str) -> Graph:
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


def _failure(run: _Run, error: BaseException) -> Failure:
    code = getattr(error, "code", None)
    call = run.recorder.tracker.failure
    location = getattr(error, "location", None) or location_of_exception(error, _drive.__code__)
    if isinstance(code, str) and code.startswith("RUN"):
        return Failure(code, str(error), location=location, trace=getattr(error, "trace", None))
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


def _backward(run: _Run, made: TrainingPass) -> tuple[BaseException | None, bool]:
    """_Run backward; (the exception it raised or None, whether a random projection stood in for the loss)."""
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
    try:
        loss.backward()
    except BaseException as error:
        if is_fatal(error):
            raise
        made.reasons["BackwardStats"] = "backward raised (RUN004)"
        return error, surrogate
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


def _losses(run: _Run, graph: Graph) -> LossCalls | None:
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


def _refused_losses(run: _Run, graph: Graph) -> LossCalls | None:
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


def _settle(run: _Run, made: TrainingPass, collector: Collector, *, surrogate: bool) -> None:
    graph = made.graph
    assert graph is not None  # set by the caller
    layers, gradients = layer_statistics(graph, collector)
    made.forward = ForwardStats(
        layers=layers,
        samples=collector.layout.samples,
        loss=made.losses.value if made.losses is not None else None,
        graph=graph,
        assumed=run.setup.inputs_assumed,
        outputs_finite=all_finite(run.output),
    )
    if "BackwardStats" in made.reasons:
        return
    # Kept for the steps probe: they are the gradients of its first step.
    made.gradients = {name: p.grad for name, p in run.setup.model.named_parameters() if p.grad is not None}
    weights = parameter_gradients(run.setup, histograms=collector.histograms)
    made.backward = BackwardStats(gradients, weights, graph, surrogate)


def named_inputs(setup: TrainingSetup) -> Iterator[tuple[str, torch.Tensor]]:
    """Input tensors with the names of forward's parameters."""
    import inspect

    try:
        names = list(inspect.signature(setup.model.forward).parameters)
    except (TypeError, ValueError):
        names = []
    inputs = setup.inputs
    if not isinstance(inputs, (tuple, dict)):
        inputs = (inputs,)
    pairs = (
        inputs.items()
        if isinstance(inputs, dict)
        else ((names[i] if i < len(names) else f"input{i}", v) for i, v in enumerate(inputs))
    )
    for name, value in pairs:
        yield from _named(value, str(name))


def _named(value: Any, base: str) -> Iterator[tuple[str, torch.Tensor]]:
    for path, tensor in tensor_leaves(value):
        yield ".".join([base, *map(str, path)]), tensor
