"""What a reporter may depend on besides the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nnlint.rule import Rule


@dataclass(frozen=True)
class ReportOptions:
    """How to render.

    Attributes:
        width: columns of the terminal.
        color: whether to style the text.
        show: extra parts of the text report: "layers", "skipped".
        root: folder that paths are shown relative to.
        rules: metadata of the known rules, for formats that carry it.
    """

    width: int = 120
    color: bool = False
    show: frozenset[str] = frozenset()
    root: Path = field(default_factory=Path.cwd)
    rules: tuple[Rule, ...] = ()

    def path(self, file: str) -> str:
        """The file relative to the root, with forward slashes; unchanged where it lies elsewhere."""
        path = Path(file)
        absolute = path if path.is_absolute() else Path.cwd() / path
        try:
            return absolute.relative_to(self.root).as_posix()
        except ValueError:
            return path.as_posix()
