"""The op taxonomy: what each torch operation is to a rule. One table, so that a functional, a method and a module are one thing.

Names are canonical: `F.relu`, `torch.relu_`, `Tensor.relu` and `nn.ReLU` are all `relu`; `x + y`, `x += y` and `torch.add` are `add`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class OpInfo:
    """What is known of an operation.

    Attributes:
        kinds: the classes it belongs to (`Op.is_kind`).
        range: closed interval of its values, None where it is unbounded or depends on the input.
        gain: recommended initialization gain of the layer before it (torch.nn.init.calculate_gain), None where torch has none.
        parameters: names of positional parameters after the input, for builtins without a signature.
    """

    kinds: frozenset[str]
    range: tuple[float, float] | None = None
    gain: float | None = None
    parameters: tuple[str, ...] = ()


_INF = float("inf")
_UNKNOWN = OpInfo(frozenset({"other"}))

#: Kinds that hand the values on: what comes out are the same numbers, perhaps fewer, reshaped, cast or scaled by dropout.
VALUE_PRESERVING = frozenset({"view", "identity", "cast", "dropout", "index"})
#: Losses on class numbers; they take (batch, classes, positions).
CLASS_LOSSES = ("cross_entropy", "nll_loss")
#: Losses on a probability, or its logit, for each entry; targets are in [0, 1].
BINARY_LOSSES = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss")
#: Losses on the distance of each entry from its target, whatever its scale.
DISTANCE_LOSSES = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
#: Kinds that keep every value where a matrix product would compose: nothing nonlinear, nothing learnable.
SHAPE_ONLY = frozenset({"view", "identity", "cast"})

#: Every kind that `Op.is_kind` and `graph.calls` know besides the canonical names of single operations.
MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "input": "a tensor given to the model or the loss",
        "parameter": "a parameter that the run read",
        "buffer": "a buffer that the run read",
        "unregistered-parameter": "a parameter that no module lists",
        "unknown": "a value whose operation was not seen",
        "scripted": "a call of a TorchScript function or module",
        "other": "an operation that the table does not know",
        "linear-map": "a product with weights: linear, convolution, bilinear",
        "linear": "a linear layer",
        "conv": "a convolution, transposed ones included",
        "conv-transpose": "a transposed convolution",
        "embedding": "a lookup of rows by index",
        "recurrent": "an RNN, LSTM or GRU, whole or one cell",
        "attention": "scaled dot-product or multi-head attention in one call",
        "matmul": "a product of two tensors, `einsum` included",
        "activation": "an elementwise nonlinearity made to be one",
        "rectifier": "zero on one side: relu, relu6, threshold",
        "leaky": "a small slope on one side",
        "smooth-rectifier": "gelu, silu, mish, hardswish, softplus",
        "elu": "elu and celu",
        "saturating": "flat on both sides: sigmoid, tanh, their hard forms, softsign",
        "sigmoid": "values between 0 and 1, one by one",
        "softmax": "values that sum to 1 along an axis",
        "log-softmax": "the logarithm of a softmax",
        "gumbel": "a softmax with noise",
        "squash": "any softmax that is not a logarithm",
        "gate": "one half gates the other (glu)",
        "nonlinear": "another elementwise function that is not linear",
        "exp": "exponentials",
        "log": "logarithms",
        "clamp": "limits to a range",
        "norm": "a normalization of any sort",
        "batch-norm": "batch normalization",
        "instance-norm": "instance normalization",
        "layer-norm": "layer normalization",
        "group-norm": "group normalization",
        "rms-norm": "RMS normalization",
        "unit-norm": "division by a norm (`F.normalize`)",
        "dropout": "a dropout of any sort",
        "alpha-dropout": "dropout for SELU nets",
        "channel-dropout": "dropout of whole channels",
        "pool": "a pooling of any sort",
        "max-pool": "max pooling",
        "avg-pool": "average pooling",
        "adaptive-pool": "pooling to a given size",
        "resample": "interpolation and sampling on a grid",
        "view": "the same numbers in another shape or order",
        "identity": "the same numbers: clone, checkpoint",
        "cast": "another floating dtype, or another device",
        "integer-cast": "a conversion to integers or booleans",
        "index": "a part of the numbers",
        "concat": "several tensors side by side",
        "merge": "parts of one tensor put into another: where, scatter, masked_fill",
        "elementwise": "arithmetic entry by entry",
        "add": "a sum or difference of two tensors",
        "sub": "a difference",
        "mul": "a product entry by entry",
        "div": "a quotient",
        "reduce": "fewer entries than before: sum, mean, prod, norm",
        "select": "picks entries by size: max, min, median",
        "scan": "a running sum or product",
        "round": "piecewise constant: its gradient is zero",
        "compare": "a comparison: no gradient",
        "integer": "gives integers: argmax, one_hot, bincount",
        "random": "draws random numbers",
        "factory": "makes a tensor of its own",
        "detach": "cuts the gradient: detach, .data",
        "escape": "leaves torch: item, tolist, numpy, bool()",
        "loss": "a loss function of torch",
    }
)

_TABLE: dict[str, OpInfo] = {}


def _add(
    names: str,
    kinds: str,
    *,
    range: tuple[float, float] | None = None,  # noqa: A002 - the field's own name
    gain: float | None = None,
    parameters: str = "",
) -> None:
    info = OpInfo(frozenset(kinds.split()), range, gain, tuple(parameters.split()))
    for name in names.split():
        _TABLE[name] = info


def _linear_maps() -> None:
    _add("linear", "linear-map linear", parameters="weight bias")
    _add("bilinear", "linear-map", parameters="input2 weight bias")
    conv = "weight bias stride padding dilation groups"
    _add("conv1d conv2d conv3d", "linear-map conv", parameters=conv)
    transposed = "weight bias stride padding output_padding groups dilation"
    _add("conv_transpose1d conv_transpose2d conv_transpose3d", "linear-map conv conv-transpose", parameters=transposed)
    _add("matmul mm spmm bmm baddbmm addmm addbmm einsum tensordot inner dot mv outer", "matmul")
    _add("embedding embedding_bag", "embedding", parameters="weight")
    _add("lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell quantized_lstm", "recurrent")
    _add("scaled_dot_product_attention", "attention", parameters="key value attn_mask dropout_p is_causal")
    _add("multi_head_attention_forward", "attention")


def _activations() -> None:
    root2 = 2.0**0.5
    _add("relu", "activation rectifier", range=(0.0, _INF), gain=root2, parameters="inplace")
    _add("relu6", "activation rectifier", range=(0.0, 6.0), gain=root2, parameters="inplace")
    _add("threshold", "activation rectifier", gain=root2, parameters="threshold value")
    _add("leaky_relu rrelu prelu", "activation leaky", gain=root2, parameters="negative_slope")
    _add("gelu", "activation smooth-rectifier", range=(-0.18, _INF), parameters="approximate")
    _add("silu mish hardswish", "activation smooth-rectifier", range=(-0.4, _INF))
    _add("elu celu", "activation elu", range=(-_INF, _INF), parameters="alpha")
    _add("selu", "activation selu", gain=1.0)
    _add("softplus", "activation smooth-rectifier", range=(0.0, _INF))
    _add("glu", "activation gate", parameters="dim")
    _add("sigmoid expit", "activation saturating sigmoid", range=(0.0, 1.0), gain=1.0)
    _add("hardsigmoid", "activation saturating sigmoid", range=(0.0, 1.0), gain=1.0)
    _add("tanh", "activation saturating tanh", range=(-1.0, 1.0), gain=5.0 / 3.0)
    _add("hardtanh", "activation saturating hardtanh", range=(-1.0, 1.0), parameters="min_val max_val")
    _add("softsign", "activation saturating softsign", range=(-1.0, 1.0), gain=1.0)
    _add("tanhshrink softshrink hardshrink logsigmoid", "activation")
    _add("softmax", "softmax squash", range=(0.0, 1.0), parameters="dim dtype")
    _add("gumbel_softmax", "softmax gumbel random squash", range=(0.0, 1.0), parameters="tau hard eps dim")
    _add("softmin", "softmax squash", range=(0.0, 1.0), parameters="dim")
    _add("log_softmax", "log-softmax", range=(-_INF, 0.0), parameters="dim dtype")
    _add("clamp clip clamp_min clamp_max", "clamp", parameters="min max")


def _normalizations() -> None:
    batch = "running_mean running_var weight bias training momentum eps"
    _add("batch_norm", "norm batch-norm", parameters=batch)
    _add(
        "instance_norm",
        "norm instance-norm",
        parameters="running_mean running_var weight bias use_input_stats momentum eps",
    )
    _add("layer_norm", "norm layer-norm", parameters="normalized_shape weight bias eps")
    _add("group_norm", "norm group-norm", parameters="num_groups weight bias eps")
    _add("rms_norm", "norm rms-norm", parameters="normalized_shape weight eps")
    _add("local_response_norm", "norm")
    _add("normalize", "norm unit-norm", parameters="p dim eps")
    _add("dropout", "dropout", parameters="p training inplace")
    _add("alpha_dropout feature_alpha_dropout", "dropout alpha-dropout", parameters="p training inplace")
    _add("dropout1d dropout2d dropout3d feature_dropout", "dropout channel-dropout", parameters="p training inplace")


def _poolings() -> None:
    pool = "kernel_size stride padding"
    _add("max_pool1d max_pool2d max_pool3d", "pool max-pool", parameters=pool + " dilation ceil_mode")
    names = "max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices fractional_max_pool2d"
    _add(names, "pool max-pool", parameters=pool)
    _add(
        "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d",
        "pool max-pool adaptive-pool",
        parameters="output_size",
    )
    _add("avg_pool1d avg_pool2d avg_pool3d lp_pool2d", "pool avg-pool", parameters=pool)
    _add(
        "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d",
        "pool avg-pool adaptive-pool",
        parameters="output_size",
    )
    _add("interpolate upsample grid_sample", "resample")
    _add("mean", "reduce mean", parameters="dim keepdim")
    _add("sum", "reduce sum", parameters="dim keepdim")
    _add("nanmean nansum prod logsumexp std var norm vector_norm", "reduce", parameters="dim keepdim")
    _add("max min amax amin median", "reduce select", parameters="dim keepdim")
    _add("cumsum cumprod logcumsumexp", "scan", parameters="dim")


def _layouts() -> None:
    _add("view reshape flatten unflatten squeeze unsqueeze expand expand_as view_as reshape_as ravel", "view")
    _add(
        "transpose swapaxes swapdims permute movedim moveaxis t T mT H mH rot90 flip roll contiguous as_strided", "view"
    )
    _add("pixel_shuffle pixel_unshuffle channel_shuffle unfold fold tile repeat repeat_interleave", "view")
    _add("clone alias identity positive requires_grad_ checkpoint after", "identity")
    _add("to type type_as float double half bfloat16 cuda cpu", "cast")
    _add("getitem narrow select index_select gather take masked_select chunk split tensor_split unbind", "index")
    _add("hsplit vsplit take_along_dim diagonal slice dsplit split_with_sizes", "index")
    _add("cat concat concatenate stack hstack vstack dstack pad constant_pad_nd pad_sequence", "concat")
    _add(
        "where masked_fill masked_fill_ setitem index_put scatter scatter_add index_add index_copy copy fill zero",
        "merge",
    )
    _add("masked_scatter scatter_reduce lerp tril triu", "merge")
    _add("pack_padded_sequence pad_packed_sequence _pack_padded_sequence _pad_packed_sequence", "index")


def _arithmetic() -> None:
    _add("add", "add elementwise", parameters="other")
    _add("sub rsub", "add sub elementwise", parameters="other")
    _add("mul multiply", "mul elementwise", parameters="other")
    _add("div true_divide divide", "div elementwise", parameters="other")
    _add("addcmul addcdiv", "add elementwise")
    _add("neg", "neg elementwise")
    _add("log log2 log10 log1p", "log elementwise")
    _add("exp expm1 exp2", "exp elementwise", range=(0.0, _INF))
    _add(
        "sqrt rsqrt pow square abs sin cos tan atan asin acos erf reciprocal atan2 sinh cosh maximum minimum",
        "elementwise nonlinear",
    )


def _cuts_and_sources() -> None:
    _add("detach data", "detach")
    _add("item tolist numpy __array__ __bool__ __int__ __float__ __index__ bool_of", "escape")
    _add(
        "argmax argmin argsort topk_indices multinomial one_hot bincount nonzero unique searchsorted bucketize",
        "integer",
    )
    _add("round floor ceil trunc sign frac floor_divide fix heaviside sgn", "integer round")
    _add("long int short char byte bool", "integer integer-cast")
    _add("eq ne lt le gt ge isnan isinf isfinite logical_and logical_or logical_not bitwise_and bitwise_or", "compare")
    _add("invert __and__ __or__ __invert__ isin any all equal allclose", "compare")
    _add(
        "zeros ones empty full arange linspace eye tensor as_tensor from_numpy zeros_like ones_like empty_like",
        "factory",
    )
    _add("full_like new_zeros new_ones new_full new_empty new_tensor scalar_tensor meshgrid", "factory")
    random = "rand randn randint randperm rand_like randn_like randint_like normal bernoulli uniform_ normal_ bernoulli_ poisson"
    _add(random + " normal_ exponential_ random_ uniform exponential", "random")


#: Losses of torch.nn.functional and the fields that rules ask for.
_LOSSES: Mapping[str, str] = MappingProxyType(
    {
        "cross_entropy": "target weight size_average ignore_index reduce reduction label_smoothing",
        "nll_loss": "target weight size_average ignore_index reduce reduction",
        "binary_cross_entropy": "target weight size_average reduce reduction",
        "binary_cross_entropy_with_logits": "target weight size_average reduce reduction pos_weight",
        "mse_loss": "target size_average reduce reduction weight",
        "l1_loss": "target size_average reduce reduction weight",
        "smooth_l1_loss": "target size_average reduce reduction beta",
        "huber_loss": "target reduction delta weight",
        "kl_div": "target size_average reduce reduction log_target",
        "gaussian_nll_loss": "target var full eps reduction",
        "poisson_nll_loss": "target log_input full size_average eps reduce reduction",
        "ctc_loss": "targets input_lengths target_lengths blank reduction zero_infinity",
        "soft_margin_loss": "target size_average reduce reduction",
        "multilabel_soft_margin_loss": "target weight size_average reduce reduction",
        "multilabel_margin_loss": "target size_average reduce reduction",
        "multi_margin_loss": "target p margin weight size_average reduce reduction",
        "hinge_embedding_loss": "target margin size_average reduce reduction",
        "cosine_embedding_loss": "input2 target margin size_average reduce reduction",
        "margin_ranking_loss": "input2 target margin size_average reduce reduction",
        "triplet_margin_loss": "positive negative margin",
        "triplet_margin_with_distance_loss": "positive negative",
    }
)


def _losses() -> None:
    for name, parameters in _LOSSES.items():
        _add(name, f"loss {name}", parameters=parameters)


for _fill in (
    _linear_maps,
    _activations,
    _normalizations,
    _poolings,
    _layouts,
    _arithmetic,
    _cuts_and_sources,
    _losses,
):
    _fill()

OPS: Mapping[str, OpInfo] = MappingProxyType(_TABLE)

_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "matmul": "matmul",
        "truediv": "div",
        "floordiv": "floor_divide",
        "sigmoid_": "sigmoid",
        "hardtanh_": "hardtanh",
        "_softmax": "softmax",
        "special_softmax": "softmax",
        "special_log_softmax": "log_softmax",
        "special_expit": "sigmoid",
        "native_batch_norm": "batch_norm",
        "native_layer_norm": "layer_norm",
        "log_sigmoid": "logsigmoid",
        "swish": "silu",
        "multiply": "mul",
        "negative": "neg",
        "nll_loss_nd": "nll_loss",
        "nll_loss2d": "nll_loss",
    }
)
_REFLECTED = frozenset({"radd", "rsub", "rmul", "rdiv", "rtruediv", "rmatmul", "rpow", "rfloordiv", "rmod"})
_INPLACE_DUNDERS = frozenset({"iadd", "isub", "imul", "idiv", "itruediv", "imatmul", "ipow", "ifloordiv"})


def canonical(name: str) -> str:
    """Fold the spellings of an operation into one name.

    `relu_` -> `relu`, `__iadd__` -> `add`, `__rsub__` -> `rsub`, `_max_pool2d` -> `max_pool2d`, `__getitem__` -> `getitem`.
    """
    bare = name
    if bare.startswith("__") and bare.endswith("__"):
        inner = bare.strip("_")
        if bare in _TABLE:
            return bare
        if inner in _REFLECTED:
            inner = "rsub" if inner == "rsub" else inner[1:]
        elif inner in _INPLACE_DUNDERS:
            inner = inner[1:]
        bare = inner
    elif bare.endswith("_") and not bare.startswith("__"):
        bare = bare.rstrip("_")
    if bare not in _TABLE and bare.lstrip("_") in _TABLE:
        bare = bare.lstrip("_")
    return _ALIASES.get(bare, bare)


def info(name: str) -> OpInfo:
    """The entry of a canonical name; kind "other" for an operation the table does not know."""
    return OPS.get(name, _UNKNOWN)
