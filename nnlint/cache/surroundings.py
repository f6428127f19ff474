"""What every result hangs on beside its target: nnlint, the rules, Python, the installed packages and the machine."""

from __future__ import annotations

import os
import platform
import site
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from nnlint._version import __version__
from nnlint.cache import places
from nnlint.cards import digest as digest_of_sources
from nnlint.rule import GROUP

#: Beginnings of variables that libraries read by other means than Python's.
_READ_BY_LIBRARIES = (
    "ATEN", "BLIS", "CUBLAS", "CUDA", "CUDNN", "DNNL", "DYLD", "GOMP", "HF_", "HIP_", "HSA_", "KMP", "LANG", "LC_", "LD_",
    "MALLOC", "MKL", "NCCL", "NNLINT", "NUMEXPR", "NVIDIA", "OMP", "ONEDNN", "OPENBLAS", "PYTHON", "PYTORCH", "ROCR",
    "TOKENIZERS", "TORCH", "TRANSFORMERS", "TZ", "XLA",
)  # fmt: skip


def fingerprint() -> str:
    """A hash over the surroundings."""
    return places.digest(part.encode("utf-8", "surrogateescape") for part in _parts())


def _parts() -> Iterator[str]:
    yield f"{__version__} {digest_of_sources(Path(__file__).parent.parent)}"
    yield f"{sys.version} {sys.prefix} {sys.platform} {platform.machine()}"
    yield from _rules()
    yield from _packages()
    yield from _machine()
    yield from (f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(_READ_BY_LIBRARIES))


def _rules() -> Iterator[str]:
    for pack in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        spec = find_spec(pack.module.partition(".")[0])
        folders = list(spec.submodule_search_locations or ()) if spec is not None else []
        sources = [digest_of_sources(Path(folder)) for folder in folders]
        if spec is not None and spec.origin is not None:
            sources.append(str(places.content(spec.origin)))
        yield f"{pack.name}={pack.value} {' '.join(sources)}"


def _packages() -> Iterator[str]:
    """The names in the folders of installed packages, which hold the versions, and what `.pth` files add to the path."""
    given = [*site.getsitepackages(), site.getusersitepackages(), *sys.path]
    for folder in sorted({entry for entry in given if entry.endswith(("site-packages", "dist-packages"))}):
        names = places.entries(folder)
        yield f"{folder} {' '.join(names)}"
        yield from (str(places.content(f"{folder}{os.sep}{name}")) for name in names if name.endswith((".pth", ".egg-link")))


def _machine() -> Iterator[str]:
    """Processor, cores and graphics cards, as the system tells them without a driver's help."""
    yield str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    for file in (Path("/proc/cpuinfo"), Path("/proc/driver/nvidia/version")):
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        yield next((line for line in lines if line.startswith("model name")), lines[0] if lines else "")
    for card in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        yield str(places.content(str(card)))
