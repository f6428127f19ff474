"""What a run showed besides its operations: modules that nobody registered, inputs that were not given."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlint.provenance import MODEL_LIBRARIES, is_library_file, is_library_package, package_of
from nnlint.samples import are_nodes, batch_layout
from nnlint.tensors import tensors_in
from nnlint.time_axis import flat_order

if TYPE_CHECKING:
    from nnlint.capture.recorder import Recorder
    from nnlint.finding import Location
    from nnlint.setup.training_setup import TrainingSetup


@dataclass(frozen=True)
class UnregisteredModule:
    """A module that the forward called and that `named_modules()` of the model does not list.

    Attributes:
        module_path: where it hangs, as far as that was found (`layers[0]`), else its class in angle brackets.
        type_name: its class.
        trainable: number of trainable values in it that the model does not list either.
        created: the run itself made these parameters; the next forward makes others.
        registered: the run itself registered it (a layer made in the first forward).
    """

    module_path: str
    type_name: str
    trainable: int
    created: bool
    registered: bool


@dataclass(frozen=True)
class RunFacts:
    """Circumstances of a recorded run.

    Attributes:
        unregistered: unregistered modules that were called, outermost only.
        samples: the batch size; 1 where no axis of samples was found.
        inputs_assumed: the inputs are made up by nnlint.
        targets_assumed: the targets are.
        inputs_left_out: parameters of the model's forward that default to None and were not given: optional inputs.
        modified_inputs: names of input tensors that the run wrote to in place.
        library: the model comes from a model library (`transformers`, `timm`, `torchvision`), not from the user.
        libraries: import names of the packages that count as model libraries.
        samples_settled: whether more than the place of their axis speaks for it.
        samples_axis: their axis in the first input: 1 for time-major data.
        samples_are_nodes: the inputs are a graph: what counts as samples are its nodes, which depend on each other.
        flat_targets: sizes of the two leading axes of the first input, in the order in which its flattened targets go through
            them, and the place of the samples among these; None where the targets are not flat or do not tell.
    """

    unregistered: tuple[UnregisteredModule, ...] = ()
    samples: int = 1
    inputs_assumed: bool = False
    targets_assumed: bool = False
    inputs_left_out: tuple[str, ...] = ()
    modified_inputs: tuple[str, ...] = ()
    library: bool = False
    libraries: frozenset[str] = frozenset(MODEL_LIBRARIES)
    samples_settled: bool = False
    samples_axis: int = 0
    samples_are_nodes: bool = False
    flat_targets: tuple[int, int, int] | None = None

    def is_of_library(self, location: Location | None) -> bool:
        """Whether a line (`op.call_location`, `op.construction`) was written by the authors of a model library."""
        return location is not None and is_library_file(location.file, self.libraries)


def run_facts(setup: TrainingSetup, recorder: Recorder) -> RunFacts:
    """The facts of a run of `setup` that `recorder` followed."""
    layout = batch_layout(setup)
    return RunFacts(
        unregistered=recorder.tracker.unregistered_modules(setup.model),
        samples=layout.samples,
        samples_settled=layout.settled,
        samples_axis=layout.axis,
        samples_are_nodes=are_nodes(setup.inputs, layout.samples),
        flat_targets=_flat_targets(setup, layout.axis),
        modified_inputs=tuple(recorder.modified_inputs()),
        inputs_assumed=setup.inputs_assumed,
        targets_assumed=setup.targets_assumed,
        inputs_left_out=tuple(_left_out(setup)),
        library=any(
            is_library_package(name, setup.libraries) for name in (package_of(type(setup.model)), setup.taken_from)
        ),
        libraries=setup.libraries,
    )


def _flat_targets(setup: TrainingSetup, axis: int) -> tuple[int, int, int] | None:
    target = next(tensors_in(setup.targets), None)
    if setup.targets_assumed or target is None or target.dim() != 1:
        return None
    for values in tensors_in(setup.inputs):
        order = flat_order(values, target) if values.dim() == 2 else None
        if order is not None:
            return values.shape[order[0]], values.shape[order[1]], order.index(axis)
    return None


def _left_out(setup: TrainingSetup) -> Iterator[str]:
    """Parameters of the forward that default to None and got no value."""
    try:
        parameters = list(inspect.signature(setup.model.forward).parameters.values())
    except (TypeError, ValueError):
        return
    inputs = setup.inputs
    given = len(inputs) if isinstance(inputs, tuple) else 0 if isinstance(inputs, Mapping) else 1
    for position, parameter in enumerate(parameters):
        named = isinstance(inputs, Mapping) and parameter.name in inputs
        if parameter.default is None and position >= given and not named:
            yield parameter.name
