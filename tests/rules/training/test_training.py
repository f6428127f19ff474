"""TRN001 to TRN006: what counts as a training that goes wrong, and what does not."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnlint


def mlp(*layers, features=20, width=64, classes=5):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(features, width), nn.ReLU(), *layers, nn.Linear(width, classes))


def report(code, model, optimizer=None, **fields):
    settings = {name: fields.pop(name) for name in ("deep", "probes", "rules") if name in fields}
    torch.manual_seed(1)
    fields = {"inputs": torch.randn(64, 20), "targets": torch.arange(64) % 5, "loss": nn.CrossEntropyLoss(), **fields}
    optimizer = optimizer or torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    return nnlint.check({"model": model, "optimizer": optimizer, **fields}, select=[code], **settings).results[0]


def found(code, model, optimizer=None, **fields):
    result = report(code, model, optimizer, **fields)
    assert [entry.reason for entry in result.skipped] == []
    return result.findings


def reason(code, model, optimizer=None, **fields):
    result = report(code, model, optimizer, **fields)
    assert result.findings == []
    return result.skipped[0].reason


class Headed(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.net, self.head = mlp(), head

    def forward(self, x):
        return self.head(self.net(x))


# ------------------------------------------------------------------ TRN001


def test_a_plateau_is_an_error_that_names_its_value():
    (finding,) = found("TRN001", Headed(lambda z: z.softmax(1)), deep=True)
    assert finding.level.value == "error"
    assert "softmax or sigmoid before cross-entropy" in finding.message
    assert finding.evidence["plateau"] == pytest.approx(0.9048, rel=0.02)  # ln(e + 4) - 1


def test_the_cause_is_the_finding_and_the_plateau_its_symptom():
    torch.manual_seed(1)
    model = Headed(lambda z: z.softmax(1))
    fields = {"inputs": torch.randn(64, 20), "targets": torch.arange(64) % 5, "loss": nn.CrossEntropyLoss()}
    codes = {
        f.code: f for f in nnlint.check({"model": model, **fields}, select=["LOS001", "TRN001"], deep=True).findings
    }
    assert set(codes) == {"LOS001"}
    assert [symptom.code for symptom in codes["LOS001"].symptoms] == ["TRN001"]


@pytest.mark.parametrize("rate", [1e-8, 10.0])
def test_the_users_learning_rate_does_not_decide(rate):
    model = mlp()
    assert found("TRN001", model, torch.optim.SGD(model.parameters(), lr=rate), deep=True) == []


@pytest.mark.parametrize(
    ("model", "fields", "words"),
    [
        (nn.Linear(3, 10), {"inputs": torch.randn(64, 3), "targets": torch.randint(0, 10, (64,))}, "linear model"),
        (mlp(), {"inputs": torch.ones(64, 20)}, "same input have different targets"),
        (mlp(), {"loss": lambda z, y: -(z[torch.arange(len(y)), y] * 0.1).mean()}, "not known"),
    ],
    ids=["capacity", "conflict", "custom loss"],
)
def test_what_proves_nothing_is_skipped_with_its_reason(model, fields, words):
    said = reason("TRN001", model, deep=True, **fields)
    assert said.startswith("inconclusive, loss")
    assert words in said


def test_without_deep_it_says_what_it_needs():
    assert reason("TRN001", mlp()) == "needs --deep or --probe overfit"
    assert found("TRN001", mlp(), probes=("overfit",)) == []


# ------------------------------------------------------------------ TRN002


class Root(nn.Module):
    def __init__(self, start):
        super().__init__()
        self.body, self.head = nn.Linear(20, 64), nn.Linear(64, 5)
        self.gain = nn.Parameter(torch.full((64,), start))

    def forward(self, x):
        return self.head(self.body(x).relu() * self.gain.sqrt())


def test_nan_after_a_few_updates_names_the_operation():
    torch.manual_seed(0)
    model = Root(0.02)
    (finding,) = found("TRN002", model, torch.optim.Adam(model.parameters(), lr=5e-3))
    assert "NaN or infinite after" in finding.message
    assert "sqrt in Root.forward" in finding.message
    assert finding.location.text.strip().startswith("return self.head(self.body(x)")


@pytest.mark.parametrize(("rate", "level"), [(3.0, "error"), (0.05, None)])
def test_a_rising_loss(rate, level):
    torch.manual_seed(0)
    model = nn.Linear(20, 1)
    fields = {"inputs": 2.0 * torch.randn(64, 20), "targets": torch.randn(64, 1), "loss": nn.MSELoss()}
    findings = found("TRN002", model, torch.optim.SGD(model.parameters(), lr=rate), **fields)
    assert [finding.level.value for finding in findings] == ([level] if level else [])


def test_a_trained_net_whose_tiny_loss_jumps_is_no_divergence():
    model = mlp()
    torch.manual_seed(1)
    inputs, targets = torch.randn(64, 20), torch.arange(64) % 5
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    fields = {"inputs": inputs, "targets": targets}
    assert found("TRN002", model, torch.optim.Adam(model.parameters(), lr=1e-2), **fields) == []


def test_a_lower_limit_can_be_set():
    torch.manual_seed(0)
    model = nn.Linear(20, 1)
    fields = {"inputs": torch.randn(64, 20), "targets": torch.randn(64, 1), "loss": nn.MSELoss()}
    rules = {"TRN002": {"rise": 1e-6, "fatal_rise": 1e9}}
    (finding,) = found("TRN002", model, torch.optim.SGD(model.parameters(), lr=1e-4), rules=rules, **fields)
    assert finding.level.value == "warning"


def test_without_an_optimizer_it_is_skipped():
    torch.manual_seed(0)
    fields = {"inputs": torch.randn(8, 20), "targets": torch.arange(8) % 5, "loss": nn.CrossEntropyLoss()}
    result = nnlint.check({"model": mlp(), **fields}, select=["TRN002"]).results[0]
    assert [entry.reason for entry in result.skipped] == ["no optimizer given"]


# ------------------------------------------------------------------ TRN003


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.backbone, self.head = mlp(classes=16), nn.Linear(16, 5)

    def forward(self, x):
        return self.head(torch.relu(self.backbone(x)))


@pytest.mark.parametrize("frozen", ["backbone", "backbone.*", ("*.0", "nothing.*")])
def test_declared_frozen_and_moved(frozen):
    (finding,) = found("TRN003", Backbone(), frozen=frozen)
    assert finding.module == "backbone.0"
    assert "declared frozen but trainable" in finding.message


def test_frozen_for_real_in_any_way():
    frozen = Backbone()
    frozen.backbone.requires_grad_(False)
    assert found("TRN003", frozen, frozen="backbone") == []
    left_out = Backbone()
    optimizer = torch.optim.SGD(left_out.head.parameters(), lr=0.1)
    assert found("TRN003", left_out, optimizer, frozen="backbone") == []
    assert found("TRN003", Backbone()) == []


class Averaged(nn.Module):
    """A teacher that the forward itself moves; or one that is a view of the student."""

    def __init__(self, *, shared):
        super().__init__()
        torch.manual_seed(0)
        self.student = nn.Linear(20, 5)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.shared = shared
        if shared:
            self.teacher.weight.data = self.student.weight.data

    def forward(self, x):
        if not self.shared:
            with torch.no_grad():
                self.teacher.weight.lerp_(self.student.weight, 0.5)
        return self.student(x) + self.teacher(x).detach()


@pytest.mark.parametrize(("shared", "modules"), [(True, ["teacher"]), (False, [])])
def test_moving_averages_are_fine_and_shared_memory_is_not(shared, modules):
    model = Averaged(shared=shared)
    findings = found("TRN003", model, torch.optim.SGD(model.student.parameters(), lr=0.1))
    assert [finding.module for finding in findings] == modules


# ------------------------------------------------------------------ TRN004


class Functional(nn.Module):
    def __init__(self, activation):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.activation = nn.Linear(30, 64), nn.Linear(64, 1), activation

    def forward(self, x):
        return self.last(self.activation(self.first(x)))


def one_sided(samples=64):
    """Inputs and targets whose mean drives every weight of a unit the same way."""
    inputs = torch.rand(samples, 30) + 1.0
    return {"inputs": inputs, "targets": inputs[:, :1] - 3.0, "loss": nn.MSELoss()}


def fast(model, rate=0.02):
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)


@pytest.mark.parametrize("activation", [nn.ReLU(), torch.relu, F.relu6, lambda x: x.clone().relu_()])
def test_units_that_the_updates_kill(activation):
    model = Functional(activation)
    (finding,) = found("TRN004", model, fast(model), **one_sided())
    assert finding.evidence["growth"] > 0.3
    calm = Functional(activation)
    assert found("TRN004", calm, fast(calm, 1e-4), **one_sided()) == []


def test_few_samples_make_it_an_info_and_few_units_nothing():
    model = Functional(torch.relu)
    assert [finding.level.value for finding in found("TRN004", model, fast(model), **one_sided(16))] == ["info"]
    narrow = Functional(torch.relu)
    narrow.first, narrow.last = nn.Linear(30, 6), nn.Linear(6, 1)
    assert found("TRN004", narrow, fast(narrow, 0.05), **one_sided()) == []


def test_units_that_were_dead_before_are_another_rules():
    model = mlp()
    nn.init.constant_(model[0].bias, -50.0)
    assert found("TRN004", model) == []


# ------------------------------------------------------------------ TRN005


class Masked(nn.Module):
    def __init__(self, hide):
        super().__init__()
        self.net, self.hide = mlp(), hide

    def forward(self, x):
        return self.net(self.hide(x) if self.training else x)


@pytest.mark.parametrize(
    "hide",
    [lambda x: x * 0.0, lambda x: torch.where(torch.rand_like(x) < 25, 0.5, x)],
    ids=["times zero", "mask in percent"],
)
def test_an_input_that_training_does_not_see(hide):
    (finding,) = found("TRN005", Masked(hide), deep=True)
    assert finding.level.value == "error"


@pytest.mark.parametrize(
    "hide",
    [lambda x: x, lambda x: F.dropout(x, 0.5), lambda x: x + torch.randn_like(x)],
    ids=["seen", "dropout", "noise"],
)
def test_an_input_that_it_sees(hide):
    assert found("TRN005", Masked(hide), deep=True) == []


def test_batches_that_a_bias_can_memorize():
    alike = {"targets": torch.zeros(64, dtype=torch.int64)}
    assert found("TRN005", Masked(lambda x: x * 0.0), deep=True, **alike) == []  # fits, and need not look
    tiny = {"inputs": torch.randn(4, 20), "targets": torch.arange(4)}
    assert "needs 8 samples, got 4" in reason("TRN005", Masked(lambda x: x * 0.0), deep=True, **tiny)


def test_a_slow_net_still_looks():
    torch.manual_seed(0)
    slow = nn.Sequential(*[layer for _ in range(3) for layer in (nn.Linear(20, 20), nn.Sigmoid())], nn.Linear(20, 5))
    assert found("TRN005", slow, deep=True) == []


# ------------------------------------------------------------------ TRN006


def noise(batches=2, samples=32):
    return [(torch.randn(samples, 20), torch.randint(0, 5, (samples,))) for _ in range(batches)]


def test_a_gap_that_opens_at_once():
    torch.manual_seed(2)
    model = mlp(nn.Dropout(0.1), width=256)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    (finding,) = found("TRN006", model, optimizer, data=noise(), val_data=noise(), deep=True)
    assert finding.level.value == "info"
    assert "regularization: dropout; without it" in finding.message


def test_the_same_kind_of_data_has_no_gap():
    torch.manual_seed(2)
    centers = 2.0 * torch.randn(5, 20)
    batches = [(centers[y] + torch.randn(64, 20), y) for y in [torch.randint(0, 5, (64,)) for _ in range(6)]]
    assert found("TRN006", mlp(), data=batches[:4], val_data=batches[4:], deep=True) == []


def test_validation_data_are_needed():
    assert reason("TRN006", mlp(), deep=True) == "no validation data given"


class Ranking(nn.Module):
    """Users with an item they took and one they did not, as BPR has them: no targets, every input moves along."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(30, 8), nn.Embedding(40, 8)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=0.01)

    def forward(self, user, taken, other):
        return (self.user(user) * (self.item(taken) - self.item(other))).sum(-1)


class Views(nn.Module):
    """Two views of each sample, each other's only match."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(12, 8)

    def forward(self, one, other):
        return self.net(one) @ self.net(other).t()


@pytest.mark.parametrize("kind", ["ranking", "views"])
def test_a_batch_without_targets_in_another_order_is_the_same_batch(kind: str) -> None:
    torch.manual_seed(0)
    if kind == "ranking":
        model, inputs = Ranking(), tuple(torch.randint(0, high, (64,)) for high in (30, 40, 40))
        loss = lambda out: -nn.functional.logsigmoid(out).sum()  # noqa: E731
    else:
        model, x = Views(), torch.randn(16, 12)
        inputs, loss = (x, x + torch.randn(16, 12)), lambda out: nn.functional.cross_entropy(out, torch.arange(16))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    setup = {"model": model, "inputs": inputs, "loss": loss, "optimizer": optimizer}
    report = nnlint.check(setup, select=["TRN005"], deep=True).results[0]
    assert report.status == "ok"
    assert report.findings == []
