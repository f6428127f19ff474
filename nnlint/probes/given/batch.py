"""Evidence `Batch`: the inputs and targets, and more batches of the data where it can be read again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nnlint.dense import plain, stored
from nnlint.finding import Location, Skip
from nnlint.frames import is_fatal
from nnlint.guard.reach import GeneratorState
from nnlint.probes.given.dataset import Failed, dataset_targets, is_shuffled
from nnlint.probes.torch_errors import during, one_line
from nnlint.samples import batch_axis, given_samples, sample_count
from nnlint.seeding import seeded
from nnlint.setup.batches import split_batch
from nnlint.setup.errors import SetupError
from nnlint.tensors import beside, is_dense, is_fake, named_tensors, shape_of

if TYPE_CHECKING:
    from nnlint.probes.session import Session
    from nnlint.setup.training_setup import TrainingSetup

#: Memory for further batches of the data, beyond which no more are read.
_READ_BYTES = 1 << 28
#: Of the random numbers that reading the data may draw.
_SEEDS = {"data": 0, "val_data": 1}
_NAMED = {"data": "the training data", "val_data": "the validation data"}
#: Samples of a dataset that are read for their targets alone.
_SPREAD_SAMPLES = 128


@dataclass(frozen=True, eq=False)
class BatchTensor:
    """One tensor of a batch.

    Attributes:
        name: `inputs`, `inputs['mask']`, `targets[0]`.
        tensor: the values, detached; not to be written to.
        assumed: made up by nnlint.
    """

    name: str
    tensor: Tensor = field(repr=False)
    assumed: bool = False
    axis: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return shape_of(self.tensor)

    @property
    def dtype(self) -> str:
        """Its dtype without the prefix: `float32`."""
        return str(self.tensor.dtype).removeprefix("torch.")

    @property
    def is_dense(self) -> bool:
        """Whether it is a box of numbers whose samples can be compared: not sparse, not nested."""
        return is_dense(self.tensor)

    @property
    def is_floating(self) -> bool:
        """Whether it holds floating-point numbers."""
        return self.tensor.is_floating_point()

    @property
    def is_integer(self) -> bool:
        """Whether it holds integers (not booleans): token ids, class indices, raw images."""
        return not self.tensor.is_floating_point() and not self.tensor.is_complex() and self.tensor.dtype != torch.bool

    @property
    def by_sample(self) -> Tensor:
        """The tensor with the axis of the samples first: time-major data have it second."""
        return self.tensor.movedim(self.axis, 0) if self.axis else self.tensor

    @property
    def samples(self) -> int:
        """Length of the axis of the samples."""
        return self.shape[self.axis] if self.shape else 1

    @cached_property
    def values(self) -> Tensor:
        """All numbers in a row, in double precision.

        Raises:
            Skip: the tensor has no values (static check).
        """
        if is_fake(self.tensor):
            raise Skip(f"{self.name} has a shape but no values")
        dense = stored(self.tensor) if self.tensor.is_nested else plain(self.tensor)
        if dense is None:
            raise Skip(f"the values of {self.name} ({type(self.tensor).__name__}) cannot be read")
        return (dense.abs() if dense.is_complex() else dense).reshape(-1).double()

    @cached_property
    def _finite_values(self) -> Tensor:
        values = self.values
        return values if self.finite else values[torch.isfinite(values)]

    @cached_property
    def nan_count(self) -> int:
        """How many NaN."""
        return int(torch.isnan(self.values).sum())

    @cached_property
    def inf_count(self) -> int:
        """How many infinities."""
        return int(torch.isinf(self.values).sum())

    @cached_property
    def finite(self) -> bool:
        """Whether every number is finite."""
        return bool(torch.isfinite(self.values).all())

    @property
    def mean(self) -> float:
        """Mean of the finite numbers; NaN where there are none."""
        return float(self._finite_values.mean()) if self._finite_values.numel() else math.nan

    @property
    def std(self) -> float:
        """Standard deviation of the finite numbers; NaN where there are none."""
        return float(self._finite_values.std(correction=0)) if self._finite_values.numel() else math.nan

    @property
    def min(self) -> float:
        """Smallest finite number; NaN where there are none."""
        return float(self._finite_values.min()) if self._finite_values.numel() else math.nan

    @property
    def max(self) -> float:
        """Largest finite number; NaN where there are none."""
        return float(self._finite_values.max()) if self._finite_values.numel() else math.nan

    @property
    def constant(self) -> bool:
        """Whether all numbers are finite and the same."""
        return self.finite and self.values.numel() > 0 and self.min == self.max


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch: the tensors that go into the model and the loss.

    Attributes:
        inputs: the tensors of the inputs, however nested.
        targets: the tensors of the targets; empty where there are none.
        samples: how many samples the batch has, 0 where no tensor tells.
        assumed: the inputs were made up by nnlint.
        targets_assumed: the targets were.
    """

    inputs: tuple[BatchTensor, ...]
    targets: tuple[BatchTensor, ...]
    samples: int
    assumed: bool = False
    targets_assumed: bool = False
    module_path: str = ""
    location: Location | None = None
    label: str = "the batch"
    _setup: TrainingSetup | None = field(default=None, repr=False)
    _failed: Failed | None = field(default=None, repr=False)
    _read: dict[tuple[str, int], tuple[Batch, ...] | Skip] = field(default_factory=dict, repr=False)

    @classmethod
    def from_setup(cls, setup: TrainingSetup) -> Batch:
        """The batch of a setup.

        Raises:
            Skip: the setup has no inputs.
        """
        if setup.inputs is None:
            raise Skip("no example input")
        return cls.of(setup.inputs, setup.targets, setup, (setup.inputs_assumed, setup.targets_assumed))

    @classmethod
    def of(cls, inputs: Any, targets: Any, setup: TrainingSetup, assumed: tuple[bool, bool] = (False, False)) -> Batch:
        """The batch of these inputs and targets; `assumed` says which of the two were made up."""
        given = setup.model_copy(update={"inputs": inputs, "targets": targets})
        count = sample_count(given)
        views = [
            tuple(
                BatchTensor(name, _readable(tensor), made, batch_axis(tensor, count) or 0)
                for name, tensor in named_tensors(value, prefix)
            )
            for value, prefix, made in ((inputs, "inputs", assumed[0]), (targets, "targets", assumed[1]))
        ]
        return cls(views[0], views[1], given_samples(given), *assumed, _setup=setup)

    def require_real(self) -> None:
        """Refuse to judge made-up inputs.

        Raises:
            Skip: the inputs are not the user's.
        """
        if self.assumed:
            raise Skip("needs a real batch; nnlint generated the inputs")
        if self.inputs and not any(view.tensor.numel() for view in self.inputs):
            raise Skip("the batch is empty")

    def require_real_targets(self) -> None:
        """Refuse to judge made-up or missing targets.

        Raises:
            Skip: the targets are not the user's, or there are none, or they have no values.
        """
        if not self.targets:
            raise Skip("no targets were given")
        if self.targets_assumed:
            raise Skip("needs real targets; nnlint generated them")
        if any(is_fake(view.tensor) for view in self.targets):
            raise Skip("the targets are on the meta device: they have no values")
        if not any(view.tensor.numel() for view in self.targets):
            raise Skip("the batch is empty")

    def batches(self, limit: int) -> tuple[Batch, ...]:
        """Up to `limit` batches of the training data, read afresh; this batch where it cannot be."""
        return self._batches("data", limit) or (self,)

    def val_batches(self, limit: int) -> tuple[Batch, ...]:
        """Up to `limit` batches of the validation data; empty where none was given or it cannot be read again."""
        return self._batches("val_data", limit)

    @property
    def shuffled(self) -> bool | None:
        """Whether the training data is drawn in random order; None where that cannot be seen."""
        return is_shuffled(self._setup.data) if self._setup is not None else None

    @property
    def listed(self) -> bool:
        """Whether the training data is a list of batches, read in its order."""
        return self._setup is not None and isinstance(self._setup.data, (list, tuple))

    @cached_property
    def dataset_targets(self) -> Tensor | None:
        """Targets of the training dataset from its first to its last sample, or of some spread over it; None where unknown."""
        return dataset_targets(self._setup.data, _SPREAD_SAMPLES, self._failed) if self._setup is not None else None

    def _batches(self, which: str, limit: int) -> tuple[Batch, ...]:
        key = (which, limit)
        if key not in self._read:
            try:
                self._read[key] = () if self._setup is None else self._pairs(which, limit, self._setup)
            except Skip as skip:
                self._read[key] = skip
        found = self._read[key]
        if isinstance(found, Skip):
            raise Skip(found.reason)
        return found

    def _pairs(self, which: str, limit: int, setup: TrainingSetup) -> tuple[Batch, ...]:
        pairs = read_pairs(which, limit, setup, self._failed)
        return tuple(Batch.of(inputs, targets, setup) for inputs, targets in pairs)


def read_pairs(which: str, limit: int, setup: TrainingSetup, failed: Failed | None = None) -> list[tuple[Any, Any]]:
    """(inputs, targets) from data that starts anew with every `iter`; none from an iterator: it is the user's to consume.

    Args:
        which: "data" or "val_data". Each has a seed of its own: items that are drawn when they are read would be the same.
        limit: how many batches.
        setup: whose data.
        failed: told of what the data raises; None where that is no failure of the check.

    Raises:
        Skip: the data raises when it is read.
    """
    data = getattr(setup, which)
    if data is None or not hasattr(data, "__iter__"):
        return []
    generators = [getattr(owner, "generator", None) for owner in (data, getattr(data, "sampler", None))]
    states = [GeneratorState(generator) for generator in generators if isinstance(generator, torch.Generator)]
    try:
        with seeded(_SEEDS[which]), during(f"reading {_NAMED[which]}", "read the data to its end outside nnlint"):
            source = iter(data)
            if source is data:
                return []
            raw = list(_within_memory(itertools.islice(source, limit)))
        pairs = [split_batch(batch, setup.model, has_loss=setup.loss is not None) for batch in raw]
        return [beside(setup.inputs, pair) for pair in pairs]
    except SetupError as error:
        raise Skip(f"{which}: {error.message}") from error
    except BaseException as error:
        if is_fatal(error):
            raise
        if failed is not None:
            raise failed(which, error) from error
        raise Skip(f"{which} raised when it was read: {one_line(error)}") from error
    finally:
        for state in states:
            state.restore()


def _within_memory(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches, as far as they fit into the memory that is spent on them; at least one."""
    total = 0
    for batch in batches:
        yield batch
        total += sum(tensor.numel() * tensor.element_size() for _, tensor in named_tensors(batch, "batch"))
        if total > _READ_BYTES:
            return


def _readable(tensor: Tensor) -> Tensor:
    """A wrapper as the box of numbers that it stands for; sparse, nested and fake ones as they are."""
    if not is_dense(tensor) or is_fake(tensor):
        return tensor.detach()
    found = plain(tensor)
    return found if found is not None else tensor.detach()


def provide(session: Session) -> Batch:
    """The batch of the setup."""
    return replace(Batch.from_setup(session.setup), _failed=failed_reading(session))


def failed_reading(session: Session) -> Failed | None:
    """What is told of data that raises: nothing where a script was observed, whose files may be closed by now."""
    return None if session.is_observed else session.failed
