"""The user's data: taking one batch from it, and telling inputs from targets."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from nnlint.frames import format_trace, location_of_exception
from nnlint.seeding import seeded
from nnlint.setup.adapters.training_step import remembering
from nnlint.setup.errors import SetupError
from nnlint.setup.inputs.signature import ForwardSignature
from nnlint.setup.options import SetupOptions
from nnlint.setup.training_setup import LABEL_KEYS, TrainingSetup
from nnlint.tensors import describe, is_scalar


def take_first_batch(setup: TrainingSetup, options: SetupOptions) -> TrainingSetup:
    """`setup` with inputs and targets from the first batch of its data, if it has data and no inputs.

    A one-shot iterator is advanced once; the batch taken is put back before what `data` then yields. The random
    generators, a DataLoader's own included, are as before afterwards.

    Raises:
        SetupError: RUN001, when the data raises, is empty or holds something that is no batch.
    """
    if setup.data is None or setup.inputs is not None:
        return setup
    setup = _batched(setup, options)
    try:
        with seeded(options.seed), _own_generators_kept(setup.data):
            source = iter(setup.data)
            batch = next(source, None)
    except Exception as error:
        raise SetupError(
            "RUN001",
            f"the data raised {type(error).__name__} when its first batch was taken: {error}",
            location=location_of_exception(error),
            trace=format_trace(error),
            fix="make next(iter(data)) work without nnlint first",
        ) from error
    if batch is None:
        fix = "give data that yields at least one batch; drop_last=True leaves none of a small dataset"
        raise SetupError("RUN001", f"the data is empty: {describe(setup.data)} yields no batch", fix=fix)
    changes: dict[str, Any] = {}
    if source is setup.data:
        changes["data"] = itertools.chain([batch], source)
    inputs, targets = split_batch(batch, setup.model, has_loss=setup.loss is not None)
    changes |= {"inputs": inputs, "targets": targets if setup.targets is None else setup.targets}
    changes |= remembering(setup, batch, inputs, changes["targets"])
    return setup.model_copy(update=changes)


def _batched(setup: TrainingSetup, options: SetupOptions) -> TrainingSetup:
    """A dataset of single samples is put in a DataLoader, as training will do."""
    data = setup.data
    if not isinstance(data, torch.utils.data.Dataset) or isinstance(data, torch.utils.data.IterableDataset):
        return setup
    loader: Any = torch.utils.data.DataLoader(data, batch_size=options.samples)
    text = f"data is a dataset of single samples: batched by {options.samples}, in its order"
    return setup.with_assumption(text, data=loader)


@contextmanager
def _own_generators_kept(data: Any) -> Iterator[None]:
    """Restores the generators that a DataLoader and its sampler hold themselves."""
    owners = (data, getattr(data, "sampler", None))
    found = [getattr(owner, "generator", None) for owner in owners]
    states = [(g, g.get_state()) for g in found if isinstance(g, torch.Generator)]
    try:
        yield
    finally:
        for generator, state in states:
            generator.set_state(state)


def split_batch(batch: Any, model: nn.Module, *, has_loss: bool) -> tuple[Any, Any]:
    """The (inputs, targets) of a batch; targets are None where it has none.

    A pair is (inputs, targets); of a longer tuple the last element is the targets; of a dict, the label key is.

    Raises:
        SetupError: RUN001, for something that is no batch.
    """
    if isinstance(batch, Mapping):
        return _split_mapping(batch, model, has_loss=has_loss)
    if isinstance(batch, (tuple, list)):
        if not batch:
            raise SetupError("RUN001", "the data yields empty batches", fix="yield (inputs, targets)")
        *inputs, targets = batch
        if not inputs:
            return targets, None
        return (inputs[0] if len(inputs) == 1 else tuple(inputs)), targets
    if isinstance(batch, (str, bytes, int, float)) or type(batch).__module__ == "numpy" or is_scalar(batch):
        raise SetupError(
            "RUN001",
            f"the data yields {describe(batch)}: a batch is a tensor, an (inputs, targets) tuple or a dict of tensors",
            fix="yield (inputs, targets), both tensors",
        )
    return batch, None


def _split_mapping(batch: Mapping[str, Any], model: nn.Module, *, has_loss: bool) -> tuple[Any, Any]:
    signature = ForwardSignature.of(model)
    key = next((name for name in LABEL_KEYS if name in batch), None)
    targets = batch[key] if key is not None else None
    # Without a loss function a model that takes the labels computes the loss from them.
    kept = key in signature.names and not has_loss
    inputs = {name: value for name, value in batch.items() if name != key or kept}
    if signature.open_ended or inputs.keys() <= set(signature.names):
        return inputs, targets
    if len(inputs) == 1:
        return next(iter(inputs.values())), targets
    if len(signature.required) == 1:
        # forward(batch): the model picks what it needs.
        return (dict(batch),), targets
    known = {name: value for name, value in inputs.items() if name in signature.names}
    return (known or inputs), targets
