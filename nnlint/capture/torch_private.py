"""The only file that touches what torch does not promise: private names, hook tables, patched methods.

Each access is a function with a fallback. `lacking()` says which of them this torch does not have and what is skipped
then; a report lists that among its assumptions. Where a public hook does the same, nnlint uses it and nothing is here:
`nn.Module.__call__` is patched because a global forward hook sees neither what a module's own hooks return nor the
innermost module of an exception, and `__init__` and `__new__` because nothing public is told of a construction, `load_state_dict`
because the public hook after it is registered on one module.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import nn

#: Private name -> what nnlint skips without it. Names are written `module:attribute.attribute`.
_NEEDED: dict[str, str] = {
    "torch.autograd.function:_SingleLevelFunction": "custom autograd functions are seen in pieces, gradients of theirs unchecked",
    "torch:_C.ScriptFunction": "TorchScript functions are not recorded",
    "torch:_C.DisableTorchFunction": "nnlint's own bookkeeping may show among the recorded operations",
    "torch:_C.DisableTorchFunctionSubclass": "tensor subclasses may see nnlint's bookkeeping",
    "torch:_C._functorch.is_functorch_wrapped_tensor": "values inside torch.func transforms are taken for plain tensors",
    "torch:_C._functorch.get_unwrapped": "values inside torch.func transforms have no known origin",
    "torch:_C._autograd._unsafe_set_version_counter": "write counters of tensors are not put back",
    "torch._subclasses.fake_tensor:FakeTensorMode": "nothing can be run on shapes alone: --static and guessed inputs fail",
    "torch.optim.optimizer:_global_optimizer_pre_hooks": "large optimizers are stepped as a whole",
    "torch.nn.modules.module:_global_forward_hooks": "hooks that a forward adds for all modules stay",
    "torch:_GLOBAL_DEVICE_CONTEXT": "a default device that a forward sets stays set",
    "torch.cuda:_lazy_seed_tracker": "a seeding that waits for CUDA stays queued",
    "torch:_tensor_str.PRINT_OPTS": "print options that a forward sets stay set",
    "torch:_foreach_norm": "norms are taken one tensor at a time",
}

#: Implementations behind `torch.func`, and the names under which their calls are recorded.
_TRANSFORMS = (
    ("torch._functorch.apis:vmap_impl", "vmap"),
    ("torch._functorch.eager_transforms:grad_impl", "func_grad"),
    ("torch._functorch.eager_transforms:grad_and_value_impl", "func_grad"),
)

#: Attributes in which a tensor keeps its hooks; the second only where it is a leaf.
_BACKWARD_HOOKS, _ACCUMULATE_HOOKS = "_backward_hooks", "_post_accumulate_grad_hooks"


@functools.cache
def lacking() -> tuple[str, ...]:
    """What this torch does not have of what nnlint reads, each with what is skipped."""
    return tuple(
        f"this torch has no {name.replace(':', '.')}: {then}" for name, then in _NEEDED.items() if _get(name) is None
    )


@functools.cache
def _get(name: str) -> Any:
    """The object of a private name; None where this torch has none."""
    module, _, attributes = name.partition(":")
    try:
        return functools.reduce(getattr, attributes.split("."), importlib.import_module(module))
    except (ImportError, AttributeError):
        return None


# -------------------------------------------------------------------- tensors


def version(tensor: torch.Tensor) -> int | None:
    """How often torch counted a write to the tensor; None where it keeps no count (inference tensors)."""
    try:
        return int(tensor._version)
    except (RuntimeError, AttributeError):
        return None


def set_versions(tensors: Sequence[torch.Tensor], versions: Sequence[int]) -> None:
    """Set how often torch counted a write to each tensor."""
    write = _get("torch:_C._autograd._unsafe_set_version_counter")
    if not tensors or write is None:
        return
    try:
        write(tuple(tensors), tuple(versions))
    except TypeError:  # torch before 2.7 takes one tensor at a time
        for tensor, count in zip(tensors, versions, strict=True):
            write(tensor, count)


def storage_identity(storage: torch.UntypedStorage) -> int:
    """What tells two storages apart: the address of the data changes when a storage is resized, and is 0 when empty."""
    found = getattr(storage, "_cdata", None)
    return int(found) if found is not None else storage.data_ptr()


def hook_tables(tensor: torch.Tensor) -> dict[str, Any]:
    """The tables of the hooks on a tensor, by the attribute that holds each."""
    names = (_BACKWARD_HOOKS, _ACCUMULATE_HOOKS) if tensor.is_leaf else (_BACKWARD_HOOKS,)
    return {name: getattr(tensor, name) for name in names if hasattr(tensor, name)}


def norms(tensors: Sequence[torch.Tensor], order: float = 2) -> Sequence[torch.Tensor]:
    """The norm of each tensor, in one kernel where there is one."""
    together = _get("torch:_foreach_norm")
    if together is not None:
        return tuple(together(list(tensors), order))
    return [torch.linalg.vector_norm(item, order) for item in tensors]


def is_wrapper(tensor: torch.Tensor) -> bool:
    """Whether the tensor is of a subclass that holds other tensors and no memory of its own (DTensor, quantized weights)."""
    check = _get("torch.utils._python_dispatch:is_traceable_wrapper_subclass")
    return bool(check is not None and check(tensor))


def is_transformed(tensor: torch.Tensor) -> bool:
    """Whether the tensor is one of `torch.func`'s, valid only inside the transform that made it."""
    check = _get("torch:_C._functorch.is_functorch_wrapped_tensor")
    return bool(check is not None and check(tensor))


def untransformed(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor that a transform wrapped."""
    unwrap = _get("torch:_C._functorch.get_unwrapped")
    inner: torch.Tensor = unwrap(tensor) if unwrap is not None else tensor
    return inner


def sparse_parts(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices and values of a COO tensor as they lie, coalesced or not.

    Raises:
        RuntimeError: this torch shows them of coalesced tensors alone, and this is none.
    """
    if not hasattr(tensor, "_indices"):
        return tensor.indices(), tensor.values()
    return tensor._indices(), tensor._values()


def nested_shape(tensor: Any) -> tuple[torch.Tensor, ...]:
    """Sizes, strides and offsets of the tensors that a nested tensor holds.

    Raises:
        NotImplementedError: this torch does not show them.
    """
    names = ("_nested_tensor_size", "_nested_tensor_strides", "_nested_tensor_storage_offsets")
    if not all(hasattr(tensor, name) for name in names):
        raise NotImplementedError("the shape of a nested tensor")
    return tuple(getattr(tensor, name)() for name in names)


def nested_over(buffer: torch.Tensor, shape: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """A nested tensor over this buffer, with a shape from `nested_shape`."""
    made: torch.Tensor = _get("torch:_nested_view_from_buffer")(buffer, *shape)
    return made


def custom_function_of(tensor: torch.Tensor) -> type | None:
    """The class of the custom autograd function that made the tensor, or None."""
    return getattr(tensor.grad_fn, "_forward_cls", None)


def is_bookkeeping(name: str) -> bool:
    """Whether an attribute of a module is one in which `nn.Module` itself keeps tensors, modules or hooks."""
    return name in ("_parameters", "_buffers", "_modules") or name.endswith(("_hooks", "_hooks_with_kwargs"))


def scripted_attributes(module: Any) -> Iterator[tuple[str, Any]]:
    """The attributes that a module's script declares: the names are known where it was compiled, not where traced."""
    concrete = getattr(module, "_concrete_type", None)
    if concrete is None:
        return
    known = {*(name for name, _ in module.named_parameters(recurse=False)), "training"}
    for name in concrete.get_attributes():
        if name not in known:
            with suppress(RuntimeError, AttributeError):  # frozen modules fold attributes away
                yield name, module._c.getattr(name)


def set_scripted_attribute(module: Any, name: str, value: Any) -> None:
    """Set an attribute that `scripted_attributes` gave."""
    module._c.setattr(name, value)


# -------------------------------------------------------------------- modes


def without_torch_function() -> AbstractContextManager[Any]:
    """Torch calls inside reach neither a function mode nor a tensor subclass."""
    mode = _get("torch:_C.DisableTorchFunction")
    return mode() if mode is not None else nullcontext()


def without_subclasses() -> AbstractContextManager[Any]:
    """Tensor subclasses are handled as what they are to torch: their own code does not run."""
    mode = _get("torch:_C.DisableTorchFunctionSubclass")
    return mode() if mode is not None else nullcontext()


def grad_fn_of(tensor: torch.Tensor) -> Any:
    """The autograd function that made the tensor, not what the code of a subclass says: it may ask an alias of its own."""
    if type(tensor) in (torch.Tensor, torch.nn.Parameter):
        return tensor.grad_fn
    with without_subclasses():
        return tensor.grad_fn


def fake_tensor_mode() -> Any:
    """A mode in which tensors have shapes and no values.

    Raises:
        RuntimeError: this torch has none.
    """
    mode = _get("torch._subclasses.fake_tensor:FakeTensorMode")
    if mode is None:
        raise RuntimeError("this torch cannot run a model on shapes alone")
    return mode(allow_non_fake_inputs=True)


def undecided_errors() -> tuple[type[Exception], ...]:
    """What a forward on fake tensors raises where it needs a value, or a kernel has no shape rule."""
    names = ("DynamicOutputShapeException", "UnsupportedFakeTensorException", "DataDependentOutputException")
    found = (_get(f"torch._subclasses.fake_tensor:{name}") for name in names)
    return (*(error for error in found if error is not None), NotImplementedError)


def import_dynamo() -> None:
    """Import what the first optimizer of a process imports: it takes as long as torch itself."""
    with suppress(Exception):
        importlib.import_module("torch._dynamo")


def has_dynamo() -> bool:
    """Whether the compiler is loaded: only then can a model have compiled parts."""
    return "torch._dynamo.eval_frame" in sys.modules


# -------------------------------------------------------------------- state of the process


def queued_cuda_seedings() -> Callable[[], None]:
    """Remember the seedings that wait for CUDA to be initialized; the function returned puts them back.

    `torch.manual_seed` queues one, which would outlive the check.
    """
    tracker = _get("torch.cuda:_lazy_seed_tracker")
    if tracker is None or torch.cuda.is_initialized():
        return lambda: None
    before = {name: list(value) if isinstance(value, list) else value for name, value in vars(tracker).items()}

    def restore() -> None:
        if not torch.cuda.is_initialized():  # an initialization has taken the queue and applied it
            vars(tracker).update(before)

    return restore


def default_device() -> torch.device | None:
    """The default device where one was set: `get_default_device` cannot tell an unset one from the CPU."""
    context = getattr(_get("torch:_GLOBAL_DEVICE_CONTEXT"), "device_context", None)
    return getattr(context, "device", None)


def print_options() -> dict[str, Any]:
    """How tensors are printed; writing to the dict changes it."""
    options = _get("torch:_tensor_str.PRINT_OPTS")
    return vars(options) if options is not None else {}


def backend_switches() -> Iterator[tuple[str, Callable[[], Any], Callable[[Any], object]]]:
    """Name, reader and writer of the backends that can be switched off and have no public switch."""
    for library in ("mkldnn", "nnpack"):
        read, write = (_get(f"torch:_C._{verb}_{library}_enabled") for verb in ("get", "set"))
        if read is not None and write is not None:
            yield library, read, write


def autograd_switches() -> Iterator[tuple[str, Callable[[], Any], Callable[[Any], object]]]:
    """The same of autograd: whether a backward uses threads."""
    read = _get("torch:_C._is_multithreading_enabled")
    write = _get("torch:_C._set_multithreading_enabled")
    if read is not None and write is not None:
        yield "threads of autograd", read, write


def global_hooks() -> tuple[dict[Any, Any], ...]:
    """The hook tables that torch keeps for all modules, and for all optimizers, at once."""
    tables = [vars(nn.modules.module), vars(sys.modules.get("torch.optim.optimizer", sys))]
    found = (item for table in tables for item in table.items())
    return tuple(value for name, value in found if name.startswith("_global_") and isinstance(value, dict))


def has_step_hooks(optimizer: torch.optim.Optimizer) -> bool:
    """Whether anything is told of the optimizer's steps; true where that cannot be known."""
    tables = [_get(f"torch.optim.optimizer:_global_optimizer_{when}_hooks") for when in ("pre", "post")]
    tables += [getattr(optimizer, f"_optimizer_step_{when}_hooks", None) for when in ("pre", "post")]
    return any(table is None or len(table) > 0 for table in tables)


def drop_forward_hooks(module: nn.Module) -> None:
    """Take the module's forward hooks off: a deep copy shares them with the original."""
    for name in ("_forward_hooks", "_forward_pre_hooks"):
        getattr(module, name, {}).clear()


# -------------------------------------------------------------------- patched methods


@contextmanager
def _patched(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """Put the replacement in place for the time of the block; what was there before, or nothing, is back afterwards."""
    before = vars(owner).get(name)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        if before is None:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def patched_module_call(wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> AbstractContextManager[None]:
    """Route every module call of the process through `wrap(original)` for the time of the block."""
    return _patched(nn.Module, "__call__", wrap(nn.Module.__call__))


def patched_module_init(wrap: Callable[[Callable[..., None]], Callable[..., None]]) -> AbstractContextManager[None]:
    """Route every construction of a module through `wrap(original)` for the time of the block."""
    return _patched(nn.Module, "__init__", wrap(nn.Module.__init__))


def patched_load_state_dict(wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> AbstractContextManager[None]:
    """Route every `load_state_dict` of a module through `wrap(original)` for the time of the block."""
    return _patched(nn.Module, "load_state_dict", wrap(nn.Module.load_state_dict))


def patched_parameter_new(told: Callable[[nn.Parameter], None]) -> AbstractContextManager[None]:
    """Tell of every `nn.Parameter` that is made inside the block."""
    original = vars(nn.Parameter)["__new__"]

    def new(cls: type, *args: Any, **kwargs: Any) -> Any:
        parameter = original.__get__(None, cls)(cls, *args, **kwargs)
        told(parameter)
        return parameter

    return _patched(nn.Parameter, "__new__", staticmethod(new))


#: Gets the function's class, what makes the call, and the arguments; returns the result.
FunctionObserver = Callable[[Any, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


def observed_functions(observer: FunctionObserver) -> AbstractContextManager[None]:
    """While active, each call of a custom `torch.autograd.Function` goes through the observer.

    `square = Square.apply` at module level, the idiom of torch's own documentation, is bound before anything can replace
    `Function.apply`: what that calls in its turn is replaced.
    """
    owner = _get("torch.autograd.function:_SingleLevelFunction")
    if owner is None:
        return nullcontext()
    before = vars(owner).get("apply")

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        bound = before.__get__(None, cls) if before is not None else super(owner, cls).apply
        return observer(cls, bound, args, kwargs)

    return _patched(owner, "apply", classmethod(apply))


def patched_script_call(wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> AbstractContextManager[None]:
    """Route the calls of TorchScript functions through `wrap(bound call)` for the time of the block."""
    owner = _get("torch:_C.ScriptFunction")
    if owner is None or "__call__" not in vars(owner):
        return nullcontext()
    original = vars(owner)["__call__"]

    def call(function: Any, *args: Any, **kwargs: Any) -> Any:
        return wrap(original.__get__(function, owner))(*args, **kwargs)

    return _patched(owner, "__call__", call)


@contextmanager
def patched_transforms(wrap: Callable[[Callable[..., Any], str], Callable[..., Any]]) -> Iterator[None]:
    """Route the implementations of `torch.func`'s transforms through `wrap(original, name)` for the time of the block."""
    with ExitStack() as stack:
        for implementation, name in _TRANSFORMS:
            module, _, attribute = implementation.partition(":")
            if _get(implementation) is not None:
                owner = importlib.import_module(module)
                stack.enter_context(_patched(owner, attribute, wrap(getattr(owner, attribute), name)))
        yield
