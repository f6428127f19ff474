"""STP014 to STP017, STP021: the batches that updates come from, and the healthy loops that look like these faults."""

from __future__ import annotations

import pytest

from nnlint import Level
from tests.loops.running import codes, findings
from tests.loops.test_step_order import FORWARD, HEAD, loop, trainer

#: What the scripts themselves are warned of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

STEP = ("opt.zero_grad()", FORWARD, "loss.backward()", "opt.step()")
ORDERED = HEAD.replace("shuffle=True", "shuffle=False")


def steps(*lines: str, head: str = HEAD) -> str:
    return head + "for i in range(12):\n" + "".join(f"    {line}\n" for line in lines)


FAULTY = {
    "STP014 new iterator each time": ("STP014", steps("xb, yb = next(iter(loader))", *STEP, head=ORDERED)),
    "STP014 in a function": (
        "STP014",
        steps("xb, yb = get_batch()", *STEP, head=f"{ORDERED}def get_batch():\n    return next(iter(loader))\n"),
    ),
    "STP014 break in a while loop": (
        "STP014",
        ORDERED
        + "i = 0\nwhile i < 10:\n    for xb, yb in loader:\n        break\n    i += 1\n"
        + "".join(f"    {s}\n" for s in STEP),
    ),
    "STP014 loop variable not used": (
        "STP014",
        loop(
            "opt.zero_grad()",
            "F.cross_entropy(model(x0), y0).backward()",
            "opt.step()",
            head=f"{HEAD}x0, y0 = next(iter(loader))\n",
        ),
    ),
    "STP014 class keeps its first batch": (
        "STP014",
        trainer(
            "self.batch = getattr(self, 'batch', (xb, yb))",
            "self.optimizer.zero_grad()",
            "F.cross_entropy(self.net(self.batch[0]), self.batch[1]).backward()",
            "self.optimizer.step()",
        ),
    ),
}
HEALTHY = {
    "one batch on purpose": steps(*STEP, head=f"{HEAD}xb, yb = next(iter(loader))\n"),
    "loader of one batch": loop(*STEP, head=HEAD.replace("batch_size=8", "batch_size=48")),
    "random batch each time": steps("xb, yb = next(iter(loader))", *STEP),
    "several updates on each batch": loop(f"for k in range(5):\n            {'; '.join(STEP)}"),
    "equal samples": loop(
        *STEP,
        head=ORDERED.replace("torch.randn(48, 4)", "torch.ones(48, 4)").replace(
            "torch.randint(0, 3, (48,))", "torch.ones(48).long()"
        ),
    ),
    "fixed input, targets from the loader": loop(
        "opt.zero_grad()",
        "F.cross_entropy(model(grid), yb).backward()",
        "opt.step()",
        head=f"{HEAD}grid = torch.randn(8, 4)\n",
    ),
}


@pytest.mark.parametrize("name", FAULTY)
def test_fault_is_named(name: str) -> None:
    code, source = FAULTY[name]
    assert codes(source) == [code], findings(source)


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_loop_is_silent(name: str) -> None:
    assert [item for item in findings(HEALTHY[name]) if item.level.at_least(Level.WARNING)] == []
