"""Evidence `Mixing`: what depends on what. Samples on samples, outputs on inputs, times on later times.

Every comparison is between two evaluation-mode forwards that differ in one place of the input, so that integer inputs, masks and
models without gradients are judged alike. Batch-statistics norms are in evaluation mode by then and do not mix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nnlint.capture.graph import Op
from nnlint.finding import Skip

if TYPE_CHECKING:
    import torch

    from nnlint.probes.session import Session

#: Larger relative changes are real, smaller ones rounding (kernels choose other blocks for other data).
INFLUENCE = 1e-5


@dataclass(frozen=True)
class SampleMixing:
    """The output of one sample depends on another.

    Attributes:
        influence: change of the other samples' outputs, relative to the largest output.
        op: the first op where other samples change; None where it could not be found.
    """

    influence: float
    op: Op | None


@dataclass(frozen=True)
class InputInfluence:
    """How much the output changes when one input tensor is given to the wrong samples.

    Attributes:
        name: name of the input tensor.
        influence: change relative to the largest output; 0 when the tensor does not matter.
        is_mask: integer or boolean tensor whose name says mask.
        constant: all samples of the tensor are equal, so that nothing could be seen.
    """

    name: str
    influence: float
    is_mask: bool
    constant: bool


class Mixing:
    """Dependence between samples, inputs and times; every property is measured once, in the session's state guard."""

    def __init__(self, session: Session) -> None:
        if session.samples < 2:
            raise Skip("the batch holds a single sample")
        self._session = session

    def _base(self) -> list[torch.Tensor]:
        outputs: list[torch.Tensor] = self._session.evidence("EvalStats").outputs
        return outputs

    def _require_repeatable(self) -> None:
        if self._session.evidence("EvalStats").randomness is not None:
            raise Skip("evaluation mode is random (ARC012 or SIG007): dependence cannot be told from noise")

    def _evaluate(self, label: str, inputs: Any) -> list[torch.Tensor]:
        from nnlint.probes.outputs import evaluate

        session = self._session
        found: list[torch.Tensor] = session.measure(
            label, lambda: evaluate(session.setup, inputs, seed=session.plan.seed)
        )
        return found

    @cached_property
    def samples(self) -> SampleMixing | None:
        """Whether other samples' outputs change when one sample is replaced; None when they do not.

        Raises:
            Skip: no output has the batch as its first dimension, or evaluation mode is random.
        """
        from nnlint.probes.outputs import relative_difference, with_first_sample_replaced

        self._require_repeatable()
        session = self._session
        count = session.samples
        changed_inputs = with_first_sample_replaced(session.batch_inputs, count)
        base, changed = self._base(), self._evaluate("independence pass", changed_inputs)
        pairs = [
            (a[1:], b[1:]) for a, b in zip(base, changed, strict=False) if a.dim() and a.shape[0] == count == b.shape[0]
        ]
        if not pairs:
            raise Skip("no output has the batch as its first dimension")
        influence = relative_difference([a for a, _ in pairs], [b for _, b in pairs])
        if influence <= INFLUENCE:
            return None
        return SampleMixing(influence, self._where_mixing_starts(changed_inputs))

    def _where_mixing_starts(self, changed_inputs: Any) -> Op | None:
        from nnlint.probes.fingerprints import first_difference

        session = self._session
        count, seed = session.samples, session.plan.seed

        def others(output: torch.Tensor) -> torch.Tensor | None:
            if not output.is_floating_point() or not output.dim() or output.shape[0] % count:
                return None
            return output.reshape(count, -1)[1:]

        found = session.measure(
            "search for the mixing op",
            lambda: first_difference(session.setup, (session.batch_inputs, seed), (changed_inputs, seed), others),
        )
        return found[0] if found is not None else None

    @cached_property
    def inputs(self) -> tuple[InputInfluence, ...]:
        """The influence of every input tensor that has the batch as an axis."""
        from nnlint.probes.outputs import batch_axis
        from nnlint.probes.training_pass import named_inputs

        self._require_repeatable()
        count = self._session.samples
        setup = self._session.setup.with_inputs(self._session.batch_inputs)
        tensors = [
            (name, tensor)
            for name, tensor in named_inputs(setup)
            if tensor.dim() and batch_axis(tensor, count) is not None
        ]
        return tuple(self._input(name, tensor) for name, tensor in tensors)

    def _input(self, name: str, tensor: torch.Tensor) -> InputInfluence:
        from nnlint.probes.outputs import map_tensors, relative_difference, rolled

        count = self._session.samples
        moved = rolled(tensor, count)
        constant = bool((moved == tensor).all())
        influence = 0.0
        if not constant:
            inputs = map_tensors(self._session.batch_inputs, lambda leaf: moved if leaf is tensor else leaf)
            influence = relative_difference(self._base(), self._evaluate(f"influence of {name}", inputs))
        is_mask = not tensor.is_floating_point() and "mask" in name.lower()
        return InputInfluence(name, influence, is_mask, constant)

    @cached_property
    def future(self) -> float | None:
        """Change of the outputs before the middle of the sequence when the inputs after it change; None: no time axis found.

        Time is the second axis of inputs and outputs.
        """
        from nnlint.probes.outputs import map_tensors

        self._require_repeatable()
        count = self._session.samples
        lengths = {t.shape[1] for t in self._base() if t.dim() >= 3 and t.shape[0] == count}
        length = next((found for found in sorted(lengths, reverse=True) if found > 1 and self._has_length(found)), None)
        if length is None:
            return None
        half = length // 2

        def change(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.dim() < 2 or tensor.shape[1] != length:
                return tensor
            changed = tensor.clone()
            changed[:, half:] = tensor.roll(1, dims=0)[:, half:]
            return changed

        changed = self._evaluate("causality pass", map_tensors(self._session.batch_inputs, change))
        return self._change_before(half, length, changed)

    def _has_length(self, length: int) -> bool:
        from nnlint.capture.bindings import tensor_leaves

        return any(t.dim() >= 2 and t.shape[1] == length for _, t in tensor_leaves(self._session.batch_inputs))

    def _change_before(self, half: int, length: int, changed: list[torch.Tensor]) -> float:
        from nnlint.probes.outputs import relative_difference

        early = [
            (a[:, :half], b[:, :half])
            for a, b in zip(self._base(), changed, strict=False)
            if a.shape == b.shape and a.dim() >= 3 and a.shape[1] == length
        ]
        return relative_difference([a for a, _ in early], [b for _, b in early])

    @cached_property
    def order(self) -> float | None:
        """Change of the output when the positions of the sequence are shuffled; None where there is no sequence axis.

        Outputs with a position axis are shuffled back before they are compared.
        """
        import torch

        from nnlint.probes.outputs import map_tensors, relative_difference

        self._require_repeatable()
        candidates = {t.shape[1] for t in _leaves(self._session.batch_inputs) if t.dim() >= 2 and t.shape[1] > 2}
        if len(candidates) != 1:
            return None
        length = candidates.pop()
        generator = torch.Generator().manual_seed(self._session.plan.seed)
        order = torch.randperm(length, generator=generator)

        def shuffle(tensor: torch.Tensor) -> torch.Tensor:
            return tensor[:, order.to(tensor.device)] if tensor.dim() >= 2 and tensor.shape[1] == length else tensor

        changed = self._evaluate("order pass", map_tensors(self._session.batch_inputs, shuffle))
        return relative_difference([shuffle(tensor) for tensor in self._base()], changed)


def _leaves(value: Any) -> list[torch.Tensor]:
    from nnlint.capture.bindings import tensor_leaves

    return [tensor for _, tensor in tensor_leaves(value)]
