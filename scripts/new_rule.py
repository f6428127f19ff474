"""Start a new rule: its file, its twins and its tests, in the house style, working from the first minute.

Usage: python scripts/new_rule.py LOS999 label-noise loss --level warning

The skeleton looks for one operation in the graph, so that it registers, fires on its bad.py and is silent on its
good.py; replace what it looks for, its words, the twins and the programs of the tests.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from nnlint._version import __version__
from nnlint.finding import Level

ROOT = Path(__file__).resolve().parent.parent
#: Package of each family and the letters of its codes. RUN is the engine's own: no rule file, no twins.
FAMILIES = {
    "loss": "LOS",
    "architecture": "ARC",
    "initialization": "INI",
    "normalization": "NRM",
    "signal": "SIG",
    "gradient": "GRD",
    "data": "DAT",
    "optimizer": "OPT",
    "training": "TRN",
}
#: The families of `nnlint run`, whose twins are training scripts. Their rule files are written by hand.
LOOP_FAMILIES = {"step": "STP", "evaluation": "EVL", "distributed": "DST"}

RULE = '''"""{code}: {words}."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Graph


@rule("{code}", "{name}", level="{level}", since="{since}")
def check(graph: Graph) -> Iterator[Finding]:
    """{title}.

    ## What it does
    Reports every softshrink, wherever it stands in the model.

    ## Why is this bad?
    It sets small values to zero, and no gradient passes where it does.

    ## Example
        x = F.softshrink(self.fc1(x))

    ## Use instead
        x = F.gelu(self.fc1(x))

    ## References
    - PyTorch: `torch.nn.Softshrink`
    """
    for op in graph.calls("softshrink"):
        yield Finding(
            at=op,
            message="values between -0.5 and 0.5 become zero and pass no gradient",
            evidence={{"shape": list(op.shape or ())}},
            fix="use GELU or ReLU here",
        )
'''

TWIN = '''"""{words}"""

import torch
from torch import nn


def build():{comment}
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 64), nn.{layer}(), nn.Linear(64, 5))
    return {{
        "model": model,
        "inputs": torch.randn(64, 20),
        "targets": torch.randint(0, 5, (64,)),
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3),
    }}
'''


TEST = '''"""{code} {name}.

`findings(code, model, inputs, targets)` checks one program: inputs of shape (16, 8) where none are given, and no targets.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, findings


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net.b(F.softshrink(net.a(x))),
        lambda net, x: net.b(nn.Softshrink()(net.a(x))),
    ],
    ids=["function", "layer"],
)
def test_the_fault_is_found_however_it_is_written(forward) -> None:
    (finding,) = findings("{code}", Net(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 8)))
    assert finding.level.value == "{level}"


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net.b(F.gelu(net.a(x))),
        lambda net, x: net.b(torch.relu(net.a(x))),
    ],
    ids=["gelu", "relu"],
)
def test_what_looks_like_it_and_is_right(forward) -> None:
    assert not findings("{code}", Net(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 8)))
'''

#: How a rule file says its code and its name.
SAID = re.compile(r'@rule\("([A-Z]{3}\d{3})", "([a-z0-9-]+)"')


def _taken(root: Path) -> dict[str, str]:
    """The rules there are: names by code."""
    files = (root / "rules" / "nnlint_rules").rglob("*.py")
    said = (SAID.search(file.read_text(encoding="utf-8")) for file in files)
    return {found[1]: found[2] for found in said if found is not None}


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Start a new rule.")
    parser.add_argument("code", help="three capitals and three digits; never reused")
    parser.add_argument("name", help="the bad pattern in kebab-case")
    parser.add_argument("family", choices=sorted(FAMILIES))
    parser.add_argument("--level", choices=[level.value for level in Level], default=Level.WARNING.value)
    parser.add_argument("--root", type=Path, default=ROOT, help="repository to write into")
    arguments = parser.parse_args(argv)
    prefix = FAMILIES[arguments.family]
    if not re.fullmatch(rf"{prefix}\d{{3}}", arguments.code):
        parser.error(f"rules of the family {arguments.family} have codes {prefix}000 to {prefix}999")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", arguments.name):
        parser.error(f"{arguments.name!r} is not kebab-case")
    taken = {code: name for code, name in _taken(arguments.root).items() if name != arguments.name}
    if arguments.code in taken:
        last = max(int(code[3:]) for code in taken if code.startswith(prefix))
        parser.error(f"{arguments.code} is {taken[arguments.code]}; the next free code of {arguments.family} is {prefix}{last + 1:03}")
    return arguments


def _files(code: str, name: str, family: str, level: str) -> dict[str, str]:
    """Text of the new files by their path in the repository."""
    words, stem = name.replace("-", " "), name.replace("-", "_")
    since = ".".join(__version__.split(".")[:2])
    rule = RULE.format(code=code, name=name, words=words, title=words.capitalize(), level=level, since=since)
    bad = TWIN.format(words=f"{words.capitalize()}.", layer="Softshrink", comment=f"  # expect: {code} at 1")
    good = TWIN.format(words=f"The same net without {words}.", layer="GELU", comment="")
    return {
        f"rules/nnlint_rules/{family}/{stem}.py": rule,
        f"fixtures/{family}/{stem}/bad.py": bad,
        f"fixtures/{family}/{stem}/good.py": good,
        f"tests/rules/{family}/test_{stem}.py": TEST.format(code=code, name=name, level=level),
    }


def main(argv: list[str] | None = None) -> int:
    """Write the files; refuse to overwrite any."""
    arguments = _arguments(argv)
    files = _files(arguments.code, arguments.name, arguments.family, arguments.level)
    taken = [path for path in files if (arguments.root / path).exists()]
    if taken:
        print(f"already there: {', '.join(taken)}", file=sys.stderr)
        return 1
    for path, text in files.items():
        (arguments.root / path).parent.mkdir(parents=True, exist_ok=True)
        (arguments.root / path).write_text(text, encoding="utf-8")
        print(path)
    print("if its findings account for those of other rules: a row in rules/nnlint_rules/causes.py")
    print("then: make docs")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
