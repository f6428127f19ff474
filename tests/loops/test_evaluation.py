"""EVL001 to EVL004: evaluations inside a script, in several styles, and the healthy ones that look like faults."""

from __future__ import annotations

import pytest

from nnlint import Level
from nnlint.testing import observe_source
from tests.loops.running import codes, findings
from tests.loops.test_step_order import HEAD
from tests.observe import scripts

#: What the scripts themselves are warned of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

NORMS = HEAD.replace("nn.ReLU(), nn.Dropout(0.1)", "nn.BatchNorm1d(8), nn.ReLU()")
VAL = "val = DataLoader(TensorDataset(torch.randn(40, 4), torch.randint(0, 3, (40,))), batch_size=8)\n"
EPOCH = """
def evaluate(net, data):
    {mode}
    correct = 0
    {grad}
        for xb, yb in data:
            {body}
    return correct

best, best_state, loaders = -1, None, {data}
for epoch in range(3):
    model.train()
    for xb, yb in loader:
        opt.zero_grad()
        F.cross_entropy(model(xb), yb).backward()
        opt.step()
    {before}
    accuracy = evaluate(model, {data})
    {after}
{end}
"""
BODY = "correct += (net(xb).argmax(1) == yb).sum().item()"


def evaluated(
    *,
    mode: str = "net.eval()",
    grad: str = "with torch.no_grad():",
    body: str = BODY,
    data: str = "val",
    before: str = "pass",
    after: str = "pass",
    end: str = "",
    head: str = HEAD + VAL,
) -> str:
    return head + EPOCH.format(mode=mode, grad=grad, body=body, data=data, before=before, after=after, end=end)


TRAINER = """
class Trainer:
    def __init__(self, net, optimizer):
        self.net, self.optimizer, self.best, self.state = net, optimizer, float("inf"), None

    def epoch(self):
        for xb, yb in loader:
            self.optimizer.zero_grad()
            F.cross_entropy(self.net(xb), yb).backward()
            self.optimizer.step()

    @torch.no_grad()
    def validate(self):
        {mode}
        return sum(F.cross_entropy(self.net(xb), yb).item() for xb, yb in val)

    def fit(self):
        for epoch in range(3):
            self.net.train()
            self.epoch()
            loss = self.validate()
            {keep}

Trainer(model, opt).fit()
"""


def trained(mode: str = "self.net.eval()", keep: str = "pass") -> str:
    return HEAD + VAL + TRAINER.format(mode=mode, keep=keep)


TENSORS = """
import torch
from torch import nn
torch.manual_seed(0)
x_train, y_train, x_val, y_val = torch.randn(20, 4), torch.randn(20, 1), torch.randn(12, 4), torch.randn(12, 1)
net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 1))
opt = torch.optim.Adam(net.parameters(), lr=1e-2)
step = 0
while step < 8:
    {mode}
    loss = (net(x_train) - y_train).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    {evaluation}
    with torch.no_grad():
        val_loss = (net(x_val) - y_val).pow(2).mean()
    step += 1
"""
FAULTY = {
    "EVL001 function": ("EVL001", evaluated(mode="pass")),
    "EVL001 batch norm": ("EVL001", evaluated(mode="pass", head=NORMS + VAL)),
    "EVL001 class": ("EVL001", trained(mode="pass")),
    "EVL001 tensors in a while loop": ("EVL001", TENSORS.format(mode="pass", evaluation="pass")),
    "EVL001 train() in the evaluation": ("EVL001", evaluated(mode="net.train()", grad="with torch.inference_mode():")),
    "EVL003 same dataset": ("EVL003", evaluated(head=f"{HEAD}val = DataLoader(loader.dataset, batch_size=16)\n")),
    "EVL003 a part of the training set": (
        "EVL003",
        evaluated(head=f"{HEAD}val = DataLoader(torch.utils.data.Subset(loader.dataset, range(24)), batch_size=8)\n"),
    ),
    "EVL003 same tensors": (
        "EVL003",
        evaluated(head=f"{HEAD}val = DataLoader(TensorDataset(x[:40], y[:40]), batch_size=20)\n"),
    ),
    "EVL003 the wrong loader": ("EVL003", evaluated(data="loader")),
    "EVL004 best": ("EVL004", evaluated(after="if accuracy > best: best, best_state = accuracy, model.state_dict()")),
    "EVL004 class": (
        "EVL004",
        trained(keep="if loss < self.best: self.best, self.state = loss, self.net.state_dict()"),
    ),
    "EVL004 shallow copy in a dict": (
        "EVL004",
        evaluated(after="best_state = {'epoch': epoch, 'model': {k: v for k, v in model.state_dict().items()}}"),
    ),
    "EVL004 loaded back": (
        "EVL004",
        evaluated(
            before="model.load_state_dict(best_state) if best_state is not None else None",
            after="best_state = model.state_dict()",
        ),
    ),
}
GAN = """
import torch
from torch import nn
torch.manual_seed(0)
netG = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
netD = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2), nn.Dropout(0.2), nn.Linear(8, 1))
criterion = nn.BCEWithLogitsLoss()
optimizerD = torch.optim.Adam(netD.parameters(), lr=1e-3)
optimizerG = torch.optim.Adam(netG.parameters(), lr=1e-3)
fixed_noise = torch.randn(6, 3)
for i in range(8):
    netD.zero_grad()
    criterion(netD(torch.randn(6, 4)), torch.ones(6, 1)).backward()
    fake = netG(torch.randn(6, 3))
    criterion(netD(fake.detach()), torch.zeros(6, 1)).backward()
    optimizerD.step()
    netG.zero_grad()
    criterion(netD(fake), torch.ones(6, 1)).backward()
    optimizerG.step()
    with torch.no_grad():
        sample = netG(fixed_noise)
"""
PSEUDO = (
    HEAD
    + "plain = DataLoader(TensorDataset(torch.randn(48, 4)), batch_size=24)\n"
    + """
for epoch in range(3):
    for (xb, yb), (ub,) in zip(loader, __import__("itertools").cycle(plain)):
        with torch.no_grad():
            guess = model(ub).argmax(1)
        loss = F.cross_entropy(model(torch.cat([xb, ub + 0.1 * torch.randn_like(ub)])), torch.cat([yb, guess]))
        opt.zero_grad()
        loss.backward()
        opt.step()
"""
)
EMA = (
    HEAD
    + """
import copy
ema = copy.deepcopy(model).eval()
for epoch in range(3):
    for xb, yb in loader:
        opt.zero_grad()
        F.cross_entropy(model(xb), yb).backward()
        opt.step()
        live = model.state_dict()
        for name, value in ema.state_dict().items():
            value.copy_(0.9 * value + 0.1 * live[name])
"""
)
SAVED = "import io; checkpoint = {'epoch': epoch, 'model': model.state_dict()}; torch.save(checkpoint, io.BytesIO())"
HEALTHY = {
    "evaluation": scripts.EVALUATION.replace("    best = model.state_dict()\n", ""),
    "plain": evaluated(),
    "class": trained(),
    "tensors": TENSORS.format(mode="net.train()", evaluation="net.eval()"),
    "batch norm": evaluated(head=NORMS + VAL),
    "monte carlo dropout on purpose": evaluated(mode="net.eval(); net[2].train()"),
    "monte carlo samples": evaluated(
        mode="pass", body="correct += (torch.stack([net(xb) for _ in range(5)]).mean(0).argmax(1) == yb).sum().item()"
    ),
    "gan samples in training mode": GAN,
    "pseudo-labels in training mode": PSEUDO,
    "metric on training data beside a validation": evaluated(before="evaluate(model, loader)"),
    "random split": evaluated(
        head=f"{HEAD}train, rest = torch.utils.data.random_split(loader.dataset, [32, 16])\n"
        "loader, val = DataLoader(train, batch_size=8, shuffle=True), DataLoader(rest, batch_size=8)\n"
    ),
    "subset samplers": evaluated(
        head=f"{HEAD}from torch.utils.data import SubsetRandomSampler\nwhole = loader.dataset\n"
        "loader = DataLoader(whole, batch_size=8, sampler=SubsetRandomSampler(range(32)))\n"
        "val = DataLoader(whole, batch_size=8, sampler=SubsetRandomSampler(range(32, 48)))\n"
    ),
    "few distinct samples": evaluated(
        head=HEAD.replace("torch.randn(48, 4)", "torch.randint(0, 2, (48, 4)).float()")
        + "val = DataLoader(TensorDataset(torch.randint(0, 2, (40, 4)).float(), torch.randint(0, 3, (40,))), batch_size=8)\n"
    ),
    "statistics estimated anew": evaluated(
        head=NORMS + VAL, before="model.train(); torch.optim.swa_utils.update_bn(loader, model)"
    ),
    "best copied": evaluated(after="import copy; best_state = copy.deepcopy(model.state_dict())"),
    "best cloned": evaluated(after="best_state = {k: v.clone() for k, v in model.state_dict().items()}"),
    "saved at once": evaluated(after=SAVED),
    "average by state dict": EMA,
    "loaded into a copy": evaluated(
        after="state = model.state_dict(); twin.load_state_dict(state)",
        head=f"{HEAD}{VAL}import copy\ntwin = copy.deepcopy(model)\n",
    ),
    "adversarial evaluation": evaluated(
        grad="if True:",
        body="xb.requires_grad_(); g, = torch.autograd.grad(F.cross_entropy(net(xb), yb), xb); "
        "correct += (net((xb + 0.1 * g.sign()).detach()).detach().argmax(1) == yb).sum().item()",
    ),
}


@pytest.mark.parametrize("name", FAULTY)
def test_fault_is_named(name: str) -> None:
    code, source = FAULTY[name]
    assert codes(source) == [code], findings(source)


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_evaluation_is_silent(name: str) -> None:
    assert [item for item in findings(HEALTHY[name]) if item.level.at_least(Level.WARNING)] == []


def test_statistics_of_the_evaluation_data_are_the_graver_case() -> None:
    assert [item.level.value for item in findings(FAULTY["EVL001 batch norm"][1])] == ["error"]
    assert [item.level.value for item in findings(FAULTY["EVL001 function"][1])] == ["warning"]


@pytest.mark.parametrize(
    "source",
    [
        evaluated(grad="if True:"),
        trained().replace("@torch.no_grad()", ""),
        TENSORS.format(mode="net.train()", evaluation="net.eval()").replace("torch.no_grad()", "torch.enable_grad()"),
    ],
    ids=["function", "class", "tensors"],
)
def test_graphs_of_the_evaluation_are_an_info(source: str) -> None:
    (found,) = findings(source)
    assert (found.code, found.level) == ("EVL002", Level.INFO)
    assert "bytes" in found.message


def test_training_data_alone_are_an_info() -> None:
    (found,) = findings(evaluated(data="loader", head=HEAD))
    assert (found.code, found.level) == ("EVL003", Level.INFO)


#: A loop without a loader: there is no pass that could be ended early, so it is watched on until it has evaluated twice.
SLICES = """
import torch
from torch import nn
import torch.nn.functional as F
torch.manual_seed(0)
x, y = torch.randn(160, 6), torch.randint(0, 3, (160,))
held, wanted = torch.randn(40, 6), torch.randint(0, 3, (40,))
net = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
opt = torch.optim.Adam(net.parameters(), lr=1e-3)

def evaluate():
    {mode}
    with torch.no_grad():
        return (net(held).argmax(1) == wanted).float().mean().item()

for epoch in range(40):
    {train}
    for i in range(0, 160, 16):
        opt.zero_grad()
        F.cross_entropy(net(x[i:i + 16]), y[i:i + 16]).backward()
        opt.step()
    evaluate()
"""


@pytest.mark.parametrize(
    ("mode", "train", "code"),
    [("net.eval()", "net.train()", []), ("pass", "net.train()", ["EVL001"]), ("net.eval()", "pass", ["STP007"])],
)
def test_a_loop_without_a_loader_is_watched_to_its_second_evaluation(mode: str, train: str, code: list[str]) -> None:
    source = SLICES.replace("{mode}", mode).replace("{train}", train)
    assert codes(source) == code
    assert len(observe_source(source).events.steps) < 30
    never = source.replace("    evaluate()\n", "    if epoch > 30: evaluate()\n")
    assert len(observe_source(never).events.steps) < 80
