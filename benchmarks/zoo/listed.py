"""What the zoo lists."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

#: Parameters above which a model takes too long to check.
LARGEST = 30e6


def read(name: str) -> Any:
    """One of the JSON lists."""
    return json.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))


def is_listed(name: str) -> bool:
    """Whether a model is in the half that thresholds may be set by; the other half is held back for judging them."""
    return zlib.crc32(name.encode()) % 2 == 0
