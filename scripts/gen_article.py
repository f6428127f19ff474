"""Writes docs/explanation/article.md and its pictures: the template with what nnlint prints and draws for the article's networks.

Usage: gen_article.py [--check]   (--check: exit 1 when anything is stale; measured numbers are not compared)

Lines of the template that begin with @ are replaced:

    @nnlint TARGET                           what a check prints
    @chart FILE CHART TARGET [PROBE]         a chart of the HTML page, by its identity, as docs/explanation/article/FILE.svg
    @histograms FILE KIND TITLE | TARGET...  histograms of every layer (activation, gradient, weight, weight_gradient), targets overlaid
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from nnlint.report import Report, TargetReport

PAGE = ROOT / "docs" / "explanation" / "article.md"
TEMPLATE = ROOT / "docs" / "explanation" / "article.template.md"
PICTURES = ROOT / "docs" / "explanation" / "article"
_DIRECTIVE = re.compile(r"^@(nnlint|chart|histograms) (.+)$", re.MULTILINE)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass
class _Article:
    """The page while it is made: each target is checked once, `pictures` are the files beside it."""

    pictures: dict[str, str] = field(default_factory=dict)
    _reports: dict[tuple[str, ...], Report] = field(default_factory=dict)

    def page(self) -> str:
        """The page as it should be."""
        return _DIRECTIVE.sub(self._replaced, TEMPLATE.read_text(encoding="utf-8"))

    def _replaced(self, match: re.Match[str]) -> str:
        what, words = match.groups()
        if what == "nnlint":
            return _printed(words, self._report(words))
        if what == "chart":
            return self._chart(*words.split())
        head, _, targets = words.partition(" | ")
        file, kind, title = head.split(maxsplit=2)
        return self._histograms(file, kind, title, targets.split())

    def _report(self, target: str, *probes: str) -> Report:
        from nnlint import check

        key = (target, *probes)
        if key not in self._reports:
            self._reports[key] = check(target, details=True, probes=probes)
        return self._reports[key]

    def _chart(self, file: str, identity: str, target: str, *probes: str) -> str:
        from nnlint.reporters.html.charts import charts_of
        from scripts.pictures import chart_svg

        charts = {chart["id"]: chart for chart in charts_of(self._report(target, *probes).results[0])}
        if identity not in charts:
            raise SystemExit(f"{target} has no chart {identity}: {', '.join(charts)}")
        return self._picture(file, f"{charts[identity]['title']}: {target}", chart_svg(charts[identity]))

    def _histograms(self, file: str, kind: str, title: str, targets: list[str]) -> str:
        from scripts.pictures import ridge_svg

        rows = [_rows(self._report(target).results[0]) for target in targets]
        layers = [name for name in rows[0] if kind in rows[0][name]]
        drawn = [(name, [found.get(name, {}).get(kind, ()) for found in rows]) for name in layers]
        return self._picture(file, title, ridge_svg(title, drawn, [target.rpartition(":")[2] for target in targets]))

    def _picture(self, file: str, title: str, text: str) -> str:
        self.pictures[f"{file}.svg"] = text
        return f"![{title}]({PICTURES.name}/{file}.svg)"


def _rows(result: TargetReport) -> dict[str, dict[str, Any]]:
    """Histograms by layer, of the layers that are modules."""
    return {
        row["layer"]: row["histograms"]
        for row in result.measurements["layers"]
        if row.get("histograms") and " " not in row["layer"]
    }


def _printed(target: str, report: Report) -> str:
    from nnlint.finding import Level

    lines = [f"$ nnlint check {target}", ""]
    for finding in report.findings:
        if finding.level is Level.INFO:
            lines += [f"info {finding.code} {finding.name} ({finding.module or 'model'}): {finding.message}", ""]
            continue
        place = f"{finding.location.file}:{finding.location.line}" if finding.location is not None else "the setup"
        lines += [f"{finding.level.value} {finding.code} {finding.name}   {place} ({finding.module or 'model'})"]
        lines += [f"  {finding.message}"]
        if finding.symptoms:
            lines += ["  seen as  " + "; ".join(f"{under.code} {under.name}" for under in finding.symptoms)]
        lines += [f"  fix  {finding.fix}", ""]
    return "\n".join(f"    {line}".rstrip() for line in lines).rstrip()


def _masked(text: str) -> str:
    """The text without measured numbers, which differ in the last digits between processors."""
    return _NUMBER.sub("#", text)


def _stale(wanted: dict[Path, str]) -> list[Path]:
    """The files that are not as they should be, and pictures that nothing shows."""
    changed = [
        path
        for path, text in wanted.items()
        if not path.is_file() or _masked(path.read_text(encoding="utf-8")) != _masked(text)
    ]
    return [*changed, *(path for path in PICTURES.glob("*") if path not in wanted)]


def main(arguments: list[str]) -> int:
    """Write the page and its pictures, or compare them."""
    article = _Article()
    page = article.page()
    wanted = {PAGE: page, **{PICTURES / file: text for file, text in article.pictures.items()}}
    stale = _stale(wanted)
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale: run python scripts/gen_article.py", file=sys.stderr)
        return int(bool(stale))
    PICTURES.mkdir(exist_ok=True)
    for path in stale:
        path.unlink(missing_ok=True)
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
