"""Words of messages that several rules use."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 update`, `20 updates`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
