"""Checks before the first step: in a plain loop, under Accelerate, in Lightning's and Hugging Face's Trainer."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nnlint
from nnlint.integrations.preflight import NNLintWarning, preflight
from nnlint.report import FindingsError
from tests.libraries import library


def net(*, faulty: bool) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5), *([nn.Softmax(dim=1)] if faulty else [])]
    return nn.Sequential(*layers)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(64, 20, generator=generator), torch.arange(64) % 5


# ---------------------------------------------------------------- plain loop


def test_a_healthy_setup_passes_and_nothing_changes() -> None:
    model = net(faulty=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    report = preflight(model, optimizer, nn.CrossEntropyLoss(), batch())
    assert report is not None
    assert report.exit_status() == 0
    assert not optimizer.state
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_a_faulty_setup_fails_with_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FindingsError, match="LOS001 softmax-before-cross-entropy"):
        preflight(net(faulty=True), None, nn.CrossEntropyLoss(), batch())
    assert "LOS001" in capsys.readouterr().err


def test_the_policy_may_only_warn() -> None:
    with pytest.warns(NNLintWarning, match="LOS001"):
        report = preflight(net(faulty=True), None, nn.CrossEntropyLoss(), batch(), policy="warn")
    assert report is not None
    with pytest.raises(ValueError, match="'never' is none of"):
        preflight(net(faulty=True), policy="never")  # type: ignore[arg-type]


def test_what_could_not_be_checked_does_not_pass() -> None:
    with pytest.raises(FindingsError, match="RUN002"):
        preflight(net(faulty=False), None, nn.CrossEntropyLoss(), (torch.randn(4, 7), torch.zeros(4).long()))


def test_accelerate() -> None:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = net(faulty=False)
    loader = DataLoader(TensorDataset(*batch()), batch_size=32)
    prepared: Any = accelerator.prepare(model, torch.optim.Adam(model.parameters(), lr=1e-3), loader)
    report = preflight(prepared[0], prepared[1], nn.CrossEntropyLoss(), next(iter(prepared[2])))
    assert report is not None
    assert [finding.code for finding in report.findings if finding.level.value != "info"] == []
    assert report.results[0].subject["optimizer"] == "Adam lr 0.001"


def _rank(rank: int, folder: str, faulty: bool) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    try:
        report = preflight(net(faulty=faulty), None, nn.CrossEntropyLoss(), batch())
        said = "none" if report is None else "report"
    except FindingsError as error:
        said = "failed with report" if "LOS001" in str(error) else "failed"
    Path(folder, f"rank{rank}").write_text(said)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(("faulty", "said"), [(True, ("failed with report", "failed")), (False, ("report", "none"))])
def test_all_ranks_get_the_verdict_of_the_first(tmp_path: Path, faulty: bool, said: tuple[str, str]) -> None:
    torch.multiprocessing.spawn(_rank, args=(str(tmp_path), faulty), nprocs=2)
    assert tuple((tmp_path / f"rank{rank}").read_text() for rank in range(2)) == said


# ---------------------------------------------------------------- Lightning


def _lightning_module(*, faulty: bool) -> Any:
    L = library("lightning")

    class Lit(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net(faulty=faulty)
            self.losses: list[float] = []

        def training_step(self, data: Any, _: int) -> torch.Tensor:
            x, y = data
            loss = nn.functional.cross_entropy(self.net(x), y)
            self.losses.append(float(loss.detach()))
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    return Lit()


def _fit(module: Any, folder: Path, *callbacks: Any) -> list[float]:
    L = library("lightning")
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = L.Trainer(max_epochs=1, accelerator="cpu", default_root_dir=folder, callbacks=list(callbacks), **quiet)
    torch.manual_seed(3)
    trainer.fit(module, DataLoader(TensorDataset(*batch()), batch_size=16, shuffle=True))
    return list(module.losses)


@pytest.mark.filterwarnings("ignore")
def test_lightning_trains_the_same_with_the_callback(tmp_path: Path) -> None:
    library("lightning")
    from nnlint.integrations.lightning import NNLintCallback

    bare = _fit(_lightning_module(faulty=False), tmp_path)
    callback = NNLintCallback()
    module = _lightning_module(faulty=False)
    assert _fit(module, tmp_path, callback)[-4:] == bare
    assert callback.report is not None
    assert callback.report.results[0].subject["optimizer"].startswith("Adam")
    assert callback.report.exit_status() == 0


@pytest.mark.filterwarnings("ignore")
def test_lightning_stops_before_the_first_step(tmp_path: Path) -> None:
    library("lightning")
    from nnlint.integrations.lightning import NNLintCallback

    module = _lightning_module(faulty=True)
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(FindingsError, match="LOS001"):
        _fit(module, tmp_path, NNLintCallback(select=("LOS",)))
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


# ---------------------------------------------------------------- Hugging Face


def _trainer(folder: Path, *callbacks: Any) -> Any:
    hf = library("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = hf.BertForSequenceClassification(
        hf.BertConfig(vocab_size=50, **sizes, hidden_dropout_prob=0.0, num_labels=2)
    )
    generator = torch.Generator().manual_seed(1)
    rows = [{"input_ids": torch.randint(1, 50, (12,), generator=generator), "labels": index % 2} for index in range(16)]
    arguments = hf.TrainingArguments(
        output_dir=str(folder),
        max_steps=3,
        per_device_train_batch_size=8,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        seed=5,
    )
    return hf.Trainer(model=model, args=arguments, train_dataset=rows, callbacks=list(callbacks))


def _logged(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.filterwarnings("ignore")
def test_the_trainer_trains_the_same_with_the_callback(tmp_path: Path) -> None:
    library("transformers")
    from nnlint.integrations.transformers import NNLintTrainerCallback

    bare = _trainer(tmp_path)
    bare.train()
    callback = NNLintTrainerCallback(policy="fail")
    checked = _trainer(tmp_path, callback)
    checked.train()
    assert _logged(checked) == _logged(bare)
    assert callback.report is not None
    assert callback.report.results[0].subject["model"] == "BertForSequenceClassification"


@pytest.mark.filterwarnings("ignore")
def test_the_trainer_stops_before_the_first_step(tmp_path: Path) -> None:
    library("transformers")
    from nnlint.integrations.transformers import NNLintTrainerCallback

    trainer = _trainer(tmp_path, NNLintTrainerCallback(select=("SIG",)))
    with torch.no_grad():
        trainer.model.classifier.weight[0, 0] = float("nan")
    with pytest.raises(FindingsError, match="SIG003"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_a_report_from_preflight_is_shown_in_a_notebook() -> None:
    report = preflight(net(faulty=False), None, nn.CrossEntropyLoss(), batch(), select=("LOS",))
    assert isinstance(report, nnlint.Report)
    assert "_repr_html_" in dir(report)
