"""What the mutation operators work with: a setup's layers as they are called, replacing one, and faulty layers to put in."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.nn import functional

Fields = dict[str, Any]

LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.Hardswish, nn.Mish)
#: Leaf modules that keep a composition of linear maps linear, and its widths.
PASSING = (nn.Identity, nn.Dropout, nn.Flatten)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Call:
    """One call of a leaf module in a training-mode forward."""

    path: str
    module: nn.Module
    given: Any = field(repr=False)
    returned: Any = field(repr=False)

    @property
    def is_trained(self) -> bool:
        """Whether a gradient goes through it: no part of a frozen teacher, and nothing that only sees inputs."""
        own = list(self.module.parameters(recurse=False))
        return isinstance(self.returned, torch.Tensor) and self.returned.requires_grad and all(p.requires_grad for p in own)

    @property
    def keeps_shape(self) -> bool:
        """Whether a tensor of one shape comes out as it went in."""
        pair = (self.given, self.returned)
        return all(isinstance(part, torch.Tensor) for part in pair) and self.given.shape == self.returned.shape


@dataclass(frozen=True)
class Trace:
    """The leaf calls of a forward in their order, and the prediction."""

    calls: tuple[Call, ...]
    prediction: torch.Tensor | None

    def of(self, *kinds: type[nn.Module]) -> list[Call]:
        """Calls of trained modules of exactly these types that were called once."""
        counts: dict[str, int] = {}
        for call in self.calls:
            counts[call.path] = counts.get(call.path, 0) + 1
        once = [call for call in self.calls if counts[call.path] == 1]
        return [call for call in once if type(call.module) in kinds and call.is_trained]

    def head(self) -> Call | None:
        """The linear layer whose output is the prediction, up to views and transpositions."""
        if self.prediction is None:
            return None
        wanted = self.prediction.detach().flatten().sort().values
        for call in reversed(self.of(*LINEAR)):
            values = call.returned
            if isinstance(values, torch.Tensor) and values.numel() == wanted.numel():
                if torch.equal(values.detach().flatten().sort().values, wanted):
                    return call
        return None

    def before(self, call: Call) -> Call | None:
        """The last call before this one whose very output it was given; an `nn.Identity` hands on what it was given itself."""
        earlier = self.calls[: next(index for index, other in enumerate(self.calls) if other is call)]
        return next((other for other in reversed(earlier) if other.returned is call.given), None)

    def after(self, call: Call) -> Call | None:
        """The call that was given the call's very output, if it is the only one."""
        readers = [other for other in self.calls if other.given is call.returned]
        return readers[0] if len(readers) == 1 else None


class NotApplicable(Exception):
    """The setup offers no place for a fault."""


def trace(fields: Fields) -> Trace:
    """Run the setup's model once in training mode and note the calls of its leaves; the model's state is kept.

    Tied and declared frozen layers are left out, and those that their parent does not call but reads the weights of.

    Raises:
        NotApplicable: the batch comes from a loader, or the model takes no hooks (TorchScript).
    """
    if fields.get("inputs") is None:
        raise NotApplicable
    model: nn.Module = fields["model"]
    calls: list[Call] = []
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    hooks = [
        module.register_forward_hook(_noting(path, calls))
        for path, module in model.named_modules()
        if not any(True for _ in module.children())
    ]
    try:
        with torch.random.fork_rng(), torch.enable_grad():
            output = called(model, fields.get("inputs"))
    finally:
        for hook in hooks:
            hook.remove()
        restore(model, state)
    usable = [call for call in calls if not _is_bound(fields, call)]
    return Trace(tuple(usable), prediction_of(output))


def restore(model: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Give the model the values it had; past `load_state_dict`, which some models give another meaning (MNASNet)."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.copy_(state[name])


def _is_bound(fields: Fields, call: Call) -> bool:
    """Whether the layer cannot be replaced: what it holds is another's too, frozen, or read by its parent."""
    model, parent = fields["model"], call.path.rpartition(".")[0]
    reads = isinstance(model.get_submodule(parent), (nn.TransformerEncoderLayer, nn.MultiheadAttention))
    return reads or is_declared_frozen(fields, call.path) or is_shared(model, call.module)


def _noting(path: str, calls: list[Call]) -> Callable[..., None]:
    def note(module: nn.Module, given: tuple[Any, ...], returned: Any) -> None:
        calls.append(Call(path, module, given[0] if given else None, returned))

    return note


def called(model: nn.Module, inputs: Any) -> Any:
    """The model's output on a tensor, a tuple of arguments or a dict of them."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def tensors_of(inputs: Any) -> list[torch.Tensor]:
    """The tensors among the inputs."""
    values = inputs.values() if isinstance(inputs, Mapping) else inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    return [value for value in values if isinstance(value, torch.Tensor)]


def mixes(fields: Fields) -> bool:
    """Whether the samples of the unmutated model are meant to depend on each other (nodes of a graph, elements of a set)."""
    model, inputs = fields["model"], fields.get("inputs")
    if "set-input" in fields.get("declared", ()) or not isinstance(inputs, torch.Tensor) or len(inputs) < 2:
        return True
    was_training = model.training
    model.eval()
    changed = inputs.clone()
    changed[0] = inputs[-1]
    with torch.no_grad():
        pair = [prediction_of(called(model, given)) for given in (inputs, changed)]
    model.train(was_training)
    one, other = pair
    return one is None or other is None or one.shape[:1] != inputs.shape[:1] or not torch.allclose(one[1:], other[1:], atol=1e-5)


def prediction_of(output: Any) -> torch.Tensor | None:
    """The tensor that the loss is about: the output, its logits, or the first of several."""
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, Mapping):
        for name in ("logits", "out", "kind"):
            if isinstance(output.get(name), torch.Tensor):
                return output[name]
        return None
    logits = getattr(output, "logits", None)
    return logits if isinstance(logits, torch.Tensor) else None


def replace(model: nn.Module, path: str, new: nn.Module) -> None:
    """Put a module in the place of another, in its precision.

    Raises:
        NotApplicable: there is nothing around the module.
    """
    if not path:
        raise NotApplicable  # the model is the layer itself
    parent, _, name = path.rpartition(".")
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    model.get_submodule(parent).register_module(name, new if dtype == torch.float32 else new.to(dtype))


def renew(fields: Fields, **changes: Any) -> Fields:
    """The fields with an optimizer of the same kind over the model's trainable parameters as they are now.

    Raises:
        NotApplicable: the optimizer is none of torch's kind.
    """
    old = fields.get("optimizer")
    if old is not None and not isinstance(old, torch.optim.Optimizer):
        raise NotApplicable  # a wrapper, which is made of the optimizer in it
    kind = type(old) if old is not None else torch.optim.AdamW
    given = {"lr": 1e-3} if old is None else {key: old.defaults[key] for key in ("lr", "momentum", "weight_decay") if key in old.defaults}
    return optimized(fields, kind, **{**given, **changes})


def optimized(fields: Fields, kind: Any, **settings: Any) -> Fields:
    """The fields with another optimizer over the model's trainable parameters.

    Raises:
        NotApplicable: the optimizer refuses the settings, or needs more.
    """
    kept = {key: value for key, value in fields.items() if key != "scheduler"}
    try:
        return {**kept, "optimizer": kind(trained(fields) or [nn.Parameter(torch.zeros(1))], **settings)}
    except (TypeError, ValueError) as error:
        raise NotApplicable from error


def gradients(fields: Fields) -> int:
    """How many trained parameters the prediction sends a gradient to."""
    model: nn.Module = fields["model"]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.random.fork_rng(), torch.enable_grad():
        prediction = prediction_of(called(model, fields["inputs"]))
    if prediction is None or not prediction.requires_grad:
        return 0
    found = torch.autograd.grad(prediction.sum(), trained(fields), allow_unused=True)
    restore(model, state)
    return sum(gradient is not None for gradient in found)


def trained(fields: Fields) -> list[nn.Parameter]:
    """The parameters that are to be trained: those that neither say otherwise nor are declared frozen."""
    named = fields["model"].named_parameters()
    return [parameter for name, parameter in named if parameter.requires_grad and not is_declared_frozen(fields, name)]


def is_declared_frozen(fields: Fields, name: str) -> bool:
    """Whether a glob of the setup covers the name of a parameter or module."""
    globs = fields.get("frozen", ())
    return any(fnmatchcase(name, f"{glob}*") for glob in ((globs,) if isinstance(globs, str) else globs))


def copied(module: nn.Module) -> Any:
    """A copy of a module.

    Raises:
        NotApplicable: it cannot be copied (the older weight norm).
    """
    try:
        return copy.deepcopy(module)
    except RuntimeError as error:
        raise NotApplicable from error


def is_shared(model: nn.Module, module: nn.Module) -> bool:
    """Whether another module of the model has one of the module's parameters too (a tied head)."""
    own = {id(parameter) for parameter in module.parameters(recurse=False)}
    others = (other for other in model.modules() if other is not module)
    return any(id(parameter) in own for other in others for parameter in other.parameters(recurse=False))


# -------------------------------------------------------------------- targets


def is_classification(fields: Fields) -> bool:
    """Whether the loss is cross-entropy on class indices."""
    loss = fields.get("loss")
    if isinstance(loss, nn.CrossEntropyLoss) or loss is functional.cross_entropy:
        targets = fields.get("targets")
        return isinstance(targets, torch.Tensor) and not targets.is_floating_point()
    return loss is None and _own_classes(fields)


def _own_classes(fields: Fields) -> bool:
    labels = labels_of(fields)
    kinds = ("ForCausalLM", "LMHeadModel", "ForMaskedLM", "ForSequenceClassification", "ForImageClassification", "ForTokenClassification")
    return labels is not None and not labels.is_floating_point() and type(fields["model"]).__name__.endswith(kinds)


def labels_of(fields: Fields) -> torch.Tensor | None:
    """The targets, or the labels among the inputs of a model with a loss of its own."""
    inputs = fields.get("inputs")
    found = inputs.get("labels") if isinstance(inputs, Mapping) else None
    found = fields.get("targets") if found is None else found
    return found if isinstance(found, torch.Tensor) else None


def with_labels(fields: Fields, labels: torch.Tensor) -> Fields:
    """The fields with other targets."""
    inputs = fields.get("inputs")
    if isinstance(inputs, Mapping) and "labels" in inputs:
        return {**fields, "inputs": {**inputs, "labels": labels}}
    return {**fields, "targets": labels}


def float_inputs(fields: Fields) -> torch.Tensor | None:
    """The input, where it is a single floating-point tensor."""
    inputs = fields.get("inputs")
    if isinstance(inputs, tuple) and len(inputs) == 1:
        inputs = inputs[0]
    return inputs if isinstance(inputs, torch.Tensor) and inputs.is_floating_point() else None


# -------------------------------------------------------------------- faulty layers


class Wrapped(nn.Module):
    """A layer with something done to what it gives or gets."""

    def __init__(self, inner: nn.Module, *, before: Callable[..., Any] | None = None, after: Callable[..., Any] | None = None) -> None:
        super().__init__()
        self.inner = inner
        self._before, self._after = before, after

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if self._before is not None:
            x = self._before(x)
        out = self.inner(x, *args, **kwargs)
        return out if self._after is None else self._after(out)


class Discarded(nn.Module):
    """Calls the layer and goes on with what it was given."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.inner(x)
        return x


class Listed(nn.Module):
    """Keeps the layer in a python list."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.layers = [inner]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Created(nn.Module):
    """Makes a new linear layer at every call."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.Linear(self.inputs, self.outputs)(x)


class SwitchedOff(nn.Module):
    """A second layer beside the first, multiplied by zero."""

    def __init__(self, inner: nn.Linear) -> None:
        super().__init__()
        self.inner, self.extra = inner, nn.Linear(inner.in_features, inner.out_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + 0.0 * torch.tanh(self.extra(x))


def class_dim(layer: nn.Module) -> int:
    """The dimension in which a layer puts its units."""
    return -1 if isinstance(layer, nn.Linear) else 1


def weights(model: nn.Module) -> Iterator[tuple[str, nn.Module, torch.Tensor]]:
    """Path, layer and weight of every trainable linear and convolution layer with a plain weight."""
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule) or is_shared(model, module):
            continue
        weight = vars(module)["_parameters"].get("weight")
        if type(module) in LINEAR and isinstance(weight, nn.Parameter) and weight.requires_grad:
            yield path, module, weight.data


def is_plain_stack(model: nn.Module) -> bool:
    """Whether nothing renormalizes the signal: a wrong scale does its full harm."""
    known = (*LINEAR, *ACTIVATIONS, *PASSING, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
    # A norm may have its activation as a child: what holds parameters counts as well as what has no parts.
    parts = [part for part in model.modules() if not any(True for _ in part.children()) or any(True for _ in part.parameters(recurse=False))]
    return all(isinstance(part, known) for part in parts)
