"""Exceptions that a rule met, or raised, as failures of the check."""

from __future__ import annotations

import traceback

from nnlint.failure import Failure
from nnlint.finding import Location
from nnlint.frames import format_trace, is_raised_by_user, location_of_exception, text_of
from nnlint.rule import Rule


def user_fault(error: BaseException) -> Failure:
    """An exception of the user's code where nnlint only looked at it."""
    message = f"code of the target raised {type(error).__name__} where nnlint looked at the model: {text_of(error)}"
    fix = "let what is read (attributes, named_modules, train()) not raise, or raise AttributeError for a missing attribute"
    return Failure("RUN010", message, fix, location=location_of_exception(error), trace=format_trace(error))


def place(failure: Failure) -> tuple[str, Location | None]:
    """What makes two failures one: the code and the line."""
    return failure.code, failure.location


def crash(rule: Rule, error: BaseException) -> Failure:
    """The failure of a rule, or of the user's code that it ran into while it looked at the model."""
    if is_raised_by_user(error, besides=rule.check.__code__.co_filename):
        return user_fault(error)
    return Failure(
        "RUN007",
        f"rule {rule.code} {rule.name} raised {type(error).__name__}: {text_of(error)}",
        fix=f"report it with the trace; `--ignore {rule.code}` leaves the rule out",
        trace="".join(traceback.format_exception(error)),
    )
