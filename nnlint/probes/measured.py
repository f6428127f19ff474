"""Evidence that is measured when it is first read: rules see data, and what goes wrong in measuring is the probe's failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

from nnlint.finding import Skip

if TYPE_CHECKING:
    from typing_extensions import Self

    from nnlint.probes.session import Session

T = TypeVar("T")


class HasSession(Protocol):
    """What measures itself in a session."""

    _session: Session


class measured(Generic[T]):  # noqa: N801 - used as functools.cached_property is
    """Like `functools.cached_property`, for evidence that is measured in a session.

    The value is kept, and so is the reason why it cannot be had: a second rule that reads the property neither runs the probe
    again nor hears another reason. An exception is the failure of the probe (RUN008), not of the rule that reads the property.
    """

    def __init__(self, measure: Callable[[Any], T]) -> None:
        self._measure = measure
        self._name = measure.__name__
        self.__doc__ = measure.__doc__

    @overload
    def __get__(self, owner: None, kind: type | None = None) -> Self: ...

    @overload
    def __get__(self, owner: HasSession, kind: type | None = None) -> T: ...

    def __get__(self, owner: HasSession | None, kind: type | None = None) -> Self | T:
        """The value, measured now if this is the first time."""
        if owner is None:
            return self
        kept = vars(owner).setdefault("_measured", {})
        if self._name not in kept:
            probe = f"{type(owner).__name__}.{self._name}"
            kept[self._name] = owner._session.value_or_reason(probe, lambda: self._measure(owner))
        found: T | Skip = kept[self._name]
        if isinstance(found, Skip):
            raise type(found)(found.reason)
        return found
