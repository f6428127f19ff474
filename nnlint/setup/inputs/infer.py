"""Example inputs for a model that came without any, each guess tried on a fake copy of the model."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import nn

from nnlint.setup.adapters.huggingface import huggingface_hints, is_huggingface
from nnlint.setup.errors import SetupError
from nnlint.setup.inputs.fake_run import Outcome, Trial
from nnlint.setup.inputs.layer_guesses import LayerGuess, TensorSpec, guesses, scanned
from nnlint.setup.inputs.model_hints import Hint, attribute_hints
from nnlint.setup.inputs.signature import ForwardSignature, defines_forward
from nnlint.setup.options import SetupOptions
from nnlint.setup.training_setup import TrainingSetup
from nnlint.tensors import map_tensors, summary, tensors_in

#: Seconds of trying after which inference gives up.
_TIME_LIMIT = 30.0
_LAYERS = 6
#: How a linear layer, or a `view` before it, refuses a size: on real tensors, on fake ones, and in `view`.
_MISMATCHES = ("shapes cannot be multiplied", "must have same reduction dim", "is invalid for input of size")
_MIXED = "the output has lost the batch dimension"
_BY_LAYER = "noise that fits"
_Accepted: TypeAlias = "tuple[Hint, Any, Outcome | None]"

_TIME_NAMES = frozenset({"t", "time", "timestep", "timesteps", "step", "sigma", "noise_level"})


def infer_inputs(setup: TrainingSetup, options: SetupOptions) -> TrainingSetup:
    """`setup` with example inputs that its model takes, and the assumption said.

    Raises:
        SetupError: RUN005, with what was tried and the `--input` to give.
    """
    model = setup.model
    if not defines_forward(model):
        name = type(model).__name__
        raise SetupError("RUN005", f"{name} defines no forward(): there is nothing to call", setup=setup)
    search = _Search(model, options)
    found = search.first_accepted(_hints(model, options.samples))
    if found is None:
        raise SetupError("RUN005", search.failure(), setup=setup)
    hint, inputs, outcome = found
    doubt = "" if outcome is not None else "; could not be tried out"
    text = f"inputs are made up ({summary(inputs)}): {hint.origin}{doubt}"
    changes: dict[str, Any] = {"inputs": inputs, "inputs_assumed": True}
    if setup.loss is None and setup.targets is None and hint.targets is not None:
        changes |= {"targets": hint.targets(inputs), "targets_assumed": True}
        text += "; labels are random too, for the loss that the model computes itself"
    changes |= {name: value for name, value in hint.changes.items() if name not in setup.model_fields_set}
    return setup.with_assumption(text, **changes)


def _hints(model: nn.Module, samples: int) -> Iterator[Hint]:
    if is_huggingface(model):
        yield from huggingface_hints(model, samples)
    yield from attribute_hints(model, samples)
    yield from _layer_hints(model, samples)


@dataclass
class _Search:
    """Tries hints one after the other, in training mode and then in evaluation mode, and remembers why they failed."""

    model: nn.Module
    options: SetupOptions
    failures: list[tuple[str, str]] = field(default_factory=list)
    scanned: set[tuple[int, ...]] = field(default_factory=set)

    def first_accepted(self, hints: Iterable[Hint]) -> _Accepted | None:
        try:
            trial = Trial(self.model)
        except Exception:
            return self._untried(hints)
        hints = list(itertools.islice(hints, 2000))
        for training in (True, False):
            trial.set_training(training=training)
            found = self._try_all(trial, hints)
            if found is not None:
                return found
        return None

    def _untried(self, hints: Iterable[Hint]) -> _Accepted | None:
        """The first hint as it is, for a model that cannot be copied to try anything on."""
        hint = next(iter(hints), None)
        return None if hint is None else (hint, self._made(hint), None)

    def _try_all(self, trial: Trial, hints: Sequence[Hint]) -> _Accepted | None:
        deadline = time.monotonic() + _TIME_LIMIT
        doubtful: _Accepted | None = None
        for _, group in itertools.groupby(hints, key=lambda hint: hint.origin):
            mismatched: tuple[Hint, torch.Tensor] | None = None
            for hint in group:
                if time.monotonic() > deadline:
                    self.failures.append(("further shapes", f"not tried within {_TIME_LIMIT:.0f} s"))
                    return doubtful
                inputs = self._made(hint)
                reason = self._refusal(trial, hint, inputs)
                if isinstance(reason, Outcome):
                    return hint, inputs, reason
                if reason == _MIXED:
                    doubtful = doubtful or (hint, inputs, trial.run(inputs))
                if _is_size_mismatch(reason) and isinstance(inputs, torch.Tensor):
                    mismatched = mismatched or (hint, inputs)
                self.failures.append((summary(inputs), reason))
            found = self._scan(trial, *mismatched, deadline) if mismatched is not None else None
            if found is not None:
                return found
        return doubtful

    def _refusal(self, trial: Trial, hint: Hint, inputs: Any) -> Outcome | str:
        """The outcome of a hint that the model takes, or the reason why it does not."""
        outcome = trial.run(inputs)
        if outcome.succeeded and hint.ranged:
            outcome = trial.run_for_real(inputs) or outcome
        if not outcome.succeeded:
            return outcome.reason
        # `x.view(-1, 400)` takes many a wrong size by mixing the samples.
        mixed = hint.origin.startswith(_BY_LAYER) and not _keeps_batch(outcome.output, self.options.samples)
        return _MIXED if mixed else outcome

    def _scan(self, trial: Trial, hint: Hint, inputs: torch.Tensor, deadline: float) -> _Accepted | None:
        """Every size, where a convolutional net flattens into a linear layer that fits only one."""
        spec = TensorSpec(tuple(inputs.shape), inputs.dtype)
        by_layer = hint.origin.startswith(_BY_LAYER) and inputs.is_floating_point()
        if not by_layer or len(spec.shape) < 3 or spec.shape[:2] in self.scanned:
            return None
        self.scanned.add(spec.shape[:2])
        for other in scanned(spec):
            if time.monotonic() > deadline:
                return None
            candidate = Hint(other.make, f"{hint.origin} and the linear layer that follows")
            made = self._made(candidate)
            outcome = self._refusal(trial, candidate, made)
            if isinstance(outcome, Outcome):
                return candidate, made, outcome
        return None

    def _made(self, hint: Hint) -> Any:
        device = next((p.device for p in self.model.parameters() if not p.is_meta), torch.device("cpu"))
        made = hint.make(torch.Generator().manual_seed(self.options.seed))
        return map_tensors(lambda tensor: tensor.to(device), made)

    def failure(self) -> str:
        """Why nothing was found, what was tried, and what to write instead."""
        tried = self.failures
        arguments = ", ".join(ForwardSignature.of(self.model).to_fill)
        advice = "give the shape without the batch dimension, such as --input 3x32x32 or --input 'ids=16:int<1000>'"
        if not tried:
            return f"no example input for forward({arguments}): the model has no layer to infer one from; {advice}"
        shapes = list(dict.fromkeys(shape for shape, _ in tried))
        more = f" and {len(shapes) - 4} more" if len(shapes) > 4 else ""
        return (
            f"no example input for forward({arguments}) could be inferred: tried {'; '.join(shapes[:4])}{more}; "
            f"the first failed with {tried[0][1]}; {advice}"
        )


def _is_size_mismatch(reason: str) -> bool:
    return reason == _MIXED or any(text in reason for text in _MISMATCHES)


def _keeps_batch(output: Any, samples: int) -> bool:
    """Whether a prediction still has a dimension for the samples; a scalar (a loss) tells nothing."""
    prediction = next((tensor for tensor in tensors_in(output) if tensor.dim()), None)
    return prediction is None or samples in prediction.shape


def _layer_hints(model: nn.Module, samples: int) -> Iterator[Hint]:
    """Inputs made from what the first layers could be given, for the arguments that `forward` requires."""
    signature = ForwardSignature.of(model)
    layers = _distinct(guesses(model, samples))
    if not layers:
        return
    names = signature.to_fill
    named = {name: specs for name in names if len(names) > 1 and (specs := _specs_by_name(name, samples))}
    free = [name for name in names if name not in named]
    for specs, layer in _assignments(layers, len(free)):
        assigned = dict(zip(free, specs, strict=True))
        for others in itertools.product(*named.values()):
            values = {**assigned, **dict(zip(named, others, strict=True))}
            yield _specs_hint({name: values[name] for name in names}, signature, layer)


def _distinct(found: Iterator[LayerGuess]) -> list[LayerGuess]:
    """The first layers whose guesses differ."""
    kept: dict[tuple[TensorSpec, ...], LayerGuess] = {}
    for guess in found:
        kept.setdefault(guess.specs, guess)
        if len(kept) == _LAYERS:
            break
    return list(kept.values())


def _assignments(layers: Sequence[LayerGuess], count: int) -> Iterator[tuple[tuple[TensorSpec, ...], str]]:
    """Specs for `count` arguments, likeliest first, with the layer or layers they were made for."""
    if count <= 1:
        for guess in layers:
            for spec in guess.specs:
                yield (spec,) * count, guess.layer
        return
    # Fake tensors show a wrong shape, but no index out of range: indices go to their own tables first.
    indices = not layers[0].specs[0].dtype.is_floating_point
    towers, twins = _towers(layers, count), _twins(layers, count)
    yield from itertools.chain(towers, twins) if indices else itertools.chain(twins, towers)
    pool = [(spec, guess.layer) for guess in layers for spec in guess.specs[:3]][:8]
    if count > 4:
        return
    for chosen in itertools.product(pool, repeat=count):
        yield tuple(spec for spec, _ in chosen), " and ".join(dict.fromkeys(layer for _, layer in chosen))


def _twins(layers: Sequence[LayerGuess], count: int) -> Iterator[tuple[tuple[TensorSpec, ...], str]]:
    """The same for every argument."""
    for guess in layers[:3]:
        for spec in guess.specs[:6]:
            yield (spec,) * count, guess.layer


def _towers(layers: Sequence[LayerGuess], count: int) -> Iterator[tuple[tuple[TensorSpec, ...], str]]:
    """Each argument for a layer of its own, in their order: two towers, or the two sides of a translation."""
    if len(layers) < count:
        return
    first = layers[:count]
    names = " and ".join(guess.layer for guess in first)
    for specs in zip(*(guess.specs for guess in first), strict=False):
        yield specs, names


def _specs_by_name(name: str, samples: int) -> tuple[TensorSpec, ...]:
    """What arguments of well-known names hold, whatever the layers are."""
    if name in _TIME_NAMES:
        return (
            TensorSpec((samples,), torch.int64, 1000),
            TensorSpec((samples,)),
            TensorSpec((samples, 1)),
        )
    if name == "edge_index":
        return (TensorSpec((2, 4 * samples), torch.int64, samples),)
    if name in {"adj", "adjacency"}:
        return (TensorSpec((samples, samples)),)
    if "mask" in name:
        return (TensorSpec((samples, 16), torch.bool), TensorSpec((16, 16), torch.bool))
    return ()


def _specs_hint(specs: dict[str, TensorSpec], signature: ForwardSignature, layer: str) -> Hint:
    def make(generator: torch.Generator) -> Any:
        values = {name: spec.make(generator) for name, spec in specs.items()}
        if signature.keyword_only & values.keys():
            return values
        return tuple(values.values()) if len(values) > 1 else next(iter(values.values()))

    integers = sum(not spec.dtype.is_floating_point for spec in specs.values())
    return Hint(make, f"{_BY_LAYER} {layer}", ranged=integers > 0)
