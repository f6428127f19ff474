"""What a loss is before training beside what it should be."""

from __future__ import annotations

from dataclasses import dataclass

MIN_SAMPLES = 8  # fewer say nothing about a loss being too low


@dataclass(frozen=True)
class Reading:
    """A measured loss and its closed form.

    Attributes:
        expected: the loss of an uninformed prediction.
        measured: the unweighted mean loss; None where the targets are made up.
        excess: log-losses: how much the spread of the logits alone adds, whatever the labels; else None.
        ratio: other losses: measured / expected; else None.
        constant: loss of the best input-independent prediction the head makes; None where it is not known.
        noise: standard error of the measured loss under random labels.
        words: what the expected value is, in words.
    """

    expected: float
    measured: float | None
    words: str
    excess: float | None = None
    ratio: float | None = None
    constant: float | None = None
    noise: float = 0.0
