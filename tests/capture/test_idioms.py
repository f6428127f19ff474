"""Whatever way a model is written, its graph connects every output with the input and with the parameters that made it."""

from __future__ import annotations

import dataclasses
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

from nnlint.testing import Net, recorded
from tests.capture.graphs import names, upstream


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2


#: As torch's documentation has it: bound before anything is recorded.
double = Double.apply


class Reversed(torch.autograd.Function):
    """Returns its input itself."""

    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


class Scripted(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, x):
        return torch.tanh(self.inner(x))


def twice(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x) * 2.0


@dataclasses.dataclass
class Output:
    first: torch.Tensor
    rest: object = None


class Holder:
    def __init__(self, value):
        self.value = value


def in_place(net, x):
    h = net.a(x)
    h += x
    h.mul_(2)
    F.relu(h, inplace=True)
    return h


def set_item(net, x):
    y = torch.zeros(4, 8)
    y[:, :4] = net.a(x)[:, :4]
    return y


def masked_set_item(net, x):
    y = net.a(x).clone()
    y[x < 0] = 0
    return y


def write_through_view(net, x):
    y = torch.zeros(4, 8)
    y[:, 2:6].copy_(net.a(x)[:, 2:6])
    return y * 1.0


def view_of_written(net, x):
    y = net.a(x).clone()
    view = y.view(2, 2, 8)
    y.mul_(net.b(x))
    return view


def index_put(net, x):
    y = torch.zeros(4, 8)
    y.index_put_((torch.tensor([0, 1, 2, 3]),), net.a(x))
    return y


def data_assigned(net, x):
    y = torch.zeros(4, 8)
    y.data = net.a(x).data
    return y


def no_grad(net, x):
    with torch.no_grad():
        h = net.a(x)
    return net.b(h)


def inference_mode(net, x):
    with torch.inference_mode():
        return net.a(x)


def kept_in_state(net, x):
    net.cache = net.a(x)
    return net.b(net.cache)


def iterated(net, x):
    first, second = net.a(x).chunk(2, -1)
    head, *tail = (first + second).unbind(0)
    return torch.stack([head, *tail])


def cells(net, x):
    h = c = torch.zeros(4, 8)
    for _ in range(3):
        h, c = net.r(x, (h, c))
    return h


def packed(net, x):
    packed_input = pack_padded_sequence(x.view(4, 4, 2), [4, 4, 3, 2], batch_first=True)
    return pad_packed_sequence(net.r(packed_input)[0], batch_first=True)[0]


def inner_gradient(net, x):
    with torch.enable_grad():
        x = x.clone().requires_grad_()
        return torch.autograd.grad(net.a(x).pow(2).sum(), x, create_graph=True)[0]


def autocast(net, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return net.a(x)


def compiled(net, x):
    return torch.compile(lambda value: net.a(value).relu(), backend="eager")(x)


def linear():
    return nn.Linear(8, 8)


A = {"a": linear}
AB = {"a": linear, "b": linear}

#: name: forward, the modules it uses, parameters that must be upstream of the outputs (all of the modules' by default)
IDIOMS = {
    "in-place": (in_place, A),
    "set item": (set_item, A),
    "masked set item": (masked_set_item, A),
    "write through a view": (write_through_view, A),
    "view of a written base": (view_of_written, AB),
    "index_put": (index_put, A),
    "scatter": (lambda net, x: torch.zeros(4, 8).scatter_(1, torch.zeros(4, 8, dtype=torch.long), net.a(x)), A),
    "assigned data": (data_assigned, A),
    "read data": (lambda net, x: net.b(net.a(x).data), AB),
    "detach": (lambda net, x: net.b(net.a(x).detach()), AB),
    "no_grad": (no_grad, AB),
    "inference_mode": (inference_mode, A),
    "tuple output": (lambda net, x: (net.a(x), [net.b(x)]), AB),
    "dict output": (lambda net, x: {"a": net.a(x), "rest": [net.b(x), None]}, AB),
    "dataclass output": (lambda net, x: Output(net.a(x), Output(net.b(x))), AB),
    "object output": (lambda net, x: Holder(Holder([net.a(x)])), A),
    "named tuple output": (lambda net, x: torch.max(net.a(x), dim=1), A),
    "module used twice": (lambda net, x: net.a(F.relu(net.a(x))), A),
    "functional": (lambda net, x: F.linear(x, net.a.weight, net.a.bias), A),
    "method": (lambda net, x: net.a(x).relu().add(1).view(-1), A),
    "operators": (lambda net, x: -(abs(1.0 + (2.0 - net.a(x)) * 3 / 2) ** 2), A),
    "matrix product": (lambda net, x: x @ net.a.weight.T + net.a.bias, A),
    "einsum": (lambda net, x: torch.einsum("ij,kj->ik", x, net.a.weight) + net.a.bias, A),
    "aten call": (lambda net, x: torch.ops.aten.add.Tensor(net.a(x), 1), A),
    "parameter": (lambda net, x: net.w * x, {"w": lambda: nn.Parameter(torch.ones(8))}),
    "parameter list": (lambda net, x: x @ net.w[0], {"w": lambda: nn.ParameterList([torch.ones(8, 8)])}),
    "state": (kept_in_state, AB),
    "iteration": (iterated, A),
    "where": (lambda net, x: torch.where(x > 0, net.a(x), net.b(x)), AB),
    "map": (lambda net, x: sum(map(net.a, [x, x])), A),
    "distribution": (lambda net, x: torch.distributions.Normal(net.a(x), 1.0).rsample(), A),
    "complex": (lambda net, x: torch.fft.fft(net.a(x)).real, A),
    "autocast": (autocast, A),
    "foreach": (lambda net, x: torch._foreach_mul([net.a(x), net.b(x)], 2.0), AB),
    "checkpoint": (lambda net, x: checkpoint(net.a, x, use_reentrant=False), A),
    "re-entrant checkpoint": (lambda net, x: checkpoint(lambda y: net.b(F.relu(net.a(y))), x, use_reentrant=True), AB),
    "scripted function": (lambda net, x: net.b(net.f(net.a(x))), AB | {"f": lambda: torch.jit.script(twice)}),
    "scripted module": (lambda net, x: net.m(net.a(x)), {"a": linear, "m": lambda: torch.jit.script(Scripted())}),
    "custom function": (lambda net, x: net.b(Double.apply(net.a(x))), AB),
    "custom function bound at module level": (lambda net, x: net.b(double(net.a(x))), AB),
    "custom function returning its input": (lambda net, x: net.b(Reversed.apply(net.a(x))), AB),
    "compiled function": (compiled, A),
    "compiled module": (
        lambda net, x: net.m(x),
        {"m": lambda: torch.compile(nn.Sequential(linear(), nn.ReLU()), backend="eager")},
    ),
    "vmap": (lambda net, x: torch.vmap(lambda row: net.a(row).relu())(x), A),
    "vmap over one argument": (
        lambda net, x: torch.vmap(lambda row, w, b: row @ w + b, (0, None, None))(x, net.a.weight, net.a.bias),
        A,
    ),
    "functional gradient": (lambda net, x: torch.func.grad(lambda y: net.a(y).pow(2).sum())(x), A),
    "functional call": (lambda net, x: torch.func.functional_call(net.a, dict(net.a.named_parameters()), (x,)), A),
    "inner gradient": (inner_gradient, A),
    "weight norm": (lambda net, x: net.a(x), {"a": lambda: parametrizations.weight_norm(linear())}),
    "spectral norm": (lambda net, x: net.a(x), {"a": lambda: parametrizations.spectral_norm(linear())}),
    "orthogonal": (lambda net, x: net.a(x), {"a": lambda: parametrizations.orthogonal(linear())}),
    "hook-based spectral norm": (lambda net, x: net.a(x), {"a": lambda: nn.utils.spectral_norm(linear())}),
    "lstm": (lambda net, x: net.r(x[None])[0], {"r": lambda: nn.LSTM(8, 8, 2, bidirectional=True)}),
    "lstm state": (lambda net, x: net.r(x[None])[1][0], {"r": lambda: nn.LSTM(8, 8)}),
    "gru": (lambda net, x: net.r(x[None])[1], {"r": lambda: nn.GRU(8, 8)}),
    "packed lstm": (packed, {"r": lambda: nn.LSTM(2, 8, batch_first=True)}),
    "lstm cell": (cells, {"r": lambda: nn.LSTMCell(8, 8)}),
    "multi-head attention": (
        lambda net, x: net.m(x[None], x[None], x[None])[0],
        {"m": lambda: nn.MultiheadAttention(8, 2)},
    ),
    "transformer layer": (
        lambda net, x: net.m(x[None]),
        {"m": lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)},
    ),
    "transformer": (
        lambda net, x: net.m(x[None], x[None]),
        {"m": lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True)},
    ),
    "scaled dot-product attention": (lambda net, x: F.scaled_dot_product_attention(net.a(x), net.b(x), x), AB),
    "lazy layer": (lambda net, x: net.a(x), {"a": lambda: nn.LazyLinear(8)}),
    "batch norm": (lambda net, x: net.a(x), {"a": lambda: nn.BatchNorm1d(8)}),
    "embedding": (lambda net, x: net.e(x.long().clamp(0, 9)).sum(1), {"e": lambda: nn.Embedding(10, 8)}),
}


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no grad"])
@pytest.mark.parametrize("idiom", IDIOMS)
def test_every_output_hangs_on_the_input_and_the_parameters(idiom, grad, train):
    function, modules = IDIOMS[idiom]
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of nested tensors and re-entrant checkpoints
        net = Net(function, **{name: build() for name, build in modules.items()}).train(train)
        with torch.set_grad_enabled(grad):
            graph = recorded(net, torch.randn(4, 8))
    graph.fx.lint()
    assert graph.outputs
    assert all(any(graph.reaches(given, output) for given in graph.inputs) for output in graph.outputs), names(graph)
    assert {name for name, _ in net.named_parameters()} <= {name for op in upstream(graph) for name in op.parameters}
    assert not graph.calls("unknown", "unregistered-parameter")


def test_a_branch_on_data_shows_as_a_question_and_the_branch_taken():
    graph = recorded(
        Net(lambda net, x: net.a(x) if x.mean() > 0 else net.b(x), a=nn.Linear(2, 2), b=nn.Linear(2, 2)),
        torch.ones(1, 2),
    )
    assert names(graph) == ["mean", "gt", "__bool__", "linear"]
    assert graph.parameters_read == {"a.weight", "a.bias"}


def test_a_number_taken_out_of_torch_ends_its_branch():
    graph = recorded(Net(lambda net, x: x * float(net.a(x).detach().mean()), a=nn.Linear(2, 2)), torch.ones(1, 2))
    assert [op.name for op in graph.calls("escape")] == ["__float__"]
    assert "a.weight" not in {name for op in upstream(graph) for name in op.parameters}


def test_a_tensor_that_shares_memory_is_linked_to_its_source():
    graph = recorded(Net(lambda net, x: torch.Tensor(net.a(x).detach()) + 1, a=nn.Linear(2, 2)), torch.ones(1, 2))
    (stranger,) = graph.calls("unknown")
    assert [op.name for op in stranger.inputs] == ["detach"]


def test_results_nobody_reads_are_told_from_those_stored_or_returned():
    def forward(net, x):
        net.a(x)
        net.stored = net.b(x)
        return net.c(x)

    graph = recorded(Net(forward, a=nn.Linear(2, 2), b=nn.Linear(2, 2), c=nn.Linear(2, 2)), torch.ones(1, 2))
    assert {op.module_path: op.is_kept for op in graph.calls("linear")} == {"a": False, "b": True, "c": True}


def test_further_outputs_of_a_module_are_marked():
    pair = Net(lambda net, x: (net.a(x), net.b(x)), a=nn.Linear(2, 2), b=nn.Linear(2, 2))
    graph = recorded(Net(lambda net, x: net.pair(x)[0], pair=pair), torch.ones(1, 2))
    assert {op.module_path: op.is_one_of_several for op in graph.calls("linear")} == {"pair.a": True, "pair.b": True}


def test_a_parameter_changed_in_place_is_still_that_parameter():
    def forward(net, x):
        with torch.no_grad():
            net.a.weight.clamp_(-1, 1)
        return net.a(x)

    graph = recorded(Net(forward, a=nn.Linear(2, 2)), torch.ones(1, 2))
    assert graph.calls("linear")[0].parameters == ("a.weight", "a.bias")
