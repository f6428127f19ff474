"""What the tests of rules share, for nnlint's own rules and for rule packs. Needs no test framework.

One rule on one small model:

    from nnlint.testing import Net, findings, skipped

    def test_gelu_is_reported():
        net = Net(lambda self, x: F.gelu(self.fc(x)), fc=nn.Linear(8, 8))
        (finding,) = findings("EXA001", net)
        assert finding.module == ""

The log of a training script that is given as text, for rules about training loops: `observe_source(text)`.

Whole files of build functions with comments that say what a check must find (`# expect: EXA001 warning at fc`) are read by
`nnlint.testing.expectations`.
"""

from __future__ import annotations

from nnlint.testing.expectations import Build, Expected, faults, read_builds
from nnlint.testing.kit import (
    NO_INPUTS,
    Mlp,
    Net,
    checked,
    features,
    findings,
    images,
    labels,
    levels,
    mlp_setup,
    places,
    recorded,
    skipped,
)
from nnlint.testing.scripts import observe_script, observe_source

__all__ = [
    "NO_INPUTS",
    "Build",
    "Expected",
    "Mlp",
    "Net",
    "checked",
    "faults",
    "features",
    "findings",
    "images",
    "labels",
    "levels",
    "mlp_setup",
    "observe_script",
    "observe_source",
    "places",
    "read_builds",
    "recorded",
    "skipped",
]
