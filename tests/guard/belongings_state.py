"""A module of settings, as projects have it: whoever imports it writes to it."""

from __future__ import annotations

step = 0
