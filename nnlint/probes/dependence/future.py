"""Whether outputs at a time depend on inputs after it: the second half of every sequence is exchanged between the samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from nnlint.capture.op import Op
from nnlint.finding import Skip
from nnlint.probes.dependence.by_sample import INFLUENCE
from nnlint.probes.dependence.comparisons import measured_difference, measured_outputs
from nnlint.probes.dependence.outputs import relative_difference
from nnlint.probes.evaluation.first_difference import before_time
from nnlint.setup.inputs.names import named_inputs
from nnlint.tensors import map_tensors

if TYPE_CHECKING:
    from nnlint.probes.session import Session


@dataclass(frozen=True)
class FutureLeak:
    """How much outputs before a time change with the inputs from that time on.

    Attributes:
        influence: largest change of an earlier output, relative to the largest output.
        cut: the first position whose inputs were changed.
        length: positions of the sequence.
        op: the first op that an earlier position changes at; None without a leak, or where it could not be found.
    """

    influence: float
    cut: int
    length: int
    op: Op | None


class FutureProbe:
    """Changes the inputs from a time on, and compares the outputs before it.

    Time is the second axis of inputs and outputs, or the last where a one-dimensional convolution reads the inputs. Where a
    model has a decoder, only its inputs are changed.

    Args:
        session: the check; the batch has at least two samples.
        base: outputs in evaluation mode for the batch as it is.
    """

    def __init__(self, session: Session, base: list[torch.Tensor]) -> None:
        self._session = session
        self._base = base

    def run(self) -> FutureLeak | None:
        """The change of the earlier outputs; None where no axis of time is found.

        Raises:
            Skip: all samples are equal.
        """
        length = self._length()
        if length is None:
            return None
        cut = min(length // 2 | 1, length - 1)  # odd: a mask by blocks of an even size must not fit
        inputs = self._with_other_future(length, cut)
        if inputs is None:
            raise Skip("all samples of the batch are equal")
        influence = self._change_before(cut, length, measured_outputs(self._session, "causality pass", inputs))
        if influence <= INFLUENCE:
            return FutureLeak(influence, cut, length, None)
        where = measured_difference(self._session, "search for the leak", inputs, before_time(cut, length))
        return FutureLeak(influence, cut, length, where.op if where is not None else None)

    def _sequences(self) -> list[tuple[str, torch.Tensor]]:
        """Inputs along time: those of the decoder where there is one."""
        session = self._session
        named = list(named_inputs(session.setup.with_inputs(session.batch_inputs)))
        own = [(name, tensor) for name, tensor in named if name.startswith(("decoder", "tgt", "target"))]
        return [(name, tensor) for name, tensor in own or named if tensor.dim() in (2, 3)]

    def _length(self) -> int | None:
        """Positions of the sequence: a size that inputs and outputs, (batch, time, features) or (batch, features, time), share."""
        count = self._session.samples
        axis = self._time_axis
        given = {
            tensor.shape[axis] for _, tensor in self._sequences() if tensor.shape[0] == count and tensor.dim() > axis
        }
        returned = {
            size for tensor in self._base if tensor.dim() == 3 and tensor.shape[0] == count for size in tensor.shape[1:]
        }
        return max((length for length in given & returned if length > 1), default=None)

    @cached_property
    def _time_axis(self) -> int:
        """The axis of time in the inputs: the last where a one-dimensional convolution reads them, else the second."""
        graph = self._session.evidence("Graph")
        first = (
            user
            for op in graph.inputs
            for user in graph.consumers(op, through=("identity", "cast", "dropout", "concat"))
        )
        return 2 if any(op.name in ("conv1d", "conv_transpose1d") for op in first) else 1

    def _early(self, output: torch.Tensor, cut: int, length: int) -> torch.Tensor | None:
        """The part of an output that belongs to times before `cut`; None where it has no axis of time."""
        if output.dim() != 3 or output.shape[0] != self._session.samples or length not in output.shape[1:]:
            return None
        # (batch, time, features) or (batch, features, time): as in the inputs where both axes have the length.
        axis = self._time_axis if output.shape[1] == output.shape[2] else 1 + list(output.shape[1:]).index(length)
        return output.narrow(axis, 0, cut)

    def _with_other_future(self, length: int, cut: int) -> Any:
        """The batch with every sample's future taken from the sample before it; None where that changes nothing."""
        axis = self._time_axis
        chosen = {id(tensor) for _, tensor in self._sequences() if tensor.shape[axis : axis + 1] == (length,)}
        differing = []

        def change(tensor: torch.Tensor) -> torch.Tensor:
            if id(tensor) not in chosen:
                return tensor
            changed = tensor.clone()
            later = changed.narrow(axis, cut, length - cut)
            later.copy_(tensor.roll(1, dims=0).narrow(axis, cut, length - cut))
            differing.append(not torch.equal(changed, tensor))
            return changed

        inputs = map_tensors(change, self._session.batch_inputs)
        return inputs if any(differing) else None

    def _change_before(self, cut: int, length: int, changed: list[torch.Tensor]) -> float:
        """Largest difference of the outputs before `cut`, relative to the largest output."""
        same = [(a, b) for a, b in zip(self._base, changed, strict=False) if a.shape == b.shape]
        both = [(self._early(a, cut, length), self._early(b, cut, length)) for a, b in same]
        early = [(a, b) for a, b in both if a is not None and b is not None]
        return relative_difference([a for a, _ in early], [b for _, b in early])
