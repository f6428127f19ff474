"""What an exception in a run of the user's code says: the run it happened in, the line, and the likely cause in the user's words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nnlint.failure import Failure
from nnlint.finding import Skip
from nnlint.frames import format_trace, location_of_exception, text_of


def _matmul(match: re.Match[str]) -> str:
    rows, given, wanted, out = match.groups()
    return (
        f"the layer takes {wanted} features and was given {given} ({rows}x{given} times {wanted}x{out}): set in_features={given}, "
        "or check the size before flatten for this input"
    )


def _channels(match: re.Match[str]) -> str:
    wanted, given = match.groups()
    return (
        f"the convolution takes {wanted} channels and was given {given}: images are (N, C, H, W); "
        f"permute (N, H, W, C) data or set in_channels={given}"
    )


_CAUSES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (
        re.compile(r"can't allocate memory|out of memory"),
        lambda _: "more memory is needed than the machine or --memory-limit allows: use a smaller batch (--batch-size) or --static",
    ),
    (
        re.compile(r"device-side assert"),
        lambda _: (
            "a CUDA kernel found an index, a label or a probability out of range; check with --device cpu, where the same call raises "
            "with its line"
        ),
    ),
    (
        re.compile(
            r"on the same device|at least two devices|Input type \(torch\.cuda\.\w+\) and weight type \(torch\.(?!cuda)|"
            r"Input type \(torch\.(?!cuda)\w+\) and weight type \(torch\.cuda"
        ),
        lambda _: (
            "tensors of two devices meet: make new tensors where the input is (`torch.zeros(n, device=x.device)`), keep constants as "
            "buffers (`self.register_buffer`), and move the loss and the batch to the model's device (`.to(device)`)"
        ),
    ),
    (re.compile(r"mat1 and mat2 shapes cannot be multiplied \((\d+)x(\d+) and (\d+)x(\d+)\)"), _matmul),
    (re.compile(r"expected input\[.*?\] to have (\d+) channels, but got (\d+) channels"), _channels),
    (
        re.compile(
            r"mat1 and mat2 must have the same dtype|expected scalar type|should be the same|must have the same dtype"
        ),
        lambda _: (
            "input and weights differ in dtype or device: cast the batch (`.float()`) or the model to one of them"
        ),
    ),
    (
        re.compile(r"index out of range in self"),
        lambda _: (
            "an id is as large as the number of rows that it looks up (num_embeddings), or larger (or negative): check the size of the "
            "table against the data"
        ),
    ),
    (
        re.compile(r"index (-?\d+) is out of bounds for dimension (\d+) with size (\d+)"),
        lambda match: (
            f"an index of {match[1]} is outside dimension {match[2]}, which has {match[3]} entries (counted from 0): check the ids, "
            "labels or edges in the data"
        ),
    ),
    (
        re.compile(r"Class values must be (smaller than num_classes|non-negative)"),
        lambda _: "one_hot is given a class outside 0 to num_classes - 1: check the ids in the data, or raise num_classes",
    ),
    (
        re.compile(r"Target (-?\d+) is out of bounds"),
        lambda match: (
            f"label {match[1]} needs at least {max(int(match[1]) + 1, 1)} logits (labels run from 0 to C - 1)"
        ),
    ),
    (
        re.compile(r"Expected more than 1 value per channel when training"),
        lambda _: (
            "batch norm in training mode needs more than one value per channel: use a batch of 2 or more (drop_last=True)"
        ),
    ),
    (
        re.compile(r"Expected more than 1 spatial element when training"),
        lambda _: (
            "instance norm needs more than one position per channel: put it before the pooling, or use GroupNorm or LayerNorm"
        ),
    ),
    (
        re.compile(r"modified by an inplace operation"),
        lambda _: (
            "an in-place operation (`+=`, `relu_`, `inplace=True`, indexing assignment) overwrote a value that backward "
            "needs: use the out-of-place form"
        ),
    ),
    (
        re.compile(r"Trying to backward through the graph a second time"),
        lambda _: (
            "a tensor kept from one step to the next (a hidden state, a running value) still holds the last step's graph: "
            "detach it where it is kept (`self.state = state.detach()`)"
        ),
    ),
    (
        re.compile(r"Inference tensors cannot be saved for backward|Inplace update to inference tensor"),
        lambda _: (
            "the model or the batch was made under torch.inference_mode(): make it outside, or under torch.no_grad(), whose tensors can "
            "be trained on"
        ),
    ),
    (
        re.compile(r"maximum recursion depth exceeded"),
        lambda _: "a forward calls itself without an end: call the layers (or super().forward) in it, never self(x) or self.forward(x)",
    ),
    (
        re.compile(r"does not require grad and does not have a grad_fn"),
        lambda _: "nothing trainable reaches the loss: look for detach, no_grad, item or numpy on the way",
    ),
    (
        re.compile(r"Found dtype|expected .* Long|not implemented for '(Int|Long|Bool|Float|Byte)'"),
        lambda _: "the dtype does not suit the loss: class indices are int64, everything else is float",
    ),
    (
        re.compile(r"Using a target size|must be the same as input size|shape mismatch|must match the size"),
        lambda _: "prediction and target differ in shape: squeeze the (N, 1) output or unsqueeze the target",
    ),
)


def likely_cause(error: BaseException) -> str:
    """The likely cause of an exception and what to change; empty when none is known."""
    text = text_of(error)
    for pattern, explain in _CAUSES:
        match = pattern.search(text)
        if match is not None:
            return explain(match)
    return ""


def one_line(error: BaseException) -> str:
    """`TypeError: ...` on one line."""
    text = " ".join(text_of(error).split())
    if isinstance(error, SystemExit):
        return f"the code called exit ({text or 0})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def during(run: str, fix: str) -> Iterator[None]:
    """Say of an exception in which run of the user's code it was raised, for `probe_failure`; the innermost run counts.

    Args:
        run: in a few words: "training step 2".
        fix: how to see it outside nnlint.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Skip):
            vars(error).setdefault("nnlint_run", (run, fix))
        raise


def probe_failure(probe: str, error: BaseException) -> Failure:
    """What a probe that raised says to the user."""
    run, fix = vars(error).get("nnlint_run", ("", ""))
    kept = vars(error).get("nnlint_kept", ())
    location = location_of_exception(error)
    if kept:
        names = ", ".join(f"self.{name}" for _, name in kept[:3])
        fix = f"{names} keeps the graph of the step before: detach it where it is kept (`self.{kept[0][1]} = ....detach()`)"
    if not fix:
        fix = (
            "report it with the trace, it may be nnlint's fault"
            if location is None
            else "run the model on this batch outside nnlint: if it raises there too, fix it, else report it with the trace"
        )
    return Failure(
        "RUN008",
        f"{run or f'the probe {probe!r}'} raised {one_line(error)}" + (f" (probe {probe!r})" if run else ""),
        fix=fix if kept else likely_cause(error) or fix,
        module=kept[0][0] if kept else "",
        location=location,
        trace=format_trace(error),
    )
