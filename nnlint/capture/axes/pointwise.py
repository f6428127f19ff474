"""Transfer rules for ops that keep their input's axes or drop some: elementwise, norms, softmax, reductions, scans, factories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from nnlint.capture.axes.answers import Along, OpAxes
from nnlint.capture.axes.axis import Dim
from nnlint.capture.axes.call import Call

Transfer = Callable[[Call], OpAxes]


def elementwise(call: Call) -> OpAxes:
    """All tensors broadcast against each other."""
    return call.made(call.aligned(map(call.of, call.tensors)))


def unary(call: Call) -> OpAxes:
    """The axes of the first input; further tensors are weights and statistics."""
    return call.same()


def along_dim(call: Call) -> OpAxes:
    """Softmax, cumulative sums, unit norms: the axes stay, and one is run along."""
    dims = call.first.dims
    position, default = _DIMS.get(call.spelled, (1, None))
    given = call.arg(position, "dim", default)
    if given is None:
        given = (0 if len(dims) in (0, 1, 3) else 1) if call.spelled in _IMPLICIT else -1
    return call.same(along=_along(call, given))


_IMPLICIT = frozenset({"softmax", "log_softmax", "softmin"})
_DIMS: Mapping[str, tuple[int, Any]] = MappingProxyType(
    {"normalize": (2, 1), "gumbel_softmax": (4, -1), "glu": (1, -1)}
)


def _along(call: Call, given: Any) -> tuple[Along, ...]:
    dims = call.first.dims
    wanted = given if isinstance(given, (list, tuple)) else [given]
    places = [call.dim(value, len(dims)) for value in wanted]
    return tuple(Along(place, dims[place]) for place in places if place is not None)


def layer_norm(call: Call) -> OpAxes:
    """The trailing dimensions are normalized."""
    shape = call.arg(1, "normalized_shape", (0,))
    count = len(shape) if isinstance(shape, (list, tuple)) else 1
    rank = len(call.first.dims)
    return call.same(along=_along(call, list(range(max(0, rank - count), rank))))


def glu(call: Call) -> OpAxes:
    """Half of one dimension remains."""
    dims = call.first.dims
    at = call.dim(call.arg(1, "dim", -1), len(dims))
    if at is None or len(dims) != len(call.shape):
        return call.made(call.unknown(call.shape))
    return call.made([*dims[:at], call.derived(dims[at], call.shape[at]), *dims[at + 1 :]])


def reduction(call: Call) -> OpAxes:
    """mean, sum, max, ...: the named dimensions go, or stay with size 1."""
    dims = call.first.dims
    if len(call.tensors) > 1 and call.spelled in ("max", "min"):
        return elementwise(call)
    position = _REDUCED_AT.get(call.spelled, 1)
    given = call.arg(position, "dim", call.kwargs.get("axis"))
    if given is None or (isinstance(given, (list, tuple)) and not given):
        given = list(range(len(dims)))
    along = _along(call, given)
    gone = {part.index for part in along}
    keeps = len(call.shape) == len(dims) and bool(gone)
    left: list[Dim] = [() if index in gone else dim for index, dim in enumerate(dims) if keeps or index not in gone]
    return call.made(left, along=along, parts=lambda path, shape: tuple(left) if len(left) == len(shape) else None)


#: Place of `dim` among the positional arguments where it is not right after the input.
_REDUCED_AT: Mapping[str, int] = MappingProxyType(
    {"norm": 2, "vector_norm": 2, "linalg_vector_norm": 2, "kthvalue": 2, "quantile": 2, "nanquantile": 2,
     "cosine_similarity": 2}
)  # fmt: skip


def ordered(call: Call) -> OpAxes:
    """Sort and topk: the same axes, one of them in another order and perhaps shorter."""
    dims = call.first.dims
    at = call.dim(call.arg(2 if call.spelled == "topk" else 1, "dim", -1), len(dims))

    def with_size(path: tuple[object, ...], shape: tuple[int, ...]) -> tuple[Dim, ...] | None:
        if at is None or len(shape) != len(dims):
            return None
        return (*dims[:at], call.derived(dims[at], shape[at]), *dims[at + 1 :])

    made = with_size((), call.shape)
    return call.made(made if made is not None else call.unknown(call.shape), along=_along(call, at), parts=with_size)


def appended(call: Call) -> OpAxes:
    """one_hot, view_as_real: one new last dimension."""
    return call.made([*call.first.dims, call.new(call.shape[-1], "feature")] if call.shape else ())


def without_last(call: Call) -> OpAxes:
    """view_as_complex: the last dimension goes."""
    return call.made(call.first.dims[:-1])


def last_changed(call: Call) -> OpAxes:
    """multinomial, rfft and the like: the last dimension has another meaning or length."""
    dims = call.first.dims[: len(call.shape) - 1]
    return call.made(
        [*dims, call.derived(call.first.dims[-1], call.shape[-1])] if call.first.dims and call.shape else ()
    )


def selection_of_all(call: Call) -> OpAxes:
    """masked_select, nonzero, unique: as many entries as the data say."""
    return call.made(
        [call.new(size) for size in call.shape], parts=lambda path, shape: call.fresh(shape, origin="data")
    )


def spectrum(call: Call) -> OpAxes:
    """stft: (..., length) to (..., frequencies, frames)."""
    dims = call.first.dims
    kept = dims[: len(call.shape) - (3 if call.shape[-1] == 2 and len(call.shape) > len(dims) + 1 else 2)]
    more = [call.new(size) for size in call.shape[len(kept) + 2 :]]
    return call.made(
        [*kept, call.new(call.shape[len(kept)]), call.derived(dims[-1], call.shape[len(kept) + 1], "time"), *more]
    )


def affine_grid(call: Call) -> OpAxes:
    """(N, ...) matrices to (N, H, W, 2): a point of the plane for each place."""
    places = [call.new(size, role) for size, role in zip(call.shape[-3:-1], ("height", "width"), strict=True)]
    middle = [call.new(size) for size in call.shape[1:-3]]
    return call.made([*call.first.dims[:1], *middle, *places, call.new(call.shape[-1])])


def condition(call: Call) -> OpAxes:
    """`where` of three, whose values name the axes before the condition does, or the indices of what holds."""
    if len(call.args) + len(call.kwargs) < 2:
        return selection_of_all(call)
    holds, *values = call.tensors
    return call.made(call.aligned(map(call.of, [*values, holds])))


def factory(call: Call) -> OpAxes:
    """zeros, arange: a constant; `zeros_like(x)` has x's axes and none of its values."""
    if call.spelled.endswith("_like") and call.tensors:
        return OpAxes(call.made(call.first.dims).dims, data=False, random=call.op.is_kind("random"))
    if call.spelled in ("bucketize", "searchsorted") and call.tensors:
        return call.made(call.unknown(call.shape))
    return call.constant(random=call.op.is_kind("random"), uniform=call.spelled in _UNIFORM)


_UNIFORM = frozenset({"zeros", "ones", "empty", "full", "new_zeros", "new_ones", "new_full", "new_empty"})


def drawn(call: Call) -> OpAxes:
    """Random values: those of a distribution given by tensors have their axes."""
    if call.tensors and tuple(call.shape) == tuple(call.op.inputs[0].shape or ()):
        return OpAxes(call.made(call.first.dims).dims, data=call.first.data, random=True)
    return factory(call)


def loss(call: Call) -> OpAxes:
    """A loss function: nothing is left, or one value for each sample."""
    if not call.shape:
        return call.made(())
    aligned = call.aligned(map(call.of, call.tensors[:2]))
    if len(aligned) == len(call.shape):
        return call.made(aligned)
    dims = call.first.dims
    return call.made([dims[0], *dims[2:]] if len(dims) > 1 else dims[:1])


_SAME = """
    detach data clone alias identity positive requires_grad contiguous to type type_as float double half bfloat16 cuda cpu long int
    short char byte bool dropout alpha_dropout feature_alpha_dropout dropout1d dropout2d dropout3d feature_dropout batch_norm
    instance_norm group_norm rms_norm local_response_norm roll flip fliplr flipud rot90 tril triu checkpoint real imag conj
    resolve_conj after renorm zero fill copysign angle nan_to_num native_dropout conj_physical is_nonzero scaled_grad
    random exponential trunc_normal _weight_norm weight_norm
    cummax cummin fft ifft fft_fft fft_ifft fft_fftn fft_ifftn fft_fft2 fft_ifft2 fftshift fft_fftshift fft_ifftshift cumulative_trapezoid
"""
_POINTWISE = """
    add sub rsub mul multiply div true_divide divide addcmul addcdiv neg log log2 log10 log1p exp expm1 exp2 sqrt rsqrt pow square abs
    sin cos tan atan asin acos erf erfc erfinv reciprocal atan2 arctan2 sinh cosh maximum minimum fmax fmin where masked_fill lerp relu
    relu6 threshold leaky_relu rrelu prelu gelu silu mish hardswish elu celu selu softplus sigmoid expit hardsigmoid tanh hardtanh
    softsign tanhshrink softshrink hardshrink logsigmoid clamp clip clamp_min clamp_max round floor ceil trunc sign frac floor_divide
    fix heaviside sgn eq ne lt le gt ge isnan isinf isfinite isclose logical_and logical_or logical_not logical_xor bitwise_and
    bitwise_or bitwise_xor bitwise_not invert and or xor __and__ __or__ __xor__ __invert__ __iand__ __ior__ isin remainder fmod mod
    logaddexp xlogy hypot float_power digamma lgamma polygamma mvlgamma special_xlogy special_gammaln special_digamma copy not rpow
    bitwise_left_shift bitwise_right_shift lshift rshift __lshift__ __rshift__ rfloordiv rmod logit sinc deg2rad i0 absolute
    ldexp greater greater_equal less less_equal not_equal square_ asinh acosh atanh arcsin arccos arctan polar complex
    special_logit special_erf special_expm1 threshold_ rand __rand__ __ror__ __rxor__ lerp_ masked_scatter isposinf isneginf signbit
"""
_ALONG = "softmax log_softmax softmin gumbel_softmax normalize cumsum cumprod logcumsumexp"
_REDUCED = """
    mean sum nanmean nansum prod logsumexp std var norm vector_norm linalg_vector_norm linalg_norm max min amax amin median nanmedian
    argmax argmin any all aminmax std_mean var_mean mode kthvalue quantile nanquantile count_nonzero item trace
"""
_FACTORIES = """
    zeros ones empty full arange linspace logspace eye tensor as_tensor from_numpy zeros_like ones_like empty_like full_like new_zeros
    new_ones new_full new_empty new_tensor scalar_tensor tril_indices triu_indices hann_window hamming_window randperm
    rand randn randint rand_like randn_like randint_like empty_strided blackman_window kaiser_window range
"""

RULES: Mapping[str, Transfer] = MappingProxyType(
    {
        **dict.fromkeys(_POINTWISE.split(), elementwise),
        **dict.fromkeys(_FACTORIES.split(), factory),
        **dict.fromkeys(_SAME.split(), unary),
        **dict.fromkeys(_ALONG.split(), along_dim),
        **dict.fromkeys(_REDUCED.split(), reduction),
        "layer_norm": layer_norm,
        "rms_norm": layer_norm,
        "glu": glu,
        "stft": spectrum,
        "affine_grid": affine_grid,
        "where": condition,
        **dict.fromkeys(("sort", "topk", "argsort", "msort"), ordered),
        **dict.fromkeys(("one_hot", "view_as_real"), appended),
        "view_as_complex": without_last,
        **dict.fromkeys(
            ("multinomial", "rfft", "irfft", "fft_rfft", "fft_irfft", "fft_rfft2", "fft_rfftn", "diff"), last_changed
        ),
        **dict.fromkeys(
            ("masked_select", "nonzero", "unique", "argwhere", "unique_consecutive", "bincount", "histc"),
            selection_of_all,
        ),
        **dict.fromkeys(("normal", "bernoulli", "poisson", "uniform"), drawn),
    }
)
