"""ARC009: a layer that expects (time, batch, features) is given (batch, time, features), or the other way round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint_rules.architecture._mixing import time_major_layer

if TYPE_CHECKING:
    from nnlint import Declared, Graph, Mixing, Model, ModuleView, Op

_LIMIT = 1e-5


@rule("ARC009", "rnn-batch-first", level="error", since="0.1")
def check(graph: Graph, mixing: Mixing | None, model: Model, declared: Declared) -> Iterator[Finding]:
    """A recurrent, attention or Transformer layer runs along the batch: its batch_first does not fit what it is given.

    ## What it does
    Follows the axis of the samples from the inputs to every recurrent, attention and Transformer layer and reports one that
    steps along it, whichever way: batch_first=False on (batch, time, features), batch_first=True on what the net itself has
    permuted to (time, batch, features), such as the columns of a feature map. The axis is known by the targets, the loader's batch
    size, a second input, or a convolution over it. Where it is not known, what is measured decides:
    whether samples of the batch depend on each other in evaluation mode, and at which layer that starts. Where nothing
    tells the two layouts apart the finding is an info, and a layer that is given its state for one sample has one sequence to run
    over. `declared={"time-major"}` settles the layout.

    ## Why is this bad?
    The default of these layers is (time, batch, features). Given (batch, time, features) they step through the batch and
    take the positions of a sample for separate samples: each output depends on the samples before it, and no position sees
    the others of its own sample. Shapes fit, so nothing raises.

    ## Example
        self.rnn = nn.LSTM(32, 64)                      # batch_first=False
        out, _ = self.rnn(x)                            # x is (batch, time, 32)

    ## Use instead
        self.rnn = nn.LSTM(32, 64, batch_first=True)

    ## References
    - https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html
    - https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html
    """
    if "batch-mixing" in declared.traits:
        return
    groups: dict[object, list[tuple[Op, ModuleView]]] = {}
    for op, layer in _along_the_batch(graph, model):
        groups.setdefault(op.location or op.index, []).append((op, layer))  # one line may build a stack of layers
    for calls in groups.values():
        yield _by_axes(graph, calls)
    if not groups and mixing is not None:
        yield from _measured(graph, mixing, model)


def _along_the_batch(graph: Graph, model: Model) -> Iterator[tuple[Op, ModuleView]]:
    """Layers with a `batch_first` that take the samples for positions and something else for samples."""
    flow = graph.axis_flow
    if not flow.batch_is_certain:
        return
    for op, axes in flow.values():
        steps = axes.steps
        layer = _layer(op, model) if steps is not None else None
        if steps is None or layer is None or not steps.samples or graph.is_one_sequence(op):
            continue
        if flow.is_batch(steps.positions) and not flow.has_batch(steps.samples):
            yield op, layer


def _layer(op: Op, model: Model) -> ModuleView | None:
    """The innermost module around the op that has a `batch_first`."""
    views = (model.find(path) for path in dict.fromkeys((op.module_path, *reversed(op.modules))))
    return next((view for view in views if view is not None and view.attribute("batch_first") is not None), None)


def _by_axes(graph: Graph, calls: list[tuple[Op, ModuleView]]) -> Finding:
    flow = graph.axis_flow
    op, layer = calls[0]
    steps = graph.axes(op).steps
    assert steps is not None  # asked by the caller
    assert flow.batch is not None
    is_first = bool(layer.attribute("batch_first"))
    samples = flow.describe(steps.samples)
    taken = "positions" if samples in ("axis", "1") else f"the {samples} axis"
    paths = tuple(dict.fromkeys(view.module_path for _, view in calls))
    others = f" (and {len(paths) - 1} more built alike)" if len(paths) > 1 else ""
    return Finding(
        at=op,
        message=f"{layer.label}{others} has batch_first={is_first} and runs along the batch: it steps through the "
        f"{flow.batch.size} samples and takes {taken} for separate samples",
        evidence={"batch_first": is_first, "shape": list(op.inputs[0].shape or ()), "layers": list(paths)},
        fix=f"construct it with batch_first={not is_first}, or give it x.transpose(0, 1) and transpose its output back",
        modules=tuple(dict.fromkeys([*paths, *(path for call, _ in calls for path in call.modules[-2:]), *_before(graph, op)])),
    )


def _before(graph: Graph, op: Op) -> Iterator[str]:
    """Modules that give the layer its values: an input whose samples are taken for steps loses its effect there."""
    return (found.module_path for found in graph.ancestors(op) if found.module_path)


def _fits(graph: Graph, layer: ModuleView) -> bool:
    """Whether the flow of axes shows that the layer steps along something else and keeps the samples apart."""
    flow = graph.axis_flow
    if not flow.batch_is_certain:
        return False
    calls = [
        axes.steps
        for op, axes in flow.values()
        if axes.steps is not None and layer.module_path in (op.module_path, *op.modules)
    ]
    return bool(calls) and all(flow.is_batch(steps.samples) and not flow.has_batch(steps.positions) for steps in calls)


def _measured(graph: Graph, mixing: Mixing, model: Model) -> Iterator[Finding]:
    """What the comparison of two batches shows, where the flow of axes does not contradict it."""
    suspects = [view for view in model.modules if view.attribute("batch_first") is False and not _fits(graph, view)]
    if not suspects:
        return
    found = mixing.inside or mixing.samples
    layer = time_major_layer(found, model)
    if found is None or layer is None or layer not in suspects:
        return
    whole = "what it changes in its own" if found.of_own else "the largest output"
    outputs = f"the others' outputs by {found.influence:.2g} of {whole} (limit {_LIMIT:g})"
    what = outputs if mixing.inside is None else "what it gives for the others"
    doubt = (
        "" if found.settled else "; the data may just as well be (time, batch, ...): nothing tells the layouts apart"
    )
    yield Finding(
        at=found.op,
        level=None if found.settled else Level.INFO,
        message=f"{layer.label} has batch_first=False and runs along the batch: replacing one of {found.samples} samples "
        f"changes {what}{doubt}",
        evidence={"influence": found.influence, "limit": _LIMIT, "gradient": found.gradient, "batch_first": False},
        fix="construct it with batch_first=True, or give it x.transpose(0, 1) and transpose its output back",
        modules=tuple(view.module_path for view in suspects),
        confidence="high" if found.settled else "low",
    )
