"""STP001 to STP006: faults of the order in a training step, in several styles, and the healthy loops that look like them."""

from __future__ import annotations

import pytest

from nnlint.observation.torch_private import function_modes
from tests.loops.running import codes, findings
from tests.observe import scripts

#: What the scripts themselves are warned of (a scheduler before the optimizer) is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

HEAD = scripts.HEAD

CLASS_TRAINER = """
class Trainer:
    def __init__(self, net, optimizer):
        self.net, self.optimizer = net, optimizer

    def step(self, xb, yb):
        {step}

    def fit(self, loader):
        for epoch in range(3):
            for xb, yb in loader:
                self.step(xb, yb)

Trainer(model, opt).fit(loader)
"""


def trainer(*lines: str, head: str = HEAD) -> str:
    return head + CLASS_TRAINER.replace("{step}", "\n        ".join(lines))


def loop(*lines: str, head: str = HEAD) -> str:
    return (
        head
        + "for epoch in range(3):\n    for i, (xb, yb) in enumerate(loader):\n"
        + "".join(f"        {line}\n" for line in lines)
    )


FORWARD = "loss = F.cross_entropy(model(xb), yb)"
COPY = HEAD + "import copy\nopt = torch.optim.SGD(copy.deepcopy(model).parameters(), lr=0.1)\n"

#: An encoder and a head in one optimizer.
PARTS = f"""{HEAD}
encoder, head = nn.Sequential(nn.Linear(4, 6), nn.Tanh()), nn.Linear(6, 3)
opt = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=1e-2)
for epoch in range(2):
    for xb, yb in loader:
        code = {{code}}
        loss = F.cross_entropy(head(code), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
"""
WGAN = """
import torch
from torch import nn
torch.manual_seed(0)
G = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))
D = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
opt_g = torch.optim.RMSprop(G.parameters(), lr=1e-4)
opt_d = torch.optim.RMSprop(D.parameters(), lr=1e-4)
for i in range(12):
    opt_d.zero_grad()
    real, fake = torch.randn(6, 4), G(torch.randn(6, 3))
    mix = (0.5 * real + 0.5 * fake.detach()).requires_grad_()
    slope = torch.autograd.grad(D(mix).sum(), mix, create_graph=True)[0].norm(dim=1)
    (D(fake).mean() - D(real).mean() + 10 * (slope - 1).pow(2).mean()).backward()
    opt_d.step()
    if i % 3 == 2:
        opt_g.zero_grad()
        (-D(G(torch.randn(6, 3))).mean()).backward()
        opt_g.step()
"""
TEMPERATURE = """
import torch
from torch import nn
torch.manual_seed(0)
actor, critic, log_alpha = nn.Linear(3, 2), nn.Linear(5, 1), torch.zeros(1, requires_grad=True)
actor_opt, critic_opt, alpha_opt = (
    torch.optim.Adam(ps, lr=1e-3) for ps in (actor.parameters(), critic.parameters(), [log_alpha])
)
for i in range(40):
    s, a, r = torch.randn(8, 3), torch.randn(8, 2), torch.randn(8, 1)
    critic_opt.zero_grad()
    (critic(torch.cat([s, a], 1)) - r).pow(2).mean().backward()
    critic_opt.step()
    actor_opt.zero_grad()
    act = actor(s)
    (log_alpha.exp().detach() * act.pow(2).mean() - critic(torch.cat([s, act], 1)).mean()).backward()
    actor_opt.step()
    alpha_opt.zero_grad()
    (log_alpha * (act.detach().std() - 1)).mean().backward()
"""
#: An actor with a value head.
VALUE_HEAD = """
import torch, numpy as np
from torch import nn
import torch.nn.functional as F
torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 16)
        self.pi, self.v = nn.Linear(16, 3), nn.Linear(16, 1)
    def forward(self, x):
        h = torch.tanh(self.body(x))
        return self.pi(h).log_softmax(-1), self.v(h).squeeze(-1)
net = Net()
opt = torch.optim.Adam(net.parameters(), lr=1e-2)
for it in range(6):
    x = torch.randn(12, 4)
    ret = torch.randn(12) + x[:, 0]
    logp, v = net(x)
    lp = logp.gather(1, torch.randint(0, 3, (12, 1))).squeeze(1)
    {body}
    opt.zero_grad()
    loss.backward()
    opt.step()
"""


def valued(*lines: str) -> str:
    return VALUE_HEAD.replace("{body}", "\n    ".join(lines))


POLICY = "policy = -(lp * (ret - v.detach())).mean()"
#: The line that rebuilds the term, and the programs around it.
REBUILT = {
    "advantage squared": (
        "critic = adv",
        "adv = ret - v.detach()",
        POLICY,
        "critic = adv.pow(2).mean()",
        "loss = policy + critic / 2",
    ),
    "stored value": (
        "kept = F",
        "with torch.no_grad(): old = net(x)[1]",
        POLICY,
        "kept = F.mse_loss(old, ret)",
        "loss = policy + 0.5 * kept",
    ),
    "list of numbers": (
        "parts.append(F",
        "parts = [-(lp * ret).mean()]",
        "parts.append(F.smooth_l1_loss(torch.tensor(v.tolist()), ret))",
        "loss = sum(parts)",
    ),
    "NumPy": (
        "term = torch",
        POLICY,
        "term = torch.as_tensor(((v.detach().numpy() - ret.numpy()) ** 2).mean())",
        "loss = policy",
        "loss += term",
    ),
    "stacked": (
        "terms.append(F",
        "loss, terms = 0.0, []",
        "for i in range(12):",
        "    terms.append(F.mse_loss(torch.tensor(v[i].item()), ret[i]))",
        "loss = -(lp * ret).sum() + torch.stack(terms).sum()",
    ),
}
FAULTY = {
    "STP004 a temperature beside an actor and a critic": ("STP004", TEMPERATURE),
    "STP005 the other network's parameters": (
        "STP005",
        WGAN.replace("RMSprop(G.parameters()", "RMSprop(D.parameters()").replace("if i % 3 == 2:", "if True:"),
    ),
    **{f"STP006 {name}": ("STP006", valued(*lines)) for name, (_, *lines) in REBUILT.items()},
    "STP001 plain": ("STP001", loop(FORWARD, "loss.backward()", "opt.step()")),
    "STP001 class": ("STP001", trainer("F.cross_entropy(self.net(xb), yb).backward()", "self.optimizer.step()")),
    "STP001 zeroed once before the loop": (
        "STP001",
        loop(FORWARD, "loss.backward()", "opt.step()", head=f"{HEAD}opt.zero_grad()\n"),
    ),
    "STP001 other module zeroed": (
        "STP001",
        loop("other.zero_grad()", FORWARD, "loss.backward()", "opt.step()", head=f"{HEAD}other = nn.Linear(4, 3)\n"),
    ),
    "STP002 zero after backward": ("STP002", loop(FORWARD, "loss.backward()", "opt.zero_grad()", "opt.step()")),
    "STP002 grad set to None": (
        "STP002",
        loop(FORWARD, "loss.backward()", "for p in model.parameters(): p.grad = None", "opt.step()"),
    ),
    "STP002 model.zero_grad in a class": (
        "STP002",
        trainer("F.cross_entropy(self.net(xb), yb).backward()", "self.net.zero_grad()", "self.optimizer.step()"),
    ),
    "STP002 inside the accumulation window": (
        "STP002",
        loop("opt.zero_grad()", f"{FORWARD} / 3", "loss.backward()", "if i % 3 == 2: opt.step()"),
    ),
    "STP003 step before backward": ("STP003", loop("opt.zero_grad()", FORWARD, "opt.step()", "loss.backward()")),
    "STP003 last batch's gradient": (
        "STP003",
        trainer(
            "loss = F.cross_entropy(self.net(xb), yb)",
            "self.optimizer.step()",
            "self.optimizer.zero_grad()",
            "loss.backward()",
        ),
    ),
    "STP004 no step": ("STP004", loop("opt.zero_grad()", FORWARD, "loss.backward()")),
    "STP004 only the scheduler": (
        "STP004",
        loop(
            "opt.zero_grad()",
            FORWARD,
            "loss.backward()",
            "schedule.step()",
            head=f"{HEAD}schedule = torch.optim.lr_scheduler.StepLR(opt, 10)\n",
        ),
    ),
    "STP004 one player": (
        "STP004",
        scripts.GAN.replace("    optimizerD.step()\n", ""),
    ),
    "STP005 copy": ("STP005", loop("opt.zero_grad()", FORWARD, "loss.backward()", "opt.step()", head=COPY)),
    "STP005 rate 0": (
        "STP005",
        loop("opt.zero_grad()", FORWARD, "loss.backward()", "opt.step()").replace("lr=0.1", "lr=0.0"),
    ),
    "STP005 model rebuilt": (
        "STP005",
        loop(
            "opt.zero_grad()",
            FORWARD,
            "loss.backward()",
            "opt.step()",
            head=f"{HEAD}model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))\n",
        ),
    ),
    "STP006 item": (
        "STP006",
        loop("opt.zero_grad()", FORWARD, "torch.tensor(loss.item(), requires_grad=True).backward()", "opt.step()"),
    ),
    "STP006 numpy": (
        "STP006",
        loop(
            "opt.zero_grad()",
            "out = model(xb).detach().numpy()",
            "loss = F.cross_entropy(torch.from_numpy(out).requires_grad_(), yb)",
            "loss.backward()",
            "opt.step()",
        ),
    ),
    "STP006 encoder cut off by a list": ("STP006", PARTS.format(code="torch.tensor(encoder(xb).tolist())")),
    "STP006 encoder cut off by NumPy": ("STP006", PARTS.format(code="torch.from_numpy(encoder(xb).detach().numpy())")),
    "STP006 encoder cut off by detach": ("STP006", PARTS.format(code="encoder(xb).detach()")),
    "STP006 detached adversarial term": (
        "STP006",
        scripts.GAN.replace(
            "criterion(netD(fake), label).backward()\n    optimizerG.step()",
            "(criterion(netD(fake.detach()), label) + fake.pow(2).mean()).backward()\n    optimizerG.step()",
        ),
    ),
}

SAM = loop(
    FORWARD,
    "loss.backward()",
    "with torch.no_grad():",
    "    norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()",
    "    moves = [p.grad * 0.05 / norm for p in model.parameters()]",
    "    for p, e in zip(model.parameters(), moves): p.add_(e)",
    "opt.zero_grad()",
    "F.cross_entropy(model(xb), yb).backward()",
    "with torch.no_grad():",
    "    for p, e in zip(model.parameters(), moves): p.sub_(e)",
    "opt.step()",
    "opt.zero_grad()",
)
ADVERSARIAL = loop(
    "xb.requires_grad_()",
    FORWARD,
    "loss.backward()",
    "attacked = (xb + 0.1 * xb.grad.sign()).detach()",
    "opt.zero_grad()",
    "F.cross_entropy(model(attacked), yb).backward()",
    "opt.step()",
)
ACTOR_CRITIC = """
import torch
from torch import nn
torch.manual_seed(0)
actor = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
critic = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))
actor_opt = torch.optim.Adam(actor.parameters(), lr=1e-3)
critic_opt = torch.optim.Adam(critic.parameters(), lr=1e-3)
for i in range(8):
    s, a, r = torch.randn(6, 3), torch.randn(6, 2), torch.randn(6, 1)
    q = critic(torch.cat([s, a], 1))
    actor_loss = -critic(torch.cat([s, actor(s)], 1)).mean()
    critic_loss = (q - r).pow(2).mean()
    actor_opt.zero_grad()
    actor_loss.backward()
    critic_opt.zero_grad()
    critic_loss.backward()
    actor_opt.step()
    critic_opt.step()
"""
MAML = """
import torch
from torch import nn
from torch.func import functional_call
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 1))
meta = torch.optim.Adam(net.parameters(), lr=1e-2)
for i in range(6):
    meta.zero_grad()
    total = 0.0
    for task in range(2):
        x = torch.randn(5, 1)
        fast = dict(net.named_parameters())
        inner = (functional_call(net, fast, (x,)) - x * (task + 1)).pow(2).mean()
        grads = torch.autograd.grad(inner, list(fast.values()), create_graph=True)
        fast = {name: p - 0.1 * g for (name, p), g in zip(fast.items(), grads)}
        total = total + (functional_call(net, fast, (x,)) - x * (task + 1)).pow(2).mean()
    total.backward()
    meta.step()
"""
PINN = """
import torch
from torch import nn
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
opt = torch.optim.Adam(net.parameters(), lr=1e-2)
for i in range(8):
    t = torch.rand(10, 1, requires_grad=True)
    u = net(t)
    slope = torch.autograd.grad(u.sum(), t, create_graph=True)[0]
    loss = (slope + u).pow(2).mean() + (net(torch.zeros(1, 1)) - 1).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
"""
FORWARD_FORWARD = """
import torch
from torch import nn
torch.manual_seed(0)
layers = [nn.Linear(4, 8), nn.Linear(8, 8)]
opts = [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in layers]
for i in range(8):
    good, bad = torch.randn(6, 4), torch.randn(6, 4) + 3
    for layer, opt in zip(layers, opts):
        g, b = layer(good).relu(), layer(bad).relu()
        loss = torch.log1p(torch.exp(torch.cat([2 - g.pow(2).mean(1), b.pow(2).mean(1) - 2]))).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        good, bad = g.detach(), b.detach()
"""
BPTT = """
import torch
from torch import nn
torch.manual_seed(0)
cell, head = nn.GRUCell(3, 8), nn.Linear(8, 3)
opt = torch.optim.SGD([*cell.parameters(), *head.parameters()], lr=0.1)
h = torch.zeros(4, 8)
for chunk in range(8):
    h = h.detach()
    loss = 0
    for t in range(3):
        x = torch.randn(4, 3)
        h = cell(x, h)
        loss = loss + (head(h) - x).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
"""
MEAN_TEACHER = """
import copy, torch
from torch import nn
torch.manual_seed(0)
student = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
teacher = copy.deepcopy(student).requires_grad_(False)
opt = torch.optim.AdamW(student.parameters(), lr=1e-2)
for i in range(8):
    x = torch.randn(6, 4)
    with torch.no_grad():
        wanted = teacher(x + 0.1 * torch.randn_like(x)).softmax(1)
    loss = -(wanted * student(x).log_softmax(1)).sum(1).mean()
    opt.zero_grad(set_to_none=False)
    loss.backward()
    opt.step()
    with torch.no_grad():
        for t, s in zip(teacher.parameters(), student.parameters()):
            t.mul_(0.99).add_(s, alpha=0.01)
"""
JOINT = """
import torch
from torch import nn
torch.manual_seed(0)
encoder, decoder = nn.Linear(6, 3), nn.Linear(3, 6)
e_opt, d_opt = torch.optim.Adam(encoder.parameters()), torch.optim.Adam(decoder.parameters())
for i in range(8):
    x = torch.randn(5, 6)
    e_opt.zero_grad(); d_opt.zero_grad()
    z = encoder(x)
    loss = (decoder(z) - x).pow(2).mean() + 1e-3 * decoder.weight.pow(2).sum()
    loss.backward()
    e_opt.step(); d_opt.step()
"""
WARM_UP = loop(
    "opt.zero_grad()",
    FORWARD,
    "loss.backward()",
    "opt.step()",
    "schedule.step()",
    head=f"{HEAD}schedule = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: min(step / 10, 1.0))\n",
)
HEALTHY = {
    "encoder and head": PARTS.format(code="encoder(xb)"),
    "encoder that is frozen": PARTS.format(code="encoder.requires_grad_(False)(xb)"),
    "encoder in evaluation mode": PARTS.format(code="encoder.eval()(xb).detach()"),
    "encoder without a graph": PARTS.format(code="torch.no_grad()(encoder)(xb)"),
    "encoder that is trained now and then": PARTS.format(
        code="encoder(xb) if epoch or len(xb) % 2 else encoder(xb).detach()"
    )
    .replace("for xb, yb in loader:", "for i, (xb, yb) in enumerate(loader):")
    .replace("epoch or len(xb) % 2", "i % 3 == 2"),
    "encoder that is measured beside": PARTS.format(code="encoder(xb)").replace(
        "loss = F", "size = encoder(xb).detach().norm(); loss = F"
    ),
    "temperature": TEMPERATURE.replace("- 1)).mean().backward()", "- 1)).mean().backward()\n    alpha_opt.step()"),
    "value head": valued(POLICY, "loss = policy + 0.5 * F.mse_loss(v, ret)"),
    "value head that no loss uses": valued("loss = -(lp * ret).mean() + torch.zeros(())"),
    "value head and a constant": valued(POLICY, "base = ret.mean()", "loss = policy + (v - ret).pow(2).mean() + base"),
    "value head from a tensor of zero": valued(POLICY, "loss = torch.tensor(0.0)", "loss = loss + policy", "loss += F.mse_loss(v, ret)"),
    "plain": scripts.PLAIN,
    "accumulation": scripts.ACCUMULATION,
    "by hand": scripts.BY_HAND,
    "gan": scripts.GAN,
    "lbfgs": scripts.LBFGS,
    "step in hook": scripts.STEP_IN_HOOK,
    "gradient list": scripts.GRADIENT_LIST,
    "set to None": scripts.SET_TO_NONE_BY_HAND,
    "scaler": scripts.SCALER,
    "sam": SAM,
    "adversarial training": ADVERSARIAL,
    "actor critic": ACTOR_CRITIC,
    "wgan with penalty": WGAN,
    "maml": MAML,
    "pinn": PINN,
    "forward-forward": FORWARD_FORWARD,
    "truncated bptt": BPTT,
    "mean teacher": MEAN_TEACHER,
    "joint backward of two optimizers": JOINT,
    "warm-up from 0": WARM_UP,
    "fused": scripts.PLAIN.replace(
        "SGD(model.parameters(), lr=0.1, momentum=0.9)", "AdamW(model.parameters(), lr=1e-3, fused=True)"
    ),
    "foreach": scripts.PLAIN.replace("momentum=0.9", "foreach=True"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_fault_is_named(name: str) -> None:
    code, source = FAULTY[name]
    assert codes(source)[:1] == [code], findings(source)


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_loop_is_silent(name: str) -> None:
    assert [item for item in findings(HEALTHY[name]) if item.level.value != "info"] == []
    assert function_modes() == [], "the observation may end inside a call of torch, which puts its mode back"


@pytest.mark.parametrize("name", REBUILT)
def test_the_line_that_rebuilds_a_term_is_named(name: str) -> None:
    start, *lines = REBUILT[name]
    source = valued(*lines)
    (found,) = [item for item in findings(source) if item.code == "STP006"]
    assert found.line is not None
    assert source.splitlines()[found.line - 1].strip().startswith(start)
    assert "net.v.weight" in found.message


def test_the_observed_order_is_told() -> None:
    found = findings(FAULTY["STP001 plain"][1])[0]
    assert "backward:16 -> step:17 -> zero_grad missing" in found.message
    assert found.line == 17


def test_the_rest_of_a_window_is_an_info() -> None:
    source = loop(
        "if i == 0: opt.zero_grad()",
        FORWARD,
        "loss.backward()",
        "if i % 4 == 3:",
        "    opt.step()",
        "    opt.zero_grad()",
    )
    found = findings(source, iterations=3, fold=False)
    assert [(item.code, item.level.value) for item in found] == [("STP002", "info"), ("STP010", "info")]
