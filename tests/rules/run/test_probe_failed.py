"""RUN008: what user code raises in a run that training makes is a finding and exit status 2; what nnlint only tries is a skip."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.rules.run.probe_failed import Net, failures, fields, only_failure


class Attribute(Net):
    state = None

    def forward(self, x):
        h = torch.tanh(self.a(x))
        h = h if self.state is None else h + 0.1 * self.state
        self.state = h
        return self.b(h)


class InList(Net):
    def __init__(self):
        super().__init__()
        self.memory = []

    def forward(self, x):
        h = torch.tanh(self.a(x)) + sum(self.memory, torch.zeros(()))
        self.memory.append(0.1 * h)
        return self.b(h)


class Buffer(Net):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(12))

    def forward(self, x):
        h = self.a(x)
        self.mean = 0.9 * self.mean + 0.1 * h.mean(0)
        return self.b(torch.relu(h - self.mean))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head, self.hidden = nn.GRU(8, 12, batch_first=True), nn.Linear(12, 4), None

    def forward(self, x):
        out, self.hidden = self.rnn(x[:, None], self.hidden)
        return self.head(out[:, -1])


class Once(Net):
    """Fails without a graph: at the second call it has no batch left."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        if self.calls > 2:
            raise IndexError("no batch left")
        return super().forward(x)


@pytest.mark.parametrize("kind", [Attribute, InList, Buffer, Recurrent])
def test_state_kept_with_its_graph(kind):
    report, found = only_failure(fields(kind()))
    assert "a training step after the first raised RuntimeError" in found.message
    assert "keeps the graph of the step before" in found.fix
    reasons = [skipped.reason for skipped in report.skipped if "RUN008" in skipped.reason]
    assert reasons
    assert all("RuntimeError" in reason for reason in reasons)


def test_a_forward_that_raises_later_names_the_user_s_line():
    _, found = only_failure(fields(Once()))
    assert "IndexError: no batch left" in found.message
    assert found.location.function == "Once.forward"
    assert "no batch left" in found.trace


def test_a_loss_kept_with_its_graph():
    class Running:
        total = torch.zeros(())

        def __call__(self, output, targets):
            self.total = 0.9 * self.total + 0.1 * F.cross_entropy(output, targets)
            return self.total

    _, found = only_failure(fields(Net(), loss=Running()))
    assert "Trying to backward through the graph a second time" in found.message


class WrongWidth(Net):
    def forward(self, x):
        h = torch.relu(self.a(x))
        return self.b(h if self.training else h[:, :5])


class Missing(Net):
    def forward(self, x):
        return super().forward(x) if self.training else self.ema(x)


class Averaged(Net):
    """Averages of the weights that training has not made yet."""

    def eval(self):
        self.averages = {}
        return super().eval()

    def forward(self, x):
        return super().forward(x) * (1.0 if self.training else self.averages["a.weight"])


class TrackedLate(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(8, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 4))

    def train(self, mode=True):
        super().train(mode)
        if not mode:
            self[1].running_mean = torch.zeros(3)
        return self


class Frozen(Net):
    def forward(self, x):
        if not self.training:
            torch.jit.freeze(self)
        return super().forward(x)


@pytest.mark.parametrize("kind", [WrongWidth, Missing, Averaged, TrackedLate, Frozen])
def test_a_forward_that_raises_in_evaluation_mode(kind):
    _, found = only_failure(fields(kind()))
    assert "the forward in evaluation mode raised" in found.message
    assert found.fix


class NeverSet(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.sub_(self.state[parameter]["velocity"])


class WrongShape(torch.optim.Optimizer):
    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure=None):
        for parameter in self.param_groups[0]["params"]:
            parameter.sub_(parameter.grad.reshape(-1)[:3])


def hooked(parameters):
    optimizer = torch.optim.Adam(parameters)
    optimizer.register_step_pre_hook(lambda *_: {}["scale"])
    return optimizer


@pytest.mark.parametrize(
    "make", [lambda p: NeverSet(p, lr=0.1), WrongShape, torch.optim.SparseAdam, hooked], ids=range(4)
)
def test_an_optimizer_whose_step_raises(make):
    model = Net()
    _, found = only_failure(fields(model, optimizer=make(list(model.parameters()))))
    assert "the optimizer's step raised" in found.message


class Detached(Attribute):
    def forward(self, x):
        output = super().forward(x)
        self.state = self.state.detach()
        return output


class FixedBatch(Net):
    def forward(self, x):
        return self.b(torch.relu(self.a(x)).view(16, 12))


class Forces(nn.Module):
    """Differentiates in its forward, also in evaluation."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 1))

    def forward(self, x):
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.net(x).sum(), x, create_graph=True)
        return gradient[:, :4]


class BranchInEvaluation(Net):
    def forward(self, x):
        output = super().forward(x)
        return output if self.training else output.softmax(dim=1)


class AtLeastTwo(Net):
    def forward(self, x):
        assert len(x) >= 3, "needs several samples"
        return super().forward(x)


@pytest.mark.parametrize("kind", [Net, Detached, FixedBatch, Forces, BranchInEvaluation, AtLeastTwo])
@pytest.mark.parametrize("deep", [False, True])
def test_what_works_fails_nowhere(kind, deep):
    report, found = failures(fields(kind()), deep=deep)
    assert not found, [finding.message for finding in found]
    assert report.results[0].status == "ok"


def test_a_gradient_penalty_is_measured_by_the_steps_and_the_longer_probes():
    model = Net()

    def penalized(output, targets):
        x = torch.randn(4, 8, requires_grad=True)
        (gradient,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return F.cross_entropy(output, targets) + 0.1 * gradient.square().mean()

    report, found = failures(fields(model, loss=penalized), deep=True)
    assert not found
    assert not any("raised" in skipped.reason for skipped in report.skipped)
    assert report.results[0].measurements["overfit"]["verdict"]


def test_targets_that_cannot_be_cut_with_the_batch_are_no_reason_to_skip_the_overfit_probe():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.rnn, self.head = nn.Embedding(11, 8), nn.GRU(8, 8), nn.Linear(8, 11)

        def forward(self, ids):  # (time, batch)
            return self.head(self.rnn(self.table(ids))[0]).flatten(0, 1)

    ids = torch.arange(13 * 20).reshape(13, 20) % 11
    setup = fields(Tagger(), inputs=ids[:-1], targets=ids[1:].flatten())
    report, found = failures(setup, deep=True)
    assert not found
    assert report.results[0].measurements["overfit"]["verdict"]


def test_one_exception_is_one_finding_whatever_probes_meet_it():
    report, _ = only_failure(fields(Attribute()), deep=True)
    assert len({skipped.code for skipped in report.skipped if "RUN008" in skipped.reason}) > 5


def test_what_a_rule_found_before_it_could_go_no_further_is_kept(monkeypatch):
    class Two(nn.Module):
        """Ignores one input, and cannot be run with another order of the samples in the other."""

        def __init__(self):
            super().__init__()
            self.head = nn.Linear(8, 4)

        def forward(self, x, first, unused):
            assert first[0] == 0, "the first id is 0"
            return self.head(x) * 1.0

    inputs = {"x": torch.randn(16, 8), "first": torch.arange(16), "unused": torch.arange(16)}
    report, found = failures(fields(Two(), inputs=inputs), select=("ARC011",))
    assert not found
    assert [finding.code for finding in report.findings] == ["ARC011"]
    assert "unused has no influence" in report.findings[0].message
    (skipped,) = report.skipped
    assert "first" in skipped.reason
