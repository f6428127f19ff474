"""STP014 to STP017, STP021: the batches that updates come from, and the healthy loops that look like these faults."""

from __future__ import annotations

import pytest

from nnlint import Level
from tests.loops.running import codes, findings
from tests.loops.test_step_order import FORWARD, HEAD, loop, trainer
from tests.loops.test_step_state import epochs

#: What the scripts themselves are warned of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

STEP = ("opt.zero_grad()", FORWARD, "loss.backward()", "opt.step()")
ORDERED = HEAD.replace("shuffle=True", "shuffle=False")


def steps(*lines: str, head: str = HEAD) -> str:
    return head + "for i in range(12):\n" + "".join(f"    {line}\n" for line in lines)


SORTED = ORDERED.replace("y = torch.randint(0, 3, (48,))", "y = torch.randint(0, 3, (48,)).sort().values")
WIDE = HEAD.replace("batch_size=8", "batch_size=16")
PAIRED = (
    HEAD
    + """
images = DataLoader(TensorDataset(x), batch_size=8, shuffle=True)
labels = DataLoader(TensorDataset(y), batch_size=8, shuffle=True)
for epoch in range(3):
    for (xb,), (yb,) in zip({order}):
        opt.zero_grad()
        loss = F.cross_entropy(model(xb), yb)
        loss.backward()
        opt.step()
"""
)
WORKERS = """
import random, torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
torch.manual_seed(0)
class Noisy(Dataset):
    def __init__(self):
        self.rng = random.Random(0)
    def __len__(self):
        return 32
    def __getitem__(self, i):
        return torch.tensor([float(i), self.rng.random()]), torch.tensor([float(i % 3)])
def seed_worker(number):
    torch.utils.data.get_worker_info().dataset.rng.seed(torch.initial_seed())
net = nn.Linear(2, 1)
opt = torch.optim.SGD(net.parameters(), lr=1e-3)
for xb, yb in DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=2{arguments}):
    opt.zero_grad()
    (net(xb) - yb).pow(2).mean().backward()
    opt.step()
"""
FAULTY = {
    "STP014 new iterator each time": ("STP014", steps("xb, yb = next(iter(loader))", *STEP, head=ORDERED)),
    "STP014 in a function": (
        "STP014",
        steps("xb, yb = get_batch()", *STEP, head=f"{ORDERED}def get_batch():\n    return next(iter(loader))\n"),
    ),
    "STP014 break in a while loop": (
        "STP014",
        ORDERED
        + "i = 0\nwhile i < 10:\n    for xb, yb in loader:\n        break\n    i += 1\n"
        + "".join(f"    {s}\n" for s in STEP),
    ),
    "STP014 loop variable not used": (
        "STP014",
        loop(
            "opt.zero_grad()",
            "F.cross_entropy(model(x0), y0).backward()",
            "opt.step()",
            head=f"{HEAD}x0, y0 = next(iter(loader))\n",
        ),
    ),
    "STP014 class keeps its first batch": (
        "STP014",
        trainer(
            "self.batch = getattr(self, 'batch', (xb, yb))",
            "self.optimizer.zero_grad()",
            "F.cross_entropy(self.net(self.batch[0]), self.batch[1]).backward()",
            "self.optimizer.step()",
        ),
    ),
    "STP015 sorted": ("STP015", loop(*STEP, head=SORTED)),
    "STP015 a class after the other": (
        "STP015",
        loop(*STEP, head=SORTED.replace("(48,)", "(480,)").replace("randn(48", "randn(480")),
    ),
    "STP015 class trainer": (
        "STP015",
        trainer(
            "self.optimizer.zero_grad()",
            "F.cross_entropy(self.net(xb), yb).backward()",
            "self.optimizer.step()",
            head=SORTED,
        ),
    ),
    "STP015 blocks": (
        "STP015",
        loop(
            *STEP,
            head=ORDERED.replace("torch.randint(0, 3, (48,))", "torch.tensor([0, 2, 1, 0, 2, 1]).repeat_interleave(8)"),
        ),
    ),
    "STP016 zip": ("STP016", PAIRED.format(order="images, labels")),
    "STP016 zip the other way": (
        "STP016",
        PAIRED.format(order="labels, images").replace("(xb,), (yb,)", "(yb,), (xb,)"),
    ),
    "STP016 two iterators": (
        "STP016",
        PAIRED.partition("for epoch")[0]
        + "a, b = iter(images), iter(labels)\nfor i in range(6):\n    xb, yb = next(a)[0], next(b)[0]\n"
        + "".join(f"    {line}\n" for line in STEP),
    ),
    "STP017 in the loop": ("STP017", loop("torch.manual_seed(0)", *STEP)),
    "STP017 each epoch": ("STP017", epochs(start="torch.manual_seed(1)")),
    "STP017 in the evaluation": (
        "STP017",
        epochs(each="evaluate()").replace(
            "def train_epoch",
            "def evaluate():\n    torch.manual_seed(0)\n    model.eval()\n    with torch.no_grad():\n"
            "        model(torch.randn(4, 4))\n    model.train()\n\ndef train_epoch",
        ),
    ),
    "STP017 generator of the loader": (
        "STP017",
        epochs(
            each="loader = DataLoader(data, batch_size=8, shuffle=True, generator=torch.Generator().manual_seed(3))"
        ).replace("def train_epoch", "data = loader.dataset\ndef train_epoch"),
    ),
    "STP017 generator in the workers": ("STP017", WORKERS.format(arguments="")),
    "STP017 state put back": (
        "STP017",
        epochs(each="torch.set_rng_state(start)").replace(
            "def train_epoch", "start = torch.get_rng_state()\ndef train_epoch"
        ),
    ),
    "STP021 divided": (
        "STP021",
        loop("opt.zero_grad()", f"{FORWARD} / xb.size(0)", "loss.backward()", "opt.step()", head=WIDE),
    ),
    "STP021 multiplied": (
        "STP021",
        loop("opt.zero_grad()", f"{FORWARD} * len(xb)", "loss.backward()", "opt.step()", head=WIDE),
    ),
    "STP021 class": (
        "STP021",
        trainer(
            "self.optimizer.zero_grad()",
            "error = (self.net(xb) - F.one_hot(yb, 3)).pow(2).mean()",
            "error = error / xb.shape[0]",
            "error.backward()",
            "self.optimizer.step()",
            head=WIDE,
        ),
    ),
}
HEALTHY = {
    "one batch on purpose": steps(*STEP, head=f"{HEAD}xb, yb = next(iter(loader))\n"),
    "loader of one batch": loop(*STEP, head=HEAD.replace("batch_size=8", "batch_size=48")),
    "random batch each time": steps("xb, yb = next(iter(loader))", *STEP),
    "several updates on each batch": loop(f"for k in range(5):\n            {'; '.join(STEP)}"),
    "in order, mixed labels": loop(*STEP, head=ORDERED),
    "sorted and shuffled": loop(*STEP, head=SORTED.replace("shuffle=False", "shuffle=True")),
    "one class only": loop(*STEP, head=ORDERED.replace("torch.randint(0, 3, (48,))", "torch.zeros(48).long()")),
    "pairs that both go into the model": PAIRED.format(order="images, labels")
    .replace("TensorDataset(y)", "TensorDataset(x.flip(0))")
    .replace("loss = F.cross_entropy(model(xb), yb)", "loss = (model(xb) - model(yb)).pow(2).mean()"),
    "labelled beside unlabelled batches": HEAD
    + "more = DataLoader(TensorDataset(torch.randn(48, 4)), batch_size=8, shuffle=True)\n"
    "for (xb, yb), (ub,) in zip(loader, more):\n"
    "    noisy = model(ub + 0.1 * torch.randn_like(ub))\n"
    "    loss = F.cross_entropy(model(xb), yb) + (noisy.softmax(1) - 1 / 3).pow(2).mean()\n"
    "    opt.zero_grad(); loss.backward(); opt.step()\n",
    "two loaders in order": PAIRED.format(order="images, labels")
    .replace("shuffle=True)\nlabels", ")\nlabels")
    .replace("TensorDataset(y), batch_size=8, shuffle=True", "TensorDataset(y), batch_size=8")
    .replace("TensorDataset(x), batch_size=8, )", "TensorDataset(x), batch_size=8)"),
    "generator seeded in the workers": WORKERS.format(arguments=", worker_init_fn=seed_worker"),
    "seed once": epochs(),
    "seed of each epoch": epochs(start="torch.manual_seed(epoch + 10)"),
    "evaluation that restores the state": epochs(each="evaluate()").replace(
        "def train_epoch",
        "def evaluate():\n    with torch.random.fork_rng():\n        torch.manual_seed(0)\n        with torch.no_grad():\n"
        "            model(torch.randn(4, 4))\n\ndef train_epoch",
    ),
    "folds with the same seed": epochs(
        each="torch.manual_seed(0); model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(), nn.Linear(8, 3)); "
        "opt = torch.optim.SGD(model.parameters(), lr=0.1)"
    ),
    "mean": loop(*STEP, head=WIDE),
    "sum divided": loop(
        "opt.zero_grad()", f"{FORWARD[:-1]}, reduction='sum') / len(xb)", "loss.backward()", "opt.step()", head=WIDE
    ),
    "multiplied for the log": loop(*STEP, "total += loss.item() * len(xb)", head=f"{WIDE}total = 0\n"),
    "accumulation over as many as a batch has": loop(
        "if i % 3 == 0: opt.zero_grad()",
        f"{FORWARD} / 3",
        "loss.backward()",
        "if i % 3 == 2: opt.step()",
        head=HEAD.replace("batch_size=8", "batch_size=3"),
    ),
    "weight of a loss": loop("opt.zero_grad()", f"{FORWARD} * 0.125", "loss.backward()", "opt.step()"),
    "equal samples": loop(
        *STEP,
        head=ORDERED.replace("torch.randn(48, 4)", "torch.ones(48, 4)").replace(
            "torch.randint(0, 3, (48,))", "torch.ones(48).long()"
        ),
    ),
    "fixed input, targets from the loader": loop(
        "opt.zero_grad()",
        "F.cross_entropy(model(grid), yb).backward()",
        "opt.step()",
        head=f"{HEAD}grid = torch.randn(8, 4)\n",
    ),
}


@pytest.mark.parametrize("name", FAULTY)
def test_fault_is_named(name: str) -> None:
    code, source = FAULTY[name]
    assert codes(source) == [code], findings(source)


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_loop_is_silent(name: str) -> None:
    assert [item for item in findings(HEALTHY[name]) if item.level.at_least(Level.WARNING)] == []


def test_a_seed_is_named_where_the_loop_asks_for_it() -> None:
    helper = "import random\ndef set_seed(seed):\n    random.seed(seed)\n    torch.manual_seed(seed)\n\n"
    source = epochs(start="set_seed(1)").replace("def train_epoch", helper + "set_seed(0)\ndef train_epoch")
    (found,) = findings(source)
    assert (found.code, source.splitlines()[found.line - 1].strip()) == ("STP017", "set_seed(1)")
