"""Modules that own parameters, those of them that a run leaves out, and whole branches of such modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint_rules.architecture._flow import under

if TYPE_CHECKING:
    from nnlint import Graph, Model, ModuleView


def left_out(graph: Graph, model: Model) -> list[ModuleView]:
    """Modules that own parameters directly, were not called, and none of whose parameters was read under any name."""
    tensors = {name: id(view.attribute(_leaf(view, name))) for view in model.modules for name in view.parameters}
    read = {tensors.get(name) for name in graph.parameters_read}
    return [
        view
        for view in model.modules
        if view.module_path
        and view.parameters
        and graph.called_modules.isdisjoint(view.paths)
        and all(tensors[name] not in read for name in view.parameters)
    ]


def _leaf(view: ModuleView, name: str) -> str:
    return name.removeprefix(f"{view.module_path}.") if view.module_path else name


def branches_of(unused: list[ModuleView], model: Model) -> Iterator[tuple[ModuleView, int]]:
    """Whole unused branches as one, with the number of parameters in each."""
    paths = {view.module_path for view in unused}
    owners = {view.module_path for view in model.modules if view.parameters}
    whole = _with_holders(owners) - _with_holders(owners - paths)
    branches = [view for view in model.modules if view.module_path in whole]
    tops = {view.module_path for view in branches}
    for view in branches:
        if view.module_path.rpartition(".")[0] not in tops:
            parts = [owner for owner in unused if under(owner.module_path, view.module_path)]
            yield view, sum(part.attribute(_leaf(part, name)).numel() for part in parts for name in part.parameters)


def _with_holders(paths: set[str]) -> set[str]:
    """The paths, and those of all modules that hold them, but for the model itself."""
    found: set[str] = set()
    for path in paths:
        part = path
        while part and part not in found:
            found.add(part)
            part = part.rpartition(".")[0]
    return found
