"""Transfer rules for ops that move dimensions about: views, permutes, expansions, pixel shuffles, unfold and fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from nnlint.capture.axes.answers import OpAxes
from nnlint.capture.axes.axis import REPEATED, Dim, roots_of, size_of, split
from nnlint.capture.axes.call import Call

Transfer = Callable[[Call], OpAxes]


def view(call: Call) -> OpAxes:
    """Any op that keeps the memory order: view, reshape, flatten, unflatten, squeeze, unsqueeze."""
    return call.viewed(call.first, call.shape)


def permute(call: Call) -> OpAxes:
    """`permute(0, 2, 1)`."""
    dims = call.first.dims
    order = [call.dim(value, len(dims)) for value in call.ints(1, "dims")]
    return _reordered(call, order)


def transpose(call: Call) -> OpAxes:
    """Two dimensions swapped."""
    rank = len(call.first.dims)
    one = call.dim(call.arg(1, "dim0", call.kwargs.get("axis0")), rank)
    other = call.dim(call.arg(2, "dim1", call.kwargs.get("axis1")), rank)
    order: list[int | None] = list(range(rank))
    if one is None or other is None:
        return call.made(call.unknown(call.shape))
    order[one], order[other] = order[other], order[one]
    return _reordered(call, order)


def last_two(call: Call) -> OpAxes:
    """`x.mT`, `x.t()`, and `x.T` of a matrix; of a value of another rank, `x.T` turns all around."""
    rank = len(call.first.dims)
    order: list[int | None] = list(range(rank))
    if call.spelled == "T" and rank != 2:
        order.reverse()
    elif rank >= 2:
        order[-2], order[-1] = order[-1], order[-2]
    return _reordered(call, order)


def movedim(call: Call) -> OpAxes:
    """`movedim(source, destination)`."""
    rank = len(call.first.dims)
    source, target = call.arg(1, "source"), call.arg(2, "destination")
    sources = [call.dim(v, rank) for v in (source if isinstance(source, (list, tuple)) else [source])]
    targets = [call.dim(v, rank) for v in (target if isinstance(target, (list, tuple)) else [target])]
    if None in (*sources, *targets):
        return call.made(call.unknown(call.shape))
    placed = dict(zip(targets, sources, strict=False))
    rest = iter([index for index in range(rank) if index not in sources])
    return _reordered(call, [placed[index] if index in placed else next(rest) for index in range(rank)])


def _reordered(call: Call, order: Sequence[int | None]) -> OpAxes:
    dims = call.first.dims
    if sorted(index for index in order if index is not None) != list(range(len(dims))):
        return call.made(call.unknown(call.shape))
    return call.made([dims[index] for index in order if index is not None])


def expand(call: Call) -> OpAxes:
    """Dimensions of size 1 become repetitions; new ones stand before the others."""
    dims = _to_rank(call.first.dims, len(call.shape))
    return call.made([_grown(call, dim, size) for dim, size in zip(dims, call.shape, strict=True)])


def repeat(call: Call) -> OpAxes:
    """`repeat` and `tile`: copies one after the other, so that the copy is the outer part of the dimension."""
    dims = _to_rank(call.first.dims, len(call.shape))
    return call.made([_copies(call, dim, size) + dim for dim, size in zip(dims, call.shape, strict=True)])


def repeat_interleave(call: Call) -> OpAxes:
    """Each entry several times, so that the copy is the inner part of the dimension."""
    dims = call.first.dims
    at = call.dim(call.arg(2, "dim"), len(dims))
    if at is None or len(dims) != len(call.shape):
        return call.made(call.unknown(call.shape))
    dim, size = dims[at], call.shape[at]
    even = size_of(dim) and size % size_of(dim) == 0
    new = dim + _copies(call, dim, size) if even else call.derived(dim, size)
    return call.made([*dims[:at], new, *dims[at + 1 :]])


def _to_rank(dims: Sequence[Dim], rank: int) -> tuple[Dim, ...]:
    return ((),) * (rank - len(dims)) + tuple(dims)


def _grown(call: Call, dim: Dim, size: int) -> Dim:
    return dim if size_of(dim) == size else call.new(size, origin=REPEATED)


def _copies(call: Call, dim: Dim, size: int) -> Dim:
    times = size // max(1, size_of(dim))
    return call.new(times, origin=REPEATED) if times > 1 else ()


# -------------------------------------------------------------------- pixels


def pixel_shuffle(call: Call) -> OpAxes:
    """(N, C*r*r, H, W) to (N, C, H*r, W*r): the factors of the channels are the inner parts of height and width."""
    factor = call.arg(1, "upscale_factor")
    dims = call.first.dims
    if not isinstance(factor, int) or len(dims) < 3:
        return call.made(call.unknown(call.shape))
    *before, channels, height, width = dims
    parts = split(channels, (size_of(channels) // factor**2, factor, factor))
    if parts is None:
        return call.made(call.unknown(call.shape))
    return call.made([*before, parts[0], height + parts[1], width + parts[2]])


def pixel_unshuffle(call: Call) -> OpAxes:
    """(N, C, H*r, W*r) to (N, C*r*r, H, W)."""
    factor = call.arg(1, "downscale_factor")
    dims = call.first.dims
    if not isinstance(factor, int) or len(dims) < 3:
        return call.made(call.unknown(call.shape))
    *before, channels, height, width = dims
    rows = split(height, (size_of(height) // factor, factor))
    columns = split(width, (size_of(width) // factor, factor))
    if rows is None or columns is None:
        return call.made(call.unknown(call.shape))
    return call.made([*before, channels + rows[1] + columns[1], rows[0], columns[0]])


def channel_shuffle(call: Call) -> OpAxes:
    """Groups and the channels of a group, swapped."""
    groups = call.arg(1, "groups")
    dims = call.first.dims
    if not isinstance(groups, int) or len(dims) < 2:
        return call.made(call.unknown(call.shape))
    parts = split(dims[1], (groups, size_of(dims[1]) // groups))
    return call.made([dims[0], parts[1] + parts[0], *dims[2:]] if parts is not None else call.unknown(call.shape))


# -------------------------------------------------------------------- windows


def unfold(call: Call) -> OpAxes:
    """`Tensor.unfold(dim, size, step)` adds a dimension of windows; `F.unfold` gathers patches into the channels."""
    dims = call.first.dims
    at = call.dim(call.arg(1, "dimension"), len(dims))
    if len(call.shape) == len(dims) + 1 and at is not None:
        places = call.derived(dims[at], call.shape[at])
        inside = (
            call.derived(dims[at], call.shape[-1]) if call.shape[-1] != size_of(dims[at]) else call.new(call.shape[-1])
        )
        return call.made([*dims[:at], places, *dims[at + 1 :], inside])
    if len(dims) == 4 and len(call.shape) == 3:
        window = call.shape[1] // max(1, size_of(dims[1]))
        patches = call.derived(tuple(dims[2] + dims[3]), call.shape[2])
        return call.made([dims[0], dims[1] + call.new(window), patches])
    return call.made(call.unknown(call.shape))


def fold(call: Call) -> OpAxes:
    """(N, C*k*k, L) to (N, C, H, W)."""
    dims = call.first.dims
    if len(dims) != 3 or len(call.shape) != 4:
        return call.made(call.unknown(call.shape))
    channels = split(dims[1], (call.shape[1], size_of(dims[1]) // call.shape[1]))
    channel = channels[0] if channels is not None else call.new(call.shape[1], "channel")
    height, width = (
        (call.derived(dims[2], size, role) if roots_of(dims[2]) else call.new(size, role))
        for size, role in zip(call.shape[2:], ("height", "width"), strict=True)
    )
    return call.made([dims[0], channel, height, width])


RULES: Mapping[str, Transfer] = MappingProxyType(
    {
        **dict.fromkeys(
            ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as", "ravel"), view
        ),
        **dict.fromkeys(("atleast_1d", "atleast_2d", "atleast_3d", "unsafe_view"), view),
        "permute": permute,
        **dict.fromkeys(("transpose", "swapaxes", "swapdims"), transpose),
        **dict.fromkeys(("T", "t", "mT", "H", "mH", "adjoint"), last_two),
        **dict.fromkeys(("movedim", "moveaxis"), movedim),
        **dict.fromkeys(("expand", "expand_as", "broadcast_to"), expand),
        **dict.fromkeys(("repeat", "tile"), repeat),
        "repeat_interleave": repeat_interleave,
        "pixel_shuffle": pixel_shuffle,
        "pixel_unshuffle": pixel_unshuffle,
        "channel_shuffle": channel_shuffle,
        "unfold": unfold,
        "fold": fold,
    }
)
