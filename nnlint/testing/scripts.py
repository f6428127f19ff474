"""For tests of rules about training scripts: the log of a script that is given as text."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from nnlint.observation.course import ObservationEnded, Plan
from nnlint.observation.log import Observation
from nnlint.observation.observer import Observer
from nnlint.observation.start import run_script


def observe_source(source: str, *arguments: str, **plan: Any) -> Observation:
    """Run a script under observation and give its log.

    Args:
        source: the script's text; its first line is line 1 of every location.
        arguments: what it finds in `sys.argv`.
        plan: fields of `Plan` (`iterations`, `fold`, `keep_going`, `until_evaluation`).

    Returns:
        The log as it stood when the script ended, raised (see `events.end`) or had shown enough.
    """
    with tempfile.TemporaryDirectory(prefix="nnlint-") as folder:
        script = Path(folder, "train.py")
        script.write_text(source, encoding="utf-8")
        return observe_script(script, *arguments, **plan)


def observe_script(script: Path, *arguments: str, **plan: Any) -> Observation:
    """As `observe_source`, for a file."""
    observer = Observer(Plan(**plan))
    error: BaseException | None = None
    try:
        run_script(str(script), arguments, as_module=False, on_torch=observer.start)
    except KeyboardInterrupt:
        raise
    except BaseException as raised:
        error = raised
    finally:
        with contextlib.suppress(ObservationEnded):
            observer.stop(error)
    if observer.course.failure is not None:
        raise observer.course.failure
    return observer.observation()
