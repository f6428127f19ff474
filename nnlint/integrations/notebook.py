"""The cell magic: `%load_ext nnlint`, then `%%nnlint` as the first line of the cell that trains."""

from __future__ import annotations

from functools import partial
from typing import Any

from nnlint.api import observe
from nnlint.report import Report


def load(shell: Any) -> None:
    """Register `%%nnlint` with an IPython shell."""
    shell.register_magic_function(partial(run_cell, shell), magic_kind="cell", magic_name="nnlint")


def run_cell(shell: Any, line: str, cell: str) -> Report:
    """Run a cell under observation; the report is the cell's value.

    Args:
        shell: IPython's.
        line: iterations to watch, as a number; empty for the default.
        cell: the code.

    Raises:
        IPython.core.error.UsageError: `line` is no number.
    """
    if line.strip() and not line.strip().isdigit():
        from IPython.core.error import UsageError

        raise UsageError(f"%%nnlint takes the number of updates to watch, as in %%nnlint 8, not {line.strip()!r}")
    watched = observe(iterations=int(line)) if line.strip() else observe()
    with watched as seen:
        result = shell.run_cell(cell)
        error = getattr(result, "error_in_exec", None)
        if error is not None:  # IPython has shown it
            seen.fail(error)
    return watched.report
