"""How often a healthy set of labels is taken for a faulty one: the rules about targets on simulated label sets.

    python benchmarks/calibration/targets.py [--draws 200] [--write]

Every draw is a linear model on noise with labels of a usual kind and the loss people use for them; the rule itself judges
it. `--write` puts the tables into docs/evidence/calibration.md.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "rules"), str(ROOT / "benchmarks" / "calibration")]

import torch  # noqa: E402
from sections import put  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from nnlint import registry  # noqa: E402
from nnlint.finding import Level, Skip  # noqa: E402
from nnlint.probes.session import Plan, Session  # noqa: E402
from nnlint.setup import SetupOptions, coerce  # noqa: E402

Loss = Callable[[Tensor, Tensor], Tensor]
Labels = Callable[[int], Tensor]
FEATURES = 16


def levels(
    code: str, targets: Tensor, loss: Loss, *, options: Mapping[str, Any], outputs: int, head: nn.Module | None = None
) -> list[Level]:
    """The levels of what the rule finds on a linear model with these targets."""
    rule = registry.load().find(code)
    layers = [nn.Linear(FEATURES, outputs), *([head] if head is not None else [])]
    fields = {
        "model": nn.Sequential(*layers),
        "inputs": torch.randn(len(targets), FEATURES),
        "targets": targets,
        "loss": loss,
    }
    session = Session(coerce(fields, SetupOptions()), Plan())
    try:
        given = {parameter: session.evidence(kind) for parameter, kind in rule.evidence.items()}
        if rule.options is not None and rule.options_parameter is not None:
            given[rule.options_parameter] = rule.options(**options)
        return [finding.level or rule.level for finding in rule.check(**given)]
    except Skip:
        return []


class Sheet:
    """One table: rows of label sets, columns of sizes, cells of how many draws the rule spoke on."""

    def __init__(
        self,
        code: str,
        draws: int,
        *,
        loss: Loss,
        options: Mapping[str, Any] | None = None,
        head: Callable[[], nn.Module] | None = None,
    ) -> None:
        self.code, self.draws, self.loss = code, draws, loss
        self.options, self.head = options or {}, head
        self.rows: list[str] = []

    def columns(self, sizes: tuple[int, ...]) -> Sheet:
        self.sizes = sizes
        self.rows += [f"| labels | {' | '.join(f'N = {size}' for size in sizes)} |", "|---|" + "---|" * len(sizes)]
        return self

    def row(self, words: str, labels: Labels, outputs: int = 0) -> Sheet:
        """Count over the draws; `outputs` 0: as many as the labels have columns."""
        cells = []
        for size in self.sizes:
            hits = errors = 0
            for seed in range(self.draws):
                torch.manual_seed(seed)
                targets = labels(size)
                width = outputs or (targets.shape[1] if targets.dim() > 1 else 1)
                head = self.head() if self.head is not None else None
                found = levels(self.code, targets, self.loss, options=self.options, outputs=width, head=head)
                hits += bool(found)
                errors += Level.ERROR in found
            cells.append(
                f"{hits / self.draws:.1%}" + (f" ({errors / self.draws:.1%} errors)" if 0 < errors < hits else "")
            )
        self.rows.append(f"| {words} | {' | '.join(cells)} |")
        return self

    def __str__(self) -> str:
        return "\n".join(self.rows)


def multi_hot(classes: int, mean: float, *, least: int = 0) -> Labels:
    """Independent labels, `mean` of them in a row; `least` 1: rows without a label get one, as most data sets have it."""

    def draw(size: int) -> Tensor:
        rows = (torch.rand(size, classes) < mean / classes).float()
        if least:
            empty = rows.sum(1) == 0
            rows[empty, torch.randint(0, classes, (int(empty.sum()),))] = 1.0
        return rows

    return draw


def one_hot(classes: int) -> Labels:
    return lambda size: functional.one_hot(torch.randint(0, classes, (size,)), classes).float()


def mixed(classes: int) -> Labels:
    """mixup with smoothing, in half precision as a loader may keep it."""

    def draw(size: int) -> Tensor:
        rows, weight = one_hot(classes)(size) * 0.9 + 0.1 / classes, torch.rand(size, 1)
        return (weight * rows + (1 - weight) * rows.flip(0)).half().float()

    return draw


def zipf(classes: int, power: float) -> Labels:
    weights = torch.arange(1, classes + 1).double() ** -power
    return lambda size: torch.multinomial(weights, size, replacement=True)


def one_hot_targets(draws: int) -> str:
    sheet = Sheet("LOS012", draws, loss=nn.BCEWithLogitsLoss(), options={"rows": 1}).columns((4, 8, 16, 32))
    sheet.row("20 classes, 1.5 labels a row, at least one (photographs)", multi_hot(20, 1.5, least=1))
    sheet.row("20 classes, 0.5 labels a row, at least one (nearly single)", multi_hot(20, 0.5, least=1))
    sheet.row("80 classes, 2.9 labels a row, at least one (street scenes)", multi_hot(80, 2.9, least=1))
    sheet.row("14 classes, 0.8 labels a row, none possible (findings)", multi_hot(14, 0.8))
    sheet.row("faulty: one-hot rows of 10 classes", one_hot(10))
    return f"Limit `rows` set to 1, so that N is the limit; share of {draws} draws on which LOS012 speaks:\n\n{sheet}"


def multi_hot_targets(draws: int) -> str:
    sheet = Sheet("LOS013", draws, loss=nn.CrossEntropyLoss()).columns((8, 32, 128))
    sheet.row("one-hot rows, 10 classes", one_hot(10)).row("mixup and smoothing, half precision, 10 classes", mixed(10))
    sheet.row("mixup and smoothing, half precision, 1000 classes", mixed(1000))
    sheet.row("distributions (softmax of noise), 10 classes", lambda size: torch.randn(size, 10).softmax(1))
    sheet.row("faulty: 20 classes, 1.5 labels a row, at least one", multi_hot(20, 1.5, least=1))
    sheet.row("faulty: 20 classes, 0.5 labels a row, at least one", multi_hot(20, 0.5, least=1))
    return f"Share of {draws} draws on which LOS013 speaks:\n\n{sheet}"


def class_labels(draws: int) -> str:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return functional.mse_loss(output.squeeze(-1), target)

    def whole(draw: Callable[[int], Tensor]) -> Labels:
        return lambda size: draw(size).round().long()

    sheet = Sheet("LOS014", draws, loss=loss).columns((16, 64, 256))
    sheet.row("ages as integers, 20 to 70", whole(lambda size: 20 + 50 * torch.rand(size)), 1)
    sheet.row("counts, Poisson 3 as integers", whole(lambda size: torch.poisson(torch.full((size,), 3.0))), 1)
    sheet.row("counts, Poisson 200 as integers", whole(lambda size: torch.poisson(torch.full((size,), 200.0))), 1)
    sheet.row("amounts, lognormal as integers", whole(lambda size: (6 + 2 * torch.randn(size)).exp()), 1)
    sheet.row("pixels 0 to 255 as integers", whole(lambda size: 255 * torch.rand(size)), 1)
    sheet.row("counts, Poisson 3 as floats", lambda size: torch.poisson(torch.full((size,), 3.0)), 1)
    sheet.row("faulty: 10 classes as integers", lambda size: torch.randint(0, 10, (size,)), 1)
    sheet.row("faulty: one-hot rows of 10 classes", one_hot(10))
    return f"Share of {draws} draws on which LOS014 speaks:\n\n{sheet}"


def unused_classes(draws: int) -> str:
    sheet = Sheet("LOS010", draws, loss=nn.CrossEntropyLoss()).columns((16, 64, 256, 1024))
    for classes, power in ((100, 0.0), (1000, 0.0), (1000, 1.0), (1000, 1.5), (10000, 1.0), (1000, 2.0)):
        kind = f"Zipf {power:g}" if power else "balanced"
        sheet.row(f"{classes} classes, {kind}", zipf(classes, power), classes)
    sheet.row("faulty: 1000 logits, 10 classes", zipf(10, 0.0), 1000)
    sheet.row("faulty: 1000 logits, 100 classes", zipf(100, 0.0), 1000)
    return f"Share of {draws} draws on which LOS010 speaks:\n\n{sheet}"


def prior_bias(draws: int) -> str:
    sheet = Sheet("LOS019", draws, loss=nn.CrossEntropyLoss()).columns((64, 256, 1024))
    for classes in (2, 10, 100):
        sheet.row(f"{classes} classes, balanced", zipf(classes, 0.0), classes)
    shares = {
        "2 classes, 70 / 30": 0.3,
        "2 classes, 90 / 10": 0.1,
        "2 classes, 95 / 5": 0.05,
        "2 classes, 99 / 1": 0.01,
    }
    for words, share in shares.items():
        sheet.row(words, lambda size, share=share: (torch.rand(size) < share).long(), 2)
    table = "\n".join(
        f"| {share:.0%} | {math.log(2) + share * math.log(share) + (1 - share) * math.log(1 - share):.3f} |"
        for share in (0.5, 0.3, 0.2, 0.14, 0.1, 0.05, 0.01)
    )
    closed = f"| share of the rare class | saved nats, logits at 0 |\n|---|---|\n{table}"
    return f"{closed}\n\nShare of {draws} draws on which LOS019 speaks:\n\n{sheet}"


def target_range(draws: int) -> str:
    def images(size: int) -> Tensor:
        return torch.rand(size, 1, 8, 8)

    def enlarged(size: int) -> Tensor:
        steps = (images(size) > 0.5).float()
        return functional.interpolate(steps, 16, mode="bicubic").flatten(1)[:, :64]

    sheet = Sheet("LOS016", draws, loss=nn.MSELoss(), head=nn.Sigmoid).columns((8, 32))
    sheet.row("values in [0, 1]", lambda size: images(size).flatten(1))
    sheet.row(
        "values in [0, 1], dequantized (noise of 1/256)",
        lambda size: images(size).flatten(1) + torch.rand(size, 64) / 256,
    )
    sheet.row(
        "smooth photographs enlarged by bicubic interpolation",
        lambda size: functional.interpolate(0.05 + 0.9 * images(size), 64, mode="bicubic").flatten(1)[:, 1000:1064],
    )
    sheet.row("black and white drawings enlarged by bicubic interpolation", enlarged)
    sheet.row("faulty: standardized", lambda size: torch.randn(size, 64))
    sheet.row("faulty: in [-1, 1]", lambda size: 2 * images(size).flatten(1) - 1)
    sheet.row("faulty: 0 to 255", lambda size: 255 * images(size).flatten(1))
    return f"A sigmoid head of 64 outputs under MSE; share of {draws} draws on which LOS016 speaks:\n\n{sheet}"


def initial_loss(draws: int) -> str:
    sheet = Sheet("LOS018", draws, loss=nn.CrossEntropyLoss()).columns((8, 32, 128))
    for classes in (2, 10, 100):
        sheet.row(f"{classes} classes, random labels", zipf(classes, 0.0), classes)
    sheet.row("2 classes, 95 / 5", lambda size: (torch.rand(size) < 0.05).long(), 2)
    binary = Sheet("LOS018", draws, loss=nn.BCEWithLogitsLoss()).columns((8, 32, 128))
    binary.row("20 classes, 1.5 labels a row, BCE", multi_hot(20, 1.5))
    squares = Sheet(
        "LOS018", draws, loss=lambda output, target: functional.mse_loss(output.squeeze(-1), target)
    ).columns((8, 32, 128))
    squares.row("standardized targets, MSE", torch.randn, 1)
    squares.row("targets of deviation 0.1 around 0, MSE", lambda size: 0.1 * torch.randn(size), 1)
    spread = []
    for std in (0.1, 0.5, 1.0, 1.2, 1.5, 2.0, 3.0):
        logits = std * torch.randn(20000, 10)
        spread.append(f"| {std:g} | {float((logits.logsumexp(1) - logits.mean(1)).mean()) - math.log(10):.2f} |")
    rows = "\n".join([str(sheet), *binary.rows[2:], *squares.rows[2:]])
    closed = "| deviation of 10 logits | excess, nats |\n|---|---|\n" + "\n".join(spread)
    return f"{closed}\n\nShare of {draws} draws of a fresh linear layer on which LOS018 speaks, too high or too low:\n\n{rows}"


def constant_target(draws: int) -> str:
    sheet = Sheet("DAT012", draws, loss=nn.CrossEntropyLoss()).columns((16, 32, 64, 128, 256))
    for share in (0.5, 0.2, 0.1, 0.05, 0.01):
        sheet.row(
            f"2 classes, {share:.0%} of the rare one", lambda size, share=share: (torch.rand(size) < share).long(), 2
        )
    return f"Share of {draws} draws of a single batch on which DAT012 speaks:\n\n{sheet}"


def class_imbalance(draws: int) -> str:
    sheet = Sheet("DAT004", draws, loss=nn.CrossEntropyLoss()).columns((128, 512, 2048))
    for classes in (2, 10, 100):
        sheet.row(f"{classes} classes, balanced", zipf(classes, 0.0), classes)
    for share in (0.2, 0.1, 0.05, 0.01):
        sheet.row(
            f"2 classes, {share:.0%} of the rare one", lambda size, share=share: (torch.rand(size) < share).long(), 2
        )
    return f"Share of {draws} draws on which DAT004 speaks:\n\n{sheet}"


def negative_loss(draws: int) -> str:
    """The most negative value that rounding gives a loss whose true value is 0 or a little above."""
    lines = [
        "| dtype | cross_entropy | nll_loss | binary_cross_entropy_with_logits | kl_div |",
        "|---|---|---|---|---|",
    ]
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        lowest = [0.0] * 4
        for seed in range(draws):
            torch.manual_seed(seed)
            labels = torch.randint(0, 10, (64,))
            logits = (torch.randn(64, 10) + 30.0 * functional.one_hot(labels, 10)).to(dtype)
            logs = torch.log_softmax(logits, 1)
            chances = torch.softmax(torch.randn(64, 10), 1)
            values = (
                functional.cross_entropy(logits, labels, reduction="none"),
                functional.nll_loss(logs, labels, reduction="none"),
                functional.binary_cross_entropy_with_logits(
                    logits - 15, functional.one_hot(labels, 10).to(dtype), reduction="none"
                ),
                functional.kl_div(chances.log().to(dtype), chances.to(dtype), reduction="batchmean"),
            )
            lowest = [min(low, float(value.min())) for low, value in zip(lowest, values, strict=True)]
        lines.append(f"| {str(dtype).removeprefix('torch.')} | {' | '.join(f'{low:.1e}' for low in lowest)} |")
    return f"Lowest value of {draws} batches of nearly perfect predictions:\n\n" + "\n".join(lines)


def log_probabilities(draws: int) -> str:
    """How far rounding moves the sum of a row of log-probabilities."""
    lines = ["| dtype | 10 classes | 1000 classes | 50000 classes |", "|---|---|---|---|"]
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        cells = []
        for classes in (10, 1000, 50000):
            torch.manual_seed(0)
            rows = [torch.log_softmax((3 * torch.randn(8, classes)).to(dtype), 1) for _ in range(max(2, draws // 10))]
            distance = torch.cat([values.double().logsumexp(1).abs() for values in rows])
            cells.append(f"{float(distance.median()):.1e} / {float(distance.max()):.1e}")
        lines.append(f"| {str(dtype).removeprefix('torch.')} | {' | '.join(cells)} |")
    return "Median / largest |logsumexp| of rows of `log_softmax` (logits of deviation 3):\n\n" + "\n".join(lines)


SECTIONS: dict[str, Callable[[int], str]] = {
    "initial-loss": initial_loss,
    "log-probabilities": log_probabilities,
    "one-hot-targets": one_hot_targets,
    "multi-hot-targets": multi_hot_targets,
    "class-labels": class_labels,
    "unused-classes": unused_classes,
    "prior-bias": prior_bias,
    "target-range": target_range,
    "negative-loss": negative_loss,
    "constant-target": constant_target,
    "class-imbalance": class_imbalance,
}


def main() -> None:
    """Simulate, print, and with --write keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--only", default="", help="sections, comma separated; all by default")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    chosen = arguments.only.split(",") if arguments.only else list(SECTIONS)
    for name in chosen:
        text = SECTIONS[name](arguments.draws)
        kept = arguments.write and put(f"targets {name}", text)
        print(f"== {name}{' (written)' if kept else ''}\n{text}\n", flush=True)


if __name__ == "__main__":
    main()
