"""Model evidence: the tree, and what it does not hold."""

from __future__ import annotations

import torch
from torch import nn

from nnlint.finding import Location
from nnlint.probes.given.model import Model


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.layers = [nn.Linear(4, 4), {"deep": (nn.Conv1d(4, 4, 1), self.first)}]
        self.scales = {"a": nn.Parameter(torch.ones(3))}
        self.mask = torch.ones(4, 4)
        self.register_buffer("known", torch.zeros(1))
        self.also_known = [self.known]
        self.name = "block"


def tree() -> nn.Sequential:
    block = Block()
    return nn.Sequential(block, nn.BatchNorm2d(4, momentum=0.9), block, nn.LSTM(4, 4))


def test_modules_in_order_with_all_their_paths() -> None:
    model = Model(tree())
    assert [view.module_path for view in model.modules] == ["", "0", "0.first", "1", "3"]
    block = model.find("2")
    assert block is model.find("0")
    assert block is not None
    assert (block.type_name, block.paths, block.children) == ("Block", ("0", "2"), ("0.first",))
    assert model.find("nowhere") is None
    assert [view.module_path for view in model.shared] == ["0", "0.first"]
    assert model.root.label == "Sequential"


def test_types_go_by_the_names_of_all_bases() -> None:
    model = Model(tree())
    norm = model.named("BatchNorm2d")[0]
    assert norm.is_type("_BatchNorm", "Other")
    assert norm.is_type("torch.nn.modules.batchnorm.BatchNorm2d")
    assert not norm.is_type("BatchNorm1d")
    assert norm.qualified_type == "torch.nn.modules.batchnorm.BatchNorm2d"
    assert norm.label == "1 (BatchNorm2d)"
    assert model.named("Conv2d") == ()


def test_attributes_parameters_and_flags() -> None:
    made = tree()
    made[1].eval()
    model = Model(made)
    norm = model.named("BatchNorm2d")[0]
    assert norm.attribute("momentum") == 0.9
    assert norm.attribute("absent", 7) == 7
    assert norm.parameters == ("1.weight", "1.bias")
    assert (norm.training, model.root.training) == (False, True)


def test_the_line_is_the_construction_or_the_class() -> None:
    seen = Location("user.py", 3)
    model = Model(tree(), {"1": seen})
    assert model.modules[3].location is seen
    block = model.find("0")
    assert block is not None
    assert block.location is not None
    assert block.location.file.endswith("test_model.py")
    assert block.location.line == Block.__init__.__code__.co_firstlineno
    first = model.find("0.first")
    assert first is not None
    assert first.location is None  # torch's own file is no place to send a user


def test_unregistered_modules_and_parameters_are_found_in_containers() -> None:
    found = Model(tree()).unregistered
    assert [(one.module_path, one.path, one.kind, one.type_name, one.parameters, one.values) for one in found] == [
        ("0", "layers[0]", "module", "Linear", 2, 20),
        ("0", "layers[1]['deep'][0]", "module", "Conv1d", 2, 20),
        ("0", "scales['a']", "parameter", "Parameter", 1, 3),
    ]
    assert found[0].label == "0.layers[0] (Linear)"


def test_registered_lists_hold_nothing_unregistered() -> None:
    net = nn.Module()
    net.layers = nn.ModuleList([nn.Linear(2, 2), nn.LSTM(2, 2)])
    net.order = [net.layers[1], net.layers[0]]
    assert Model(net).unregistered == ()


def test_containers_that_hold_themselves_end() -> None:
    net = nn.Linear(2, 2)
    loop: list[object] = [nn.ReLU()]
    loop.append(loop)
    net.loop = loop
    assert [one.path for one in Model(net).unregistered] == ["loop[0]"]
    assert Model(net).unregistered[0].parameters == 0


def test_requires_grad_set_on_a_module_is_seen() -> None:
    net = tree()
    net[0].first.requires_grad = False
    flag = Model(net).module_level_flags[0]
    assert (flag.module_path, flag.name, flag.value, flag.trainable) == ("0.first", "requires_grad", False, 2)
    net[0].first.requires_grad_(False)
    assert Model(net).module_level_flags[0].trainable == 0
    assert Model(tree()).module_level_flags == ()


def test_parametrized_layers_keep_their_type() -> None:
    net = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    assert Model(net).modules[1].type_name == "Linear"
    assert Model(net).modules[1].is_type("Linear")


def test_lazy_modules_are_no_obstacle() -> None:
    net = nn.Module()
    net.layers = [nn.LazyLinear(3)]
    assert Model(net).unregistered[0].values == 0


def test_reading_a_parametrized_weight_runs_nothing() -> None:
    """Spectral norm makes a step of its power iteration whenever the weight is read in training mode."""
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    assert Model(layer).root.attribute("weight") is layer.parametrizations.weight.original
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.state_dict().items())
