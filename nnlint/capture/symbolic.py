"""The second way to a graph: `torch.fx.symbolic_trace`, where no input can be had or the forward raises."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import fx, nn

from nnlint import kinds
from nnlint.capture.graph import Graph
from nnlint.finding import Location, Skip
from nnlint.frames import is_fatal

#: torch layers whose forward looks at shapes or values: kept whole and described by the taxonomy's MODULE_OPS.
#: Leaf modules of a symbolic trace, by class name: the op they stand for.
_MODULE_OPS: Mapping[str, str] = MappingProxyType(
    {
        **{f"BatchNorm{rank}d": "batch_norm" for rank in (1, 2, 3)},
        "SyncBatchNorm": "batch_norm",
        **{f"InstanceNorm{rank}d": "instance_norm" for rank in (1, 2, 3)},
        "LayerNorm": "layer_norm",
        "GroupNorm": "group_norm",
        "RMSNorm": "rms_norm",
        "LSTM": "lstm",
        "GRU": "gru",
        "RNN": "rnn_tanh",
        "MultiheadAttention": "multi_head_attention_forward",
        "TransformerEncoderLayer": "transformer_layer",
        "TransformerDecoderLayer": "transformer_layer",
    }
)
_WHOLE = frozenset(_MODULE_OPS)


class _Tracer(fx.Tracer):
    """Traces into torch's simple layers, so that `nn.ReLU` is `relu` as in a recorded graph."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m).__name__ in _WHOLE and type(m).__module__.startswith("torch.nn")


def trace(model: nn.Module, constructions: dict[str, Location]) -> Graph:
    """The symbolic graph of `model`: no shapes, no values, no loss.

    Traced on a copy: a forward that stores a value in `self` would leave a Proxy in the user's model.

    Raises:
        Skip: the model cannot be traced (it branches on shapes or values).
    """
    memo: dict[int, Any] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    try:
        twin = copy.deepcopy(model, memo)
        graph = _Tracer().trace(twin)
    except BaseException as error:
        if is_fatal(error):
            raise
        raise Skip(f"no graph: the model did not run, and symbolic tracing failed ({type(error).__name__})") from error
    modules = dict(model.named_modules())
    called: dict[str, int] = {}
    for node in graph.nodes:
        _describe(node, modules, called)
    return Graph(graph, method="symbolic", constructions=constructions, called_modules=called, complete=True)


def _describe(node: fx.Node, modules: dict[str, nn.Module], called: dict[str, int]) -> None:
    if node.op == "placeholder":
        node.meta.update(name=str(node.target), kind="input", label=str(node.target))
        return
    if node.op == "get_attr":
        _describe_state(node, modules)
        return
    stack = node.meta.get("nn_module_stack") or {}
    path = next(reversed([key if isinstance(key, str) else "" for key in stack]), "") if stack else ""
    if node.op == "call_module":
        path = str(node.target)
        owner = modules[path]
        node.meta["name"] = _MODULE_OPS.get(type(owner).__name__, type(owner).__name__)
        node.meta["reads"] = tuple(f"{path}.{name}" for name, _ in owner.named_parameters())
        node.meta["arguments"] = _settings(owner)
    else:
        target = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        node.meta["name"] = kinds.canonical(target)
    module = modules.get(path)
    for key in [*stack, path]:
        if isinstance(key, str) and key in modules:
            called.setdefault(key, 1)
    node.meta.update(
        module_path=path,
        module_type=type(module).__name__ if module is not None else "",
        training=module.training if module is not None else True,
        own_module=module is not None and type(module).__module__.startswith("torch.nn."),
    )


def _describe_state(node: fx.Node, modules: dict[str, nn.Module]) -> None:
    owner, _, name = str(node.target).rpartition(".")
    value = getattr(modules.get(owner), name, None)
    kind = "parameter" if isinstance(value, nn.Parameter) else "buffer"
    node.meta.update(name=str(node.target), kind=kind, label=str(node.target), module_path=owner)
    if isinstance(value, torch.Tensor):
        node.meta.update(
            shape=tuple(value.shape), dtype=str(value.dtype).removeprefix("torch."), requires_grad=value.requires_grad
        )


def _settings(module: nn.Module) -> dict[str, Any]:
    """Public plain attributes of a layer, under the names its functional uses."""
    return {name: value for name, value in vars(module).items() if not name.startswith("_")}
