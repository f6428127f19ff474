"""Operators on what the axes mean: views that mix, positions, steps and softmax along the wrong one; see benchmarks/mutators.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks.mutation_tools import (
    LINEAR,
    NORMS,
    Call,
    Fields,
    NotApplicable,
    Wrapped,
    called,
    is_classification,
    prediction_of,
    renew,
    replace,
    trace,
)
from benchmarks.mutators import Mutant, chosen, operator
from benchmarks.mutators_attention import HandMade, attention_of


def _settled(fields: Fields) -> bool:
    """Whether labels, one for each sample, say which axis of the input holds the samples."""
    inputs = fields.get("inputs")
    first = next(
        (part for part in (inputs if isinstance(inputs, tuple) else (inputs,)) if isinstance(part, torch.Tensor)), None
    )
    targets = fields.get("targets")
    one_each = (
        isinstance(targets, torch.Tensor) and targets.dim() == 1 and first is not None and len(targets) == len(first)
    )
    return one_each and is_classification(fields) and (first.dim() < 2 or first.shape[0] != first.shape[1])


def _inner(fields: Fields, rank: int) -> Call | None:
    """A layer in the middle whose output has this rank, and a size for each axis that no other has."""
    usable = []
    for call in trace(fields).of(*LINEAR, *NORMS, nn.LayerNorm):
        shape = tuple(call.returned.shape)
        if len(shape) == rank and len(set(shape)) >= rank - 1 and min(shape) > 1 and shape[0] not in shape[1:]:
            usable.append(call)
    return chosen(usable)


# -------------------------------------------------------------------- ARC029


@operator("a feature map counted out as tokens and back", "ARC029")
def map_as_tokens(fields: Fields) -> Mutant | None:
    """(N, C, H, W) viewed as (N, H*W, C), as if it were permuted; then permuted back as if it had been."""
    call = _inner(fields, 4)
    if call is None or call.returned.shape[1] == call.returned[0, 0].numel():
        return None

    def mixed(x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        return x.reshape(n, h * w, c).transpose(1, 2).reshape(n, c, h, w)

    return _after(fields, call, mixed)


@operator("time and features swapped by a view", "ARC029")
def time_as_features(fields: Fields) -> Mutant | None:
    call = _inner(fields, 3)
    if call is None or call.returned.shape[1] == call.returned.shape[2]:
        return None

    def mixed(x: torch.Tensor) -> torch.Tensor:
        return x.reshape(x.shape[0], x.shape[2], x.shape[1]).transpose(1, 2)

    return _after(fields, call, mixed)


@operator("batch and time swapped by a view", "ARC029")
def batch_as_time(fields: Fields) -> Mutant | None:
    call = _inner(fields, 3)
    if call is None or call.returned.shape[0] == call.returned.shape[1]:
        return None
    return _after(fields, call, lambda x: x.reshape(x.shape[1], x.shape[0], x.shape[2]).transpose(0, 1))


def _after(fields: Fields, call: Call, change: Any) -> Mutant:
    """The layer's output changed; another layer has to read it, or nothing but the loss knows of the mixture."""
    replace(fields["model"], call.path, Wrapped(call.module, after=change))
    above = call.path.rpartition(".")[0]
    return Mutant(fields, (call.path, above))


class HeadsByView(HandMade):
    """Heads counted out in the wrong order."""

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape
        return x.reshape(n, self.heads, length, width // self.heads)


@operator("heads split by a view", "ARC029")
def heads_by_view(fields: Fields) -> Mutant | None:
    found = attention_of(fields)
    if found is None or found[1].num_heads < 2:
        return None
    path, old = found
    replace(fields["model"], path, HeadsByView(old, heads=old.num_heads))
    return Mutant(renew(fields), (path,))


# -------------------------------------------------------------------- ARC027


class ByEinsum(HandMade):
    """Scores and values by einsum; the values are summed over the queries."""

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **_: Any
    ) -> tuple[torch.Tensor, None]:
        q, k, v = (layer(x) for layer, x in ((self.query, query), (self.key, key), (self.value, value)))
        weights = (torch.einsum("nqc,nkc->nqk", q, k) / q.shape[-1] ** 0.5).softmax(-1)
        return self.out(torch.einsum("nqk,nqc->nkc", weights, v)), None


@operator("values summed over the queries", "ARC027")
def values_over_queries(fields: Fields) -> Mutant | None:
    found = attention_of(fields)
    if found is None:
        return None
    path, old = found
    replace(fields["model"], path, ByEinsum(old))
    mutant = renew(fields)
    _runs(mutant)
    return Mutant(mutant, (path,))


# -------------------------------------------------------------------- ARC009, ARC030, ARC031


class TimeFirst(nn.Module):
    """A layer of sequences given time first, its output turned back."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> Any:
        out, state = self.layer(x.transpose(0, 1))
        return out.transpose(0, 1), state


@operator("time moved first before a batch_first layer", "ARC009")
def time_first(fields: Fields) -> Mutant | None:
    path = _recurrent(fields)
    if path is None:
        return None
    replace(fields["model"], path, TimeFirst(fields["model"].get_submodule(path)))
    _runs(fields)
    return Mutant(fields, (path, f"{path}.layer"))


class Recurrent(nn.Module):
    """A recurrent layer of sequences after a layer; it takes (time, samples, features)."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer, self.rnn = layer, nn.GRU(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.rnn(self.layer(x))[0]
        return out


@operator("a recurrent layer without batch_first", "ARC009")
def without_batch_first(fields: Fields) -> Mutant | None:
    call = _sequences(fields)
    if call is None:
        return None
    replace(fields["model"], call.path, Recurrent(call.module, call.returned.shape[2]))
    return Mutant(renew(fields), (call.path, f"{call.path}.rnn"))


def _sequences(fields: Fields) -> Call | None:
    """The first layer that gives (samples, several steps, features)."""
    if not _settled(fields):
        return None
    found = trace(fields).of(nn.Embedding, nn.Linear)
    usable = [call for call in found if call.returned.dim() == 3 and call.returned.shape[0] == len(fields["targets"])]
    return next((call for call in usable if call.returned.shape[1] > 1), None)


def _recurrent(fields: Fields) -> str | None:
    """A batch-first recurrent layer that is called once, with (samples, several steps, features) and nothing else."""
    if not _settled(fields):
        return None
    seen: list[str] = []

    def note(path: str) -> Any:
        def look(module: nn.RNNBase, given: tuple[Any, ...]) -> None:
            plain = len(given) == 1 and isinstance(given[0], torch.Tensor) and given[0].dim() == 3
            if plain and module.batch_first and given[0].shape[0] == len(fields["targets"]) and given[0].shape[1] > 1:
                seen.append(path)

        return look

    named = [(path, module) for path, module in fields["model"].named_modules() if isinstance(module, nn.RNNBase)]
    hooks = [module.register_forward_pre_hook(note(path)) for path, module in named]
    trace(fields)
    for hook in hooks:
        hook.remove()
    return next((path for path in seen if seen.count(path) == 1), None)


class PositionsOfSamples(nn.Module):
    """A layer and the tutorial's table of positions, (length, 1, width), cut by the size of the batch."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer(
            "table", (torch.arange(512)[:, None] / 10000 ** torch.linspace(0, 1, width)).sin().unsqueeze(1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.layer(x)
        return out + self.table[: out.size(0)]


@operator("positions by the size of the batch", "ARC030")
def positions_of_samples(fields: Fields) -> Mutant | None:
    """On data that have the batch first."""
    call = _sequences(fields)
    if call is None:
        return None
    replace(fields["model"], call.path, PositionsOfSamples(call.module, call.returned.shape[2]))
    above = call.path.rpartition(".")[0]
    return Mutant(fields, (call.path, above))


class LastOfBatch(nn.Module):
    """A recurrent layer that hands on the last sample for the last step, for as many samples as there are steps."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> Any:
        out, state = self.layer(x)
        last = out[-1]
        return last.unsqueeze(1).expand(-1, out.shape[1], -1), state


@operator("the last sample for the last step", "ARC031")
def last_of_batch(fields: Fields) -> Mutant | None:
    path = _recurrent(fields)
    if path is None or not isinstance(fields["inputs"], torch.Tensor) or fields["inputs"].dim() < 2:
        return None
    steps = fields["inputs"].shape[1]
    if steps > len(fields["targets"]):
        return None
    fields = {**fields, "inputs": fields["inputs"][:steps], "targets": fields["targets"][:steps]}
    before = trace(fields).prediction
    replace(fields["model"], path, LastOfBatch(fields["model"].get_submodule(path)))
    _runs(fields)
    after = trace(fields).prediction
    if before is None or after is None or before.shape != after.shape or torch.allclose(before, after):
        return None  # only the state is read, not the output
    return Mutant(fields, (path,))


def _runs(fields: Fields) -> None:
    """Only a mutant whose shapes fit is one: where they do not, torch says so itself."""
    try:
        with torch.random.fork_rng(), torch.no_grad():
            prediction = prediction_of(called(fields["model"], fields["inputs"]))
            if prediction is not None and fields.get("loss") is not None:
                fields["loss"](prediction, fields.get("targets"))
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise NotApplicable from error


# -------------------------------------------------------------------- LOS008, LOS015


@operator("log_softmax over the batch, as many samples as classes", "LOS008")
def square_softmax(fields: Fields) -> Mutant | None:
    found = trace(fields)
    logits, inputs = found.prediction, fields.get("inputs")
    if logits is None or logits.dim() != 2 or not _settled(fields) or not isinstance(inputs, torch.Tensor):
        return None
    classes = logits.shape[1]
    head = found.head()
    if head is None or classes > len(inputs) or classes < 3:
        return None
    cut = {**fields, "inputs": inputs[:classes], "targets": fields["targets"][:classes], "loss": nn.NLLLoss()}
    replace(cut["model"], head.path, nn.Sequential(head.module, nn.LogSoftmax(dim=0)))
    return Mutant(cut, (head.path, f"{head.path}.1"))


@operator("a column of advantages against a row of ratios", "LOS015")
def paired_advantages(fields: Fields) -> Mutant | None:
    """The clipped objective of PPO with advantages (N, 1)."""
    logits = trace(fields).prediction
    if logits is None or logits.dim() != 2 or not _settled(fields):
        return None
    labels = fields["targets"]

    def clipped(output: Any, advantage: torch.Tensor) -> torch.Tensor:
        chosen_logits = prediction_of(output).log_softmax(1).gather(1, labels[: len(advantage), None]).squeeze(1)
        ratio = (chosen_logits - chosen_logits.detach()).exp()
        return -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()

    generator = torch.Generator().manual_seed(0)
    return Mutant({**fields, "loss": clipped, "targets": torch.randn(len(labels), 1, generator=generator)})
