"""What belongs to the process rather than to the model: torch's modes and flags, warnings."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from nnlint.capture.torch_private import autograd_switches, backend_switches, default_device

#: Device types whose autocast state user code can leave switched on.
_AUTOCAST_DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Setting:
    """One readable and writable piece of process state, and its value when it was read."""

    name: str
    value: Any
    read: Callable[[], Any] | None  # None: written back without comparing (arrays have no truth value)
    write: Callable[[Any], object]

    @classmethod
    def of(cls, name: str, read: Callable[[], Any], write: Callable[[Any], object]) -> Setting:
        """Read the setting now."""
        return cls(name, read(), read, write)

    def restore(self) -> None:
        """Write the old value back where it differs."""
        if self.read is None or self.read() != self.value:
            self.write(self.value)


def settings() -> tuple[Setting, ...]:
    """Torch's modes and flags that a forward may leave changed."""
    backends: Any = torch.backends
    flags = [
        Setting.of("grad mode", torch.is_grad_enabled, torch.set_grad_enabled),
        Setting.of("default dtype", torch.get_default_dtype, torch.set_default_dtype),
        Setting.of("default device", default_device, torch.set_default_device),
        Setting.of("anomaly mode", _anomaly, lambda value: torch.autograd.set_detect_anomaly(*value)),
        Setting.of("deterministic algorithms", _deterministic, _set_deterministic),
        Setting.of("matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        Setting.of("threads", torch.get_num_threads, torch.set_num_threads),
        Setting.of("autocast cache", torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    ]
    flags += [_autocast(device) for device in _AUTOCAST_DEVICES]
    flags += [attribute(backends.cudnn, flag) for flag in ("enabled", "benchmark", "deterministic", "allow_tf32")]
    flags += [
        Setting.of(f"{name} attention", getattr(backends.cuda, f"{name}_sdp_enabled"), write)
        for name in ("flash", "mem_efficient", "math", "cudnn")
        if (write := getattr(backends.cuda, f"enable_{name}_sdp", None)) is not None
    ]
    flags += [Setting.of(name, read, write) for name, read, write in (*backend_switches(), *autograd_switches())]
    flags.append(Setting.of("warnings each time", torch.is_warn_always_enabled, torch.set_warn_always))
    futures: Any = torch.__future__
    flags += [
        Setting.of(name, getattr(futures, f"get_{name}"), getattr(futures, f"set_{name}"))
        for name in ("overwrite_module_params_on_conversion", "swap_module_params_on_conversion")
        if hasattr(futures, f"get_{name}")
    ]
    deterministic: Any = torch.utils.deterministic
    flags.append(attribute(deterministic, "fill_uninitialized_memory"))
    return tuple(flags)


def _anomaly() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _autocast(device: str) -> Setting:
    def read() -> tuple[bool, torch.dtype]:
        return torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)

    def write(value: tuple[bool, torch.dtype]) -> None:
        torch.set_autocast_enabled(device, value[0])
        torch.set_autocast_dtype(device, value[1])

    return Setting.of(f"autocast on {device}", read, write)


def attribute(owner: Any, name: str) -> Setting:
    """An attribute of a module or an object, the same value again."""

    def read() -> Any:
        return getattr(owner, name)

    def write(value: Any) -> None:
        setattr(owner, name, value)

    return Setting.of(f"{getattr(owner, '__name__', type(owner).__name__)}.{name}", read, write)


class WarningFilters:
    """The list of warning filters, restored in place because others hold the same list."""

    def __init__(self) -> None:
        self._list = warnings.filters
        self._items = list(warnings.filters)

    def restore(self) -> None:
        """Put the filters back, and drop the interpreter's memory of which warning was shown under the others."""
        if warnings.filters is self._list and list(self._list) == self._items:
            return
        vars(warnings)["filters"] = self._list
        filters: Any = self._list
        filters[:] = self._items
        for name in ("_filters_mutated", "_filters_mutated_lock_held"):  # the name depends on the python version
            getattr(warnings, name, lambda: None)()
