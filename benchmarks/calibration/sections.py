"""Sections of docs/evidence/calibration.md: hand-written text around what the scripts measured, between two markers."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "evidence" / "calibration.md"


def put(name: str, text: str) -> bool:
    """Replace what stands between the markers of `name`; False where the page has none."""
    page = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {re.escape(name)}: start -->\n).*?(<!-- {re.escape(name)}: end -->)", re.DOTALL)
    if not pattern.search(page):
        return False
    PAGE.write_text(pattern.sub(lambda found: f"{found[1]}\n{text.strip()}\n\n{found[2]}", page), encoding="utf-8")
    return True


def put_section(heading: str, text: str) -> None:
    """Replace the section under `heading` (`## Fresh weights`) with `text`, which begins with it; add it where there is none."""
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else "# Calibration\n\n"
    pattern = re.compile(rf"^{re.escape(heading)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    section = text.rstrip() + "\n\n"
    page = pattern.sub(lambda _: section, page) if pattern.search(page) else page.rstrip() + "\n\n" + section
    PAGE.write_text(page.rstrip() + "\n", encoding="utf-8")


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table with these heads."""
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(map(str, row)) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def run_parts(description: str | None, parts: Mapping[str, Callable[[], str]], group: str) -> None:
    """The command line of a script whose parts make a table each: print them, and with --write keep them as `group part`."""
    import torch

    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*parts, []])
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in arguments.parts or parts:
        text = parts[name]()
        kept = arguments.write and put(f"{group} {name}", text)
        print(f"== {name}{' (written)' if kept else ''}\n{text}\n", flush=True)
