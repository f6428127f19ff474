"""Files of the user that an epoch which nnlint ended early must not overwrite."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Keeper:
    """Tells which files were there before the script began: after a few iterations of an epoch its "best" weights are no better."""

    def __init__(self) -> None:
        self._began = time.time()
        self._told: set[str] = set()

    def saving(self, original: Any, note: Callable[[Any], None], is_early: Callable[[], bool]) -> Any:
        """`torch.save` that notes what is saved, and keeps files of earlier trainings while epochs are ended early."""

        def save(value: Any, *args: Any, **kwargs: Any) -> Any:
            note(value)
            if is_early() and self._protects(args[0] if args else kwargs.get("f")):
                return None
            return original(value, *args, **kwargs)

        return save

    def _protects(self, target: object) -> bool:
        """Whether a file is older than the observation; said once on standard error. Streams are the script's own business."""
        if not isinstance(target, (str, os.PathLike)):
            return False
        file = Path(os.fsdecode(target))
        if not file.is_file() or file.stat().st_mtime >= self._began:
            return False
        if str(file) not in self._told:
            self._told.add(str(file))
            sys.stderr.write(
                f"nnlint: {file} is kept as it was: this epoch was ended early (--no-fold or --keep-going lets the script save)\n"
            )
        return True
