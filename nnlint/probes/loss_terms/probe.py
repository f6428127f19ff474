"""Measures `LossTerms`: one more forward, and a backward for each summand and each target that carries a gradient."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from nnlint.finding import Skip
from nnlint.probes.loss_terms.aliases import aliases
from nnlint.probes.loss_terms.gradients import Trained, trained
from nnlint.probes.loss_terms.stats import LossTerm, LossTerms, SelfComparison, TargetPath
from nnlint.probes.loss_terms.summands import Summand, summands
from nnlint.probes.loss_terms.targets import Candidate, Reference, candidates, layers_of, parameters_of, references
from nnlint.probes.torch_errors import one_line
from nnlint.probes.training_pass.reruns import run_observed
from nnlint.samples import sample_count

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.probes.session import Session
    from nnlint.setup.training_setup import TrainingSetup

#: Targets that are looked at.
_TARGETS = 4
#: Relative difference of two passes, with and without gradients, through the same layers: some have other kernels for it.
_ROUNDING = 1e-5


def provide(session: Session) -> LossTerms:
    """The summands of the loss and the targets that are trained, with their gradients.

    Raises:
        Skip: there is no loss that can be differentiated, or a second run makes other operations than the first.
    """
    losses = session.evidence("LossCalls").require_result()
    graph = losses.graph
    terms, paths, same = summands(graph), list(candidates(graph))[:_TARGETS], list(references(graph))[:_TARGETS]
    if not losses.requires_grad or losses.shape not in ((), (1,)):
        raise Skip("the loss cannot be differentiated")
    if len(terms) < 2 and not paths and not same:
        alone = tuple(LossTerm(term.op, term.factor, losses.value or math.nan, {}) for term in terms)
        return LossTerms(alone, (), graph, sample_count(session.setup))
    found: LossTerms = session.measure(
        "loss terms", lambda: _measured(session.setup, graph, terms, paths, same, seed=session.plan.seed), reads_only=True
    )
    return found


@dataclass
class _Kept:
    """Observer of a recorder: keeps the tensors of some nodes, which the same run made before, by their names.

    A term that is added to in place is kept as it was then.
    """

    names: frozenset[str]
    tensors: dict[str, Tensor] = field(default_factory=dict)
    copies: dict[str, Tensor] = field(default_factory=dict)
    functions: dict[str, Any] = field(default_factory=dict)

    def __call__(self, node: fx.Node, output: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.functions[node.name] = node.target
        if node.name in self.names:
            self.tensors[node.name] = output
            self.copies[node.name] = output.clone()

    def repeats(self, graph: Graph) -> bool:
        """Whether the run made the operations of the recorded one: else the names mean others.

        A mask that is made once and kept, say, or boxes that are drawn anew.
        """
        recorded = {node.name: node.target for node in graph.fx.nodes if node.op in ("call_function", "call_method")}
        if any(name not in recorded or recorded[name] != function for name, function in self.functions.items()):
            return False
        # Parts of a result with several are nodes of the graph that no observer is told of.
        seen = set(self.functions.values()) - {operator.getitem}
        return not any(name not in self.functions and function in seen for name, function in recorded.items())


def _measured(
    setup: TrainingSetup,
    graph: Graph,
    terms: Sequence[Summand],
    paths: Sequence[Candidate],
    same: Sequence[Reference],
    *,
    seed: int,
) -> LossTerms:
    wanted = [term.op.node.name for term in terms] + [path.target.node.name for path in paths]
    wanted += [op.node.name for pair in same for op in (pair.answer, pair.reference)]
    kept = _Kept(frozenset(wanted))
    with torch.enable_grad():
        loss = run_observed(setup, kept, seed=seed)
    if loss is None:
        raise Skip("the loss cannot be computed again")
    if not kept.repeats(graph):
        raise Skip("the forward or the loss makes other operations when it runs again")
    parameters = trained(setup)
    with _several_backwards():
        measured = tuple(_term(term, kept, parameters) for term in terms)
        targets = tuple(found for path in paths if (found := _path(path, kept, loss, parameters)) is not None)
    itself = tuple(one for pair in same if (one := _itself(pair, kept, setup)) is not None)
    return LossTerms(measured, targets, graph, sample_count(setup), itself)


@contextmanager
def _several_backwards() -> Iterator[None]:
    """Skip where one backward raises after another on the same graph: a training step, which has been run, needs one only."""
    try:
        yield
    except Exception as error:  # a function that gives up what it saved: checkpoints of one's own, say
        raise Skip(f"the loss can be differentiated only once: {one_line(error)}") from error


def _itself(pair: Reference, kept: _Kept, setup: TrainingSetup) -> SelfComparison | None:
    """The comparison, where both sides are equal, or the reference is the network itself under another name."""
    layers = layers_of(pair.reference)
    if _is_itself(pair, kept):
        return SelfComparison(pair.op, layers)
    named = dict(setup.model.named_parameters(remove_duplicate=False))
    own = frozenset(id(named[name]) for name in parameters_of(pair.reference) if name in named)
    alias = next((one for one in aliases(setup) if own and own <= one.parameters), None)
    return SelfComparison(pair.op, layers, alias.names) if alias is not None else None


def _is_itself(pair: Reference, kept: _Kept) -> bool:
    """Whether both sides are equal up to rounding: what dropout or another view of the sample changes is no such comparison."""
    sides = [kept.copies.get(op.node.name) for op in (pair.answer, pair.reference)]
    if sides[0] is None or sides[1] is None or sides[0].shape != sides[1].shape:
        return False
    return torch.allclose(sides[0], sides[1], rtol=_ROUNDING, atol=_ROUNDING * float(sides[0].abs().max()))


def _term(term: Summand, kept: _Kept, parameters: Trained) -> LossTerm:
    tensor = kept.copies.get(term.op.node.name)
    if tensor is None:
        return LossTerm(term.op, term.factor, math.nan, {})
    value = term.reduced(tensor)
    number = term.factor * float(value.detach()) if value.numel() == 1 else math.nan
    norms = _norms(parameters.gradients(value.sum() * term.factor))
    return LossTerm(term.op, term.factor, number, norms)


def _norms(gradients: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(torch.linalg.vector_norm(made.double())) for name, made in gradients.items()}


def _path(path: Candidate, kept: _Kept, loss: Tensor, parameters: Trained) -> TargetPath | None:
    """How much of the gradient comes through the target; None where none does, or where a teacher is trained by others too."""
    tensor = kept.tensors.get(path.target.node.name)
    if tensor is None or not tensor.requires_grad:
        return None
    (weights,) = parameters.gradients_of(loss, [tensor])
    if weights is None:
        return None
    through, whole = parameters.gradients(tensor, weights), parameters.gradients(loss)
    norm = _total(_norms(through))
    others = any(not torch.allclose(made, whole[name], rtol=1e-3, atol=1e-3 * norm) for name, made in through.items())
    if norm == 0.0 or (path.taught and others and not path.alone):
        return None
    return TargetPath(path.target, path.loss, norm, _total(_norms(whole)), layers_of(path.target), taught=path.taught)


def _total(norms: Mapping[str, float]) -> float:
    return math.sqrt(sum(norm * norm for norm in norms.values()))
