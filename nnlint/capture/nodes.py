"""The nodes of a recorded graph: which node holds a tensor's value, and what a node says of it.

A call's arguments lead to the nodes that made them (`bindings.py`). Parameters and buffers get their node when they are first
read; a tensor that the recorder did not see being made gets one that is linked to what shares its memory or its autograd graph.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any

import torch
from torch import fx, nn

from nnlint import kinds
from nnlint.capture.bindings import Bindings
from nnlint.capture.calls import INHERITED, KEPT, after_write, gained_gradient, unknown_tensor
from nnlint.capture.modules import ModuleTracker
from nnlint.capture.torch_private import custom_function_of, grad_fn_of, is_transformed, untransformed
from nnlint.frames import call_lines
from nnlint.tensors import shape_of, tensor_leaves


class Nodes:
    """Makes the nodes of one graph, and finds them by their tensors.

    Args:
        roots: the modules whose parameters and buffers become `get_attr` nodes; of one name, that of the last module stays.
        tracker: knows the modules that are being called.
        stop: code object of the driving function, where the search for user frames ends.
    """

    def __init__(self, roots: Iterable[nn.Module], tracker: ModuleTracker, stop: CodeType) -> None:
        self.graph = fx.Graph()
        self.bindings = Bindings(after_write=self._after_write, get_item=self._get_item)
        self.in_loss = False
        self._tracker = tracker
        self._stop = stop
        self._made_by: dict[Any, fx.Node] = {}  # by function of autograd
        self._states: dict[int, tuple[str, torch.Tensor, str]] = {}
        for root in roots:
            for name, parameter in root.named_parameters():
                self._states[id(parameter)] = (name, parameter, "parameter")
            for name, buffer in root.named_buffers():
                self._states[id(buffer)] = (name, buffer, "buffer")

    def name_of_state(self, tensor: torch.Tensor) -> str | None:
        """The name of a parameter or buffer; None for another tensor."""
        state = self._states.get(id(tensor))
        return state[0] if state is not None else None

    def note_function(self, tensor: torch.Tensor, node: fx.Node) -> None:
        """Say that the function of autograd that the tensor came from belongs to the node."""
        if (function := grad_fn_of(tensor)) is not None:
            self._made_by[function] = node

    def forget_functions(self) -> None:
        """Let go of the functions of autograd: they hold the tensors that they saved."""
        self._made_by.clear()

    def node_of(self, tensor: torch.Tensor) -> fx.Node:
        """The node whose value the tensor holds; parameters, buffers and strangers get one when they are first read."""
        found = self.bindings.find(tensor)
        if found is None or gained_gradient(tensor, found):
            found = self._state_node(tensor) or self._stranger(tensor)
            self.bindings.bind(tensor, found)
        elif found.target in (operator.getitem, after_write) and found.meta["name"] in ("getitem", "after"):
            self.describe(found, tensor, name=found.meta["name"])
        return found

    def knows(self, tensor: torch.Tensor) -> bool:
        """Whether the tensor was bound before, or is a parameter or buffer."""
        return self.bindings.maker(tensor) is not None or id(tensor) in self._states

    def bind_alias(self, tensor: torch.Tensor) -> None:
        """Say that a tensor that nobody knows holds what was last computed into its memory: no mode sees `as_subclass`."""
        if self.bindings.maker(tensor) is None and (node := self.bindings.last_of_memory(tensor)) is not None:
            self.bindings.bind(tensor, node)

    def _state_node(self, tensor: torch.Tensor) -> fx.Node | None:
        state = self._states.get(id(tensor))
        if state is None or state[1] is not tensor:
            return None
        name, _, kind = state
        node = self.graph.create_node("get_attr", name.replace("-", "_"))
        self.describe(node, tensor, name=name, kind=kind)
        node.meta.update(label=name, module_path=name.rpartition(".")[0])
        return node

    def _stranger(self, tensor: torch.Tensor) -> fx.Node:
        """A node for a tensor the mode did not see being made, linked to what autograd says it came from."""
        sources = list(dict.fromkeys([*self._aliased(tensor), *self._autograd_sources(tensor)]))
        node = self.graph.call_function(unknown_tensor, tuple(sources))
        leaf_parameter = isinstance(tensor, nn.Parameter)
        self.describe(node, tensor, name="unknown", kind="unregistered-parameter" if leaf_parameter else "unknown")
        self.place(node)
        node.meta["is_leaf"] = tensor.is_leaf
        custom = custom_function_of(tensor)
        if custom is not None:
            node.meta["custom_function"] = custom.__name__
        node.meta["created"] = id(tensor) in self._tracker.created
        return node

    def _aliased(self, tensor: torch.Tensor) -> Iterator[fx.Node]:
        """The node of a known tensor that shares the stranger's memory (`from_numpy`, `torch.Tensor(x)`, a C++ view)."""
        if is_transformed(tensor):
            inner = self.bindings.find(untransformed(tensor))
        else:
            inner = self.bindings.sharing_memory(tensor)
        if inner is not None:
            yield inner

    def _autograd_sources(self, tensor: torch.Tensor) -> Iterator[fx.Node]:
        waiting, seen = [grad_fn_of(tensor)], set()
        while waiting:
            function = waiting.pop()
            if function is None or function in seen:
                continue
            seen.add(function)
            if function in self._made_by:
                yield self._made_by[function]
                continue
            variable = getattr(function, "variable", None)
            if (
                variable is not None
                and (state := self.bindings.find(variable) or self._state_node(variable)) is not None
            ):
                self.bindings.bind(variable, state)
                yield state
            waiting.extend(above for above, _ in function.next_functions)

    def add(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> fx.Node:
        """A new node of a call, linked to the nodes of its arguments."""
        converted = tuple(self._argument(value) for value in args)
        keywords = {key: self._argument(value) for key, value in kwargs.items()}
        if type(func).__name__ in ("method_descriptor", "wrapper_descriptor"):
            return self.graph.create_node("call_method", name, converted, keywords)
        return self.graph.create_node(
            "call_function", func, converted, keywords, name=f"{kinds.canonical(name)}_{len(self.graph.nodes)}"
        )

    def _argument(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self.node_of(value)
        if isinstance(value, fx.Node):
            return value
        if isinstance(value, torch.Size):
            return tuple(value)
        if isinstance(value, KEPT):
            return value
        if isinstance(value, (list, tuple)):
            return (
                [self._argument(child) for child in value]
                if isinstance(value, list)
                else tuple(map(self._argument, value))
            )
        if isinstance(value, dict):
            return {str(key): self._argument(child) for key, child in value.items()}
        nodes = [self.node_of(tensor) for _, tensor in tensor_leaves(value, depth=4)]
        return nodes or type(value).__name__

    def _get_item(self, node: fx.Node, path: tuple[Any, ...]) -> fx.Node:
        item = self.graph.call_function(operator.getitem, (node, path[-1] if len(path) == 1 else tuple(map(str, path))))
        item.meta.update({key: node.meta[key] for key in INHERITED if key in node.meta}, name="getitem", output=path)
        return item

    def _after_write(self, node: fx.Node, writer: fx.Node) -> fx.Node:
        merged = self.graph.call_function(after_write, (node, writer))
        merged.meta.update({key: node.meta[key] for key in INHERITED if key in node.meta}, name="after", in_place=True)
        return merged

    def describe(self, node: fx.Node, tensor: torch.Tensor | None, *, name: str, kind: str | None = None) -> None:
        """Note what a node is called and what its value is like."""
        node.meta["name"] = name
        if kind is not None:
            node.meta["kind"] = kind
        if tensor is not None:
            node.meta["shape"] = shape_of(tensor)
            node.meta["dtype"] = str(tensor.dtype).removeprefix("torch.")
            node.meta["requires_grad"] = tensor.requires_grad
            node.meta["grad_enabled"] = torch.is_grad_enabled()

    def place(self, node: fx.Node) -> None:
        """Note where the call was made that runs now: in which module, on which lines."""
        call = self._tracker.current
        if call is not None:
            node.meta["module_path"] = call.path
            node.meta["module_type"] = call.type_name
            node.meta["module_call"] = call.number
            node.meta["training"] = call.training
            node.meta["own_module"] = call.is_torch_layer
            node.meta["modules"] = tuple(above.path for above in self._tracker.stack)
        node.meta["in_loss"] = self.in_loss
        node.meta["code_location"], node.meta["location"] = call_lines(self._stop)
