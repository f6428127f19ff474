"""ARC004: trainable tensors that the forward makes anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Place, Skip, rule
from nnlint_rules.architecture._flow import under

if TYPE_CHECKING:
    from nnlint import Graph, Op


@rule(
    "ARC004", "layer-created-in-forward", level="error", since="0.1")  # fmt: skip
def check(graph: Graph) -> Iterator[Finding]:
    """The forward makes a layer or a trainable tensor of its own, with new random weights at every call.

    ## What it does
    Notes every `nn.Parameter` that is made while the forward runs, and every random tensor made with `requires_grad=True`, and
    reports those that a differentiable operation reads. Constant tensors (masks, buffers, initial states of zeros) are left
    alone. A layer that the first forward registers in the model is a warning: an optimizer built before does not have it.

    ## Why is this bad?
    The weights are other random numbers at each call, nothing trains them, and the model's output is noise.

    ## Example
        def forward(self, x):
            return nn.Linear(64, 10)(x)

    ## Use instead
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(64, 10)

    ## References
    - PyTorch: `torch.nn.LazyLinear`, for a layer whose input size is not known beforehand
    """
    if graph.method == "symbolic":
        raise Skip("no recorded run: tensors made in the forward are unknown")
    made = [module for module in graph.facts.unregistered if module.created and module.trainable]
    for module in made:
        inside = [op for op in graph.ops if any(under(path, module.module_path) for path in op.modules)]
        use = next((op for op in inside if op.requires_grad and not op.in_loss), None)
        if use is not None:
            yield Finding(
                at=Place(module.module_path, use.location),
                message=f"the forward makes this {module.type_name} ({module.trainable} parameters) itself: "
                + (
                    "an optimizer built before the first call does not have it"
                    if module.registered
                    else "every call has new random weights"
                ),
                evidence={"parameters": module.trainable, "registered": module.registered},
                fix=f"make the {module.type_name} once, in __init__ (nn.Lazy... where its input size is not known), "
                "and call it in the forward",
                level=Level.WARNING if module.registered else None,
            )
    for op in graph.ops:
        user = _reader(op)
        if user is not None and not any(under(path, module.module_path) for path in user.modules for module in made):
            yield Finding(
                at=user,
                message=f"a trainable tensor of shape {list(op.shape or ())} is created again in every forward and read by {user.label}: "
                "no optimizer has it",
                evidence={"shape": list(op.shape or ())},
                fix="make it once in __init__, as `self.name = nn.Parameter(...)`",
            )


def _reader(op: Op) -> Op | None:
    """The first differentiable op that reads a trainable tensor made in the forward, if `op` stands for such a tensor."""
    is_parameter = op.is_kind("unregistered-parameter") and op.is_created
    is_random_leaf = op.is_kind("random") and op.requires_grad and not op.inputs
    if op.in_loss or not (is_parameter or is_random_leaf):
        return None
    waiting, seen = list(op.users), set()
    while waiting:
        user = waiting.pop(0)
        if user in seen:
            continue
        seen.add(user)
        if user.in_place and user.input is not None:  # an initialization that fills it
            waiting.extend(user.users)
        elif user.requires_grad and not user.in_loss and not user.is_kind("random", "factory", "detach"):
            return user
    return None
