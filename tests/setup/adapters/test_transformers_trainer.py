"""A transformers Trainer, or its arguments beside a model: the setup that it would train with."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nnlint import check
from nnlint.setup import SetupError, coerce
from tests.libraries import library


@pytest.fixture(scope="module")
def transformers() -> Any:
    return library("transformers")


class Sentences(torch.utils.data.Dataset):
    """Rows as a tokenizer gives them, with a column that the model does not take."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        ids = torch.randint(5, 50, (12,), generator=generator)
        mask = torch.ones(12, dtype=torch.int64)
        mask[8 + index % 5 :] = 0
        return {"input_ids": ids * mask, "attention_mask": mask, "label": index % 3, "row": index}


def model(transformers: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        num_labels=3,
    )
    return transformers.BertForSequenceClassification(config)


def arguments(transformers: Any, tmp_path: Any, **more: Any) -> Any:
    settings = {"per_device_train_batch_size": 10, "learning_rate": 1e-3, "use_cpu": True, "report_to": []}
    return transformers.TrainingArguments(str(tmp_path / "out"), **{**settings, **more})


def forms(transformers: Any, tmp_path: Any, net: Any, **more: Any) -> dict[str, Any]:
    given = arguments(transformers, tmp_path, **more)
    return {
        "trainer": transformers.Trainer(net, given, train_dataset=Sentences()),
        "tuple": (net, given, Sentences()),
        "train_dataset": {"model": net, "args": given, "train_dataset": Sentences()},
        "data": {"model": net, "training_args": given, "data": Sentences()},
        "trainer in a dict": {"trainer": transformers.Trainer(net, given, train_dataset=Sentences())},
    }


FORMS = ["trainer", "tuple", "train_dataset", "data", "trainer in a dict"]


@pytest.mark.parametrize("form", FORMS)
def test_batches_optimizer_and_schedule_are_the_trainers(transformers: Any, tmp_path: Any, form: str) -> None:
    net = model(transformers)
    more = {"weight_decay": 0.1, "gradient_accumulation_steps": 2, "max_grad_norm": 0.5, "num_train_epochs": 3}
    setup = coerce(forms(transformers, tmp_path, net, **more)[form])
    assert setup.model is net
    assert set(setup.inputs) == {"input_ids", "attention_mask", "labels"}
    assert setup.inputs["input_ids"].shape == (10, 12)
    assert torch.equal(setup.targets, setup.inputs["labels"])
    assert [group["weight_decay"] for group in setup.optimizer.param_groups] == [0.1, 0.0]
    assert (setup.grad_clip, setup.planned_steps, setup.interval) == (0.5, 6, "step")
    assert setup.scheduler is not None
    assert any("accumulates gradients over 2 batches" in text for text in setup.assumptions)


@pytest.mark.parametrize("form", ["trainer", "tuple"])
def test_a_healthy_training_is_clean_and_left_alone(transformers: Any, tmp_path: Any, form: str) -> None:
    given = forms(transformers, tmp_path, model(transformers))[form]
    report = check(given)
    assert [(f.code, f.message) for f in report.findings if f.level.value != "info"] == []
    assert report.results[0].status == "ok"
    if form == "trainer":
        assert given.optimizer is None
        assert given.lr_scheduler is None


@pytest.mark.parametrize("form", ["trainer", "tuple", "train_dataset"])
def test_a_rate_that_is_too_high_is_found(transformers: Any, tmp_path: Any, form: str) -> None:
    given = forms(transformers, tmp_path, model(transformers), learning_rate=10.0, lr_scheduler_type="constant")[form]
    codes = {finding.code for finding in check(given, select=["OPT", "TRN"]).findings}
    assert codes & {"OPT003", "TRN002", "TRN004", "OPT014"}


def test_the_loss_is_that_of_the_trainers_class(transformers: Any, tmp_path: Any) -> None:
    class Doubled(transformers.Trainer):
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **more: Any) -> Any:
            return 2 * model(**inputs).loss

    net = model(transformers).eval()
    plain = coerce(transformers.Trainer(net, arguments(transformers, tmp_path), train_dataset=Sentences()))
    doubled = coerce(Doubled(net, arguments(transformers, tmp_path), train_dataset=Sentences()))
    assert plain.own_loss is None
    assert torch.allclose(doubled.run()[1], 2 * plain.run()[1])


def test_the_collator_is_used_and_its_padding_stays_in_the_batch(transformers: Any, tmp_path: Any) -> None:
    def collate(samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        length = max(int(sample["attention_mask"].sum()) for sample in samples)
        keys = ("input_ids", "attention_mask")
        batch = {key: torch.stack([sample[key][:length] for sample in samples]) for key in keys}
        return {**batch, "labels": torch.tensor([sample["label"] for sample in samples])}

    given = {"model": model(transformers), "train_dataset": Sentences(), "data_collator": collate}
    setup = coerce(given)
    assert setup.inputs["input_ids"].shape[0] == 8
    assert int(setup.inputs["attention_mask"].min()) == 0
    as_tuple = coerce((given["model"], arguments(transformers, tmp_path), Sentences(), collate))
    assert as_tuple.loss is None


def test_an_overridden_method_that_raises_is_told(transformers: Any, tmp_path: Any) -> None:
    class Broken(transformers.Trainer):
        def create_optimizer(self, model: Any = None) -> Any:
            raise ValueError("no such optimizer")

    with pytest.raises(SetupError, match="no such optimizer") as caught:
        coerce(Broken(model(transformers), arguments(transformers, tmp_path), train_dataset=Sentences()))
    assert caught.value.fix
