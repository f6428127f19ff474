"""DAT013: ids that an embedding, or whatever else they index, does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule
from nnlint_rules.data._inputs import origin, routes

if TYPE_CHECKING:
    from torch import Tensor

    from nnlint import Batch, Graph, Op, Parameters, RefusedLookup
    from nnlint_rules.data._inputs import Route


@rule("DAT013", "index-out-of-range", level="error", since="0.1")
def check(
    batch: Batch, graph: Graph | None, parameters: Parameters, refused: RefusedLookup | None
) -> Iterator[Finding]:
    """Token ids, class numbers, positions or node numbers outside the range of what they index.

    ## What it does
    Follows integer inputs to the embeddings they index, through views, casts and slices, and compares their largest and smallest value
    with the number of rows. Where a call raises for its indices, as on a CPU, it is that call with the indices it was given: an
    embedding, `gather`, `scatter`, `index_select`, `index_add`, `x[ids]`, `one_hot`, in the model (a graph convolution reads
    `x[edge_index[0]]`) and in the loss. The other embeddings are judged on a symbolic graph, if there is one.

    ## Why is this bad?
    On a CPU the forward raises without naming where the ids come from; on a GPU an assertion ends the process, at some later call. It
    means that the data and the model do not count the same things: another vocabulary, classes from 1, nodes that were left out.

    ## Example
        embedding = nn.Embedding(tokenizer.vocab_size, 256)        # and special tokens were added after that

    ## Use instead
        embedding = nn.Embedding(len(tokenizer), 256)

    ## References
    - PyTorch: `torch.nn.Embedding` (num_embeddings)
    """
    if graph is None and refused is None:
        raise Skip("no graph: the model did not run, and symbolic tracing failed")
    if refused is not None and refused.outside and not batch.assumed:
        yield _raised(refused, batch)
    for route in routes(batch, graph) if graph is not None else ():
        if not route.tensor.is_integer or route.tensor.assumed or not route.tensor.values.numel():
            continue
        for op in route.first:
            rows = _rows(op, parameters) if _reads_all(op, route) else None
            if rows is None or (route.tensor.min >= 0 and route.tensor.max < rows):
                continue
            if refused is None or refused.module_path != op.module_path:
                yield _finding(op, route.tensor.name, route.tensor.values, rows)


def _raised(refused: RefusedLookup, batch: Batch) -> Finding:
    """The finding of a lookup that raised; its ids may be made by the model (positions), and are named if they are given."""
    name, is_edge = origin(refused.ids, batch)
    if refused.axis is None and refused.op != "one_hot":
        return _finding(refused, name, refused.ids, refused.rows)
    return _indexed(refused, name, is_edge=is_edge)


def _indexed(refused: RefusedLookup, name: str, *, is_edge: bool) -> Finding:
    """The finding of indices into any other tensor: nodes, classes, positions, rows of a parameter."""
    low, high, rows = int(refused.ids.min()), int(refused.ids.max()), refused.rows
    size = " x ".join(map(str, refused.shape))
    into = f"dimension {refused.axis} of a tensor of shape {size}" if refused.axis is not None else "num_classes"
    return Finding(
        at=refused,
        message=f"{name} holds indices from {low} to {high}, and {refused.label} takes 0 to {rows - 1} ({into}): {refused.outside} of "
        f"{refused.ids.numel()} are outside",
        evidence={"input": name, "min": low, "max": high, "rows": rows, "outside": refused.outside, "op": refused.op},
        fix=_index_fix(refused, low, high, is_edge=is_edge),
    )


def _index_fix(refused: RefusedLookup, low: int, high: int, *, is_edge: bool) -> str:
    if low >= 1 and high == refused.rows:
        return "the indices start at 1: subtract 1, so that they run from 0"
    if high < refused.rows:
        return "fix the indices: negative ones (a mark for padding or for unlabelled samples) have to be masked out first"
    if is_edge:
        return (
            f"number the nodes from 0 to {refused.rows - 1}: remove the edges of nodes that are not in the graph, or relabel "
            "(torch_geometric.utils.subgraph(..., relabel_nodes=True)), or add the rows of the missing nodes"
        )
    if refused.op == "one_hot":
        return f"one_hot(..., num_classes={high + 1}), and as many inputs for the next layer; or fix the ids"
    what = "the table" if refused.parameter else "that tensor"
    return f"give {what} {high + 1} entries along dimension {refused.axis}, or fix the indices"


def _finding(at: Op | RefusedLookup, name: str, ids: Tensor, rows: int) -> Finding:
    low, high, outside = int(ids.min()), int(ids.max()), int(((ids < 0) | (ids >= rows)).sum())
    needed = f"set num_embeddings to {high + 1} or more (len(tokenizer), with added tokens)"
    return Finding(
        at=at,
        message=f"{name} has ids from {low} to {high}, and {at.label} has {rows} rows (0 to {rows - 1}): "
        f"{outside} of {ids.numel()} ids are outside",
        evidence={"input": name, "min": low, "max": high, "rows": rows, "outside": outside},
        fix=f"{needed}, or fix the ids" if high >= rows else "fix the ids: an embedding has no negative rows",
    )


def _reads_all(op: Op, route: Route) -> bool:
    """Whether every id of the input is looked up.

    Not so where one column of several is picked, and where the input tells the embedding something else (where bags start).
    """
    while op.activations:
        op = op.activations[0]
        if op.is_kind("input"):
            return route.source is not None and op.index == route.source.index
        if not (op.is_kind("view", "identity", "cast") or _is_slice(op)):
            return False
    return False


def _is_slice(op: Op) -> bool:
    """Whether the op takes a range of positions, as where a language model leaves out the last token."""
    index = op.leading[1] if op.name == "getitem" and len(op.leading) > 1 else 0
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, slice) for part in parts)


def _rows(op: Op, parameters: Parameters) -> int | None:
    """Rows of the table that an embedding reads."""
    if not op.is_kind("embedding"):
        return None
    sizes = {view.name: view.shape for view in parameters}
    shapes = (sizes.get(name, ()) for name in op.parameters)
    return next((shape[0] for shape in shapes if len(shape) == 2), None)
