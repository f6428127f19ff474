"""Durations, sizes and counts as people write them: `60s`, `2m`, `800M`, `4G`, `1 finding`."""

from __future__ import annotations

import math
import re

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", re.IGNORECASE)
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|)\s*")


def seconds(duration: str | float) -> float:
    """Seconds in `60s`, `2m`, `1.5h`, `500ms` or a plain number.

    Raises:
        ValueError: not a duration, or not above zero.
    """
    match = _DURATION.fullmatch(str(duration))
    if match is None:
        raise ValueError(f"{duration!r} is not a duration such as 60s, 2m or 1h")
    value = float(match[1]) * _UNITS[match[2]]
    if value <= 0 or not math.isfinite(value):
        raise ValueError(f"{duration!r} is not above zero")
    return value


def counted(number: int, word: str) -> str:
    """`1 finding`, `2 findings`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def size(text: str | float) -> int:
    """Bytes in `800M`, `4G`, `4GiB` or a plain number; units are powers of 1024.

    Raises:
        ValueError: not a size, or not above zero.
    """
    match = _SIZE.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 800M or 4G")
    value = int(float(match[1]) * 1024 ** "KMGT".find(match[2].upper()) * 1024) if match[2] else int(float(match[1]))
    if value <= 0:
        raise ValueError(f"{text!r} is not above zero")
    return value
