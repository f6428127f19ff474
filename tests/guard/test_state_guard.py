"""The state guard: generated models whose forward misbehaves, with exceptions injected; nothing may remain."""

from __future__ import annotations

import contextlib
import copy
import gc
import os
import random
import signal
import sys
import warnings
from collections import OrderedDict, deque
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._pytree import tree_map

from nnlint import check
from nnlint.guard.state_guard import RestoreError, StateGuard

SMALLEST = sys.float_info.min


class Broken(Exception):
    """What the generated forwards raise."""


class Cache:
    """A plain object that a module keeps its state in."""

    def __init__(self) -> None:
        self.entries: list[object] = []
        self.hits = 0


def write_weights(net: Any, x: torch.Tensor) -> None:
    with torch.no_grad():
        net.first.weight.mul_(1.5)
        net.first.weight[0, 0] = float("nan")


def swap_data(net: Any, x: torch.Tensor) -> None:
    net.first.weight.data = torch.zeros_like(net.first.weight).half().float()
    net.last.bias.data = net.last.bias.data.double()


def shrink_storage(net: Any, x: torch.Tensor) -> None:
    net.last.weight.untyped_storage().resize_(0)


def replace_parameter(net: Any, x: torch.Tensor) -> None:
    net.last.weight = nn.Parameter(torch.ones_like(net.last.weight))
    net.extra = nn.Linear(2, 2)
    del net.unused


def flip_training(net: Any, x: torch.Tensor) -> None:
    net.eval()
    net.norm.training = True


def change_requires_grad(net: Any, x: torch.Tensor) -> None:
    for parameter in net.parameters():
        parameter.requires_grad_(not parameter.requires_grad)


def register_hooks(net: Any, x: torch.Tensor) -> None:
    net._forward_hooks.clear()
    net.norm.register_forward_hook(lambda *_: None)
    net.register_full_backward_hook(lambda *_: None)
    net.register_state_dict_post_hook(lambda *_: None)
    net.first.weight.register_hook(lambda grad: grad * 2)
    net.last.weight.register_post_accumulate_grad_hook(lambda _: None)
    nn.modules.module.register_module_forward_hook(lambda *_: None)


def consume_randomness(net: Any, x: torch.Tensor) -> None:
    random.random()
    numpy.random.rand(3)
    torch.rand(3)
    torch.rand(2, generator=net.generator)
    net.dice.random()


def change_globals(net: Any, x: torch.Tensor) -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.autograd.set_detect_anomaly(True)
    torch.set_autocast_enabled("cpu", True)
    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
    torch.set_default_device("meta")
    warnings.simplefilter("ignore")


def change_process(net: Any, x: torch.Tensor) -> None:
    os.chdir("/")
    os.environ["NNLINT_TEST"] = "left behind"
    del os.environ["PATH"]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.setrecursionlimit(5000)
    gc.disable()


def change_numbers(net: Any, x: torch.Tensor) -> None:
    torch.set_flush_denormal(True)
    torch.set_printoptions(precision=2, sci_mode=True)
    numpy.seterr(all="ignore")
    numpy.set_printoptions(precision=1)
    torch.backends.cuda.enable_math_sdp(not torch.backends.cuda.math_sdp_enabled())
    torch._C._set_mkldnn_enabled(not torch._C._get_mkldnn_enabled())
    torch.utils.deterministic.fill_uninitialized_memory = False


def count_and_cache(net: Any, x: torch.Tensor) -> None:
    net.steps += 1
    net.history.append(x)
    net.memo["nested"]["x"] = x
    net.names.add("seen")
    net.recent.append(1)
    net.ordered["late"] = 1
    net.ordered.move_to_end("a")
    net.cache.hits += 1
    net.cache.entries.append(x)
    net.new_attribute = x
    net.memory.add_(1)


def change_input(net: Any, x: torch.Tensor) -> None:
    x.add_(1)


def train_unregistered(net: Any, x: torch.Tensor) -> None:
    with torch.no_grad():
        net.hidden_layers[0].weight.zero_()
    net.hidden_layers.append(nn.Linear(1, 1))


MISBEHAVIOURS = [
    write_weights, swap_data, shrink_storage, replace_parameter, flip_training, change_requires_grad, register_hooks,
    consume_randomness, change_globals, change_process, change_numbers, count_and_cache, change_input,
    train_unregistered,
]  # fmt: skip


class Net(nn.Module):
    """A small net with everything in it that can hold state."""

    def __init__(self, *, conv: bool, tied: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 2) if conv else None
        self.first = nn.Linear(4 if conv else 6, 5)
        self.norm = nn.BatchNorm1d(5)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(5, 5)
        self.unused = nn.Linear(2, 2)
        if tied:
            self.copy = nn.Linear(5, 5)
            self.copy.weight = self.last.weight
        self.register_buffer("counter", torch.zeros(3, dtype=torch.int64))
        self.register_forward_hook(lambda *_: None)
        self.hidden_layers = [nn.Linear(3, 3)]
        self.memory = torch.full((4,), float("nan"))
        self.generator = torch.Generator().manual_seed(3)
        self.dice = random.Random(5)
        self.steps = 0
        self.history: list[object] = []
        self.memo: dict[str, dict[str, object]] = {"nested": {}}
        self.names = {"one"}
        self.recent = deque([0], maxlen=2)
        self.ordered = OrderedDict(a=1, b=2)
        self.cache = Cache()
        self.misbehaviours: list[Any] = []
        self.raises = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.conv is not None:
            h = self.conv(x.view(x.shape[0], 1, 2, 3)).amax(dim=(2, 3))
        else:
            h = x
        out = self.last(self.drop(self.relu(self.norm(self.first(h)))))
        self.counter += 1
        for misbehave in self.misbehaviours:
            with contextlib.suppress(Exception):  # one may have broken what the next one needs
                misbehave(self, x)
        if self.raises:
            raise Broken
        return out


def containers(module: nn.Module) -> dict[str, object]:
    """Every container attribute of a module: its identity and its items by identity."""
    found: dict[str, object] = {}
    for name, value in vars(module).items():
        if isinstance(value, dict):
            found[name] = (id(value), [(key, id(item)) for key, item in value.items()])
        elif isinstance(value, (list, set, deque)):
            found[name] = (id(value), [id(item) for item in value])
        else:
            found[name] = id(value)
    return found


def bits(value: Any) -> Any:
    """Nested values with every tensor as its dtype, shape and bytes."""
    if isinstance(value, torch.Tensor):
        dense = value.detach().clone(memory_format=torch.contiguous_format)
        return str(value.dtype), tuple(value.shape), dense.numpy().tobytes()
    if isinstance(value, dict):
        return [(key, bits(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [bits(item) for item in value]
    return value


def fingerprint(net: Any, optimizer: torch.optim.Optimizer, scheduler: Any, data: Any) -> dict[str, Any]:
    """All that has to be the same afterwards, in comparable form."""
    tensors = [*net.parameters(), *net.buffers(), net.memory, *net.hidden_layers[0].parameters(), *data]
    return {
        "state": bits(net.state_dict()),
        "optimizer": bits(optimizer.state_dict()),
        "scheduler": {key: value for key, value in scheduler.state_dict().items() if not key.startswith("_get")},
        "tensors": [(id(t), t.untyped_storage()._cdata, t.requires_grad, id(t.grad), bits(t)) for t in tensors],
        "gradients": [bits(t.grad) for t in tensors],
        "hooks": [(t._backward_hooks, t._post_accumulate_grad_hooks) for t in tensors if t.is_leaf],
        "attributes": {path: containers(module) for path, module in net.named_modules()},
        "cache": (net.cache.hits, len(net.cache.entries), len(net.memo["nested"])),
        "random": (random.getstate(), str(numpy.random.get_state()), bits(torch.get_rng_state())),
        "own random": (bits(net.generator.get_state()), net.dice.getstate()),
        "flags": [
            torch.get_default_dtype(), torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"),
            torch.is_anomaly_enabled(), torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.benchmark, torch.get_num_threads(), torch.empty(0).device,
            id(warnings.filters), list(warnings.filters), dict(nn.modules.module._global_forward_hooks),
            torch.backends.cuda.math_sdp_enabled(), torch._C._get_mkldnn_enabled(), SMALLEST * 0.5,
            str(torch._tensor_str.PRINT_OPTS), numpy.geterr(), numpy.get_printoptions(),
            torch.utils.deterministic.fill_uninitialized_memory,
        ],
        "process": [
            Path.cwd(), dict(os.environ), signal.getsignal(signal.SIGTERM), sys.getrecursionlimit(), gc.isenabled(),
        ],
        "versions": [tensor._version for tensor in tensors],
    }  # fmt: skip


def build(*, conv: bool, tied: bool, kind: str, warm: bool) -> tuple[Any, ...]:
    net = Net(conv=conv, tied=tied)
    makers: dict[str, Any] = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    optimizer = makers[kind](net.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    inputs, targets = torch.randn(4, 6), torch.tensor([0, 1, 2, 3])
    if warm:
        nn.functional.cross_entropy(net(inputs), targets).backward()
        optimizer.step()
        scheduler.step()
    net.drop.eval()
    net.first.bias.requires_grad_(False)
    return net, optimizer, scheduler, inputs, targets


@settings(max_examples=60, deadline=None)
@given(
    misbehaviours=st.lists(st.sampled_from(MISBEHAVIOURS), max_size=4, unique=True),
    conv=st.booleans(),
    tied=st.booleans(),
    warm=st.booleans(),
    raises=st.booleans(),
    kind=st.sampled_from(["sgd", "adam"]),
    rounds=st.integers(1, 2),
)
def test_nothing_remains_whatever_the_forward_does(misbehaviours, conv, tied, warm, raises, kind, rounds) -> None:
    net, optimizer, scheduler, inputs, targets = build(conv=conv, tied=tied, kind=kind, warm=warm)
    net.misbehaviours, net.raises = list(misbehaviours), raises
    before = fingerprint(net, optimizer, scheduler, (inputs, targets))
    guard = StateGuard(net, optimizer, scheduler, data={"inputs": inputs, "targets": targets})
    for _ in range(rounds):
        try:
            with guard:
                assert all(parameter.grad is None for parameter in net.parameters())
                nn.functional.cross_entropy(net(inputs), targets).backward()
                optimizer.step()
                scheduler.step()
        except (Broken, RuntimeError, TypeError, NotImplementedError, IndexError):
            pass  # the misbehaviours may well break the pass itself
        after = fingerprint(net, optimizer, scheduler, (inputs, targets))
        for part, value in before.items():
            assert after[part] == value, part


@pytest.mark.parametrize("misbehave", MISBEHAVIOURS)
def test_each_misbehaviour_leaves_traces_without_the_guard(misbehave) -> None:
    """The property above means something: every misbehaviour is visible to the fingerprint."""
    net, optimizer, scheduler, inputs, targets = build(conv=False, tied=False, kind="sgd", warm=True)
    net.train()
    before = fingerprint(net, optimizer, scheduler, (inputs, targets))
    guard = StateGuard(net, optimizer, scheduler, data={"inputs": inputs, "targets": targets})
    seen: dict[str, Any] = {}
    with guard:
        guard.restore()
        misbehave(net, inputs)
        if misbehave is replace_parameter or misbehave is shrink_storage:
            seen["attributes"] = None  # state_dict and bytes are no longer those of the same net
        else:
            seen = fingerprint(net, optimizer, scheduler, (inputs, targets))
    assert any(seen[part] != before[part] for part in seen)


def test_an_unchanged_parameter_keeps_its_version() -> None:
    net = nn.Linear(3, 3)
    versions = [parameter._version for parameter in net.parameters()]
    with StateGuard(net):
        net(torch.randn(2, 3)).sum().backward()
    assert [parameter._version for parameter in net.parameters()] == versions


def test_gradients_are_the_same_objects_and_nothing_is_added_to_them() -> None:
    net = nn.Linear(3, 1)
    net(torch.ones(2, 3)).sum().backward()
    gradient = net.weight.grad
    assert gradient is not None
    saved = gradient.clone()
    guard = StateGuard(net)
    with guard:
        assert net.weight.grad is None
        net(torch.ones(5, 3)).sum().backward()
        guard.rewind()
        assert net.weight.grad is None
    assert net.weight.grad is gradient
    assert torch.equal(gradient, saved)


def test_lazy_modules_stay_uninitialized() -> None:
    net = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.ReLU())
    with StateGuard(net):
        net(torch.randn(3, 5))
    assert isinstance(net[0], nn.LazyLinear)
    assert isinstance(net[0].weight, nn.parameter.UninitializedParameter)
    assert net(torch.randn(3, 7)).shape == (3, 4)  # still free to take another width


class Counts(nn.Module):
    """Scripted code that counts, and remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = torch.jit.Attribute(0, int)
        self.seen = torch.jit.Attribute([torch.zeros(1)], list[torch.Tensor])
        self.linear = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.seen[0].add_(1)
        self.seen.append(x)
        return self.linear(x)


def scripted(kind: str) -> nn.Module:
    layers = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.1)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "traced":
            return torch.jit.trace(layers, torch.randn(4, 3), check_trace=False)
        if kind == "below":
            return nn.Sequential(torch.jit.script(layers), nn.Linear(3, 3))
        return torch.jit.script(nn.Sequential(layers, Counts()))


@pytest.mark.parametrize("kind", ["scripted", "traced", "below"])
def test_script_modules_are_restored(kind) -> None:
    net = scripted(kind)
    for child in net.modules():
        child.training = not isinstance(child, nn.Dropout)
    flags = [child.training for child in net.modules()]
    before = bits(net.state_dict())
    counts = list(net.children())[-1] if kind == "scripted" else None
    with StateGuard(net):
        net(torch.randn(4, 3)).sum().backward()
        net.eval()
    assert [child.training for child in net.modules()] == flags
    assert bits(net.state_dict()) == before
    assert all(parameter.grad is None for parameter in net.parameters())
    if counts is not None:
        assert (counts.calls, len(counts.seen), counts.seen[0].item()) == (0, 1, 0.0)


@pytest.mark.parametrize("wrap", [nn.utils.parametrizations.spectral_norm, nn.utils.parametrizations.weight_norm])
def test_parametrized_modules_are_restored(wrap) -> None:
    net = wrap(nn.Linear(3, 3))
    before = bits(net.state_dict())
    with StateGuard(net):
        net(torch.randn(2, 3)).sum().backward()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(1)
    assert bits(net.state_dict()) == before


def test_tensors_without_values_or_without_storage() -> None:
    net = nn.Embedding(5, 3, sparse=True)
    net.register_buffer("grid", torch.eye(3).to_sparse())
    net.register_parameter("empty", nn.Parameter(torch.empty(0, 3)))
    net.register_parameter("nothing", nn.Parameter(torch.empty(3, device="meta")))
    with StateGuard(net):
        net(torch.tensor([1])).sum().backward()
        net.grid.mul_(2)
    assert net.weight.grad is None
    assert torch.equal(net.grid.to_dense(), torch.eye(3))


class Wrapper(torch.Tensor):
    """A tensor without memory of its own, as DTensor and quantized weights are."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Any:
        return torch.Tensor._make_wrapper_subclass(cls, inner.size(), dtype=inner.dtype, requires_grad=False)

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        unwrap = partial(tree_map, lambda value: value.inner if isinstance(value, cls) else value)
        result = func(*unwrap(args), **unwrap(kwargs or {}))
        if func is torch.ops.aten.add_.Tensor:
            return args[0]
        return tree_map(lambda value: cls(value) if type(value) is torch.Tensor else value, result)


class Slotted(Wrapper):
    """The inner tensor where no `vars` shows it."""

    __slots__ = ("inner",)


@pytest.mark.parametrize("kind", [Wrapper, Slotted])
def test_wrappers_without_memory_do_not_end_the_process_and_their_contents_are_restored(kind) -> None:
    net = nn.Linear(3, 3)
    net.weight = nn.Parameter(kind(torch.ones(3, 3)))
    inner = net.weight.inner
    given = kind(torch.zeros(2))
    guard = StateGuard(net, data={"inputs": given})
    with guard, torch.no_grad():
        net.weight.add_(1)
        net.weight.inner = torch.zeros(3, 3)
        given.add_(1)
    assert net.weight.inner is inner
    assert torch.equal(inner, torch.ones(3, 3))
    assert torch.equal(given.inner, torch.zeros(2))


def sparse_and_nested() -> dict[str, torch.Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # both are in beta
        parts = [torch.ones(2, 3), torch.ones(4, 3)]
        return {
            "coo": torch.eye(4).to_sparse(),
            "csr": torch.eye(4).to_sparse_csr(),
            "bsr": torch.eye(4).to_sparse_bsr((2, 2)),
            "csc": torch.eye(4).to_sparse_csc(),
            "nested": torch.nested.nested_tensor(parts),
            "jagged": torch.nested.nested_tensor(parts, layout=torch.jagged),
            "mkldnn": torch.eye(4).to_mkldnn(),
        }


def dense(tensor: torch.Tensor) -> Any:
    return [part.tolist() for part in tensor.unbind()] if tensor.is_nested else tensor.to_dense().tolist()


@pytest.mark.parametrize("kind", sparse_and_nested())
@pytest.mark.parametrize("way", ["values", "structure"])
def test_tensors_made_of_others_are_restored(kind, way) -> None:
    tensor = sparse_and_nested()[kind]
    before, version = dense(tensor), tensor._version
    net = nn.Linear(1, 1)
    net.register_buffer("graph", tensor)
    guard = StateGuard(net, data={"inputs": tensor})
    with guard:
        if way == "structure" and kind != "jagged":
            other = torch.ones(4, 4).to_mkldnn() if kind == "mkldnn" else sparse_and_nested()[kind] * 3
            tensor.data = other
            if kind == "csr":  # torch ignores `.data` there
                tensor.add_(torch.ones(4, 4).to_sparse_csr())
            elif kind in ("bsr", "csc"):
                tensor.copy_(other)
        elif kind == "coo":
            tensor.add_(torch.ones(4, 4).to_sparse())
        elif kind == "mkldnn":
            tensor.mul_(2)
        else:
            (tensor.detach() if tensor.is_nested else tensor).values().mul_(2)
    assert net.graph is tensor
    assert (dense(tensor), tensor._version) == (before, version)


def test_the_pending_backward_of_the_caller_works_after_a_check() -> None:
    """In a notebook: the loss is computed, `nnlint.check` is called, and only then comes the backward."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 5))
    optimizer = torch.optim.Adam(net.parameters())
    inputs, targets = torch.randn(8, 6), torch.randint(5, (8,))
    pending = nn.functional.cross_entropy(net(inputs), targets)
    twin = copy.deepcopy(net)
    nn.functional.cross_entropy(twin(inputs), targets).backward()
    check({"model": net, "inputs": inputs, "targets": targets, "loss": nn.CrossEntropyLoss(), "optimizer": optimizer})
    pending.backward()
    assert all(
        torch.equal(one.grad, other.grad) for one, other in zip(net.parameters(), twin.parameters(), strict=True)
    )


def test_a_slice_of_a_large_tensor_is_all_that_is_copied() -> None:
    everything = torch.zeros(1000, 8)
    guard = StateGuard(nn.Linear(8, 1), data={"inputs": everything[:4]})
    regions = {region.stop - region.start for region in guard._tensors._regions if region.storage.nbytes() == 32000}
    assert regions == {4 * 8 * 4}


def test_overlapping_tensors_are_saved_once() -> None:
    flat = torch.randn(100)
    net = nn.Module()
    net.one, net.two = flat[:60], flat[40:]
    guard = StateGuard(net)
    assert len(guard._tensors._regions) == 1
    saved = flat.clone()
    with guard:
        flat.zero_()
    assert torch.equal(flat, saved)


def test_a_mapping_of_inputs_is_put_back() -> None:
    inputs = {"ids": torch.arange(3), "mask": torch.ones(3)}
    guard = StateGuard(nn.Linear(3, 3), data={"inputs": inputs, "targets": (torch.zeros(2, dtype=torch.complex128),)})
    with guard:
        inputs["mask"][0] = 5
        inputs.pop("ids")
    assert list(inputs) == ["ids", "mask"]
    assert inputs["mask"].tolist() == [1, 1, 1]


def test_losses_behind_closures_and_partials_are_reached() -> None:
    criterion = nn.Linear(2, 1)
    calls = 0

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return criterion(output).mean()

    saved = criterion.weight.detach().clone()
    with StateGuard(nn.Linear(2, 2), loss):
        loss(torch.ones(1, 2), torch.ones(1)).backward()
        criterion.weight.data.zero_()
    assert calls == 0
    assert criterion.weight.grad is None
    assert torch.equal(criterion.weight, saved)


def test_without_weights_flags_are_still_restored() -> None:
    net = nn.Linear(2, 2)
    with StateGuard(net, weights=False):
        net.eval().requires_grad_(False)
    assert net.training
    assert net.weight.requires_grad


def test_the_error_of_user_code_is_not_hidden() -> None:
    with pytest.raises(Broken), StateGuard(nn.Linear(2, 2)):
        raise Broken


def test_what_cannot_be_restored_is_said() -> None:
    class Stubborn(list):  # type: ignore[type-arg]
        def clear(self) -> None:
            raise Broken

    net = nn.Linear(2, 2)
    net.items = Stubborn([1])
    guard = StateGuard(net)
    net.items.append(2)
    net.eval()
    with pytest.raises(RestoreError, match="could not restore"):
        guard.restore()
    assert net.training  # the rest was put back all the same


class WritesInEvaluation(nn.Module):
    """Writes to a weight larger than what is always compared: through autograd's counter, past it, or not at all."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.linear = nn.Linear(256, 256)
        self.norm = nn.BatchNorm1d(256)
        self.way = way

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.way == "counted":
            with torch.no_grad():
                self.linear.weight.mul_(2.0)
        elif self.way == "uncounted":
            self.linear.weight.data.mul_(2.0)
        elif self.way == "uncounted entry":
            self.linear.weight.data[0, 3] += 1.0
        elif self.way == "raises":
            self.linear.weight.data.mul_(2.0)
            raise Broken
        return self.norm(self.linear(x))


@pytest.mark.parametrize("way", ["nothing", "counted", "uncounted", "uncounted entry", "raises"])
def test_what_a_reading_probe_leaves_is_settled(way: str) -> None:
    model = WritesInEvaluation(way)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    guard = StateGuard(model)
    with contextlib.suppress(Broken), guard.reading():
        model(torch.randn(4, 256))
    after_reading = dict(model.state_dict())
    for name in ("norm.running_mean", "norm.num_batches_tracked"):
        assert torch.equal(after_reading[name], before[name]), "statistics are small, and always compared"
    assert torch.equal(model.linear.weight, before["linear.weight"]) == (way != "uncounted entry")
    guard.settle()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_write_is_noticed_again_after_it_was_undone() -> None:
    model = WritesInEvaluation("counted")
    before = model.linear.weight.detach().clone()
    guard = StateGuard(model)
    for _ in range(3):
        with guard.reading():
            model(torch.randn(4, 256))
        assert torch.equal(model.linear.weight, before)
