"""Why samples mix: what the rules about dependence between samples share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import Model, ModuleView, Op, SampleMixing

_ROUTERS = frozenset({"topk", "sort", "argsort", "argmax", "cumsum", "one_hot", "nonzero", "where", "scatter"})


def time_major_layer(found: SampleMixing | None, model: Model) -> ModuleView | None:
    """The layer with `batch_first=False` where mixing starts; None where something else mixes."""
    if found is None or found.op is None or not found.op.is_kind("recurrent", "attention"):
        return None
    given = found.op.activations[0].shape if found.op.activations else None
    if given and found.samples in given[1:2] and given[0] != found.samples:
        return None  # time comes first, as the layer wants it: something before it has mixed the samples up
    for path in dict.fromkeys((found.op.module_path, *reversed(found.op.modules))):
        view = model.find(path)
        if view is not None and view.attribute("batch_first") is not None:
            return view if view.attribute("batch_first") is False else None
    return None


def are_steps(found: SampleMixing) -> bool:
    """Whether the rows are time steps of sequences: a view takes them apart, and the states of that many sequences are an input."""
    op, graph = found.op, found.graph
    if op is None or graph is None or not op.is_kind("view") or len(op.shape or ()) < 2:
        return False
    steps, sequences = (op.shape or ())[:2]
    if steps * sequences != found.samples:
        return False
    states = {given for given in graph.inputs if (given.shape or (0,))[0] in {steps, sequences} - {found.samples}}
    layers = (layer for layer in graph.calls("recurrent") if op in graph.ancestors(layer))
    return any(not states.isdisjoint(graph.ancestors(layer)) for layer in layers)


def legitimate_reason(found: SampleMixing, traits: frozenset[str]) -> str:
    """Why the samples may be meant to depend on each other; empty where nothing says so."""
    if found.pairwise:
        return "the outputs are batch x batch: each sample is scored against each, as contrastive losses want it"
    if "set-input" in traits:
        return "the samples are declared to be members of a set"
    if found.op is None:
        return ""
    if found.op.is_kind("batch-norm", "instance-norm"):
        return "this norm uses batch statistics in evaluation mode too (track_running_stats=False, or training=True)"
    if found.graph is not None and _is_routed(found.op, found):
        return "rows are routed to experts that share a capacity"
    return ""


def _is_routed(op: Op, found: SampleMixing) -> bool:
    """Whether a choice made from gate probabilities is upstream: a top-k or a running count after a softmax."""
    assert found.graph is not None  # checked by the caller
    above = found.graph.ancestors(op) | {op}
    routers = [other for other in above if other.name in _ROUTERS]
    return any(
        gate.is_kind("softmax", "sigmoid") for router in routers for gate in found.graph.ancestors(router)
    ) and any(router.name in ("topk", "argmax", "one_hot") for router in routers)
