"""Generated training setups for `soak.py`: random graphs of layers and everything that strangers' models are made of.

`build(seed)` gives the same setup each time. Most can be trained as they are; what is wrong with the others (a batch of no samples,
a forward that raises) must be said by a finding, never by an exception out of `check`.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.soak_layers import (
    Bag,
    Checkpointed,
    Counting,
    Double,
    Function,
    Function_of_sequence,
    Graph,
    Named,
    Nested,
    Residual,
    Spectrum,
    Tagged,
    Two,
    Whole,
    adjacency,
    script,
    wrapped,
)


def logits_of(output):
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, dict):
        return output["logits"]
    return output[0] if isinstance(output, tuple) else output.logits


def classify(output, targets):
    return F.cross_entropy(logits_of(output).float(), targets)


def regress(output, targets):
    return F.mse_loss(logits_of(output).float(), targets)


def rank(output, targets):
    logits = logits_of(output).float()
    return F.softplus(-(2 * F.one_hot(targets, logits.shape[-1]) - 1) * logits).mean()


BLOCKS: dict[str, Callable[[random.Random, int], nn.Module]] = {
    "linear": lambda r, w: nn.Linear(w, w, bias=r.random() < 0.7),
    "mlp": lambda r, w: nn.Sequential(nn.Linear(w, 2 * w), nn.ReLU(inplace=r.random() < 0.5), nn.Linear(2 * w, w)),
    "residual": lambda r, w: Residual(nn.Sequential(nn.LayerNorm(w), nn.Linear(w, w), nn.GELU(), nn.Linear(w, w))),
    "batchnorm": lambda r, w: nn.Sequential(nn.Linear(w, w, bias=False), nn.BatchNorm1d(w), nn.SiLU()),
    "layernorm": lambda r, w: nn.LayerNorm(w),
    "dropout": lambda r, w: nn.Dropout(r.choice([0.1, 0.5])),
    "activation": lambda r, w: r.choice([nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.ELU, nn.Softplus, nn.PReLU, nn.Mish])(),
    "custom": lambda r, w: Function(Double.apply),
    "functional": lambda r, w: Function(r.choice([torch.tanh, torch.sigmoid, F.leaky_relu, lambda x: F.normalize(x, dim=-1)])),
    "vmap": lambda r, w: Function(torch.func.vmap(lambda row: row - row.mean())),
    "counting": lambda r, w: Counting(),
    "checkpoint": lambda r, w: Checkpointed(nn.Sequential(nn.Linear(w, w), nn.Tanh()), r.random() < 0.3),
    "spectrum": lambda r, w: Spectrum(w),
    "complex": lambda r, w: Function(lambda x: torch.view_as_real(torch.complex(x, x).exp().conj()).sum(-1).clamp(-3, 3)),
    "lazy": lambda r, w: nn.Sequential(nn.LazyLinear(w), nn.ReLU()),
    "weight_norm": lambda r, w: nn.utils.parametrizations.weight_norm(nn.Linear(w, w)),
    "spectral_norm": lambda r, w: nn.utils.parametrizations.spectral_norm(nn.Linear(w, w)),
    "orthogonal": lambda r, w: nn.utils.parametrizations.orthogonal(nn.Linear(w, w)),
    "attention": lambda r, w: Function_of_sequence(nn.TransformerEncoderLayer(w, 2, 2 * w, batch_first=r.random() < 0.7)),
    "scripted": lambda r, w: script(nn.Sequential(nn.Linear(w, w), nn.BatchNorm1d(w), nn.Dropout(0.1))),
    "traced": lambda r, w: script(nn.Sequential(nn.Linear(w, w), nn.LayerNorm(w), nn.ReLU()), trace=w),
    "compiled": lambda r, w: torch.compile(nn.Sequential(nn.Linear(w, w), nn.ReLU()), backend="eager"),
    "nested": lambda r, w: Nested(w, r.choice([torch.strided, torch.jagged]), given=False),
    "subclass": lambda r, w: Function(lambda x: x.as_subclass(Tagged) * 1.0),
    "wrapper": lambda r, w: wrapped(nn.Linear(w, w)),
    "inplace": lambda r, w: Function(lambda x: x.clone().mul_(0.5).add_(1)),
    "meta": lambda r, w: Function(lambda x: x + torch.empty(x.shape, device="meta").dim()),
}  # fmt: skip


def stem_and_batch(r, width, samples):
    kind = r.choices(
        ["dense", "image", "tokens", "rnn", "graph", "nested", "named", "several", "bag"], [8, 4, 4, 3, 3, 2, 2, 2, 1]
    )[0]
    if kind == "image":
        net = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        return net, torch.randn(samples, 3, 8, 8)
    if kind == "tokens":
        ids = torch.randint(0, 20, (samples, 5), dtype=r.choice([torch.int64, torch.int32]))
        net = nn.Embedding(20, width, padding_idx=r.choice([None, 0]), sparse=r.random() < 0.2)
        return nn.Sequential(net, Function(lambda x: x.mean(1))), ids
    if kind == "rnn":
        layer = r.choice([nn.GRU, nn.LSTM, nn.RNN])(6, width, batch_first=True, bidirectional=False)
        return nn.Sequential(layer, Function(lambda out: out[0][:, -1])), torch.randn(samples, 5, 6)
    if kind == "graph":
        where, layout = r.choice(["input", "buffer", "parameter", "made"]), r.choice(["coo", "csr"])
        inputs = torch.randn(samples, width)
        return Graph(width, where, layout, samples), (
            inputs,
            adjacency(samples, layout),
        ) if where == "input" else inputs
    if kind == "nested":
        layout = r.choice([torch.strided, torch.jagged])
        rows = [torch.randn(1 + index % 3, width) for index in range(samples)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Nested(width, layout, given=True), torch.nested.nested_tensor(
                rows, layout=layout
            ) if rows else torch.randn(0, width)
    if kind == "named":
        return Named(width), {"x": torch.randn(samples, 6), "mask": torch.rand(samples, 6) < 0.8}
    if kind == "several":
        return Two(width), (torch.randn(samples, 6), [torch.randn(samples, 3), torch.randn(samples, 3)])
    if kind == "bag":
        return Bag(width), (torch.randint(20, (samples * 2,)), torch.arange(samples) * 2)
    return nn.Sequential(nn.Linear(6, width), nn.ReLU()), torch.randn(samples, 6)


def hooks(r, model):
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)] or [model]
    layer = r.choice(layers)
    kind = r.choice(["forward", "pre", "backward", "tensor", "state"])
    if kind == "forward":
        layer.register_forward_hook(lambda module, args, out: out * 1.0)
    elif kind == "pre":
        layer.register_forward_pre_hook(lambda module, args: None)
    elif kind == "backward":
        layer.register_full_backward_hook(lambda module, given, made: None)
    elif kind == "tensor":
        next(layer.parameters()).register_hook(lambda grad: grad.clamp(-1, 1))
    else:
        layer.register_state_dict_post_hook(lambda *args: None)


def optimizer_of(r, model):
    parameters = [p for p in model.parameters() if p.requires_grad]
    kind = r.choice(["sgd", "adam", "adamw", "fused", "foreach", "rmsprop", "lbfgs", "groups", "none", "none"])
    if kind == "none" or not parameters:
        return None
    makers: dict[str, Callable[[], Any]] = {
        "sgd": lambda: torch.optim.SGD(parameters, lr=0.01, momentum=r.choice([0, 0.9])),
        "adam": lambda: torch.optim.Adam(parameters, amsgrad=r.random() < 0.3),
        "adamw": lambda: torch.optim.AdamW(parameters, weight_decay=0.01),
        "fused": lambda: torch.optim.AdamW(parameters, fused=True),
        "foreach": lambda: torch.optim.Adam(parameters, foreach=True),
        "rmsprop": lambda: torch.optim.RMSprop(parameters, lr=1e-3),
        "lbfgs": lambda: torch.optim.LBFGS(parameters, lr=0.1, max_iter=2),
        "groups": lambda: torch.optim.SGD([{"params": parameters[:1], "lr": 0.1}, {"params": parameters[1:]}], lr=0.01),
    }
    return makers[kind]()


def head_of(r, width):
    task = r.choice(["classes", "values", "rank"])
    head: nn.Module = nn.Linear(width, 4)
    if task == "classes" and r.random() < 0.1:
        head = nn.Sequential(head, nn.LogSoftmax(-1))
    return task, head


def body_of(r, width, samples):
    """The blocks and what each is given: the one before, or two earlier ones."""
    count = r.randint(0, 5)
    known = [name for name in BLOCKS if samples > 1 or name not in ("batchnorm", "scripted")]
    blocks = [BLOCKS[r.choice(known)](r, width) for _ in range(count)]
    joins = []
    for index in range(count):
        if index and r.random() < 0.3:
            joins.append(([index, r.randrange(index)], r.choice(["mean", "gate"])))
        else:
            joins.append(([index], "one"))
    return blocks, joins


def build(seed: int) -> dict[str, Any]:
    """The setup with this number: a dict as a build function returns it."""
    r = random.Random(seed)
    torch.manual_seed(seed)
    width, samples = r.choice([4, 8, 12]), r.choices([8, 6, 2, 1, 0], [8, 6, 3, 1, 1])[0]
    stem, inputs = stem_and_batch(r, width, samples)
    blocks, joins = body_of(r, width, samples)
    task, head = head_of(r, width)
    model: nn.Module = Whole(
        stem, blocks, joins, head, r.choice(["plain", "plain", "plain", "tuple", "dict", "namedtuple", "object"])
    )
    targets = torch.randn(samples, 4) if task == "values" else torch.randint(4, (samples,))
    dtype = r.choices([None, torch.float64, torch.bfloat16], [12, 2, 1])[0]
    if (
        dtype is not None
        and not any(isinstance(block, (Spectrum,)) for block in blocks)
        and isinstance(stem, nn.Sequential)
    ):
        model = model.to(dtype)
        inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs
    parameters = [p for p in model.parameters() if not isinstance(p, nn.UninitializedParameter)]
    if r.random() < 0.1 and parameters:
        r.choice(parameters).requires_grad_(requires_grad=False)
    if r.random() < 0.25:
        hooks(r, model)
    has_lazy = len(parameters) < len(list(model.parameters()))
    setup: dict[str, Any] = {"model": model, "inputs": inputs, "targets": targets}
    setup["loss"] = {"classes": classify, "values": regress, "rank": rank}[task]
    if not has_lazy:
        setup["optimizer"] = optimizer_of(r, model)
    if setup.get("optimizer") is not None and r.random() < 0.2:
        setup["scheduler"] = torch.optim.lr_scheduler.StepLR(setup["optimizer"], 10)
    wrap(r, setup, samples)
    give_data(r, setup, samples)
    return {name: value for name, value in setup.items() if value is not None}


def wrap(r, setup, samples):
    """Compile the model, put it into evaluation mode, train it a little, or none of it."""
    model = setup["model"]
    wrapping = r.choices(["none", "compiled", "eval", "stepped", "parallel"], [12, 1, 1, 2, 1])[0]
    if wrapping == "compiled":
        setup["model"] = torch.compile(model, backend="eager")
    elif wrapping == "parallel":
        setup["model"] = nn.DataParallel(model)
    elif wrapping == "eval":
        model.eval()
    elif wrapping == "stepped" and samples > 1:
        step(setup)


def give_data(r, setup, samples):
    """Add a loader or a list of batches, where the batch can be cut."""
    inputs, targets = setup["inputs"], setup["targets"]
    if isinstance(inputs, torch.Tensor) and inputs.layout is torch.strided and not inputs.is_nested and samples:
        form = r.choice(["none", "loader", "list"])
        if form == "loader":
            setup["data"] = DataLoader(TensorDataset(inputs, targets), batch_size=max(samples // 2, 1))
        elif form == "list":
            setup["data"] = [(inputs, targets)]


def step(setup: dict[str, Any]) -> None:
    """The training step that the setup stands for, in plain PyTorch.

    Raises:
        Exception: whatever torch says where the setup cannot be trained.
    """
    model, inputs = setup["model"], setup["inputs"]
    model.train()
    output = (
        model(**inputs) if isinstance(inputs, dict) else model(*inputs) if isinstance(inputs, tuple) else model(inputs)
    )
    optimizer = setup.get("optimizer")
    loss = setup["loss"](output, setup["targets"])
    loss.backward()
    if isinstance(optimizer, torch.optim.LBFGS):
        optimizer.step(lambda: loss)
    elif optimizer is not None:
        optimizer.step()
