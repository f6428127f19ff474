"""Where the first NaN or Inf comes from: a second run that looks at every op's output, or at every backward function's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from nnlint import kinds
from nnlint.probes.training_pass.stats import NonFinite, NonFiniteGradient
from nnlint.tensors import tensor_leaves

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph

#: Ops that put -inf in place on purpose: attention masks are filled, added and carried with it.
_MASKING = frozenset({"merge", "factory", "add", "view", "index", "identity", "cast", "concat", "where"})


class NonFiniteFinder:
    """Observer of a recorder: remembers the first op that made NaN or Inf out of finite inputs.

    -Inf alone is not a fault where masks are made; elsewhere (the logarithm of a mask, of a probability) it is the origin only
    if NaN or +Inf comes of it.
    """

    def __init__(self) -> None:
        self._first: tuple[fx.Node, str, list[tuple[str, float, float]]] | None = None
        self._negative: tuple[fx.Node, str, list[tuple[str, float, float]]] | None = None
        self._latest: fx.Node | None = None

    def __call__(self, node: fx.Node, output: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Look at one op."""
        if self._first is not None or not output.is_floating_point() or output.layout is not torch.strided:
            return
        with torch.no_grad():
            what = _non_finite(output.detach())
            if what is None:
                return
            self._latest = node
            if what != "-Inf":
                self._first = (node, what, _ranges((args, kwargs), output))
            elif self._negative is None and not kinds.info(node.meta["name"]).kinds & _MASKING:
                self._negative = (node, what, _ranges((args, kwargs), output))

    def found(self, graph: Graph) -> NonFinite | None:
        """The op, as a view of this run's graph."""
        end = graph.of(self._latest) if self._latest is not None else None
        made = self._first
        if self._negative is not None and end is not None and (made is not None or end is graph.loss):
            made = self._negative if graph.reaches(graph.of(self._negative[0]), end) else made
        if made is None:
            return None
        return NonFinite(graph.of(made[0]), made[1], tuple(made[2]))


class NonFiniteGradientFinder:
    """Observer of a recorder, then of its backward: the first backward function to make NaN or Inf out of finite gradients."""

    def __init__(self) -> None:
        self._makers: dict[Any, fx.Node] = {}
        self._given: dict[fx.Node, tuple[torch.Tensor, ...]] = {}
        self._first: tuple[fx.Node | None, str, str] | None = None

    def __call__(self, node: fx.Node, output: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Remember which op made which autograd function."""
        if output.grad_fn is not None:
            self._makers[output.grad_fn] = node
            floating = (tensor for _, tensor in tensor_leaves((args, kwargs), depth=4) if tensor.is_floating_point())
            self._given[node] = tuple(tensor.detach() for tensor in floating if tensor is not output)

    def watch(self, loss: torch.Tensor) -> None:
        """Hook every backward function below the loss; those inside a composite op belong to that op."""
        seen = set()
        waiting: list[tuple[Any, fx.Node | None]] = [(loss.grad_fn, None)]
        while waiting:
            function, above = waiting.pop()
            if function is None or function in seen:
                continue
            seen.add(function)
            owner = self._makers.get(function, above)
            if not hasattr(function, "variable"):  # the function that accumulates into a parameter makes nothing
                function.register_hook(self._hook(function.name(), owner))
            waiting.extend((below, owner) for below, _ in function.next_functions)

    def _hook(self, name: str, owner: fx.Node | None) -> Callable[[Any, Any], None]:
        def look(made: tuple[torch.Tensor | None, ...], given: tuple[torch.Tensor | None, ...]) -> None:
            if self._first is None and _finite(given) and not _finite(made):
                nan = any(bool(torch.isnan(gradient).any()) for gradient in made if gradient is not None)
                self._first = (owner, name, "NaN" if nan else "Inf")

        return look

    def found(self, graph: Graph) -> NonFiniteGradient | None:
        """The op, as a view of this run's graph."""
        if self._first is None:
            return None
        node, function, what = self._first
        if node is None:
            return NonFiniteGradient(None, function, what, ())
        ranges = tuple(("", *_finite_range(tensor)) for tensor in self._given.get(node, ()))
        return NonFiniteGradient(graph.of(node), function, what, ranges)


def _non_finite(values: torch.Tensor) -> str | None:
    """The worst that a tensor holds, None where all of it is finite. One pass without copies: it looks at every op's output."""
    if not values.numel():
        return None
    low, high = (values.float() if values.element_size() == 1 else values).aminmax()  # torch has none for 8-bit floats
    if bool(high.isnan()):
        return "NaN"
    return "Inf" if float(high) == math.inf else "-Inf" if float(low) == -math.inf else None


def all_finite(value: Any) -> bool:
    """Whether no floating-point tensor inside a nested value holds NaN or +Inf (-Inf masks logits on purpose)."""
    tensors = (
        tensor for _, tensor in tensor_leaves(value) if tensor.is_floating_point() and tensor.layout is torch.strided
    )
    with torch.no_grad():
        return all(bool((tensor.detach() < float("inf")).all()) for tensor in tensors)


def _finite(gradients: Iterable[torch.Tensor | None]) -> bool:
    dense = (gradient for gradient in gradients if gradient is not None and gradient.layout is torch.strided)
    return all(bool(torch.isfinite(gradient).all()) for gradient in dense)


def _ranges(value: Any, output: torch.Tensor) -> list[tuple[str, float, float]]:
    return [
        (str(path[0] if path else ""), *_finite_range(tensor.detach()))
        for path, tensor in tensor_leaves(value, depth=4)
        if tensor.is_floating_point() and tensor is not output
    ]


def _finite_range(tensor: torch.Tensor) -> tuple[float, float]:
    values = tensor[torch.isfinite(tensor)]
    if not values.numel():
        return (float("nan"), float("nan"))
    return (float(values.min()), float(values.max()))
