"""What values a loss can come to rest at: its floor, the plateaus that name a fault, and what a plateau would not prove.

The values: docs/evidence/calibration.md#plateaus.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from nnlint.kinds import CLASS_LOSSES, DISTANCE_LOSSES
from nnlint.samples import batch_axis, sample_count
from nnlint.tensors import tensor_leaves

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op
    from nnlint.probes.training_pass.losses import LossCalls, MeasuredLoss
    from nnlint.setup.training_setup import TrainingSetup

_TOLERANCE = 0.02
_ZERO_AT_BEST = ("nll_loss", *DISTANCE_LOSSES, "kl_div")
_BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
_KNOWN = ("cross_entropy", *_ZERO_AT_BEST, *_BINARY)
#: Weights there must be for each number that is to be memorized.
_WEIGHTS_PER_TARGET = 10
_NONLINEAR = (
    "activation", "softmax", "log-softmax", "norm", "attention", "recurrent", "max-pool", "nonlinear", "clamp", "exp", "log",
    "compare", "other",
)  # fmt: skip


def single_call(losses: LossCalls) -> MeasuredLoss | None:
    """The one known loss function whose value is the loss; None for sums of losses and losses written by hand."""
    calls = losses.calls
    if len(calls) != 1 or calls[0].kind not in _KNOWN or losses.op is None:
        return None
    if losses.graph.producer(losses.op, ("view", "identity", "cast")) is not calls[0].op:
        return None
    prediction = calls[0].prediction
    # A prediction that the loss itself computed (a similarity matrix) is bounded in ways that nothing here knows.
    if (
        prediction is None
        or losses.graph.producer(prediction, ("view", "identity", "cast", "index", "log-softmax")).in_loss
    ):
        return None
    return calls[0]


def targets_of(call: MeasuredLoss, small: TrainingSetup, samples: int) -> torch.Tensor | None:
    """The targets of the small batch as the loss function gets them; `samples` is the size of the whole batch."""
    seen = call.target_value
    if seen is not None and seen.dim() and samples and seen.shape[0] % samples == 0:
        return seen.narrow(0, 0, seen.shape[0] // samples * sample_count(small))
    return small.targets if isinstance(small.targets, torch.Tensor) else None


def loss_floor(call: MeasuredLoss | None, target: torch.Tensor | None) -> float:
    """The lowest value the targets allow: the entropy of soft labels, 0 for hard ones and where it is unknown."""
    if call is None or target is None or call.kind in _ZERO_AT_BEST or call.argument("reduction", "mean") != "mean":
        return 0.0
    if call.kind in _BINARY:
        return float((torch.special.entr(target.double()) + torch.special.entr(1 - target.double())).mean())
    smoothing = float(call.argument("label_smoothing", 0.0) or 0.0)
    classes = classes_of(call)
    if target.is_floating_point():
        share = target.double().clamp_min(0)
        share = share * (1 - smoothing) + smoothing / max(classes or 1, 1)
        return float(torch.special.entr(share).sum(dim=call.class_dim if share.dim() > 1 else 0).mean())
    if not smoothing or not classes or classes < 2:
        return 0.0
    wrong = smoothing / classes
    right = 1 - smoothing + wrong
    return -right * math.log(right) - (classes - 1) * wrong * math.log(wrong)


def classes_of(call: MeasuredLoss) -> int | None:
    """How many classes the prediction has."""
    shape = (
        call.prediction_value.shape if call.prediction_value is not None else call.prediction and call.prediction.shape
    )
    return int(shape[call.class_dim]) if shape else None


def known_plateau(call: MeasuredLoss | None, target: torch.Tensor | None, loss: float) -> str | None:
    """The fault whose signature this value is, within 2 %; the nearest where there are several."""
    if call is None or call.argument("reduction", "mean") != "mean":
        return None
    near = [(abs(loss / value - 1.0), name) for value, name in _plateaus(call, target) if value > 0.0]
    distance, name = min(near, default=(math.inf, ""))
    return name if distance <= _TOLERANCE else None


def blind_floor(call: MeasuredLoss | None, target: torch.Tensor | None) -> float | None:
    """The lowest loss of a prediction that is the same for every sample; None where it is unknown."""
    if call is None or target is None or not target.numel():
        return None
    if call.kind in CLASS_LOSSES and not target.is_floating_point():
        return _label_entropy(target, int(call.argument("ignore_index", -100)))
    if call.kind in _BINARY:
        share = target.double().flatten(1).mean(dim=0) if target.dim() > 1 else target.double().mean()
        return float((torch.special.entr(share) + torch.special.entr(1 - share)).mean())
    if call.kind == "mse_loss":
        return float(target.double().var(dim=0, correction=0).mean())
    return None


def loss_of_chance(losses: LossCalls | None) -> float | None:
    """The loss of chance of the one loss call there is; None where there are several, or none that is known."""
    call = single_call(losses) if losses is not None else None
    return chance_loss(call, call.target_value) if call is not None else None


def chance_loss(call: MeasuredLoss | None, target: torch.Tensor | None) -> float | None:
    """The loss of a prediction that says nothing: uniform probabilities, or zero; None where it is unknown."""
    if call is None or call.argument("reduction", "mean") != "mean":
        return None
    classes = classes_of(call)
    if call.kind in CLASS_LOSSES:
        return math.log(classes) if classes is not None and classes > 1 else None
    if call.kind in _BINARY:
        return math.log(2.0)
    if call.kind == "mse_loss" and target is not None:
        return float(target.double().square().mean())
    return None


def _label_entropy(target: torch.Tensor, ignored: int) -> float:
    labels = target.reshape(-1)
    counts = torch.bincount(labels[(labels != ignored) & (labels >= 0)]).double()
    return float(torch.special.entr(counts[counts > 0] / counts.sum()).sum()) if counts.numel() else 0.0


def _plateaus(call: MeasuredLoss, target: torch.Tensor | None) -> Iterator[tuple[float, str]]:
    blind = blind_floor(call, target)
    classes = classes_of(call)
    if call.kind in CLASS_LOSSES and classes is not None and classes > 1:
        if call.kind == "cross_entropy":
            yield (
                math.log(math.e + classes - 1) - 1,
                f"ln(e + C - 1) - 1 for C = {classes}: softmax or sigmoid before cross-entropy",
            )
            bounded = math.log1p((classes - 1) * math.exp(-2.0))
            yield (
                bounded,
                f"ln(1 + (C - 1) e^-2) for C = {classes}: logits between -1 and 1 (tanh, or cosines without a scale)",
            )
        yield math.log(classes), f"ln C for C = {classes}: nothing is learned"
        if blind is not None:
            yield blind, "the entropy of the labels: the output ignores the input"
    elif call.kind in _BINARY:
        yield math.log(2.0), "ln 2: nothing is learned"
        if blind is not None:
            yield blind, "the entropy of the labels: the output ignores the input"
        if target is not None and call.kind == "binary_cross_entropy_with_logits":
            share = float(target.double().mean())
            squashed = share * math.log1p(math.exp(-1.0)) + (1.0 - share) * math.log(2.0)
            yield squashed, "ln 2 for zeros and 0.313 for ones: sigmoid before binary cross-entropy with logits"
    elif call.kind == "mse_loss" and target is not None and blind is not None:
        whole = float(target.double().var(correction=0))
        yield blind, "Var(y): the prediction is a constant (it ignores the input, or the shapes broadcast)"
        yield whole, "Var(y): the prediction is a constant (it ignores the input, or the shapes broadcast)"
        yield float(target.double().square().mean()), "the mean of y squared: the output stays at zero"


def limits(setup: TrainingSetup, graph: Graph, call: MeasuredLoss | None, target: torch.Tensor | None) -> Iterator[str]:
    """Why a plateau on this batch would not prove a fault; nothing where it would."""
    if call is None or target is None:
        yield "the lowest value of this loss is not known"
        return
    samples = sample_count(setup)
    count = target.numel()
    size = sum(parameter.numel() for parameter in setup.model.parameters() if parameter.requires_grad)
    if count > samples and size < _WEIGHTS_PER_TARGET * count:
        yield f"{size} weights for {count} targets"
    if count > samples and setup.targets_assumed:
        yield "the targets are noise made up by nnlint"
    rows = _rows(setup.inputs, samples)
    if rows is not None and _has_conflict(rows, target, samples):
        yield "samples with the same input have different targets"
    if not has_hidden_nonlinearity(graph) and (rows is None or _rank(rows) < samples):
        yield "a linear model, and the inputs are too few-dimensional for it to fit any targets"


def has_hidden_nonlinearity(graph: Graph) -> bool:
    """Whether anything nonlinear lies between two layers with weights."""
    weighted = [op for op in graph.ops if op.is_kind("linear-map", "recurrent", "embedding") and not op.in_loss]
    if any(op.is_kind("recurrent") for op in weighted):
        return True
    return len(weighted) > 1 and any(map(_is_nonlinear, graph.above(weighted)))


def _is_nonlinear(op: Op) -> bool:
    if op.is_kind("input", "parameter", "buffer"):
        return False
    if op.is_kind("mul", "matmul", "div"):
        return len([above for above in op.activations if above.requires_grad]) > 1
    return op.is_kind(*_NONLINEAR) and any(above.requires_grad for above in op.activations)


def _rows(inputs: Any, samples: int) -> torch.Tensor | None:
    """One row of numbers for each sample; None where the samples cannot be told apart."""
    parts = []
    for _, tensor in tensor_leaves(inputs):
        axis = batch_axis(tensor, samples) if tensor.dim() else None
        if axis is not None and tensor.layout is torch.strided:
            parts.append(tensor.detach().movedim(axis, 0).reshape(samples, -1).double())
    return torch.cat(parts, dim=1) if parts else None


def _has_conflict(rows: torch.Tensor, target: torch.Tensor, samples: int) -> bool:
    if not target.dim() or target.shape[0] != samples:
        return False
    wanted = target.reshape(samples, -1)
    same = (rows[:, None] == rows[None]).all(dim=2) & (wanted[:, None] != wanted[None]).any(dim=2)
    return bool(same.any())


def _rank(rows: torch.Tensor) -> int:
    """Rank of the rows with a constant beside them, by their small Gram matrix."""
    scaled = rows / rows.abs().amax().clamp_min(1e-300)
    gram = scaled @ scaled.T + 1.0
    return int(torch.linalg.matrix_rank(gram, hermitian=True, rtol=1e-9))
