"""Operators on padding, time and the labels of sequence models; see benchmarks/mutators.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.mutation_tools import (
    Fields,
    called,
    labels_of,
    prediction_of,
    renew,
    restore,
    tensors_of,
    with_labels,
)
from benchmarks.mutators import Mutant, operator

IGNORED = -100
SHORTEST = 4
#: Smaller changes of the outputs, relative to the largest, are none: the model is not sensitive to the fault.
FELT = 1e-3


def _ids(fields: Fields) -> torch.Tensor | None:
    """(batch, time) token ids of a model of transformers, or the single integer input of any other."""
    inputs = fields.get("inputs") if isinstance(fields, dict) else None
    if isinstance(inputs, Mapping):
        inputs = inputs.get("input_ids")
    if not isinstance(inputs, torch.Tensor) or inputs.is_floating_point() or inputs.dim() != 2:
        return None
    return inputs if inputs.shape[0] > 2 and inputs.shape[1] > 2 * SHORTEST else None


def _with_ids(fields: Fields, ids: torch.Tensor, **more: Any) -> Fields:
    inputs = fields["inputs"]
    return {**fields, "inputs": {**inputs, "input_ids": ids, **more} if isinstance(inputs, Mapping) else ids}


def _pad(fields: Fields) -> int | None:
    number = getattr(getattr(fields["model"], "config", None), "pad_token_id", None)
    return number if isinstance(number, int) and number >= 0 else None


def _valid(ids: torch.Tensor) -> torch.Tensor:
    """True at content: lengths from a third of the time to all but one position, different ones."""
    batch, time = ids.shape
    lengths = SHORTEST + torch.arange(batch) * (time - 1 - SHORTEST) // max(1, batch - 1)
    return torch.arange(time) < lengths[:, None]


def _causal(fields: Fields) -> bool:
    return any(getattr(module, "is_causal", False) is True for module in fields["model"].modules())


def _output(fields: Fields) -> torch.Tensor | None:
    """The prediction in evaluation mode; None where the model raises."""
    model: nn.Module = fields["model"]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.eval()
    try:
        with torch.random.fork_rng(), torch.no_grad():
            return prediction_of(called(model, fields["inputs"]))
    except Exception:
        return None
    finally:
        model.train()
        restore(model, state)


def _is_felt(healthy: Fields, faulty: Fields, rows: torch.Tensor | None) -> bool:
    """Whether a fault changes the outputs, at these positions where there are any."""
    one, other = _output(healthy), _output(faulty)
    if one is None or other is None or one.shape != other.shape:
        return False
    if rows is not None and one.shape[:2] == rows.shape:
        one, other = one[rows], other[rows]
    return float((one - other).abs().max()) > FELT * float(one.abs().max())


def _padded(fields: Fields, labels: torch.Tensor | None = None) -> tuple[Fields, torch.Tensor] | None:
    """A setup of transformers with padding and its mask, labels ignored there; and where the content is."""
    ids, pad = _ids(fields), _pad(fields)
    if (
        ids is None
        or pad is None
        or not isinstance(fields["inputs"], Mapping)
        or "decoder_input_ids" in fields["inputs"]
    ):
        return None
    valid = _valid(ids)
    made = _with_ids(fields, ids.masked_fill(~valid, pad), attention_mask=valid.long())
    given = labels_of(fields) if labels is None else labels
    if given is not None and given.shape == ids.shape:
        made = with_labels(made, given.masked_fill(~valid, IGNORED))
    return made, valid


@operator("padding without its mask", "ARC032")
def padding_without_mask(fields: Fields) -> Mutant | None:
    found = _padded(fields) if _ids(fields) is not None and not _causal(fields) else None
    if found is None:
        return None
    healthy, valid = found
    faulty = {
        **healthy,
        "inputs": {name: value for name, value in healthy["inputs"].items() if name != "attention_mask"},
    }
    return Mutant(faulty) if _is_felt(healthy, faulty, valid) else None


@operator("a padding mask of ones", "ARC032")
def mask_of_ones(fields: Fields) -> Mutant | None:
    found = _padded(fields) if _ids(fields) is not None and not _causal(fields) else None
    if found is None:
        return None
    healthy, valid = found
    faulty = {**healthy, "inputs": {**healthy["inputs"], "attention_mask": torch.ones_like(valid, dtype=torch.long)}}
    return Mutant(faulty) if _is_felt(healthy, faulty, valid) else None


@operator("an inverted padding mask", "ARC032")
def inverted_mask(fields: Fields) -> Mutant | None:
    found = _padded(fields) if _ids(fields) is not None and not _causal(fields) else None
    if found is None:
        return None
    healthy, valid = found
    faulty = {**healthy, "inputs": {**healthy["inputs"], "attention_mask": (~valid).long()}}
    return Mutant(faulty) if _is_felt(healthy, faulty, valid) else None


@operator("padding among the labels that count", "LOS028")
def padding_counts(fields: Fields) -> Mutant | None:
    ids = _ids(fields)
    found, labels = (_padded(fields), labels_of(fields)) if ids is not None else (None, None)
    if found is None or ids is None or labels is None or labels.shape != ids.shape:
        return None
    healthy, valid = found
    return Mutant(with_labels(healthy, labels.masked_fill(~valid, _pad(fields) or 0)))


def _predicts_next(fields: Fields) -> torch.Tensor | None:
    """Ids of a causal model of transformers that computes its own loss from labels; the labels given may be any."""
    ids = _ids(fields)
    own = ids is not None and fields.get("loss") is None and isinstance(fields["inputs"], Mapping)
    if not own or "labels" not in fields["inputs"] or not _causal(fields):
        return None
    named = type(fields["model"]).__name__.endswith(("ForCausalLM", "LMHeadModel"))
    return ids if named and _shifts(fields, ids) else None


def _shifts(fields: Fields, ids: torch.Tensor) -> bool:
    """Whether the model's own loss compares each position with the label after it: some decoders leave that to their caller."""
    model: nn.Module = fields["model"]
    model.eval()
    with torch.no_grad(), torch.random.fork_rng():
        output = called(model, {**fields["inputs"], "labels": ids})
    model.train()
    logits = prediction_of(output)
    if logits is None or logits.shape[:2] != ids.shape:
        return False
    pairs = (logits[:, :-1], ids[:, 1:]), (logits, ids)
    after, same = (float(functional.cross_entropy(one.flatten(0, 1), other.flatten())) for one, other in pairs)
    return abs(float(output.loss) - after) < abs(float(output.loss) - same)


@operator("labels shifted before the model shifts them", "LOS029")
def shifted_twice(fields: Fields) -> Mutant | None:
    ids = _predicts_next(fields)
    if ids is None:
        return None
    inputs = {name: value[:, :-1] if value.shape == ids.shape else value for name, value in fields["inputs"].items()}
    return Mutant({**fields, "inputs": {**inputs, "labels": ids[:, 1:].contiguous()}})


@operator("labels that are the inputs", "LOS029")
def not_shifted(fields: Fields) -> Mutant | None:
    ids = _ids(fields)
    labels = labels_of(fields) if ids is not None else None
    if ids is None or labels is None or labels.shape != ids.shape or isinstance(fields["inputs"], Mapping):
        return None
    # A next-token model: its labels are its inputs, one position on.
    return Mutant({**fields, "targets": ids.clone()}) if torch.equal(labels[:, :-1], ids[:, 1:]) else None


class BothWays(nn.Module):
    """A model that reads its input in both directions and averages."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        forward, backward = self.model(x), self.model(x.flip(1)).flip(1)
        return (forward + backward) / 2


@operator("a language model that reads both ways", "ARC018")
def both_ways(fields: Fields) -> Mutant | None:
    inputs, targets = (fields.get("inputs"), fields.get("targets")) if isinstance(fields, dict) else (None, None)
    if not isinstance(inputs, torch.Tensor) or not isinstance(targets, torch.Tensor) or inputs.dim() < 2:
        return None
    if inputs.shape != targets.shape or inputs.shape[1] < SHORTEST or not torch.equal(targets[:, :-1], inputs[:, 1:]):
        return None
    output = _output(fields)
    if output is None or output.dim() != 3 or output.shape[:2] != inputs.shape[:2]:
        return None
    return Mutant({**fields, "model": BothWays(fields["model"])})


@operator("the end is ignored with the padding", "LOS030")
def end_ignored(fields: Fields) -> Mutant | None:
    ids = _predicts_next(fields)
    end = getattr(getattr(fields["model"], "config", None), "eos_token_id", None) if ids is not None else None
    if not isinstance(end, int) or ids is None or not 0 <= end < int(getattr(fields["model"].config, "vocab_size", 0)):
        return None
    valid = _valid(ids)
    ended = ids.masked_fill(~valid, end)
    made = _with_ids(fields, ended, attention_mask=valid.long())
    return Mutant(with_labels(made, ended.masked_fill(ended == end, IGNORED)))


@operator("a second input that is one value", "DAT002")
def constant_input(fields: Fields) -> Mutant | None:
    inputs = fields.get("inputs") if isinstance(fields, dict) else None
    if not isinstance(inputs, tuple) or len(inputs) < 2:
        return None
    for place, tensor in enumerate(inputs[1:], start=1):
        dense = isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided
        fits = dense and tensor.dim() in (2, 3) and tensor.is_floating_point()
        if fits and tensor.shape[-1] > 1 and tensor.shape[0] == inputs[0].shape[0] > 7 and len(tensor.unique()) > 8:
            changed = (*inputs[:place], torch.full_like(tensor, 0.5), *inputs[place + 1 :])
            return (
                Mutant({**fields, "inputs": changed}) if _is_felt(fields, {**fields, "inputs": changed}, None) else None
            )
    return None


@operator("positions of zero", "ARC021")
def without_positions(fields: Fields) -> Mutant | None:
    """Of a sequence that is given as one, where nothing else tells its order: within the patches of a picture there is enough."""
    model, inputs = fields["model"], fields.get("inputs")
    given = next((part for part in tensors_of(inputs) if part.dim() > 1), None) if inputs is not None else None
    if given is None or given.dim() > 3 or fields.get("causal"):
        return None
    named = [value for name, value in model.named_parameters() if "position" in name.lower() or "pos_embed" in name]
    if not named or type(model).__name__.endswith(("ForCausalLM", "LMHeadModel")):
        return None
    for parameter in named:
        parameter.requires_grad_(requires_grad=False).data.zero_()
    return Mutant(renew(fields)) if _is_blind(fields, given.shape[1]) else None


def _is_blind(fields: Fields, length: int) -> bool:
    """Whether shuffling all positions but the first shuffles the outputs and changes nothing else."""
    order = torch.cat([torch.tensor([0]), 1 + torch.randperm(length - 1, generator=torch.Generator().manual_seed(0))])

    def shuffled(value: Any) -> Any:
        return value[:, order] if isinstance(value, torch.Tensor) and value.dim() > 1 and value.shape[1] == length else value

    inputs = fields["inputs"]
    if isinstance(inputs, Mapping):
        other: Any = {name: shuffled(value) for name, value in inputs.items()}
    else:
        other = tuple(map(shuffled, inputs)) if isinstance(inputs, tuple) else shuffled(inputs)
    one, two = _output(fields), _output({**fields, "inputs": other})
    if one is None or two is None or one.shape != two.shape:
        return False
    one = shuffled(one) if one.dim() > 2 else one
    return float((one - two).abs().max()) < FELT * float(one.abs().max())
