"""`nnlint run` and `nnlint.observe()`: what is reported of a whole script, and the exit status."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.nn import functional

import nnlint
from nnlint.cli import main
from nnlint.integrations.notebook import load
from tests.observe import scripts

DOUBLE_SOFTMAX = scripts.PLAIN.replace("cross_entropy(model(xb), yb)", "cross_entropy(model(xb).softmax(-1), yb)")


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a script into an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def write(source: str, name: str = "train.py") -> str:
        (tmp_path / name).write_text(source)
        return name

    return write


def run(*arguments: str):
    return CliRunner().invoke(main, ["run", "--no-color", *arguments])


def test_a_healthy_script_is_clean_and_keeps_its_output(script) -> None:
    result = run(script(scripts.PLAIN + "print('never printed')\n"))
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert "no findings" in result.stderr
    assert "watched 6 updates" in result.stderr


def test_rules_of_check_find_the_fault_at_the_script_s_line(script) -> None:
    result = run("--format", "json", script(DOUBLE_SOFTMAX))
    assert result.exit_code == 1, result.stderr
    (target,) = json.loads(result.stdout)["results"]
    (finding,) = [found for found in target["findings"] if found["code"] == "LOS001"]
    assert finding["location"] == {
        "file": "train.py",
        "line": 17,
        "function": None,
        "text": "        loss = F.cross_entropy(model(xb).softmax(-1), yb)",
    }


def test_machine_formats_do_not_mix_with_what_the_script_prints(script) -> None:
    result = run("--format", "json", script("print('hello')\n" + scripts.PLAIN))
    assert json.loads(result.stdout)["summary"]["errors"] == 0


def test_suppressions_hold(script) -> None:
    line = "        loss = F.cross_entropy(model(xb).softmax(-1), yb)"
    result = run(script(DOUBLE_SOFTMAX.replace(line, f"{line}  # nnlint: disable=LOS001 on purpose")))
    assert result.exit_code == 0, result.stderr
    assert "on purpose" in result.stderr


def test_each_player_is_a_target(script) -> None:
    result = run("--format", "json", script(scripts.GAN))
    targets = json.loads(result.stdout)["results"]
    assert [target["target"] for target in targets] == ["train.py", "train.py:optimizerD", "train.py:optimizerG"]
    assert [target["subject"].get("parameters") for target in targets] == [None, 49, 68]


def test_several_optimizers_of_one_loss_are_one_player(script) -> None:
    result = run("--format", "json", script(scripts.STEP_IN_HOOK))
    (target,) = json.loads(result.stdout)["results"]
    assert not [found for found in target["findings"] if found["code"].startswith("OPT")]


def test_a_script_that_raises_is_no_clean_check(script) -> None:
    result = run(script(scripts.RAISES))
    assert result.exit_code == 2
    assert "RUN012" in result.stderr
    assert "ValueError: broken" in result.stderr


def test_a_script_without_updates_is_never_clean(script) -> None:
    assert run(script(scripts.NO_STEP)).exit_code in (1, 2)
    result = run(script("import torch\n"))
    assert result.exit_code == 2
    assert "RUN011" in result.stderr


def test_a_script_may_end_itself(script) -> None:
    assert run(script(scripts.PLAIN.replace("range(2)", "range(1)") + "import sys\nsys.exit(0)\n")).exit_code == 0
    assert run(script(scripts.PLAIN.replace("opt.step()", "opt.step(); raise SystemExit('stop')"))).exit_code == 2


def test_arguments_and_modules_reach_the_script(script, tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("")
    (tmp_path / "pkg" / "parts.py").write_text(scripts.HEAD)
    source = scripts.PLAIN.replace(scripts.HEAD, "from .parts import *\n")
    parsed = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr', type=float)\nassert p.parse_args().lr == 0.5\n"
    (tmp_path / "pkg" / "train.py").write_text(parsed + source)
    result = run("-m", "pkg.train", "--lr", "0.5")
    assert result.exit_code == 0, result.stderr


def test_keep_going_lets_the_script_end(script) -> None:
    result = run("--keep-going", script(scripts.PLAIN + "print('ended', epoch)\n"))
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "ended 1\n"
    assert "watched 4 updates" in result.stderr


def test_usage(script) -> None:
    assert run("missing.py").exit_code == 2
    assert run().exit_code == 2
    assert run("--select", "NOPE", script(scripts.PLAIN)).exit_code == 2


def _setup() -> tuple[nn.Module, torch.optim.Optimizer, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return model, torch.optim.Adam(model.parameters(), lr=1e-3), torch.randn(32, 4), torch.randint(0, 3, (32,))


def _train(steps: int = 8, *, wrong: bool = True) -> list[float]:
    model, optimizer, x, y = _setup()
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        output = model(x).softmax(-1) if wrong else model(x)
        loss = functional.cross_entropy(output, y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return [*losses, float(torch.rand(1)), *(p.detach().double().sum().item() for p in model.parameters())]


def test_observe_reports_and_leaves_the_training_as_it_is() -> None:
    bare = _train()
    with nnlint.observe() as seen:
        watched = _train()
    assert watched == bare
    assert [found.code for found in seen.report.findings if found.level is nnlint.Level.ERROR] == ["LOS001"]
    assert "_repr_html_" in dir(seen.report)


def test_observe_passes_exceptions_on() -> None:
    seen = nnlint.observe()
    with pytest.raises(ValueError, match="invalid"), seen:
        _train(int("two"))
    assert [found.code for found in seen.report.findings if found.code.startswith("RUN")] == ["RUN012"]


def test_there_is_no_report_before_the_end() -> None:
    with nnlint.observe() as seen:
        with pytest.raises(RuntimeError, match="block ends"):
            _ = seen.report
        _train(2, wrong=False)


class Shell:
    """As much of IPython's shell as the magic uses."""

    def __init__(self) -> None:
        self.magics: dict[str, object] = {}

    def register_magic_function(self, function, magic_kind: str, magic_name: str) -> None:
        self.magics[f"{magic_kind} {magic_name}"] = function

    def run_cell(self, cell: str):
        class Result:
            error_in_exec = None

        try:
            exec(compile(cell, "<ipython-input-1>", "exec"), {"train": _train})
        except Exception as error:
            Result.error_in_exec = error
        return Result


def test_the_cell_magic_reports_on_its_cell() -> None:
    shell = Shell()
    load(shell)
    magic = shell.magics["cell nnlint"]
    assert [found.code for found in magic("", "train()").findings] == ["LOS001"]
    broken = magic("2", "train(3, wrong=False)\nraise ValueError")
    assert [found.code for found in broken.findings if found.code.startswith("RUN")] == ["RUN012"]


def test_the_script_runs_before_torch_is_imported(script) -> None:
    """In a process of its own: what a script sets before its first `import torch` still counts."""
    import subprocess

    source = "import sys\nassert 'torch' not in sys.modules\n" + scripts.PLAIN
    done = subprocess.run(
        [sys.executable, "-m", "nnlint", "run", script(source)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_a_loss_after_another_player_s_step_is_not_compared_with_a_replay(script) -> None:
    result = run("--format", "json", script(scripts.GAN.replace("lr=1e-3", "lr=0.5")))
    targets = json.loads(result.stdout)["results"]
    assert not [line for target in targets for line in target["assumptions"] if "replaying" in line]


def test_a_check_inside_the_script_is_no_part_of_it(script) -> None:
    made = "preflight(model, opt, nn.CrossEntropyLoss(), (x, y))\nfor epoch"
    checked = scripts.PLAIN.replace("\nfor epoch", f"\nfrom nnlint import preflight\n{made}", 1)
    found = [run("--format", "json", script(source)) for source in (checked, scripts.PLAIN)]
    assert [result.exit_code for result in found] == [0, 0], found[0].stderr
    events = [json.loads(result.stdout)["results"][0]["measurements"]["timeline"]["events"] for result in found]
    with_check, without = ([event["kind"] for event in told] for told in events)
    assert with_check == without


def test_a_script_may_look_whether_torch_is_installed_before_it_imports_it(script) -> None:
    """As transformers does where it is imported first."""
    import subprocess

    source = (
        "import importlib.util\nassert importlib.util.find_spec('torch').loader.name == 'torch'\n" + scripts.NOT_CLEARED
    )
    done = subprocess.run(
        [sys.executable, "-m", "nnlint", "run", script(source)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert "STP001" in done.stderr


VALIDATED = """    model.eval()
    with torch.no_grad():
        for xb, yb in DataLoader(TensorDataset(x[:16], y[:16]), batch_size=8):
            model(xb)
    model.train()
"""
#: What is wrong -> the code, the source, the text of the line to be named.
LINES = {
    "layers in no group": (
        "OPT001",
        scripts.PLAIN.replace("model.parameters()", "model[3].parameters()"),
        "opt = torch.optim.SGD(model[3].parameters(), lr=0.1, momentum=0.9)",
    ),
    "a rate that destroys": (
        "OPT003",
        scripts.PLAIN.replace("lr=0.1", "lr=1e3"),
        "opt = torch.optim.SGD(model.parameters(), lr=1e3, momentum=0.9)",
    ),
    "inputs of any size": (
        "DAT001",
        scripts.PLAIN.replace("torch.randn(48, 4)", "torch.randn(48, 4) * 50 + 400"),
        "        loss = F.cross_entropy(model(xb), yb)",
    ),
    "constant weights": (
        "INI002",
        scripts.PLAIN.replace("opt =", "for p in model.parameters(): nn.init.constant_(p, 0.1)\nopt =", 1),
        "model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))",
    ),
    "targets of another shape": (
        "LOS015",
        scripts.PLAIN.replace("nn.Linear(8, 3)", "nn.Linear(8, 1)").replace(
            "F.cross_entropy(model(xb), yb)", "F.mse_loss(model(xb), yb.float())"
        ),
        "        loss = F.mse_loss(model(xb), yb.float())",
    ),
    "validated on training data": (
        "DAT011",
        (scripts.PLAIN + VALIDATED)
        .replace("torch.randn(48, 4)", "torch.randn(48, 12)")
        .replace("Linear(4", "Linear(12"),
        "            model(xb)",
    ),
}


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("name", LINES)
def test_every_fault_of_a_script_is_at_a_line_of_it(script, name: str) -> None:
    code, source, line = LINES[name]
    result = run("--format", "json", script(source))
    (target,) = json.loads(result.stdout)["results"]
    first = next(found for found in target["findings"] if found["level"] != "info")
    assert (first["code"], first["location"]["text"]) == (code, line)
    if code == "DAT011":
        assert "EVL003" in {symptom["code"] for symptom in first["symptoms"]}


LABELLED = """
data = DataLoader(TensorDataset(torch.randn(160, 4), torch.zeros(160)), batch_size=8)
for real, _ in data:
    netD.zero_grad()
    loss_real = criterion(netD(real), torch.ones(8, 1))
    fake = netG(torch.randn(8, 3))
    loss_fake = criterion(netD(fake.detach()), torch.zeros(8, 1))
    (loss_real + loss_fake).backward()
    optimizerD.step()
    netG.zero_grad()
    criterion(netD(fake), torch.ones(8, 1)).backward()
    optimizerG.step()
"""


def test_labels_that_no_loss_reads_are_not_judged(script) -> None:
    head = scripts.GAN[: scripts.GAN.index("for ")]
    source = head.replace("import torch\n", "import torch\nfrom torch.utils.data import DataLoader, TensorDataset\n", 1)
    result = run("--fail-on", "warning", script(source + LABELLED))
    assert result.exit_code == 0, result.stderr


LOADED = scripts.PLAIN.replace("opt =", "{load}\nopt =", 1)
SAVED = "saved = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3)).state_dict()"


@pytest.mark.parametrize(
    ("load", "codes"),
    [
        ("model.load_state_dict({'module.' + k: v for k, v in saved.items()}, strict=False)", ["INI013"]),
        ("model[0].load_state_dict({f'net.{k}': v for k, v in saved.items()}, strict=False)", ["INI013"]),
        ("model[0].load_state_dict({k: v for k, v in saved.items() if k[0] == '0'}, strict=False)", ["INI013"]),
        ("model.load_state_dict({k.replace('3.', 'fc.'): v for k, v in saved.items()}, strict=False)", []),
        ("model.load_state_dict(saved, strict=False)", []),
    ],
)
def test_a_checkpoint_whose_names_have_another_prefix(script, load: str, codes: list[str]) -> None:
    result = run("--format", "json", script(LOADED.format(load=f"{SAVED}\n{load}")))
    (target,) = json.loads(result.stdout)["results"]
    found = [finding for finding in target["findings"] if finding["level"] != "info"]
    assert [finding["code"] for finding in found] == codes
    assert all(finding["location"]["text"] == load for finding in found)


IN_TURN = """
import torch
from torch import nn
torch.manual_seed(0)
G, D = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
opt_d, opt_g = torch.optim.Adam(D.parameters(), lr=1e-4), torch.optim.Adam(G.parameters(), lr=1e-4)
for i in range(20):
    D.requires_grad_(True)
    loss_d = D(G(torch.randn(32, 4)).detach()).mean() - D(torch.randn(32, 2)).mean()
    opt_d.zero_grad()
    loss_d.backward()
    opt_d.step()
    D.requires_grad_(False)
    loss_g = -D(G(torch.randn(32, 4))).mean()
    opt_g.zero_grad()
    loss_g.backward()
    opt_g.step()
"""


def test_a_player_is_judged_as_trainable_as_its_loss_found_it(script) -> None:
    result = run("--format", "json", script(IN_TURN))
    targets = json.loads(result.stdout)["results"]
    assert [target["target"] for target in targets] == ["train.py", "train.py:opt_d", "train.py:opt_g"]
    assert not [found for target in targets for found in target["findings"] if found["level"] != "info"]


PENALTY = """
import torch
from torch import nn
torch.manual_seed(0)
G, D = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
opt_d, opt_g = torch.optim.Adam(D.parameters(), lr=1e-4), torch.optim.Adam(G.parameters(), lr=1e-4)
for i in range(20):
    opt_d.zero_grad()
    real, fake = torch.randn(32, 2).requires_grad_(), G(torch.randn(32, 4))
    said, told = D(real), D(fake)
    slopes = [torch.autograd.grad(v, x, torch.ones_like(v), create_graph=True)[0] for v, x in ((said, real), (told, fake))]
    (told.mean() - said.mean() + sum(slope.pow(2).sum(1).pow(3).mean() for slope in slopes)).backward()
    opt_d.step()
    opt_g.zero_grad()
    (-D(G(torch.randn(32, 4))).mean()).backward()
    opt_g.step()
"""


def test_a_penalty_on_what_another_network_made_is_replayed(script) -> None:
    result = run("--format", "json", script(PENALTY))
    targets = json.loads(result.stdout)["results"]
    assert [target["target"] for target in targets] == ["train.py", "train.py:opt_d", "train.py:opt_g"]
    assert not [found for target in targets for found in target["findings"] if found["code"].startswith("RUN")]
