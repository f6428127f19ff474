"""On a CUDA device: the findings of the CPU, the state bit for bit, no device lost.

CI has no such device: run `pytest tests/test_cuda.py` where there is one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nnlint import registry
from nnlint.config import CheckSettings
from nnlint.engine import check
from nnlint.observation.initial import Initial
from nnlint.report import TargetReport
from nnlint.testing.expectations import Build, faults, read_builds

if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
LEVELS = {rule.code: rule.level for rule in registry.load().rules}
#: Their fault is on the way to the device, or hangs on sums that are equal bit by bit or on one draw of random numbers; or they make
#: tensors on the CPU themselves.
CPU_ALONE = {
    "dead_loss_term",
    "half_precision_overflow",
    "ignores_input",
    "layer_created_in_forward",
    "non_finite_gradient",
    "train_eval_gap",
    "unregistered_layer",
}
TWINS = [
    build
    for file in sorted(FIXTURES.glob("*/*/*.py"))
    if file.stem in ("bad", "good") and file.parent.name not in CPU_ALONE and file.parts[-3] not in ("step", "evaluation", "distributed")
    for build in read_builds(file)
]

SCRIPT = """
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
torch.use_deterministic_algorithms(True)
x, y = torch.randn(96, 8), torch.randint(0, 3, (96,))
loader = DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True, pin_memory=True)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3)).cuda()
opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
scaler = torch.amp.GradScaler("cuda")
for epoch in range(3):
    for xb, yb in loader:
        opt.zero_grad()
        with torch.autocast("cuda", dtype=torch.float16):
            loss = F.cross_entropy(model(xb.cuda()), yb.cuda())
        scaler.scale(loss).backward()
        scaler.step(opt)
        scaler.update()
print("result", loss.item(), sum(p.double().sum().item() for p in model.parameters()), torch.cuda.get_rng_state().sum().item())
"""

GRAPH = """
import torch
from torch import nn

torch.manual_seed(0)
x, y = torch.randn(64, 8, device="cuda"), torch.randint(0, 3, (64,), device="cuda")
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)).cuda()
opt, criterion = torch.optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss()

def step():
    loss = criterion(model(x), y)
    loss.backward()
    opt.step()
    return loss

stream = torch.cuda.Stream()
stream.wait_stream(torch.cuda.current_stream())
with torch.cuda.stream(stream):
    for _ in range(3):
        opt.zero_grad(set_to_none=True)
        step()
torch.cuda.current_stream().wait_stream(stream)
graph = torch.cuda.CUDAGraph()
opt.zero_grad(set_to_none=True)
with torch.cuda.graph(graph):
    loss = step()
for _ in range(20):
    graph.replay()
print("result", loss.item())
"""


def on_device(target: object, **settings: Any) -> TargetReport:
    return check(target, CheckSettings(device="cuda", **settings))


def codes(report: TargetReport) -> list[str]:
    return [found.code for found in report.findings]


def classifier() -> dict[str, Any]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3))
    x = torch.randn(64, 8)
    return {
        "model": model,
        "inputs": x,
        "targets": x[:, :3].argmax(1),
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3),
    }


@pytest.mark.parametrize("build", TWINS, ids=lambda build: f"{build.file.parent.name}-{build.file.stem}-{build.function}")
def test_twins_are_judged_as_on_the_cpu(build: Build) -> None:
    report = check(build.target, CheckSettings(**{**build.settings, "device": "cuda"}))
    assert not faults(build, report, LEVELS), build.target


def test_nothing_is_changed() -> None:
    check(classifier(), CheckSettings(device="cuda"))  # what torch keeps for itself on the device from its first calls on
    setup = classifier()
    model = setup["model"].cuda()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    torch.cuda.manual_seed(3)
    random, allocated = torch.cuda.get_rng_state(), torch.cuda.memory_allocated()
    reports = [check(setup, CheckSettings(deep=True)) for _ in range(2)]
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    assert torch.equal(torch.cuda.get_rng_state(), random)
    assert [found.message for found in reports[0].findings] == [found.message for found in reports[1].findings]
    assert reports[0].status == "ok"
    del reports
    assert torch.cuda.memory_allocated() <= allocated + 2**20


def test_a_batch_of_the_cpu_is_moved() -> None:
    setup = classifier()
    setup["model"].cuda()
    report = check(setup, CheckSettings())
    assert report.status == "ok"
    assert "the batch is moved to cuda:0, where the model is" in report.assumptions


@pytest.mark.parametrize("shift", [1, -1])
def test_labels_out_of_range_leave_the_device_usable(shift: int) -> None:
    setup = classifier()
    setup["targets"] = setup["targets"] + shift
    assert {"RUN003", "LOS009", "LOS010"} & set(codes(on_device(setup)))
    assert torch.zeros(1, device="cuda").item() == 0.0


def test_ids_out_of_range_leave_the_device_usable() -> None:
    model = nn.Sequential(nn.Embedding(10, 8), nn.Flatten(), nn.Linear(40, 2))
    found = on_device({"model": model, "inputs": torch.arange(40).reshape(8, 5)})
    assert "DAT013" in codes(found)
    assert torch.zeros(1, device="cuda").item() == 0.0


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(40, 16), nn.GRU(16, 24, batch_first=True), nn.Linear(24, 3)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(self.embed(x), lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.rnn(packed)[1][-1])


def test_lengths_of_packed_sequences_stay_on_the_cpu() -> None:
    torch.manual_seed(0)
    x, lengths = torch.randint(1, 40, (16, 12)), torch.randint(5, 13, (16,))
    fields = {"inputs": (x, lengths), "targets": x[:, 0] % 3, "loss": nn.CrossEntropyLoss()}
    assert on_device({"model": Reader(), **fields}).status == "ok"
    assert check({"model": Reader().cuda(), **fields}, CheckSettings()).status == "ok"


class Rows(nn.Module):
    """Indexes the batch by what belongs to the time: other batches than this one are out of range."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(8, 24, batch_first=True), nn.Linear(24, 3)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x)[0][lengths - 1, torch.arange(len(x), device=x.device)])


def test_other_batches_of_probes_leave_the_device_usable() -> None:
    torch.manual_seed(0)
    inputs = (torch.randn(12, 12, 8), torch.arange(12) % 8 + 5)
    found = on_device({"model": Rows(), "inputs": inputs, "targets": torch.arange(12) % 3, "loss": nn.CrossEntropyLoss()})
    assert "ARC031" in codes(found)
    assert torch.zeros(1, device="cuda").item() == 0.0


def run(folder: Path, source: str, *command: str) -> subprocess.CompletedProcess[str]:
    (folder / "train.py").write_text(source)
    whole = [sys.executable, *command, "train.py"]
    return subprocess.run(whole, cwd=folder, capture_output=True, text=True, check=False)


def result_of(ran: subprocess.CompletedProcess[str]) -> str:
    return next(line for line in ran.stdout.splitlines() if line.startswith("result"))


def test_an_observed_script_computes_what_it_would_have(tmp_path: Path) -> None:
    bare = run(tmp_path, SCRIPT)
    watched = run(tmp_path, SCRIPT, "-m", "nnlint", "run", "--keep-going")
    assert watched.returncode == 0, watched.stderr
    assert result_of(watched) == result_of(bare)


def test_a_copy_of_the_model_is_kept_off_the_device() -> None:
    model, initial = nn.Linear(1024, 1024).cuda(), Initial()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.zeros(2, 1024, device="cuda")).sum().backward()
    optimizer.step()
    first = model.weight.detach().clone()
    allocated = torch.cuda.memory_allocated()
    initial.keep(model)
    initial.keep_optimizer(optimizer)
    assert torch.cuda.memory_allocated() == allocated
    optimizer.step()
    last = model.weight.detach().clone()
    with initial.back(model, optimizer):
        assert torch.equal(model.weight, first)
        assert optimizer.state[model.weight]["exp_avg"].is_cuda
    assert torch.equal(model.weight, last)
    model.cpu()
    with initial.back(model, optimizer):
        assert torch.equal(model.weight, first)
    assert not model.weight.is_cuda
    assert torch.equal(model.weight, last.cpu())


def test_what_is_captured_is_left_alone(tmp_path: Path) -> None:
    bare = run(tmp_path, GRAPH)
    watched = run(tmp_path, GRAPH, "-m", "nnlint", "run", "--keep-going")
    assert "RUN011" not in watched.stderr
    assert result_of(watched) == result_of(bare)
