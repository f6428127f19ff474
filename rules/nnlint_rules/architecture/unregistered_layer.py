"""ARC003: a layer or Parameter that the model uses and does not list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Place, Skip, rule
from nnlint_rules._shared.words import listed
from nnlint_rules.architecture._flow import STATE, under

if TYPE_CHECKING:
    from nnlint import Graph, Op, UnregisteredModule


@rule("ARC003", "unregistered-layer", level="error", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """A layer or Parameter that the forward uses and `parameters()` does not list.

    ## What it does
    Reports modules that were called, and trainable leaf tensors that were read, in the forward although the model does not
    register them: they hang in a plain list, dict or tuple, in a closure, or are tensors with `requires_grad=True` that are no
    `nn.Parameter` attribute. Parameter-free ones, those used without gradient (a teacher hidden from the optimizer on purpose)
    and those of the loss are left alone.

    ## Why is this bad?
    The optimizer never gets them, `model.to(device)` does not move them, `state_dict()` does not save them.

    ## Example
        self.layers = [nn.Linear(64, 64) for _ in range(4)]

    ## Use instead
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(4))

    ## References
    - PyTorch: `torch.nn.ModuleList`, `torch.nn.ModuleDict`, `torch.nn.ParameterList`
    """
    if graph.method == "symbolic":
        raise Skip("no recorded run: calls outside the registered modules are unknown")
    used = [(module, op) for module in graph.facts.unregistered if (op := _use(module, graph)) is not None]
    groups: dict[str, list[tuple[UnregisteredModule, Op]]] = {}
    for module, op in used:
        groups.setdefault(module.module_path.partition("[")[0], []).append((module, op))
    for holder, members in groups.items():
        yield _modules_finding(holder, members, graph)
    covered = [module.module_path for module, _ in used]
    for op in graph.ops:
        if _is_trainable_stranger(op) and not any(
            under(user.module_path, path) for user in op.users for path in covered
        ):
            yield _tensor_finding(op)


def _use(module: UnregisteredModule, graph: Graph) -> Op | None:
    """The first differentiable op inside the module, where the module has parameters that nobody lists."""
    if not module.trainable or module.created:
        return None
    inside = (op for op in graph.ops if any(under(path, module.module_path) for path in op.modules))
    return next(
        (op for op in inside if op.requires_grad and not op.in_loss and not op.is_kind(*STATE, "unknown")), None
    )


def _is_trainable_stranger(op: Op) -> bool:
    """A trainable leaf that is no parameter of the model, and that a differentiable op of the model reads."""
    if op.is_created or not op.is_kind("unregistered-parameter", "unknown") or op.inputs:
        return False
    return op.requires_grad and any(user.requires_grad and not user.in_loss for user in op.users)


def _modules_finding(holder: str, members: list[tuple[UnregisteredModule, Op]], graph: Graph) -> Finding:
    module, op = members[0]
    count = sum(member.trainable for member, _ in members)
    kinds = sorted({member.type_name for member, _ in members})
    if "[" in module.module_path:
        container = "nn.ModuleDict({...})" if "['" in module.module_path else "nn.ModuleList([...])"
        name, fix = f"`{holder}`, a plain container,", f"`self.{holder.rpartition('.')[2]} = {container}`"
    else:
        name, fix = (
            listed([member.module_path for member, _ in members]),
            "assign the module to an attribute of the model in __init__",
        )
    return Finding(
        at=Place(module.module_path, graph.constructions.get(module.module_path, op.location)),
        message=f"{len(members)} {'layer' if len(members) == 1 else 'layers'} ({', '.join(kinds)}, {count} parameters) in {name} "
        f"{'is' if len(members) == 1 else 'are'} used by the forward but not registered: parameters() misses "
        f"{'it' if len(members) == 1 else 'them'}, so an optimizer never trains {'it' if len(members) == 1 else 'them'}",
        evidence={"modules": [member.module_path for member, _ in members], "parameters": count},
        fix=fix,
        modules=tuple(member.module_path for member, _ in members),
    )


def _tensor_finding(op: Op) -> Finding:
    user = op.users[0]
    shape = " x ".join(map(str, op.shape or ())) or "scalar"
    return Finding(
        at=user,
        message=f"a trainable tensor ({shape}) read by {user.label} is not a registered Parameter of the model: parameters() misses it, "
        "so an optimizer never trains it",
        evidence={"shape": list(op.shape or ())},
        fix="assign it as `self.name = nn.Parameter(...)` (an operation on a Parameter, such as `.cuda()` or `* 0.1`, returns a plain "
        "tensor), or put several into nn.ParameterList",
    )
