"""What a recording says of modules, and that it leaves torch as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnlint.capture.modules import ModuleTracker
from nnlint.capture.recorder import Recorder
from nnlint.testing import Net, recorded
from tests.capture.graphs import names


def patched():
    return (
        nn.Module.__call__,
        nn.Parameter.__dict__["__new__"],
        torch.autograd.function._SingleLevelFunction.__dict__.get("apply"),
        torch._C.ScriptFunction.__dict__["__call__"],
        torch._functorch.apis.vmap_impl,
        torch._functorch.eager_transforms.grad_impl,
    )


def run(model, x):
    recorder = Recorder(model, stop=run.__code__)
    with recorder.recording():
        model(x)
    return recorder.tracker


def test_torch_is_as_before_after_a_run():
    before = patched()
    recorded(nn.Linear(2, 2), torch.ones(1, 2))
    assert all(now is then for now, then in zip(patched(), before, strict=True))


def test_torch_is_as_before_after_a_failed_run():
    before = patched()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        recorded(nn.Linear(2, 2), torch.ones(1, 3))
    assert all(now is then for now, then in zip(patched(), before, strict=True))


def test_unregistered_modules_are_named_by_the_container_that_holds_them():
    net = Net(lambda net, x: net.blocks["a"](net.layers[1](x)), layers=[None, nn.Linear(2, 2)], blocks={"a": nn.ReLU()})
    (layer, block) = run(net, torch.ones(1, 2)).unregistered_modules(net)
    assert (layer.module_path, layer.type_name, layer.trainable, layer.created) == ("layers[1]", "Linear", 6, False)
    assert (block.module_path, block.trainable) == ("blocks['a']", 0)


def test_a_module_made_in_the_forward_is_known_as_such():
    net = Net(lambda net, x: nn.Linear(2, 2)(x))
    (made,) = run(net, torch.ones(1, 2)).unregistered_modules(net)
    assert made.created
    assert not made.registered


def test_a_module_made_in_the_forward_and_registered_then():
    def forward(net, x):
        net.late = nn.Linear(2, 2)
        return net.late(x)

    net = Net(forward)
    (made,) = run(net, torch.ones(1, 2)).unregistered_modules(net)
    assert made.created
    assert made.registered


def test_parts_of_an_unregistered_module_have_paths_below_it():
    net = Net(lambda net, x: net.layers[0](x), layers=[nn.Sequential(nn.Linear(2, 2), nn.ReLU())])
    graph = recorded(net, torch.ones(1, 2))
    assert [op.module_path for op in graph.calls("linear", "relu")] == ["layers[0].0", "layers[0].1"]


def test_an_unregistered_parameter_is_told_from_a_stranger():
    net = Net(lambda net, x: x * net.scales[0], scales=[nn.Parameter(torch.ones(2))])
    (scale,) = recorded(net, torch.ones(1, 2)).calls("unregistered-parameter")
    assert not scale.is_created


def test_calls_are_counted_and_numbered():
    net = Net(lambda net, x: net.a(net.a(x)), a=nn.Linear(2, 2))
    graph = recorded(net, torch.ones(1, 2))
    assert graph.module_calls == {"": 1, "a": 2}
    assert [op.node.meta["module_call"] for op in graph.calls("linear")] == [0, 1]


def test_names_and_lines_of_a_run():
    graph = recorded(Net(lambda net, x: net.a(x).relu_(), a=nn.Linear(2, 2)), torch.ones(1, 2))
    assert names(graph) == ["linear", "relu"]
    assert [op.location.file for op in graph.calls("linear", "relu")] == [__file__, __file__]


def test_the_loss_has_paths_of_its_own():
    model, loss = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 1))
    tracker = ModuleTracker.of(model, loss)
    assert {tracker.paths[id(module)] for module in (model, loss, loss[0])} == {"", "loss", "loss.0"}
