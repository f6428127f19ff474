"""Which table or chart of a report shows what a rule measures: it is drawn with the findings of these rules, and shown because of them.

Codes, or the letters of a family. Rules of other packs say it in the module `charts` of their package.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CHARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "layers": ("GRD", "INI", "SIG", "ARC024"),
        "initial-loss": ("LOS018", "LOS019"),
        "steps": ("OPT003", "OPT004", "OPT008", "OPT009", "TRN002", "TRN003", "TRN004"),
        "overfit": ("SIG006", "TRN001", "TRN005"),
        "learning-rates": ("OPT003", "OPT004", "OPT005"),
        "classes": ("DAT004", "DAT014", "LOS009", "LOS010", "LOS012", "LOS014"),
        "precision": ("SIG008",),
    }
)
