"""From what the user gave to a setup that can be run: inputs, loss, targets, device."""

from __future__ import annotations

from typing import Any

import torch

from nnlint.capture.torch_private import lacking
from nnlint.setup.adapters.huggingface import huggingface_changes, is_huggingface
from nnlint.setup.adapters.lightning import is_lightning_module, with_lightning, without_loss_on_noise
from nnlint.setup.batches import take_first_batch
from nnlint.setup.errors import SetupError
from nnlint.setup.inputs.infer import infer_inputs
from nnlint.setup.inputs.signature import ForwardSignature
from nnlint.setup.inputs.spec import make_inputs, parse_input
from nnlint.setup.losses import assume_targets, named_loss
from nnlint.setup.options import SetupOptions
from nnlint.setup.placement import beside_model, packable
from nnlint.setup.target.attribute import load_attribute
from nnlint.setup.target.checkpoint import with_weights
from nnlint.setup.training_setup import TrainingSetup
from nnlint.setup.users_code import own_default_device
from nnlint.tensors import move, summary


@own_default_device()
def complete(setup: TrainingSetup, options: SetupOptions) -> TrainingSetup:
    """`setup` with what the options replace and what it lacks, each assumption said.

    Inputs come from `--input`, else the setup itself, else the first batch of its data, else the configuration, else
    they are inferred from the model.

    Raises:
        SetupError: RUN001 for an option that cannot be used, RUN005 when no inputs are to be had.
    """
    device = check_device(options.device) if options.device is not None else None
    changes: dict[str, Any] = {"libraries": options.libraries}
    if options.loss is not None:
        changes |= {"loss": _loss(options.loss, options), "own_loss": None}
    if options.classes is not None and setup.num_classes is None:
        changes["num_classes"] = options.classes
    setup = setup.model_copy(update=changes)
    if options.weights is not None:
        setup = with_weights(setup, options.weights, options.base)
    if is_lightning_module(setup.model):
        setup = with_lightning(setup)
    if device is not None:
        setup = setup.to(device)
    setup = without_loss_on_noise(_with_inputs(setup, options))
    setup = beside_model(setup) if device is None else setup.to(device)
    if is_huggingface(setup.model):
        setup = setup.model_copy(update=huggingface_changes(setup))
    setup = assume_targets(setup, options)
    for text in lacking():
        setup = setup.with_assumption(text)
    return packable(setup.to(device)) if device is not None else setup


def _with_inputs(setup: TrainingSetup, options: SetupOptions) -> TrainingSetup:
    if options.inputs:
        # The setup's own targets belong to the inputs that are being replaced.
        dropped = setup.inputs is not None or setup.data is not None
        replaced = setup.model_copy(update={"targets": None}) if dropped else setup
        return _specified(replaced, options.inputs, "--input", options)
    setup = take_first_batch(setup, options)
    if setup.inputs is not None:
        return setup
    if options.default_inputs:
        return _specified(setup, options.default_inputs, "the configuration", options)
    return infer_inputs(setup, options)


def _specified(setup: TrainingSetup, specs: tuple[str, ...], origin: str, options: SetupOptions) -> TrainingSetup:
    for text in specs:
        parse_input(text)
    generator = torch.Generator().manual_seed(options.seed)
    names = ForwardSignature.of(setup.model).names
    inputs = make_inputs(specs, names, options.samples, generator)
    device = next((p.device for p in setup.model.parameters() if not p.is_meta), torch.device("cpu"))
    text = f"inputs are made up ({summary(inputs)}): noise of the shape given by {origin}"
    return setup.with_assumption(text, inputs=move(inputs, device), inputs_assumed=True)


def _loss(name: str, options: SetupOptions) -> Any:
    if ":" not in name:
        return named_loss(name)
    found = load_attribute(name, options)
    if isinstance(found, type):
        found = found()
    if not callable(found):
        raise SetupError("RUN001", f"the loss {name} is not callable", fix="name a function loss(output, targets)")
    return found


def check_device(name: str) -> torch.device:
    """The device of this name, if this torch and this machine have it.

    Raises:
        SetupError: RUN001, saying which of the two lacks it.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SetupError("RUN001", f"unknown device {name!r}", fix="write cpu, cuda, cuda:0 or mps") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        built = "no CUDA device is visible" if torch.version.cuda else f"this torch ({torch.__version__}) has no CUDA"
        raise SetupError("RUN001", f"device {name!r} is not available: {built}", fix="write --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        message = f"device {name!r} is not available: there are {torch.cuda.device_count()}"
        raise SetupError("RUN001", message, fix="write --device cuda:0")
    try:
        torch.empty(0, device=device)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SetupError("RUN001", f"device {name!r} is not available: {reason}", fix="write --device cpu") from error
    return device
