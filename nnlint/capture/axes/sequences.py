"""Transfer rules for recurrent layers, attention and packed sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from nnlint.capture.axes.answers import Along, Contraction, OpAxes, Steps
from nnlint.capture.axes.axis import Axis, Dim, roots_of, whole
from nnlint.capture.axes.call import Call

Transfer = Callable[[Call], OpAxes]


def recurrent(call: Call) -> OpAxes:
    """lstm, gru, rnn: steps along time, keeps samples, makes hidden features; states are (layers, samples, features)."""
    dims = call.first.dims
    node = call.tensor(0, "input")
    if node is None:
        return call.made(call.unknown(call.shape))
    if call.has(call.args[1] if len(call.args) > 1 else None) and len(dims) == 2:
        return _packed(call, node)
    if len(dims) != 3:
        return call.made(call.unknown(call.shape))
    batch_first = bool(call.args[-1]) if isinstance(call.args[-1], bool) else False
    time, samples = (dims[1], dims[0]) if batch_first else (dims[0], dims[1])
    out = (*dims[:2], call.new(call.shape[-1], "feature"))
    call.name(time, "time")
    summed = Contraction(dims[2], call.maker(node))
    return call.made(out, contracted=(summed,), steps=Steps(time, samples), parts=_states(call, out, samples))


def _packed(call: Call, node: Any) -> OpAxes:
    dims = call.first.dims
    packed = next((digit.axis.packed for digit in dims[0] if digit.axis.packed is not None), None)
    out = (dims[0], call.new(call.shape[-1], "feature"))
    steps = Steps(*packed) if packed is not None else None
    samples = packed[1] if packed is not None else None
    summed = Contraction(dims[1], call.maker(node))
    return call.made(out, contracted=(summed,), steps=steps, parts=_states(call, out, samples))


def _states(call: Call, out: tuple[Dim, ...], samples: Dim | None) -> Any:
    made: dict[tuple[int, ...], tuple[Dim, ...]] = {}

    def part(path: tuple[object, ...], shape: tuple[int, ...]) -> tuple[Dim, ...] | None:
        if path == (0,):
            return out
        if len(shape) != 3:
            return None
        if shape not in made:
            middle = samples if samples is not None else call.new(shape[1])
            made[shape] = (call.new(shape[0], "layer"), middle, call.new(shape[2], "feature"))
        return made[shape]

    return part


def cell(call: Call) -> OpAxes:
    """One step: samples stay, features are new; the state of an LSTM has two parts."""
    dims = call.first.dims
    node = call.tensor(0, "input") or call.tensors[0]
    out = (*dims[:-1], call.new(call.shape[-1], "feature"))
    return call.made(out, contracted=(Contraction(dims[-1], call.maker(node)),), parts=lambda path, shape: out)


def pack(call: Call) -> OpAxes:
    """Padded (time, samples, ...) to one axis of both that remembers them."""
    dims = call.first.dims
    if len(dims) < 2:
        return call.made(call.unknown(call.shape))
    batch_first = bool(call.arg(2, "batch_first", default=False))
    time, samples = (dims[1], dims[0]) if batch_first else (dims[0], dims[1])
    made = call.axis(call.shape[0], roots=roots_of(time + samples))
    axis = Axis(made.key, made.size, "", made.origin, made.roots, packed=(time, samples))
    rows = (whole(axis), *dims[2:])
    return call.made(rows, parts=lambda path, shape: rows if len(shape) == len(rows) else call.unknown(shape))


def unpack(call: Call) -> OpAxes:
    """The padded form again."""
    dims = call.first.dims
    packed = next((digit.axis.packed for dim in dims[:1] for digit in dim if digit.axis.packed is not None), None)
    if packed is None or len(call.shape) < 2:
        return call.made(call.unknown(call.shape), parts=lambda path, shape: call.unknown(shape))
    batch_first = bool(call.arg(2, "batch_first", default=False))
    time, samples = (
        call.derived(dim, call.shape[at]) for dim, at in zip(packed, (1, 0) if batch_first else (0, 1), strict=True)
    )
    rows = (*((samples, time) if batch_first else (time, samples)), *dims[1:])
    return call.made(
        rows, parts=lambda path, shape: rows if len(shape) == len(rows) else call.fresh(shape, origin="data")
    )


# -------------------------------------------------------------------- attention


def dot_product(call: Call) -> OpAxes:
    """softmax(q k^T) v: the positions of the queries, the features of the values."""
    nodes = [call.tensor(place, name) for place, name in enumerate(("query", "key", "value"))]
    if any(node is None for node in nodes):
        return call.made(call.unknown(call.shape))
    query, key, value = (call.of(node) for node in nodes)
    makers = [call.maker(node) for node in nodes]
    summed = (
        Contraction(query.dims[-1], makers[0], key.dims[-1], makers[1]),
        Contraction(key.dims[-2], makers[1], value.dims[-2], makers[2]),
    )
    leading = query.dims[:-1]
    samples = query.dims[0] if len(query.dims) > 2 else ()
    return call.made(
        [*leading, value.dims[-1]],
        contracted=summed,
        along=(Along(len(key.dims) - 2, key.dims[-2]),),
        steps=Steps(query.dims[-2], samples),
    )


def multi_head(call: Call) -> OpAxes:
    """`F.multi_head_attention_forward`: (positions, samples, features), as the module hands it over; weights beside it."""
    query = call.first.dims
    key = call.tensor(1, "key")
    if key is None or len(query) not in (2, 3):
        return call.made(call.unknown(call.shape))
    node = call.tensor(0, "query")
    out = (*query[:-1], call.new(call.shape[-1], "feature"))
    positions = call.of(key).dims[0]

    def part(path: tuple[object, ...], shape: tuple[int, ...]) -> tuple[Dim, ...] | None:
        if path == (0,):
            return out
        weights = (*query[1:-1], *((call.new(shape[1], "head"),) if len(shape) == 4 else ()), query[0], positions)
        return call.distinct(weights) if len(weights) == len(shape) else None

    steps = Steps(query[0], query[1]) if len(query) == 3 else None
    return call.made(out, contracted=(Contraction(query[-1], call.maker(node)),), steps=steps, parts=part)


def fused_layer(call: Call) -> OpAxes:
    """The fused attention and encoder layers: the axes of the input, always batch first."""
    dims = call.first.dims
    out = (*dims[:-1], call.new(call.shape[-1], "feature"))
    steps = Steps(dims[1], dims[0]) if len(dims) == 3 else None
    return call.made(out, steps=steps, parts=lambda path, shape: out if path == (0,) else None)


RULES: Mapping[str, Transfer] = MappingProxyType(
    {
        **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), recurrent),
        **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), cell),
        **dict.fromkeys(("pack_padded_sequence", "_pack_padded_sequence"), pack),
        **dict.fromkeys(("pad_packed_sequence", "_pad_packed_sequence"), unpack),
        "scaled_dot_product_attention": dot_product,
        "multi_head_attention_forward": multi_head,
        **dict.fromkeys(
            ("native_multi_head_attention", "transformer_encoder_layer_fwd", "_native_multi_head_attention",
             "_transformer_encoder_layer_fwd"),
            fused_layer,
        ),
    }
)  # fmt: skip
