"""The stub engine and a small registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nnlint.finding import Finding
from nnlint.options import Options
from nnlint.registry import Registry
from nnlint.rule import NEEDS, rule

DOC = """{summary}

    ## What it does
    Looks.

    ## Why is this bad?
    It hurts.

    ## Example
        bad()

    ## Use instead
        good()

    ## References
    - none
    """


class Graph:
    """Stands in for the evidence type of this name."""


class Limits(Options):
    share: float = 0.5
    min_samples: int = 32


def _rules() -> Iterator[object]:
    def los001(graph: Graph) -> Iterator[Finding]:
        yield from ()

    def los018(graph: Graph, options: Limits) -> Iterator[Finding]:
        yield from ()

    def sig001(graph: Graph) -> Iterator[Finding]:
        yield from ()

    los001.__doc__ = DOC.format(summary="Softmax before a cross-entropy.")
    los018.__doc__ = DOC.format(summary="Initial loss.")
    sig001.__doc__ = DOC.format(summary="Dead units.")
    yield rule("LOS001", "softmax-before-cross-entropy", level="error", since="0.1", explains=["GRD001"])(los001)
    yield rule("LOS018", "initial-loss", level="warning", since="0.1")(los018)
    yield rule("SIG001", "dead-units", level="warning", since="0.1")(sig001)


@pytest.fixture
def registry() -> Registry:
    assert "Graph" in NEEDS
    return Registry(tuple(vars(check)["__nnlint_rule__"] for check in _rules()))


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, registry: Registry, tmp_path: Path) -> Path:
    """Work in an empty folder with the stub engine, in the parent and in children; returns the folder."""
    here = Path(__file__).parent
    monkeypatch.setattr("nnlint.worker.job.ENGINE", "stub_engine")
    monkeypatch.setattr("nnlint.registry.load", lambda: registry)
    monkeypatch.setattr("nnlint.cards._indexed", lambda spec: None)
    monkeypatch.setenv("PYTHONPATH", f"{here}:{here.parent.parent}")
    monkeypatch.syspath_prepend(str(here))
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    return tmp_path
