"""The state guard: whatever a probe does, the caller's model, optimizer, data and process are bit for bit as before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nnlint.capture.torch_private import global_hooks
from nnlint.guard.belongings import ArrayState, ClassState
from nnlint.guard.interpreter import interpreter_states
from nnlint.guard.process import WarningFilters, settings
from nnlint.guard.reach import CellState, ContainerState, GeneratorState, Reach
from nnlint.guard.scripted import ScriptedState, is_scripted, scripted_tensors
from nnlint.guard.surroundings import surroundings
from nnlint.guard.tensors import TensorStore, attempt
from nnlint.seeding import RandomStates
from nnlint.tensors import tensors_in

if TYPE_CHECKING:
    from typing_extensions import Self

    from nnlint.setup.training_setup import TrainingSetup


class RestoreError(RuntimeError):
    """Something could not be put back as it was; the message says what. The caller's state must not be trusted."""


class StateGuard:
    """Remembers the state of a model and all that its code can reach, and puts it back.

    Covered: parameters, buffers and other tensors (contents, storage, shape, dtype, requires_grad, gradient, hooks),
    attributes of every module and of plain objects it holds (caches, counters, sub-modules, hook tables, training
    flags), small numpy arrays, attributes of the user's own classes, closures, the module-level variables that the
    user's functions name, optimizer and scheduler, random generators, torch's modes and flags, warning filters,
    version counters; of the process: working directory, environment, import path, signal handlers, logging, streams,
    limits, timers, locale, traces and how numbers are printed.
    Not covered: files, what is imported, functions of libraries that are replaced, exit handlers, threads and child
    processes, context variables that were not set before, and objects behind C extensions.

    Inside the `with` block gradients start as None. The guard can be entered again and again; `rewind` starts afresh
    within a block.
    """

    def __init__(
        self, model: nn.Module, *others: object, data: Mapping[str, object] | None = None, weights: bool = True
    ) -> None:
        """Take the snapshot.

        Args:
            model: the model.
            others: loss modules or functions, optimizer, scheduler; None is passed over.
            data: inputs and targets by name, which a forward may change in place.
            weights: False keeps no copy of tensor contents, for probes that cannot write to them.
        """
        data = data or {}
        given = [tensor for value in data.values() for tensor in tensors_in(value)]
        self._owed = False
        reach = Reach((model, *others, *data.values()))
        with torch.no_grad():
            self._tensors = TensorStore(_all_tensors(reach, given), contents=weights)
        self._types = [(module, type(module)) for module in reach.modules]
        # Grad mode, default device and the like come first: they change what later writes mean.
        self._restorers: list[Callable[[], None]] = [setting.restore for setting in (*settings(), *surroundings())]
        self._restorers.append(RandomStates().restore)
        states = [ContainerState(container) for container in (*reach.containers, *global_hooks())]
        self._restorers += [state.restore for state in states]
        self._restorers += [ClassState(kind).restore for kind in reach.classes]
        self._restorers += [state.restore for state in reach.slotted]
        self._restorers += [ArrayState(array).restore for array in reach.arrays]
        self._restorers += [CellState(cell).restore for cell in reach.cells]
        self._restorers += [GeneratorState(generator).restore for generator in reach.generators]
        self._restorers += [ScriptedState(module).restore for module in reach.modules if is_scripted(module)]
        self._restorers += [state.restore for state in reach.variables]
        self._restorers += [state.restore for state in (*interpreter_states(), WarningFilters())]

    @classmethod
    def capture(cls, setup: TrainingSetup, *, weights: bool = True) -> StateGuard:
        """Take the snapshot of all that a training setup holds."""
        return cls(
            setup.model,
            setup.loss,
            setup.own_loss,
            setup.optimizer,
            setup.scheduler,
            data={"inputs": setup.inputs, "targets": setup.targets},
            weights=weights,
        )

    def __enter__(self) -> Self:
        self._tensors.isolate_gradients()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()

    def saved(self, tensor: Tensor) -> Tensor | None:
        """The contents a tensor had when the snapshot was taken (not to be written to); None where none were kept."""
        return self._tensors.saved(tensor)

    def differs(self, tensor: Tensor) -> bool:
        """Whether a tensor's contents are now other than when the snapshot was taken."""
        return self._tensors.differs(tensor)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Like the `with` block of the guard itself, for a probe that is not meant to write to weights.

        Afterwards everything is put back, but large tensors that torch counts no write to are not compared. The whole is
        owed: `settle` does it before the caller gets the state back.
        """
        self._tensors.isolate_gradients()
        try:
            yield
        except BaseException:
            self.restore()
            raise
        self.restore(after_reading=True)

    def settle(self) -> None:
        """Compare and restore all that `reading` left out.

        Raises:
            RestoreError: something could not be put back; everything else was.
        """
        if self._owed:
            self.restore()

    def rewind(self, *, after_reading: bool = False) -> None:
        """Restore, and take the gradients off again: the next probe starts where the first did."""
        self.restore(after_reading=after_reading)
        self._tensors.isolate_gradients()

    def restore(self, *, after_reading: bool = False) -> None:
        """Put everything back as it was when the snapshot was taken. May be called any number of times.

        Args:
            after_reading: leave out the large tensors that torch counts no write to; see `reading`.

        Raises:
            RestoreError: something could not be put back; everything else was.
        """
        failures: list[Exception] = []
        self._owed = after_reading
        for restorer in self._restorers:
            attempt(restorer, failures)
        for module, kind in self._types:
            if type(module) is not kind:
                attempt(lambda module=module, kind=kind: _set_type(module, kind), failures)
        failures += self._tensors.restore(after_reading=after_reading)
        if failures:
            raise RestoreError(f"could not restore the model's state: {failures[0]}") from failures[0]


def _set_type(module: Any, kind: type) -> None:
    module.__class__ = kind


def _all_tensors(reach: Reach, data: list[Tensor]) -> list[Tensor]:
    """What was reached, and what script modules keep in C++ where no walk over attributes comes."""
    found = {id(tensor): tensor for tensor in reach.tensors}
    found.update((id(tensor), tensor) for tensor in data)
    for module in reach.modules:
        for tensor in scripted_tensors(module):
            found.setdefault(id(tensor), tensor)
    return list(found.values())
