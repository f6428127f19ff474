"""How near healthy models come to the limits of the loss, weight and normalization rules.

Usage: margins.py [--lib NAMES] [--every N] [--write]   (--write: put the lines into docs/evidence/calibration.md)

Every model is one of the zoo, freshly initialized, in training mode, batch of 8, with the loss of benchmarks/zoo_setup.py.
"""

from __future__ import annotations

import argparse
import gc
import math
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "rules"), str(ROOT / "benchmarks" / "calibration")]

import torch  # noqa: E402
from sections import put  # noqa: E402

from benchmarks import zoo  # noqa: E402
from benchmarks.zoo_setup import training_setup  # noqa: E402
from nnlint.finding import Skip  # noqa: E402
from nnlint.probes.session import Plan, Session  # noqa: E402
from nnlint.setup import SetupOptions, coerce  # noqa: E402

#: By the anchor of the section that the rules refer to (`-low`: its second line): what is measured with the limit, and its side.
MEASURES = {
    "initial-loss": ("excess of the first loss over ln C, nats (LOS018: 0.7)", "high"),
    "log-probabilities": ("distance of logsumexp from 0 in rows given to NLL (LOS003: 0.05)", "high"),
    "weight-scale": ("largest weight deviation over He's (INI003: 10)", "high"),
    "weight-scale-low": ("smallest weight deviation over LeCun's (INI004: 0.05)", "low"),
    "dominant-bias": ("largest mean bias over the pre-activation's deviation (INI009: 5)", "high"),
    "variance-shift": ("variance of a batch norm's input, dropout on / off (NRM001: 1.5)", "high"),
    "norm-batch": ("fewest values of a channel in a batch norm (NRM009: 8)", "low"),
    "recurrent-scale": ("largest spectral radius of a recurrent matrix (INI010: 1.5)", "high"),
    "recurrent-scale-low": ("smallest spectral radius of a recurrent matrix (INI010: 0.1, plain RNNs)", "low"),
    "momentum": ("largest momentum of a batch norm (NRM007: 0.9)", "high"),
    "momentum-low": ("smallest momentum of a batch norm (NRM007: 0)", "low"),
    "extreme-dropout": ("largest dropout probability (NRM005: 0.8)", "high"),
}


def measure(session: Session) -> Iterator[tuple[str, float]]:
    """The numbers of one model, by measure."""
    graph, forward = session.evidence("Graph"), session.evidence("ForwardStats")
    yield from _losses(session)
    yield from _settings(session)
    for view in session.evidence("Parameters").of_kind("weight"):
        if view.fan_in and len(view.shape) > 1 and view.std > 0:
            yield "weight-scale", view.std * math.sqrt(view.fan_in / 2)
            yield "weight-scale-low", view.std * math.sqrt(view.fan_in)
    dropped = {below for op in graph.calls("dropout") if op.argument("p", 0.5) for below in graph.descendants(op)}
    for op in graph.calls("batch-norm"):
        shape = op.activations[0].shape if op.activations else None
        if shape and len(shape) > 1:
            yield "norm-batch", float(math.prod(shape) / shape[1])
        before = graph.producer(op.activations[0]) if op.activations else None
        if before in dropped and (ratio := session.evidence("EvalStats").variance_ratio(before)) is not None:
            yield "variance-shift", ratio
    parameters = session.evidence("Parameters")
    for layer in forward.linear_maps():
        bias = parameters.find(f"{layer.op.module_path}.bias")
        if bias is not None and layer.std > 0:
            yield "dominant-bias", abs(bias.mean) / layer.std


def _settings(session: Session) -> Iterator[tuple[str, float]]:
    """Recurrent matrices, batch norm's momentum and dropout's probability."""
    for view in session.evidence("Parameters").of_kind("recurrent"):
        for radius in view.spectral_radii if view.leaf.startswith("weight_hh") else ():
            yield "recurrent-scale", radius
            yield "recurrent-scale-low", radius
    norms = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
    for module in session.setup.model.modules():
        if isinstance(module, norms) and module.momentum is not None:
            yield "momentum", module.momentum
            yield "momentum-low", module.momentum
    for op in session.evidence("Graph").calls("dropout"):
        yield "extreme-dropout", float(op.argument("p", 0.5) or 0.0)


def _losses(session: Session) -> Iterator[tuple[str, float]]:
    try:
        losses = session.evidence("LossCalls")
    except Skip:
        return
    for call in losses.of("cross_entropy"):
        logits = call.prediction_value.movedim(1, -1) if call.prediction_value.dim() > 1 else call.prediction_value
        spread = torch.logsumexp(logits.float(), -1) - logits.float().mean(-1)
        yield "initial-loss", float(spread.mean()) - math.log(logits.shape[-1])
    for call in losses.of("nll_loss"):
        yield "log-probabilities", float(torch.logsumexp(call.prediction_value.float(), 1).abs().max())


def lines(found: dict[str, list[tuple[float, str]]], models: int) -> dict[str, str]:
    """By section: the worst and the median of its measures over the models."""
    said: dict[str, list[str]] = {}
    for name, (what, side) in MEASURES.items():
        rows = sorted(found.get(name, ()), reverse=side == "high")
        worst = ", ".join(f"{value:.3g} ({model})" for value, model in rows[:3])
        text = (
            f"worst {worst}; median {rows[len(rows) // 2][0]:.3g} of {len(rows)} models" if rows else "no model has one"
        )
        said.setdefault(name.removesuffix("-low"), []).append(f"- {what}: {text}")
    head = f"{models} freshly initialized models of the zoo (`margins.py`), the worst layer of each:"
    return {name: "\n".join([head, "", *entries]) for name, entries in said.items()}


def main() -> None:
    """Measure, print, and with --write keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=6)
    parser.add_argument("--lib", default="nn,torchvision,timm,hf,pyg")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    found: dict[str, list[tuple[float, str]]] = {}
    models = 0
    for number, (name, build) in enumerate(zoo.zoo(tuple(arguments.lib.split(",")))):
        if not name.startswith("nn/") and number % arguments.every:
            continue
        try:
            session = Session(coerce(training_setup(name, build).fields, SetupOptions()), Plan())
            numbers = list(measure(session))
        except Exception as error:  # a model that does not run here is no healthy sample
            print(f"{name}: left out ({type(error).__name__}: {error})", file=sys.stderr)
            continue
        del session  # model, snapshot and graph refer to each other: freed by the collector only
        gc.collect()
        models += 1
        for measured in {key for key, _ in numbers}:
            values = [value for key, value in numbers if key == measured]
            found.setdefault(measured, []).append(
                (max(values) if MEASURES[measured][1] == "high" else min(values), name)
            )
    for name, text in lines(found, models).items():
        kept = arguments.write and put(f"margins {name}", text)
        print(f"== {name}{' (written)' if kept else ''}\n{text}\n")


if __name__ == "__main__":
    main()
