"""STP013, STP018 to STP020, STP022 to STP024: state that a script keeps, loses or never moves, and its healthy look-alikes."""

from __future__ import annotations

import pytest

from nnlint import Level
from tests.loops import test_step_order
from tests.loops.running import codes, findings
from tests.loops.test_step_order import FORWARD, HEAD, loop, trainer
from tests.loops.test_step_settings import scheduled
from tests.observe import scripts

#: What the scripts themselves are warned of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

STEP = ("opt.zero_grad()", FORWARD, "loss.backward()", "opt.step()")
ADAM = "opt = torch.optim.Adam(model.parameters(), lr=1e-2)"
EPOCHS = """
def train_epoch():
    {start}
    for xb, yb in loader:
        opt.zero_grad()
        loss = F.cross_entropy(model(xb), yb)
        loss.backward()
        opt.step()

for epoch in range(4):
    {each}
    train_epoch()
"""


def epochs(start: str = "pass", each: str = "pass") -> str:
    return HEAD + EPOCHS.format(start=start, each=each)


RECURRENT = """
import torch
from torch import nn
torch.manual_seed(0)
cell, head = nn.GRUCell(3, 8), nn.Linear(8, 3)
opt = torch.optim.SGD([*cell.parameters(), *head.parameters()], lr=0.1)
h = torch.zeros(4, 8)
for chunk in range(8):
    {start}
    loss = 0
    for t in range(3):
        x = torch.randn(4, 3)
        h = cell(x, h)
        loss = loss + (head(h) - x).pow(2).mean()
    opt.zero_grad()
    loss.backward({arguments})
    opt.step()
"""
LAZY = """
import torch
from torch import nn
torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.last = {last}
    def forward(self, x):
        h = self.first(x).relu()
        if self.last is None:
            self.last = nn.Linear(8, 3)
        return self.last(h)
net = Net()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for i in range(8):
    loss = nn.functional.cross_entropy(net(torch.randn(6, 4)), torch.tensor([0, 1, 2, 0, 1, 2]))
    opt.zero_grad()
    loss.backward()
    opt.step()
"""
STATEFUL = """
import torch
from torch import nn
torch.manual_seed(0)
class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head, self.state = nn.LSTM(3, 8, batch_first=True), nn.Linear(8, 2), None
    def forward(self, x):
        h, self.state = self.rnn(x, self.state)
        return self.head(h)
class Trainer:
    def __init__(self):
        self.net = Tagger()
        self.optim = torch.optim.Adam(self.net.parameters())
    def run(self):
        step = 0
        while step < 8:
            loss = self.net(torch.randn(2, 5, 3)).pow(2).mean()
            self.optim.zero_grad()
            loss.backward()
            self.optim.step()
            step += 1
Trainer().run()
"""
DQN = """
import copy, torch
from torch import nn
torch.manual_seed(0)
def average(source, into, rate=0.01):
    with torch.no_grad():
        for a, b in zip(source.parameters(), into.parameters()):
            b.copy_((1 - rate) * b + rate * a)
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
target = {target}
opt = torch.optim.Adam(net.parameters(), lr=1e-2)
for step in range(10):
    s, a, r, n = torch.randn(6, 4), torch.randint(0, 2, (6, 1)), torch.randn(6), torch.randn(6, 4)
    with torch.no_grad():
        wanted = r + 0.9 * target(n).max(1).values
    loss = (net(s).gather(1, a).squeeze(1) - wanted).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    {sync}
"""
FAULTY = {
    "STP013 each epoch": ("STP013", epochs(each=f"global opt; {ADAM}".replace("global opt; ", ""))),
    "STP013 each epoch in a function": (
        "STP013",
        HEAD
        + "def fit(net, data):\n    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)\n    for xb, yb in data:\n"
        "        loss = F.cross_entropy(net(xb), yb)\n        opt.zero_grad()\n        loss.backward()\n        opt.step()\n"
        "for epoch in range(4): fit(model, loader)\n",
    ),
    "STP013 each batch": ("STP013", loop(ADAM, *STEP)),
    "STP013 each batch in a class": (
        "STP013",
        trainer(
            "self.optimizer = torch.optim.AdamW(self.net.parameters())",
            "F.cross_entropy(self.net(xb), yb).backward()",
            "self.optimizer.step()",
            "self.optimizer.zero_grad()",
        ),
    ),
    "STP018 summed": ("STP018", loop(*STEP, "total = total + loss", head=f"{HEAD}total = 0\n")),
    "STP018 appended": ("STP018", scripts.LOSSES_KEPT),
    "STP018 in a class": (
        "STP018",
        trainer(
            "self.log = getattr(self, 'log', [])",
            "loss = F.cross_entropy(self.net(xb), yb)",
            "self.optimizer.zero_grad()",
            "loss.backward()",
            "self.optimizer.step()",
            "self.log.append({'loss': loss})",
        ),
    ),
    "STP018 outputs": (
        "STP018",
        loop(
            "out = model(xb)",
            "outs.append(out)",
            "opt.zero_grad()",
            "F.cross_entropy(out, yb).backward()",
            "opt.step()",
            head=f"{HEAD}outs = []\n",
        ),
    ),
    "STP020 made in forward": ("STP020", LAZY.format(last="None")),
    "STP020 head exchanged after the optimizer": (
        "STP020",
        loop(*STEP, head=f"{HEAD}model[3] = nn.Linear(8, 3)\n"),
    ),
    "STP020 head exchanged in the loop": ("STP020", loop("if i == 2: model[3] = nn.Linear(8, 3)", *STEP)),
    "STP020 layer made in each forward": (
        "STP020",
        LAZY.format(last="None")
        .replace("return self.last(h)", "return nn.Linear(8, 3)(h)")
        .replace("self.last = nn.Linear(8, 3)", "pass"),
    ),
    "STP020 layer made in the loop": (
        "STP020",
        loop(
            "h = model(xb)",
            "loss = F.cross_entropy(nn.Linear(3, 3)(h), yb)",
            "opt.zero_grad()",
            "loss.backward()",
            "opt.step()",
        ),
    ),
    "STP019 hidden state raises": ("STP019", RECURRENT.format(start="pass", arguments="")),
    "STP019 hidden state retained": (
        "STP019",
        RECURRENT.format(start="pass", arguments="retain_graph=True").replace(
            "opt.step()", "opt.step()\n    for p in [*cell.parameters(), *head.parameters()]: p.data = p.data.clone()"
        ),
    ),
    "STP019 state in the module": ("STP019", STATEFUL),
    "STP019 sum of losses": (
        "STP019",
        loop(
            "opt.zero_grad()",
            "total = total + F.cross_entropy(model(xb), yb)",
            "total.backward()",
            "opt.step()",
            head=f"{HEAD}total = 0\n",
        ),
    ),
    "STP022 plain": ("STP022", loop(*STEP, "opt.step()")),
    "STP022 class": (
        "STP022",
        trainer(
            "self.optimizer.zero_grad()",
            "F.cross_entropy(self.net(xb), yb).backward()",
            "self.optimizer.step()",
            "(lambda optimizer: optimizer.step())(self.optimizer)",
        ),
    ),
    "STP022 scaler and optimizer": (
        "STP022",
        loop(
            "opt.zero_grad()",
            FORWARD,
            "scaler.scale(loss).backward()",
            "scaler.step(opt)",
            "scaler.update()",
            "opt.step()",
            head=f"{HEAD}scaler = torch.amp.GradScaler('cpu', init_scale=8.0)\n",
        ),
    ),
    "STP022 step in a helper of the accumulation": (
        "STP022",
        loop(
            f"({FORWARD[7:]} / 3).backward()",
            "if i % 3 == 2:",
            "    opt.step()",
            "    finish()",
            head=f"{HEAD}def finish():\n    opt.step()\n    opt.zero_grad()\n",
        ),
    ),
    "STP023 target loads its own state": (
        "STP023",
        DQN.format(target="copy.deepcopy(net)", sync="target.load_state_dict(target.state_dict())"),
    ),
    "STP023 target is the network": (
        "STP023",
        DQN.format(target="net", sync="target.load_state_dict(net.state_dict())"),
    ),
    "STP023 wrong direction": (
        "STP023",
        DQN.format(
            target="copy.deepcopy(net)",
            sync="[s.data.mul_(0.99).add_(t.data, alpha=0.01) for t, s in zip(target.parameters(), net.parameters())]",
        ),
    ),
    "STP023 wrong direction in a function": (
        "STP023",
        DQN.format(target="copy.deepcopy(net).eval()", sync="average(source=target, into=net)"),
    ),
    "STP024 exponential": ("STP024", scheduled("LambdaLR(opt, lambda e: 0.1 * 0.95**e)", epoch="schedule.step()")),
    "STP024 constant, then lower": (
        "STP024",
        scheduled("LambdaLR(opt, [lambda e: 0.1 if e < 30 else 0.01])", epoch="schedule.step()"),
    ),
    "STP024 cosine": (
        "STP024",
        scheduled("LambdaLR(opt, lambda e: 0.05 * (1 + __import__('math').cos(e / 40)))", each="schedule.step()"),
    ),
}
HEALTHY = {
    "two stages with two rates": epochs(
        each="opt = torch.optim.SGD(model.parameters(), lr=0.1 / (epoch + 1), momentum=0.9)"
    ),
    "without state": epochs(each="opt = torch.optim.SGD(model.parameters(), lr=0.1)"),
    "model reset for each fold": epochs(
        each=f"model.load_state_dict(start); {ADAM}",
    ).replace("def train_epoch", "start = {k: v.clone() for k, v in model.state_dict().items()}\ndef train_epoch"),
    "model and optimizer of each fold": epochs(
        each=f"model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)); {ADAM}"
    ),
    "head first, then all": HEAD
    + "for stage in range(2):\n    part = model[3] if stage == 0 else model\n    opt = torch.optim.Adam(part.parameters(), lr=1e-2)\n"
    "    for xb, yb in loader:\n        opt.zero_grad()\n        F.cross_entropy(model(xb), yb).backward()\n        opt.step()\n",
    "losses as numbers": loop(
        *STEP, "total += loss.item()", "log.append(loss.detach())", head=f"{HEAD}total, log = 0, []\n"
    ),
    "last loss kept": loop(*STEP, "last = loss", "out = model(xb)"),
    "cycles of Python": loop(*STEP, "holder = {'loss': loss}", "holder['self'] = holder"),
    "lazy module that the optimizer knows": LAZY.format(last="nn.LazyLinear(3)"),
    "group added later": loop(
        "if i == 2:",
        "    model[3] = nn.Linear(8, 3)",
        "    opt.add_param_group({'params': model[3].parameters()})",
        *STEP,
    ),
    "hidden state detached": RECURRENT.format(start="h = h.detach()", arguments=""),
    "hidden state new": RECURRENT.format(start="h = torch.zeros(4, 8)", arguments=""),
    "two backwards in one iteration": RECURRENT.format(start="h = h.detach()", arguments="retain_graph=True").replace(
        "    opt.step()", "    (h * 0.01).sum().backward()\n    opt.step()"
    ),
    "generator's graph outlives the other's step": scripts.GAN.replace(
        "netD(fake.detach()), label).backward()", "netD(fake), label).backward(retain_graph=True)"
    ).replace(
        "    optimizerD.step()\n    netG.zero_grad()",
        "    optimizerD.step()\n    fake = netG(torch.randn(6, 3))\n    netG.zero_grad()",
    ),
    "two optimizers step after one backward": test_step_order.JOINT,
    "target synchronized": DQN.format(target="copy.deepcopy(net)", sync="target.load_state_dict(net.state_dict())"),
    "target synchronized later": DQN.format(
        target="copy.deepcopy(net)", sync="if step % 1000 == 999: target.load_state_dict(net.state_dict())"
    ),
    "target averaged": DQN.format(target="copy.deepcopy(net)", sync="average(source=net, into=target)"),
    "frozen teacher beside clipped weights": DQN.format(
        target="nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)).requires_grad_(False)",
        sync="[p.data.clamp_(-0.1, 0.1) for p in net.parameters()]",
    ),
    "factors of a warm-up": scheduled("LambdaLR(opt, lambda e: min(1.0, (e + 1) / 10))", each="schedule.step()"),
    "factors": scheduled("LambdaLR(opt, lambda e: 0.95**e)", epoch="schedule.step()"),
    "factors for two groups": scheduled("MultiplicativeLR(opt, lambda e: 0.9)", epoch="schedule.step()"),
    "parameter that no optimizer holds": loop(
        "loss = F.cross_entropy(model(xb) * scale, yb)",
        "opt.zero_grad()",
        "loss.backward()",
        "opt.step()",
        head=f"{HEAD}scale = nn.Parameter(torch.ones(1))\n",
    ),
    "backbone without updates": loop(*STEP, head=f"{HEAD}opt = torch.optim.SGD(model[3].parameters(), lr=0.1)\n"),
    "perceptual loss without freezing": loop(
        "out = model(xb)",
        "loss = judge(out).pow(2).mean() + F.cross_entropy(out, yb)",
        "opt.zero_grad()",
        "loss.backward()",
        "opt.step()",
        head=f"{HEAD}judge = nn.Linear(3, 5)\n",
    ),
}


@pytest.mark.parametrize("name", FAULTY)
def test_fault_is_named(name: str) -> None:
    code, source = FAULTY[name]
    assert codes(source) == [code], findings(source)


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_loop_is_silent(name: str) -> None:
    assert [item for item in findings(HEALTHY[name]) if item.level.at_least(Level.WARNING)] == []
