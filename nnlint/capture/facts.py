"""What a run showed besides its operations: modules that nobody registered, inputs that were not given. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


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
        inputs_assumed: the inputs are made up by nnlint.
        targets_assumed: the targets are.
        inputs_left_out: parameters of the model's forward that default to None and were not given: optional inputs.
        modified_inputs: names of input tensors that the run wrote to in place.
        library: the model's class comes from a model library (`transformers`, `timm`, `torchvision`), not from the user.
    """

    unregistered: tuple[UnregisteredModule, ...] = ()
    inputs_assumed: bool = False
    targets_assumed: bool = False
    inputs_left_out: tuple[str, ...] = ()
    modified_inputs: tuple[str, ...] = ()
    library: bool = False
