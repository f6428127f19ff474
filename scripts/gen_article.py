"""Writes docs/explanation/article.md: the template with the real output of nnlint on the article's networks.

Usage: gen_article.py [--check]   (--check: exit 1 when the page is stale; measured numbers are not compared)
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "explanation" / "article.md"
TEMPLATE = ROOT / "docs" / "explanation" / "article.template.md"
_DIRECTIVE = re.compile(r"^@nnlint (\S+)$", re.MULTILINE)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def page() -> str:
    """The page as it should be."""
    return _DIRECTIVE.sub(lambda match: _output(match[1]), TEMPLATE.read_text(encoding="utf-8"))


def _output(target: str) -> str:
    from nnlint import check
    from nnlint.finding import Level

    report = check(target)
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


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    wanted = page()
    if "--check" not in arguments:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    if PAGE.is_file() and _masked(PAGE.read_text(encoding="utf-8")) == _masked(wanted):
        return 0
    print(f"{PAGE.relative_to(ROOT)} is stale: run python scripts/gen_article.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
