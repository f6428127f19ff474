"""How far healthy losses are from the limits of the rules on terms, class weights and class numbers.

    python benchmarks/calibration/objectives.py [--draws 40] [--write]

`terms` measures the gradient ratios of the summands of the healthy idioms' losses (LOS036); `weights` draws labels and the class
weights that people make of them (DAT014); `order` draws inputs of classes, grades and counts (LOS014 on floats). `--write` puts
the tables into docs/evidence/calibration.md.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "rules"), str(ROOT / "benchmarks" / "calibration"), str(ROOT / "tests" / "idioms")]

import torch  # noqa: E402
from sections import put  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import nnlint  # noqa: E402
from nnlint.finding import Skip  # noqa: E402
from nnlint.probes.session import Plan, Session  # noqa: E402
from nnlint.setup import SetupOptions, coerce  # noqa: E402

_IDIOMS = ("healthy_terms", "healthy_objectives", "healthy_generative", "healthy_agents", "healthy_selfsupervised", "healthy_losses")


def ratios() -> Iterator[tuple[str, float, bool]]:
    """The largest ratio of two terms' gradients on what both train, and whether the small one compares with the targets."""
    for module in _IDIOMS:
        found = importlib.import_module(module)
        for name in (name for name in dir(found) if name.startswith("build_")):
            torch.manual_seed(0)
            session = Session(coerce(getattr(found, name)(), SetupOptions()), Plan())
            try:
                terms = session.evidence("LossTerms")
            except Skip:
                continue
            finally:
                session.close()
            pairs = [(one, other) for one in terms.terms for other in terms.terms if one is not other]
            for small, large in pairs:
                shared = terms.shared(small, large)
                pull = small.pull(shared)
                if pull > 0 and large.pull(shared) > pull:
                    before = terms.graph.ancestors(small.op)
                    fits = any(op.node.meta.get("is_target") or op.is_kind("loss") for op in (small.op, *before))
                    ratio = large.pull(shared) / pull / max(1.0, abs(large.factor))
                    yield f"{module}.{name}", ratio, fits and abs(small.factor) > 0.05


def terms_table(draws: int) -> str:
    """Quantiles of the ratios over the healthy idioms."""
    del draws
    rows = list(ratios())
    lines = ["| terms of healthy losses | pairs | median | 90% | largest |", "|---|---|---|---|---|"]
    for words, judged in (("the small one is judged (a fit, not weighed down)", True), ("the small one is left alone", False)):
        values = torch.tensor([ratio for _, ratio, fits in rows if fits is judged] or [0.0])
        cells = [f"{float(values.quantile(q)):.3g}" for q in (0.5, 0.9, 1.0)]
        lines.append(f"| {words} | {len(values)} | {' | '.join(cells)} |")
    return "\n".join(lines)


_WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "none (all 1)": torch.ones_like,
    "inverse frequency": lambda n: n.sum() / (len(n) * n),
    "root of the inverse": lambda n: (n.max() / n).sqrt(),
    "effective number, 0.999": lambda n: (1 - 0.999) / (1 - 0.999**n),
    "chosen at random, 0.5 to 2": lambda n: 0.5 + 1.5 * torch.rand(len(n)),
    "faulty: the frequency": lambda n: len(n) * n / n.sum(),
    "faulty: inverse, in reverse order": lambda n: (n.sum() / (len(n) * n)).flip(0),
    "faulty: inverse, one place on": lambda n: (n.sum() / (len(n) * n)).roll(1),
}


def weights_table(draws: int) -> str:
    """Share of draws of imbalanced labels on which DAT014 speaks."""
    lines = ["| class weights | 2 classes | 3 classes | 5 classes | 10 classes |", "|---|---|---|---|---|"]
    for words, make in _WEIGHTS.items():
        cells = []
        for classes in (2, 3, 5, 10):
            hits = 0
            for draw in range(draws):
                torch.manual_seed(draw)
                shares = 0.6 ** torch.arange(classes)
                y = torch.cat([torch.arange(classes), torch.multinomial(shares, 400, replacement=True)])
                loss = nn.CrossEntropyLoss(weight=make(torch.bincount(y).double()).float())
                hits += _speaks("DAT014", nn.Linear(8, classes), torch.randn(len(y), 8), y, loss)
            cells.append(f"{hits / draws:.0%}")
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _classes(y: Tensor, x: Tensor) -> Tensor:
    return x + 1.5 * torch.randn(int(y.max()) + 1, x.shape[1])[y]


def _grades(y: Tensor, x: Tensor) -> Tensor:
    return x + 0.8 * y[:, None] * torch.randn(x.shape[1])


def _curved(y: Tensor, x: Tensor) -> Tensor:
    return _grades(y, x) + 0.15 * (y**2)[:, None] * torch.randn(x.shape[1])


_ORDERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grades, along a line": _grades,
    "grades, along a curve": _curved,
    "nothing to do with the inputs": lambda _, x: x,
    "faulty: class numbers": _classes,
}


def order_table(draws: int) -> str:
    """Share of draws of whole numbers given as floats on which LOS014 speaks."""
    lines = ["| numbers given as floats | 3 values | 5 values | 10 values |", "|---|---|---|---|"]
    for words, make in _ORDERS.items():
        cells = []
        for values in (3, 5, 10):
            hits = 0
            for draw in range(draws):
                torch.manual_seed(draw)
                y = torch.cat([torch.arange(values), torch.randint(0, values, (20 * values,))])
                x = make(y, torch.randn(len(y), 12))
                hits += _speaks("LOS014", nn.Linear(12, 1), x, y.float()[:, None], nn.MSELoss())
            cells.append(f"{hits / draws:.0%}")
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _speaks(code: str, model: nn.Module, inputs: Tensor, targets: Tensor, loss: Any) -> bool:
    case = {"model": model, "inputs": inputs, "targets": targets, "loss": loss}
    return bool(nnlint.check(case, select=[code]).results[0].findings)


TABLES = {"terms": terms_table, "weights": weights_table, "order": order_table}


def main() -> None:
    """Print the tables, or put them into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(TABLES)}; all without any")
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in given.tables or TABLES:
        text = TABLES[name](given.draws)
        print(f"\n{name}\n{text}")
        if given.write:
            put(f"objectives {name}", text)


if __name__ == "__main__":
    main()
