"""A table between two marks of a page that people write."""

from __future__ import annotations

from pathlib import Path


def write_between(page: Path, name: str, table: str) -> None:
    """Replace what stands between `<!-- name: start -->` and `<!-- name: end -->`."""
    start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(start)
    after = rest.partition(end)[2]
    page.write_text(f"{before}{start}\n{table}\n{end}{after}", encoding="utf-8")
