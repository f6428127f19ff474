"""ARC001 warns of what training never uses, and says where a run proves little."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnlint
from nnlint.testing import Net, findings, levels


def test_a_layer_nobody_calls():
    (finding,) = findings("ARC001", Net(lambda net, x: net.a(x), a=nn.Linear(8, 8), b=nn.Linear(8, 8)))
    assert (finding.module, finding.level.value) == ("b", "warning")
    assert finding.evidence["parameters"] == 72


def test_a_whole_branch_is_one_finding():
    tower = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)))
    (finding,) = findings("ARC001", Net(lambda net, x: net.a(x), a=nn.Linear(8, 8), tower=tower))
    assert finding.module == "tower"
    assert finding.evidence["parameters"] == 3 * 72


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: F.linear(net.a(x), net.b.weight, net.b.bias),
        lambda net, x: net.a(x) @ net.b.weight,
        lambda net, x: net.b.forward(net.a(x)),
        lambda net, x: torch.vmap(lambda row: F.linear(row, net.b.weight))(net.a(x)),
    ],
)
def test_weights_read_without_a_call_are_used(forward):
    assert not findings("ARC001", Net(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 8)))


def test_a_tied_head_is_used_through_the_other_name():
    net = Net(
        lambda net, ids: net.embed(ids) @ net.embed.weight.T,
        embed=nn.Embedding(10, 8),
        head=nn.Linear(8, 10, bias=False),
    )
    net.head.weight = net.embed.weight
    assert not findings("ARC001", net, torch.randint(0, 10, (4, 6)))


def test_attention_reads_its_projection_without_a_call():
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    assert not findings("ARC001", Net(lambda net, x: net.a(x, x, x)[0], a=attention), torch.randn(4, 5, 8))


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net.a(x) if net.training else net.b(x),
        lambda net, x: net.a(x) if x.mean() > -10 else net.b(x),
        lambda net, x, y=None: net.a(x) if y is None else net.b(y),
    ],
    ids=["evaluation only", "branch on data", "optional input"],
)
def test_a_branch_that_another_run_takes_is_an_info(forward):
    if "y" in forward.__code__.co_varnames:

        class Two(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

            def forward(self, x, y=None):
                return forward(self, x, y)

        assert levels("ARC001", Two()) == {"b": "info"}
    else:
        assert levels("ARC001", Net(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 8))) == {"b": "info"}


def test_experts_that_were_not_chosen_are_an_info():
    def forward(net, x):
        chosen = int(net.gate(x).detach().sum(0)[:1].argmax())
        return net.experts[chosen](x)

    net = Net(forward, gate=nn.Linear(8, 8), experts=nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)]))
    (finding,) = findings("ARC001", net)
    assert finding.level.value == "info"
    assert (finding.module, finding.modules) == ("experts.1", ["experts.2"])


def test_inputs_made_up_by_nnlint_prove_little():
    (result,) = nnlint.check(
        nn.Sequential(nn.Linear(8, 8), Net(lambda net, x: x, b=nn.Linear(8, 8))), select=("ARC001",), input=("8",)
    ).results
    assert [item.level.value for item in result.findings] == ["info"]


def test_heads_declared_unused():
    net = Net(lambda net, x: net.a(x), a=nn.Linear(8, 8), b=nn.Linear(8, 8))
    assert not findings("ARC001", net, declared={"unused-heads"})


def test_a_dropout_that_is_declared_and_never_called_is_an_info():
    net = Net(lambda net, x: net.a(x), a=nn.Linear(8, 8), drop=nn.Dropout(0.7), act=nn.ReLU())
    assert levels("ARC001", net) == {"drop": "info"}


@pytest.mark.parametrize(
    ("given", "quiet"),
    [
        (lambda net: {"dropout_p": net.drop.p if net.training else 0.0}, True),
        (lambda net: {"dropout_p": 0.2}, True),
        (lambda net: {}, False),
        (lambda net: {"dropout_p": 0.1}, False),
    ],
)
def test_a_dropout_whose_p_goes_to_attention_is_used(given, quiet):
    def forward(net, x):
        h = net.a(x)[:, None]
        return F.scaled_dot_product_attention(h, h, h, **given(net)).flatten(1)

    found = findings("ARC001", Net(forward, a=nn.Linear(8, 8), drop=nn.Dropout(0.2)))
    assert (not found) == quiet


def test_a_dropout_whose_p_goes_to_the_function_is_used():
    net = Net(lambda net, x: F.dropout(net.a(x), net.drop.p, net.training), a=nn.Linear(8, 8), drop=nn.Dropout(0.2))
    assert not findings("ARC001", net)


def test_the_switch_of_the_class_is_the_fix_of_an_unused_pooler():
    class Encoder(nn.Module):
        def __init__(self, add_pooling_layer=True):
            super().__init__()
            self.layer = nn.Linear(8, 8)
            self.pooler = nn.Linear(8, 8) if add_pooling_layer else None

        def forward(self, x):
            return self.layer(x)

    (finding,) = findings("ARC001", Net(lambda net, x: net.encoder(x), encoder=Encoder()))
    assert "add_pooling_layer=False" in finding.fix
    (finding,) = findings("ARC001", Net(lambda net, x: net.a(x), a=nn.Linear(8, 8), pooler=nn.Linear(8, 8)))
    assert "call `self.pooler`" in finding.fix


def _build(forward, **settings):
    """A build function, so that the line of each layer is known; `extra` is what no run calls."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.extra, self.layer0 = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

        def help(self, x):
            return self.extra(x)

    Model.forward = forward
    return lambda: {"model": Model(), "inputs": torch.randn(4, 8), **settings}


def _outside(model, x):
    return model.extra(x)


@pytest.mark.parametrize(
    ("forward", "level"),
    [
        (lambda self, x, mask=None: self.layer0(self.first(x)), "warning"),
        (lambda self, x: self.layer0(self.first(x)) if x.sum() > -1e9 else self.first(x), "warning"),
        (lambda self, x, mask=None: self.layer0(self.first(x if mask is None else self.extra(x))), "info"),
        (lambda self, x, mask=None: self.layer0(self.first(x if mask is None else self.help(x))), "info"),
        (lambda self, x, mask=None: self.layer0(self.first(x if mask is None else _outside(self, x))), "info"),
        (lambda self, x, mask=None: self.layer0(self.first(x if mask is None else getattr(self, mask)(x))), "info"),
        (lambda self, x, mask=None: self.layer0(self.first(x if mask is None else getattr(self, "extra")(x))), "info"),  # noqa: B009
        (lambda self, x, mask=None: self.layer0(self.first(x if mask is None else list(self.children())[1](x))), "info"),
    ],
    ids=["another input", "a branch", "named", "by a method", "by a function", "by a computed name", "by a string", "in a walk"],
)
def test_no_input_leads_to_a_layer_that_no_code_names(forward, level):
    (found,) = [item for item in nnlint.check(_build(forward), select=["ARC001"]).findings if item.module == "extra"]
    assert found.level.value == level


def test_a_layer_attached_to_a_model_of_a_library_is_the_users(tmp_path, monkeypatch):
    (tmp_path / "pretend_zoo.py").write_text(
        "from torch import nn\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.body, self.fc, self.spare = nn.Linear(8, 8), nn.Linear(8, 4), nn.Linear(8, 8)\n\n"
        "    def forward(self, x):\n"
        "        return self.fc(self.body(x).relu())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def build():
        import pretend_zoo

        model = pretend_zoo.Net()
        model.classifier = nn.Linear(8, 10)  # the class calls it fc
        return {"model": model, "inputs": torch.randn(4, 8)}

    found = nnlint.check(build, select=["ARC001"], libraries=["pretend_zoo"]).findings
    del sys.modules["pretend_zoo"]
    assert {item.module: item.level.value for item in found} == {"classifier": "warning", "spare": "info"}
