"""What a Trainer says of the training: its precision, clipping and number of steps.

Recognized by class name, so that neither Lightning nor transformers is imported.
"""

from __future__ import annotations

from typing import Any

#: Packages whose Trainers are known.
_PACKAGES = frozenset({"lightning", "pytorch_lightning", "transformers", "trl"})
_KINDS = frozenset({"Trainer", "TrainingArguments"})
#: How precisions are written; "16-true" and "bf16-true" lower the weights themselves, which the model then shows.
_PRECISIONS = {
    "16-mixed": "fp16", "16": "fp16", "fp16": "fp16", "float16": "fp16", "half": "fp16", "torch.float16": "fp16",
    "bf16-mixed": "bf16", "bf16": "bf16", "bfloat16": "bf16", "torch.bfloat16": "bf16",
    "32-true": None, "32": None, "fp32": None, "float32": None, "no": None, "torch.float32": None, "64-true": None,
}  # fmt: skip


def is_trainer(value: object) -> bool:
    """Whether the value is a Trainer of Lightning, or the arguments of a transformers Trainer."""
    return any(
        base.__name__ in _KINDS and base.__module__.partition(".")[0] in _PACKAGES for base in type(value).__mro__
    )


def fields_of_trainer(value: Any) -> dict[str, Any]:
    """The fields of a setup that the Trainer, or its arguments, decide."""
    arguments = getattr(value, "args", value)
    if hasattr(arguments, "max_grad_norm"):
        return _of_arguments(arguments)
    precision = named_precision(getattr(value, "precision", None))
    by_norm = getattr(value, "gradient_clip_algorithm", None) in (None, "norm")
    clip = getattr(value, "gradient_clip_val", None) if by_norm else None
    steps = getattr(value, "max_steps", None)
    return {
        **_accumulated(getattr(value, "accumulate_grad_batches", 1)),
        **({"planned_steps": steps} if isinstance(steps, int) and steps > 0 else {}),
        **({"precision": precision, "grad_scaler": precision == "fp16"} if precision else {}),
        **({"grad_clip": float(clip)} if clip else {}),
    }


def _of_arguments(arguments: Any) -> dict[str, Any]:
    fields = _accumulated(getattr(arguments, "gradient_accumulation_steps", 1))
    for name in ("fp16", "bf16"):
        if getattr(arguments, name, False):
            fields |= {"precision": name, "grad_scaler": name == "fp16"}
    if arguments.max_grad_norm:
        fields["grad_clip"] = float(arguments.max_grad_norm)
    if getattr(arguments, "max_steps", 0) > 0:
        fields["planned_steps"] = int(arguments.max_steps)
    return fields


def _accumulated(batches: Any) -> dict[str, Any]:
    """What to say where an update of the training comes from several batches."""
    if not isinstance(batches, int) or batches < 2:
        return {}
    said = f"the training accumulates gradients over {batches} batches; each update measured here comes from one"
    return {"assumptions": (said,)}


def named_precision(value: Any) -> Any:
    """`fp16`, `bf16` or None for any of the ways to write a precision; an unknown value as it is."""
    return _PRECISIONS.get(str(value), value if value is not None and not str(value).endswith("-true") else None)
