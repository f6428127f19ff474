"""The arguments of a model's `forward`."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from torch import nn

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (*_POSITIONAL, inspect.Parameter.KEYWORD_ONLY)


def base_of(model: nn.Module) -> nn.Module:
    """The model that an adapter was put around, as PEFT keeps it; the model itself where there is none."""
    inside = getattr(model, "get_base_model", None)
    base = inside() if callable(inside) else model
    return base if isinstance(base, nn.Module) else model


@dataclass(frozen=True)
class ForwardSignature:
    """What `forward` takes.

    Attributes:
        required: arguments without a default, in order, keyword-only ones last.
        optional: arguments with a default.
        keyword_only: those of `required` that must be passed by name.
        open_ended: `*args` or `**kwargs` take anything else.
    """

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    keyword_only: frozenset[str] = frozenset()
    open_ended: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All named arguments, required ones first."""
        return (*self.required, *self.optional)

    @property
    def to_fill(self) -> tuple[str, ...]:
        """The arguments an example input must fill: the required ones, else the first of all."""
        return self.required or self.optional[:1] or (("input",) if self.open_ended else ())

    @classmethod
    def of(cls, model: nn.Module) -> ForwardSignature:
        """Read from the instance's `forward`; open-ended where that cannot be read (scripted modules).

        An adapter around another model that passes everything on (PEFT's) takes what that model takes.
        """
        try:
            parameters = list(inspect.signature(model.forward).parameters.values())
        except (TypeError, ValueError):
            return cls(open_ended=True)
        if not any(p.kind in _NAMED for p in parameters) and (inner := base_of(model)) is not model:
            return cls.of(inner)
        named = [p for p in parameters if p.kind in _NAMED]
        return cls(
            required=tuple(p.name for p in named if p.default is p.empty),
            optional=tuple(p.name for p in named if p.default is not p.empty),
            keyword_only=frozenset(p.name for p in named if p.kind is p.KEYWORD_ONLY),
            open_ended=len(named) < len(parameters),
        )


def defines_forward(model: nn.Module) -> bool:
    """Whether the model can be called at all; containers such as `nn.ModuleList` cannot."""
    # Static: on scripted modules the class attribute is a descriptor that only works on an instance.
    own = inspect.getattr_static(type(model), "forward")
    return own is not nn.Module.forward or "forward" in vars(model)
