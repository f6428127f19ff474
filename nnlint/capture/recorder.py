"""The recorder: one real run of a model, every torch call of it a node of a `torch.fx.Graph`.

A `torch.overrides.TorchFunctionMode` sees every torch function, method and operator the user's code calls; composite functions
(`F.interpolate`, `F.multi_head_attention_forward`) stay one node, because the mode is off inside its own handler. Tensors are
linked by identity; what the mode cannot see (scripted functions, C++ extensions) is linked through the autograd graph (`nodes.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import CodeType
from typing import Any

import torch
from torch import fx, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from nnlint import kinds
from nnlint.capture.bindings import version
from nnlint.capture.bounds import looked_after, refuse_on_device
from nnlint.capture.calls import (
    QUIET,
    TENSOR_PROPERTIES,
    canonical_of,
    eager,
)
from nnlint.capture.functions import recorded_functions, scripted
from nnlint.capture.lookups import RefusedLookup, refused_lookup
from nnlint.capture.modules import ModuleTracker, noted_parameters, tracked_calls
from nnlint.capture.nodes import Nodes
from nnlint.capture.refused_norms import RefusedNorm, refused_norm
from nnlint.capture.torch_private import is_transformed
from nnlint.frames import call_lines
from nnlint.tensors import tensor_leaves

#: Called after an op with its node, its (first) output and the call's arguments; the statistics of a probe hang here.
Observer = Callable[[fx.Node, torch.Tensor, tuple[Any, ...], dict[str, Any]], None]

#: Asked before an op runs, with its canonical name and arguments: a callable to run in its place, or None.
Substitute = Callable[[str], Callable[..., Any] | None]


class Recorder(TorchFunctionMode):
    """Records the torch calls made while it is active. One instance serves one run.

    Args:
        model: the model; its parameters and buffers become `get_attr` nodes.
        extra: further modules that take part (a loss module), with the prefix of their parameter names.
        stop: code object of the driving function, where the search for user frames ends.
        observer: called after every op that returned a tensor.
        substitute: replaces operations (dropout by identity, say); the node stays that of the original.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        extra: Iterable[nn.Module] = (),
        stop: CodeType,
        observer: Observer | None = None,
        substitute: Substitute | None = None,
    ) -> None:
        super().__init__()
        self.tracker = ModuleTracker.of(model, *extra)
        self.nodes = Nodes((*extra, model), self.tracker, stop)
        self.graph = self.nodes.graph
        self.last: fx.Node | None = None
        self.refused_loss: tuple[fx.Node, tuple[Any, ...], dict[str, Any]] | None = None
        self.refused_lookup: RefusedLookup | None = None
        self.refused_norm: RefusedNorm | None = None
        self.refused = ""  # canonical name of the call that raised last
        self._stop = stop
        self._observer = observer
        self._substitute = substitute
        # A call that is being recorded: what a tensor subclass calls to carry it out is no call of the user's.
        self._inside = False
        self._paused: list[dict[fx.Node, None]] = []
        self._given: list[tuple[str, torch.Tensor, int]] = []
        self._targets_too: list[tuple[torch.Tensor, fx.Node]] = []

    # ---------------------------------------------------------------- the run

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what runs inside: torch calls, module calls, custom autograd functions."""
        with ExitStack() as stack:
            stack.enter_context(eager())
            stack.enter_context(looked_after())
            stack.enter_context(noted_parameters(self.tracker.created))
            stack.enter_context(tracked_calls(self.tracker, self))
            stack.enter_context(recorded_functions(self))
            stack.enter_context(self)
            yield

    def add_inputs(self, named: Iterable[tuple[str, torch.Tensor]], *, is_target: bool = False) -> None:
        """Make placeholders for the tensors given to the model (or, with `is_target`, to the loss)."""
        for name, tensor in named:
            node = self.graph.placeholder(name.replace(".", "_") if name.isidentifier() else "input")
            self.nodes.describe(node, tensor, name=name, kind="input")
            node.meta.update(label=name, is_target=is_target)
            if is_target and self.nodes.bindings.maker(tensor) is not None:
                self._targets_too.append((tensor, node))  # an autoencoder's: the model reads the input
                continue
            self.nodes.bindings.bind(tensor, node)
            if not is_target:
                self._given.append((name, tensor, version(tensor)))

    def enter_loss(self) -> None:
        """What follows belongs to the loss: an input that is the target as well is the target from now on."""
        self.nodes.in_loss = True
        for tensor, node in self._targets_too:
            maker = self.nodes.bindings.maker(tensor)
            if maker is not None and maker.op == "placeholder":  # not written to since
                self.nodes.bindings.bind(tensor, node)

    def modified_inputs(self) -> Iterator[str]:
        """Names of the inputs that were written to in place since they were added."""
        return (name for name, tensor, before in self._given if version(tensor) != before)

    def finish(self, output: Any) -> None:
        """Close the graph: `output` is what the model returned."""
        nodes: dict[fx.Node, None] = {}
        for _, tensor in tensor_leaves(output):
            nodes[self.node_of(tensor)] = None
        self.graph.output(tuple(nodes))
        self.nodes.forget_functions()  # first: they hold tensors, which are not the user's to hold
        for node in self.nodes.bindings.alive():
            node.meta["kept"] = True

    @contextmanager
    def paused(self) -> Iterator[dict[fx.Node, None]]:
        """Let torch calls pass unrecorded; gives the nodes of the known tensors that they read meanwhile."""
        self._paused.append({})
        try:
            yield self._paused[-1]
        finally:
            self._paused.pop()

    @property
    def is_paused(self) -> bool:
        """Whether calls pass unrecorded at the moment."""
        return bool(self._paused)

    # ---------------------------------------------------------------- torch calls

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the call and record it."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", type(func).__name__)
        if self._inside or name in QUIET or any(map(is_lazy, args)):
            return func(*args, **kwargs)
        if name in ("__get__", "__set__"):
            attribute = getattr(getattr(func, "__self__", None), "__name__", "")
            if name == "__set__" or attribute not in TENSOR_PROPERTIES:
                return self._property(func, attribute if name == "__set__" else "", args)
            name = attribute
        inputs = [tensor for _, tensor in tensor_leaves((args, kwargs), depth=4)]
        if self._paused:
            known = filter(self.nodes.knows, inputs)
            self._paused[-1].update(dict.fromkeys(map(self.node_of, known)))
            return func(*args, **kwargs)
        before = [version(tensor) for tensor in inputs]
        instead = self._substitute(kinds.canonical(name)) if self._substitute is not None else None
        self._inside = True
        try:
            refuse_on_device(func, kinds.canonical(name), args, kwargs)
            result = (instead or func)(*args, **kwargs)
        except Exception:
            self._refused(func, name, args, kwargs)
            raise
        finally:
            self._inside = False
        changed = [tensor for tensor, old in zip(inputs, before, strict=True) if version(tensor) != old]
        self.record(func, name, args, kwargs, result, changed=changed, before=before, inputs=inputs)
        return result

    def _property(self, func: Any, written: str, args: tuple[Any, ...]) -> Any:
        """Access of an attribute that is no operation; `x.data = y` makes x hold y's value from there on."""
        result = func(*args)
        if written == "data" and not self._paused and self.nodes.name_of_state(args[0]) is None:
            self.nodes.bindings.bind(args[0], self.node_of(args[1]))
        return result

    def record(
        self,
        func: Any,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        *,
        changed: list[torch.Tensor] | None = None,
        before: list[int] | None = None,
        inputs: list[torch.Tensor] | None = None,
        meta: dict[str, Any] | None = None,
    ) -> fx.Node | None:
        """Add the node of a call that has just run and bind its outputs."""
        canonical = canonical_of(name, args, kwargs)
        known = kinds.info(canonical)
        outputs = list(tensor_leaves(result, depth=3))
        if not outputs and not changed and "escape" not in known.kinds:
            return None
        node = self.nodes.add(func, name, args, kwargs)
        results = [*(tensor for _, tensor in outputs), *(changed or ())]
        self.nodes.describe(node, results[0] if results else None, name=canonical)
        self.nodes.place(node)
        if len(results) > 1:  # of `broadcast_tensors(labels, scores)` the second output carries the gradient
            node.meta["requires_grad"] = any(tensor.requires_grad for tensor in results)
        node.meta.update(meta or {}, in_place=bool(changed))
        for tensor in changed or ():
            self.nodes.bindings.wrote(tensor, node)
        mutated = {id(tensor) for tensor in changed or ()}
        for path, tensor in outputs:
            if id(tensor) not in mutated:
                # An op may hand its input back unchanged (eval-mode dropout, contiguous): the newest op owns the value.
                self.nodes.bindings.bind(tensor, node, path)
            self.nodes.note_function(tensor, node)
        if outputs:
            self.last = node
            if self._observer is not None and not is_transformed(outputs[0][1]):
                self._observer(node, outputs[0][1], args, kwargs)
        return node

    def _refused(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Keep what a loss function, a lookup or a norm that raised was given: it is evidence for the rules."""
        self.refused = kinds.canonical(name)
        of_call = (self.refused, args, kwargs, self.tracker.current, call_lines(self._stop).user)
        self.refused_lookup, self.refused_norm = refused_lookup(*of_call), refused_norm(*of_call)
        if "loss" not in kinds.info(self.refused).kinds:
            return
        node = self.nodes.add(func, name, args, kwargs)
        self.nodes.describe(node, None, name=kinds.canonical(name))
        self.nodes.place(node)
        node.meta["refused"] = True
        self.refused_loss = (node, args, kwargs)

    def called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Record the call of a scripted module as one op that reads all its parameters; note further outputs of others."""
        if self.is_paused:
            return
        if isinstance(module, torch.jit.ScriptModule):
            reads = tuple(filter(None, map(self.nodes.name_of_state, module.parameters())))
            self.record(scripted, "scripted", args, kwargs, result, meta={"reads": reads, "kind": "scripted"})
        elif not isinstance(result, torch.Tensor):
            made = [node for _, tensor in tensor_leaves(result) if (node := self.nodes.bindings.maker(tensor)) is not None]
            if len(set(made)) > 1:
                for node in made:
                    node.meta["one_of_several"] = True

    def node_of(self, tensor: torch.Tensor) -> fx.Node:
        """The node whose value the tensor holds; parameters, buffers and strangers get one when they are first read."""
        return self.nodes.node_of(tensor)
