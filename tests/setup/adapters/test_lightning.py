"""LightningModules, run without a Trainer, with the real library."""

from __future__ import annotations

import copy
import random
import textwrap

import pytest
import torch
from torch import nn
from torch.nn import functional

import nnlint
from nnlint.finding import Level
from nnlint.setup import SetupError, SetupOptions, coerce
from nnlint.setup.target.resolve import resolve
from tests.libraries import library

lightning = library("lightning")
SAMPLES, FEATURES, CLASSES = 32, 20, 5


def batch_of(samples=SAMPLES):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(samples, FEATURES, generator=generator)
    return inputs, (inputs @ torch.randn(FEATURES, CLASSES, generator=generator)).argmax(1)


def loader(samples=SAMPLES):
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*batch_of(2 * samples)), batch_size=samples)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, 32), nn.ReLU(), nn.Linear(32, CLASSES))


class Classifier(lightning.LightningModule):
    """What the documentation of Lightning shows; tests change one method each."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = functional.cross_entropy(self(x), y)
        self.log("train_loss", loss, prog_bar=True, on_step=True)
        self.log_dict({"accuracy": (self(x).argmax(1) == y).float().mean()})
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def changed(**methods):
    """A classifier whose class defines these methods."""
    return type("Changed", (Classifier,), methods)()


class Data(lightning.LightningDataModule):
    def __init__(self):
        super().__init__()
        self.stages = []

    def prepare_data(self):
        self.stages.append("prepare")

    def setup(self, stage):
        self.stages.append(stage)
        dataset = torch.utils.data.TensorDataset(*batch_of(2 * SAMPLES))
        self.train, self.val = (torch.utils.data.Subset(dataset, range(n, n + SAMPLES)) for n in (0, SAMPLES))

    def train_dataloader(self):
        return torch.utils.data.DataLoader(self.train, batch_size=16, shuffle=True)

    def val_dataloader(self):
        return [torch.utils.data.DataLoader(self.val, batch_size=8)]


def loud(report):
    return [(item.code, item.module) for item in report.findings if item.level.at_least(Level.WARNING)]


def state_of(module):
    plain = {name: value for name, value in vars(module).items() if name not in {"_modules", "_parameters", "_buffers"}}
    tensors = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    modes = {name: part.training for name, part in module.named_modules()}
    return plain, tensors, gradients, modes


def assert_same_state(before, after):
    assert before[0].keys() == after[0].keys()
    assert all(before[0][name] is after[0][name] for name in before[0])
    assert before[1].keys() == after[1].keys()
    assert all(torch.equal(before[1][name], after[1][name]) for name in before[1])
    assert before[2:] == after[2:]


# -------------------------------------------------------------------- the whole check


@pytest.mark.parametrize("data", [loader, Data], ids=["DataLoader", "DataModule"])
def test_a_healthy_module_is_silent_and_left_as_it_was(data):
    module = Classifier()
    before, generators = state_of(module), (torch.get_rng_state(), random.getstate())
    report = nnlint.check((module, data()))
    assert loud(report) == []
    assert report.results[0].status == "ok"
    assert_same_state(before, state_of(module))
    assert torch.equal(generators[0], torch.get_rng_state())
    assert generators[1] == random.getstate()
    with pytest.raises(RuntimeError, match="not attached to a `Trainer`"):
        _ = module.trainer


def test_every_rule_on_the_loss_sees_the_loss_of_training_step():
    report = nnlint.check((Classifier(), loader()))
    skipped = {item.code: item.reason for item in report.results[0].skipped}
    assert not {"LOS001", "LOS018", "GRD003", "OPT001", "OPT002"} & skipped.keys(), skipped


def test_a_fault_in_training_step_is_found_there():
    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.CrossEntropyLoss()(self.net(x).softmax(dim=-1), y)
        self.log("loss", loss)
        return {"loss": loss, "predictions": x.argmax(1)}

    report = nnlint.check((changed(training_step=training_step), loader()))
    assert loud(report) == [("LOS001", "")]
    assert report.findings[0].location.file.endswith("test_lightning.py")


def test_an_optimizer_without_the_head_is_found():
    def configure_optimizers(self):
        return [torch.optim.SGD(self.net[0].parameters(), lr=0.1)]

    report = nnlint.check((changed(configure_optimizers=configure_optimizers), loader()))
    assert loud(report) == [("OPT001", "net.2")]


def test_a_module_without_forward_is_checked_too():
    class OnlyStep(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()

        def training_step(self, batch):
            return functional.cross_entropy(torch.sigmoid(self.net(batch[0])), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters())

    assert loud(nnlint.check((OnlyStep(), loader()))) == [("LOS002", "")]


def test_static_checks_need_no_trainer_either():
    assert loud(nnlint.check((Classifier(), loader()), static=True)) == []


@pytest.mark.parametrize("name", ["lit", "my_lightning_model", "lightning_module"])
def test_from_a_file(name, tmp_path, monkeypatch):
    text = """
    import torch
    from lightning import LightningModule
    from torch import nn

    class Lit(LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(4, 2)

        def training_step(self, batch, batch_idx):
            return nn.functional.mse_loss(self.net(batch[0]), batch[1])

        def train_dataloader(self):
            return [(torch.randn(16, 4), torch.randn(16, 2))]

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    def build():
        return Lit()
    """
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    setup = resolve(f"{name}.py:build", SetupOptions(directory=tmp_path))
    assert isinstance(setup.optimizer, torch.optim.SGD)
    assert setup.run()[1].requires_grad
    assert f"{name}.py" in setup.construction["net"].file


# -------------------------------------------------------------------- training_step


def test_what_training_step_may_return():
    def returning(wrap):
        def training_step(self, batch, batch_idx):
            return wrap(functional.cross_entropy(self(batch[0]), batch[1]))

        return coerce((changed(training_step=training_step), loader()))

    tensor, mapping = returning(lambda loss: loss), returning(lambda loss: {"loss": loss, "extra": 1})
    assert torch.equal(tensor.run()[1], mapping.run()[1])
    for wrap, words in [
        (lambda loss: None, "training_step returned None (is `return loss` missing? The Trainer skips such a step)"),
        (lambda loss: {"los": loss}, "training_step returned a dict with keys 'los': no loss to differentiate"),
        (lambda loss: loss.item(), "training_step returned float"),
    ]:
        with pytest.raises(SetupError) as caught:
            returning(wrap).run()
        assert caught.value.code == "RUN003"
        assert words in caught.value.message


def test_a_step_without_a_loss_fails_the_check_but_not_the_static_rules():
    def training_step(self, batch, batch_idx):
        functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.net[0].parameters(), lr=0.1)

    module = changed(training_step=training_step, configure_optimizers=configure_optimizers)
    report = nnlint.check((module, loader()))
    assert report.results[0].status == "failed"
    assert {code for code, _ in loud(report)} == {"RUN003", "OPT001"}


def test_the_stand_in_for_the_trainer():
    def training_step(self, batch, batch_idx):
        assert self.trainer.max_epochs
        assert self.global_step == self.current_epoch == batch_idx == 0
        self.logger.experiment.add_scalar("x", 1, global_step=self.global_step)
        self.print("said nowhere")
        return functional.cross_entropy(self(batch[0]), batch[1])

    module = changed(training_step=training_step)
    assert coerce((module, loader())).run()[1].isfinite()
    assert "_trainer" in vars(module)
    assert module._trainer is None
    assert "log" not in vars(module)


def test_what_the_stand_in_lacks_is_said():
    def training_step(self, batch, batch_idx):
        return self.trainer.strategy.loss()

    report = nnlint.check((changed(training_step=training_step), loader()))
    message = next(item.message for item in report.findings if item.code.startswith("RUN"))
    assert "self.trainer.strategy: nnlint runs the module without a Trainer" in message


def test_metrics_count_nothing():
    torchmetrics = library("torchmetrics")

    class WithMetric(Classifier):
        def __init__(self):
            super().__init__()
            self.accuracy = torchmetrics.classification.MulticlassAccuracy(CLASSES)

        def training_step(self, batch, batch_idx):
            logits = self(batch[0])
            self.accuracy(logits, batch[1])
            self.log("accuracy", self.accuracy)
            return functional.cross_entropy(logits, batch[1])

    module = WithMetric()
    assert loud(nnlint.check((module, loader()))) == []
    assert int(module.accuracy.tp.sum()) == 0
    assert module.accuracy._update_count == 0


@pytest.mark.parametrize(
    "arguments", ["batch", "batch, batch_idx", "batch, batch_idx, dataloader_idx=0", "*arguments"], ids=str
)
def test_signatures_of_training_step(arguments):
    given = "arguments[0]" if arguments.startswith("*") else "batch"
    space = {}
    exec(f"def training_step(self, {arguments}): return self({given}[0]).square().mean()", space)
    assert coerce((changed(training_step=space["training_step"]), loader())).run()[1].isfinite()


@pytest.mark.parametrize(
    ("batch", "unpack"),
    [
        (lambda x, y: [x, y], lambda b: (b[0], b[1])),
        (lambda x, y: {"x": x, "label": y, "weight": torch.ones(len(x))}, lambda b: (b["x"] * b["weight"][:, None], b["label"])),
        (lambda x, y: ((x[:, :10], x[:, 10:]), y), lambda b: (torch.cat(b[0], 1), b[1])),
        (lambda x, y: (x[:, :10], x[:, 10:], y), lambda b: (torch.cat(b[:2], 1), b[2])),
        (lambda x, y: {"image": {"left": x, "right": x}, "y": y}, lambda b: (b["image"]["left"], b["y"])),
    ],
    ids=["pair", "dict with an extra entry", "nested pair", "triple", "nested dict"],
)  # fmt: skip
def test_the_batch_reaches_training_step_as_the_loader_gave_it(batch, unpack):
    seen = []

    def training_step(self, batch, batch_idx):
        x, y = unpack(batch)
        seen.append((batch, len(x)))
        return functional.cross_entropy(self.net(x), y)

    made = batch(*batch_of())
    setup = coerce((changed(training_step=training_step), [made]))
    assert setup.run()[1].isfinite()
    assert seen[-1][0] is made
    half = lambda value: torch.utils._pytree.tree_map(lambda tensor: tensor[:16], value)  # noqa: E731
    assert setup.with_inputs(half(setup.inputs), half(setup.targets)).run()[1].isfinite()
    assert seen[-1][1] == 16
    assert type(seen[-1][0]) is type(made)


def test_a_batch_of_inputs_alone():
    def training_step(self, batch, batch_idx):
        (x,) = batch
        return (self.net(x)[:, :1] - x[:, :1]).square().mean()

    assert coerce((changed(training_step=training_step), [[batch_of()[0]]])).run()[1].isfinite()


def test_inputs_and_targets_given_apart():
    x, y = batch_of()
    setup = coerce({"model": Classifier(), "inputs": x, "targets": y})
    assert torch.equal(setup.run()[1], functional.cross_entropy(setup.model(x), y))


def test_a_given_loss_goes_before_training_step():
    x, y = batch_of()
    setup = coerce({"model": Classifier(), "inputs": x, "targets": y, "loss": nn.MultiMarginLoss()})
    assert setup.own_loss is None
    assert torch.equal(setup.run()[1], functional.multi_margin_loss(setup.model(x), y))


def test_without_data_there_is_no_loss():
    setup = coerce(Classifier())
    assert setup.own_loss is None
    assert setup.inputs_assumed
    assert any("no batch of data, so training_step was not run" in text for text in setup.assumptions)
    assert isinstance(setup.optimizer, torch.optim.AdamW)
    assert loud(nnlint.check(Classifier())) == []


def test_example_input_array():
    module = Classifier()
    module.example_input_array = torch.ones(3, FEATURES)
    setup = coerce(module)
    assert setup.inputs.shape == (3, FEATURES)
    assert any("example_input_array" in text for text in setup.assumptions)


# -------------------------------------------------------------------- configure_optimizers


def sgd(module):
    return torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)


def step_lr(optimizer):
    return torch.optim.lr_scheduler.StepLR(optimizer, 10)


SHAPES = {
    "optimizer": lambda o, s: o,
    "list": lambda o, s: [o],
    "tuple": lambda o, s: (o,),
    "lists": lambda o, s: ([o], [s]),
    "lists with a dict": lambda o, s: ([o], [{"scheduler": s, "interval": "step"}]),
    "dict": lambda o, s: {"optimizer": o},
    "dict with scheduler": lambda o, s: {"optimizer": o, "lr_scheduler": s},
    "dict with scheduler dict": lambda o, s: {"optimizer": o, "lr_scheduler": {"scheduler": s, "monitor": "loss"}},
    "list of dicts": lambda o, s: [{"optimizer": o, "lr_scheduler": s}],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_configure_optimizers(shape):
    def configure_optimizers(self):
        optimizer = sgd(self)
        return SHAPES[shape](optimizer, step_lr(optimizer))

    setup = coerce((changed(configure_optimizers=configure_optimizers), loader()))
    assert isinstance(setup.optimizer, torch.optim.SGD)
    with_scheduler = "scheduler" in shape or shape in {"lists", "lists with a dict", "list of dicts"}
    assert isinstance(setup.scheduler, torch.optim.lr_scheduler.StepLR) == with_scheduler
    if with_scheduler:
        assert setup.interval == ("step" if shape == "lists with a dict" else "epoch")


def test_no_optimizer():
    setup = coerce((changed(configure_optimizers=lambda self: None), loader()))
    assert setup.optimizer is None
    assert setup.own_loss is not None


@pytest.mark.parametrize("lists", [False, True])
def test_several_optimizers_are_not_judged(lists):
    def configure_optimizers(self):
        both = [sgd(self.net[0]), sgd(self.net[2])]
        return (both, []) if lists else both

    setup = coerce((changed(configure_optimizers=configure_optimizers), loader()))
    assert setup.optimizer is None
    assert any("configure_optimizers returned 2 optimizers" in text for text in setup.assumptions)


@pytest.mark.parametrize("wrong", [lambda self: 3, lambda self: {"optim": sgd(self)}, lambda self: [None, 1e-3]])
def test_no_optimizer_at_all(wrong):
    with pytest.raises(SetupError, match="configure_optimizers of Changed returned"):
        coerce((changed(configure_optimizers=wrong), loader()))


def test_a_plan_from_the_trainer():
    def configure_optimizers(self):
        optimizer = sgd(self)
        steps = self.trainer.estimated_stepping_batches
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, steps)}

    module = changed(configure_optimizers=configure_optimizers)
    assert loud(nnlint.check((module, loader()))) == []


def test_hooks_that_raise_say_where():
    def configure_optimizers(self):
        return torch.optim.SGD(self.nets.parameters(), 0.1)

    with pytest.raises(SetupError, match=r"configure_optimizers of Changed raised: AttributeError") as caught:
        coerce((changed(configure_optimizers=configure_optimizers), loader()))
    assert caught.value.location is not None
    assert caught.value.location.file == __file__


# -------------------------------------------------------------------- manual optimization, hooks, loaders


def test_manual_optimization_is_checked_without_its_loss():
    class Gan(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False
            torch.manual_seed(0)
            self.generator = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16), nn.Linear(16, FEATURES))
            self.critic = nn.Sequential(nn.Linear(FEATURES, 32), nn.ReLU(), nn.Linear(32, 1))

        def forward(self, noise):
            return self.critic(self.generator(noise))

        def training_step(self, batch, batch_idx):
            raise AssertionError("must not be called")

        def configure_optimizers(self):
            return sgd(self.generator), sgd(self.critic)

    noise = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    report = nnlint.check((Gan(), [(noise,)]))
    assert loud(report) == [("ARC005", "generator.3")]
    assert any(text.startswith("manual optimization: training_step steps") for text in report.results[0].assumptions)
    skipped = {item.code: item.reason for item in report.results[0].skipped}
    assert skipped["LOS001"] == "no loss given"


def test_setup_and_configure_model_run_first():
    class Late(Classifier):
        def __init__(self):
            super().__init__()
            del self.net

        def configure_model(self):
            self.net = network()

        def setup(self, stage):
            assert stage == "fit"
            self.weights = torch.ones(CLASSES)

        def training_step(self, batch, batch_idx):
            return functional.cross_entropy(self(batch[0]), batch[1], weight=self.weights)

    module = Late()
    setup = coerce((module, loader()))
    assert setup.run()[1].isfinite()
    assert "weights" not in vars(module)
    assert len(setup.optimizer.param_groups[0]["params"]) == 4
    assert loud(nnlint.check((Late(), loader()))) == []


def test_the_modules_own_loaders():
    class Own(Classifier):
        def prepare_data(self):
            self.size = 16

        def setup(self, stage):
            self.dataset = torch.utils.data.TensorDataset(*batch_of())

        def train_dataloader(self):
            return torch.utils.data.DataLoader(self.dataset, batch_size=self.size)

        def val_dataloader(self):
            return torch.utils.data.DataLoader(self.dataset, batch_size=8)

    setup = coerce(Own())
    assert setup.inputs.shape == (16, FEATURES)
    assert next(iter(setup.val_data))[0].shape == (8, FEATURES)
    assert setup.own_loss is not None


@pytest.mark.parametrize("form", [list, tuple, dict])
def test_several_training_loaders_give_a_batch_of_each(form):
    loaders = {"small": loader(8), "large": loader(16)}

    def train_dataloader(self):
        return loaders if form is dict else form(loaders.values())

    def training_step(self, batch, batch_idx):
        small, large = batch.values() if form is dict else batch
        assert (len(small[0]), len(large[0])) == (8, 16)
        return functional.cross_entropy(self(large[0]), large[1]) + functional.cross_entropy(self(small[0]), small[1])

    setup = coerce(changed(train_dataloader=train_dataloader, training_step=training_step))
    assert setup.run()[1].isfinite()


def test_a_data_module_is_set_up_for_fitting():
    data = Data()
    setup = coerce({"model": Classifier(), "data": data})
    assert data.stages == ["prepare", "fit"]
    assert setup.inputs.shape == (16, FEATURES)
    assert next(iter(setup.val_data))[0].shape == (8, FEATURES)


def test_a_data_module_that_raises_says_where():
    class Broken(Data):
        def setup(self, stage):
            raise FileNotFoundError("train.csv")

    with pytest.raises(
        SetupError, match=r"Broken could not be set up for fitting: FileNotFoundError: train\.csv"
    ) as caught:
        coerce((Classifier(), Broken()))
    assert caught.value.code == "RUN001"


def test_a_module_inside_a_module_logs_nowhere_either():
    inner = Classifier()

    class Outer(Classifier):
        def __init__(self):
            super().__init__()
            self.net = inner

        def training_step(self, batch, batch_idx):
            return self.net.training_step(batch, batch_idx)

    before = copy.copy(vars(inner))
    assert coerce((Outer(), loader())).run()[1].isfinite()
    assert vars(inner) == before
