"""STP007 to STP012: modes, clipping, mixed precision, accumulation and schedules of a script."""

from __future__ import annotations

import pytest

from tests.loops.running import codes, findings
from tests.loops.test_step_order import FORWARD, HEAD, loop

#: What the scripts themselves are warned of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

STEP = ("opt.zero_grad()", FORWARD, "loss.backward()", "opt.step()")
CLIP = "nn.utils.clip_grad_norm_(model.parameters(), 1.0)"
VALIDATION = """
def validate():
    model.eval()
    with torch.no_grad():
        for xb, yb in val_loader:
            model(xb)

val_loader = DataLoader(TensorDataset(x[:16] + 1, y[:16]), batch_size=8)
{before}
for epoch in range(3):
    {each}
    for xb, yb in loader:
        opt.zero_grad()
        F.cross_entropy(model(xb), yb).backward()
        opt.step()
    validate()
"""
HALF = """
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
for epoch in range(2):
    for xb, yb in loader:
        opt.zero_grad()
        with torch.autocast("cpu", dtype=torch.{dtype}):
            loss = F.cross_entropy(model(xb), yb)
        {rest}
"""


def half(*rest: str, dtype: str = "float16") -> str:
    return HEAD + HALF.replace("{rest}", "\n        ".join(rest)).replace("{dtype}", dtype)


def scheduled(made: str, *, each: str = "", epoch: str = "", head: str = HEAD) -> str:
    lines = [*STEP, *([each] if each else [])]
    body = "".join(f"        {line}\n" for line in lines)
    end = f"    {epoch}\n" if epoch else ""
    made = f"schedule = torch.optim.lr_scheduler.{made}\n"
    return f"{head}{made}for epoch in range(4):\n    for i, (xb, yb) in enumerate(loader):\n{body}{end}"


FAULTY = {
    "STP007 eval before the loop": ("STP007", HEAD + VALIDATION.format(before="model.eval()", each="pass")),
    "STP007 train() once only": ("STP007", HEAD + VALIDATION.format(before="model.train()", each="pass")),
    "STP008 after the step": ("STP008", loop(*STEP, CLIP)),
    "STP008 before the backward": ("STP008", loop("opt.zero_grad()", FORWARD, CLIP, "loss.backward()", "opt.step()")),
    "STP008 other parameters": (
        "STP008",
        loop(
            *STEP[:3],
            "nn.utils.clip_grad_norm_(other.parameters(), 1.0)",
            STEP[3],
            head=f"{HEAD}other = nn.Linear(4, 3)\n",
        ),
    ),
    "STP008 still scaled": (
        "STP008",
        half("scaler.scale(loss).backward()", CLIP, "scaler.step(opt)", "scaler.update()", dtype="bfloat16"),
    ),
    "STP009 no scaler": ("STP009", half("loss.backward()", "opt.step()")),
    "STP009 bare step": ("STP009", half("scaler.scale(loss).backward()", "opt.step()")),
    "STP009 no update": ("STP009", half("scaler.scale(loss).backward()", "scaler.step(opt)")),
    "STP009 new scaler each time": (
        "STP009",
        half(
            "scaler = torch.amp.GradScaler('cpu')",
            "scaler.scale(loss).backward()",
            "scaler.step(opt)",
            "scaler.update()",
        ),
    ),
    "STP011 scheduler first": (
        "STP011",
        loop("schedule.step()", *STEP, head=f"{HEAD}schedule = torch.optim.lr_scheduler.StepLR(opt, 100)\n"),
    ),
    "STP011 never": ("STP011", scheduled("LinearLR(opt, 0.1, total_iters=5)")),
    "STP012 cosine over epochs by batches": (
        "STP012",
        scheduled("CosineAnnealingLR(opt, T_max=4)", each="schedule.step()"),
    ),
    "STP012 linear decay by batches": (
        "STP012",
        scheduled("LinearLR(opt, 1.0, 0.1, total_iters=3)", each="schedule.step()"),
    ),
    "STP012 decay by batches": ("STP012", scheduled("ExponentialLR(opt, 0.2)", each="schedule.step()")),
    "STP012 cosine by a function over epochs by batches": (
        "STP012",
        scheduled("LambdaLR(opt, lambda e: 0.5 * (1 + math.cos(math.pi * e / 4)))", each="schedule.step()", head=f"import math\n{HEAD}"),
    ),
    "STP012 one cycle by epochs": (
        "STP012",
        scheduled("OneCycleLR(opt, 0.1, total_steps=4 * len(loader))", epoch="schedule.step()"),
    ),
}
FROZEN_NORM = """
import torch
from torch import nn
torch.manual_seed(0)
backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
model = nn.Sequential(backbone, nn.Dropout(0.1), nn.Linear(8, 3))
for p in backbone[1].parameters():
    p.requires_grad = False
opt = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
for epoch in range(2):
    model.train()
    backbone[1].eval()
    for i in range(4):
        loss = nn.functional.cross_entropy(model(torch.randn(4, 3, 6, 6)), torch.tensor([0, 1, 2, 0]))
        opt.zero_grad()
        loss.backward()
        opt.step()
"""
HEALTHY = {
    "train and eval in turn": HEAD + VALIDATION.format(before="", each="model.train()"),
    "frozen norm": FROZEN_NORM,
    "clipped": loop(*STEP[:3], CLIP, STEP[3]),
    "clipped by value in an accumulation": loop(
        f"({FORWARD[7:]} / 3).backward()",
        "if i % 3 == 2:",
        "    nn.utils.clip_grad_value_(model.parameters(), 0.5)",
        "    opt.step()",
        "    opt.zero_grad()",
    ),
    "scaled": half("scaler.scale(loss).backward()", "scaler.step(opt)", "scaler.update()"),
    "scaled and clipped": half(
        "scaler.scale(loss).backward()", "scaler.unscale_(opt)", CLIP, "scaler.step(opt)", "scaler.update()"
    ),
    "bfloat16": half("loss.backward()", "opt.step()", dtype="bfloat16"),
    "cosine over epochs": scheduled("CosineAnnealingLR(opt, T_max=4)", epoch="schedule.step()"),
    "cosine over updates": scheduled("CosineAnnealingLR(opt, T_max=4 * len(loader))", each="schedule.step()"),
    "one cycle over updates": scheduled("OneCycleLR(opt, 0.1, total_steps=4 * len(loader))", each="schedule.step()"),
    "linear warm-up within an epoch": scheduled("LinearLR(opt, 0.2, total_iters=3)", each="schedule.step()"),
    "constant warm-up within an epoch": scheduled("ConstantLR(opt, 0.5, total_iters=3)", each="schedule.step()"),
    "step decay over epochs": scheduled("StepLR(opt, 10)", epoch="schedule.step()"),
    "warm restarts with fractional epochs": scheduled(
        "CosineAnnealingWarmRestarts(opt, T_0=2)", each="schedule.step(epoch + i / len(loader))"
    ),
    "plateau": scheduled("ReduceLROnPlateau(opt)", epoch="schedule.step(loss.item())"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_fault_is_named(name: str) -> None:
    code, source = FAULTY[name]
    assert codes(source)[:1] == [code], findings(source)


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_loop_is_silent(name: str) -> None:
    assert [item for item in findings(HEALTHY[name]) if item.level.value != "info"] == []


def test_a_mode_that_was_left_on_is_the_graver_case() -> None:
    (found,) = findings(FAULTY["STP007 train() once only"][1])
    assert found.level.value == "error"
    (found,) = findings(FAULTY["STP007 eval before the loop"][1])
    assert found.level.value == "warning"


def test_accumulated_means_are_an_info() -> None:
    source = loop(FORWARD, "loss.backward()", "if i % 3 == 2:", "    opt.step()", "    opt.zero_grad()")
    assert [(item.code, item.level.value) for item in findings(source)] == [("STP010", "info")]
    for change in (f"{FORWARD} / 3", FORWARD.replace("yb)", "yb, reduction='sum')")):
        assert findings(source.replace(FORWARD, change)) == []


def test_two_losses_of_one_batch_are_no_accumulation() -> None:
    source = loop("opt.zero_grad()", FORWARD, "for part in range(2): loss.backward(retain_graph=True)", "opt.step()")
    assert findings(source) == []
