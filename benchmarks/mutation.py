"""Put one fault at a time into healthy models and see whether the right rule names the right place.

Usage: python benchmarks/mutation.py [--zoo ../shared/zoo] [--only resnet] [--operator softmax] [--no-zoo] [--limit 20]

The models are the healthy idioms of tests/idioms and a part of the zoo. Writes one JSON line for each mutant (`--out`) and
docs/mutation.md (`--page`): recall, diagnosis and the false alarms on the unmutated twins, for each rule.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: two workers share two cores

ROOT = Path(__file__).resolve().parent.parent
IDIOMS = ROOT / "tests" / "idioms"
sys.path[:0] = [str(ROOT), str(ROOT / "rules"), str(IDIOMS)]

#: Small models of the zoo, of many architectures.
ZOO = (
    "nn/lstm_lm", "nn/bigru_last", "nn/rnncell_loop", "nn/mlp", "nn/lenet", "nn/cnn_bn", "nn/cnn_flatten_32", "nn/embbag",
    "nn/encoder", "nn/encoder_norm_first", "nn/mha_block", "timm/test_resnet", "timm/test_vit", "timm/test_mambaout",
    "timm/test_convnext", "timm/test_efficientnet", "timm/test_byobnet", "timm/test_nfnet", "timm/test_vit2", "timm/mixer",
    "torchvision/squeezenet1_1", "torchvision/mobilenet_v3_small", "torchvision/shufflenet_v2_x0_5", "torchvision/resnet18",
    "hf/BertForMaskedLM", "hf/GPT2LMHeadModel", "hf/LlamaForCausalLM", "hf/AlbertForMaskedLM", "hf/ViTForImageClassification",
    "hf/ResNetForImageClassification", "hf/MistralForCausalLM", "hf/ElectraForCausalLM",
)  # fmt: skip


#: TorchScript takes neither hooks nor other layers.
UNCHANGEABLE = {"build_scripted"}


@dataclass(frozen=True)
class Subject:
    """A healthy model to put faults into."""

    name: str
    build: Callable[[], dict[str, Any]]


class TimeUp(Exception):
    """A check took too long."""


def idioms() -> Iterator[Subject]:
    """The healthy idioms that are given as a dict."""
    from tests.libraries import library

    for file in sorted(IDIOMS.glob("healthy_*.py")):
        if "lightning" in file.stem:
            continue  # the loss is a method: operators on loss and head do not reach it
        if "transformers" in file.stem:
            library("transformers")
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[file.stem] = module
        spec.loader.exec_module(module)
        for name, build in vars(module).items():
            if name.startswith("build_") and name not in UNCHANGEABLE:
                yield Subject(f"idioms/{name.removeprefix('build_')}", build)


def zoo_models(folder: Path) -> Iterator[Subject]:
    """The models of the zoo that are mutated."""
    sys.path.insert(0, str(folder.resolve()))
    import zoo

    from benchmarks.zoo_setup import training_setup

    for name, build in zoo.zoo(("nn", "timm", "torchvision", "hf")):
        if any(name == wanted or (wanted.startswith("timm/") and name.startswith(wanted)) for wanted in ZOO):
            yield Subject(name, lambda name=name, build=build: _classified(name, training_setup(name, build).fields))


def _classified(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The setup of a zoo model; those of torch.nn with a (batch, classes) output get a loss."""
    import torch
    from torch import nn

    from benchmarks.mutation_tools import called, prediction_of

    if not name.startswith("nn/"):
        return fields
    with torch.no_grad():
        found = prediction_of(called(fields["model"], fields["inputs"]))
    if found is not None and found.dim() == 2 and found.shape[0] == 8 and found.shape[1] > 1:
        fields |= {"targets": torch.arange(8) % found.shape[1], "loss": nn.CrossEntropyLoss()}
    return fields


# -------------------------------------------------------------------- one subject


def rows_of(subject: Subject, wanted: str, limit_s: int, share: float = 1.0) -> list[dict[str, Any]]:
    """The unmutated twin of a subject and its mutants, or a fixed share of them."""
    from benchmarks.mutation_operators import OPERATORS

    rows = [_row(subject, "", (), lambda fields: (fields, None), limit_s)]
    for operator in OPERATORS:
        if (wanted in operator.name or wanted in operator.codes) and _is_sampled(subject.name, operator.name, share):
            row = _row(subject, operator.name, operator.codes, _applied(operator), limit_s)
            rows += [row] if row["status"] != "not applicable" else []
    return rows


def _is_sampled(subject: str, operator: str, share: float) -> bool:
    return zlib.crc32(f"{subject} {operator}".encode()) < share * 2**32


def _applied(operator: Any) -> Callable[[dict[str, Any]], tuple[dict[str, Any], tuple[str, ...] | None] | None]:
    def apply(fields: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...] | None] | None:
        made = operator.apply(fields) if isinstance(fields, dict) else None  # a tuple has no field to change
        return None if made is None else (made.fields, made.places)

    return apply


def _row(subject: Subject, name: str, codes: tuple[str, ...], apply: Callable[..., Any], limit_s: int) -> dict[str, Any]:
    import torch

    from benchmarks.mutation_tools import NotApplicable
    from nnlint.config import CheckSettings
    from nnlint.engine import check

    row: dict[str, Any] = {"subject": subject.name, "operator": name, "codes": list(codes)}
    begun = time.perf_counter()
    signal.alarm(limit_s)
    try:
        torch.manual_seed(0)
        made = apply(subject.build())
        if made is None:
            return row | {"status": "not applicable"}
        fields, places = made
        report = check(fields, CheckSettings())
    except NotApplicable:
        return row | {"status": "not applicable"}
    except TimeUp:
        return row | {"status": "timeout"}
    except Exception as error:
        return row | {"status": "crashed", "error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc().splitlines()[-6:]}
    finally:
        signal.alarm(0)
    found = [
        {"code": item.code, "level": item.level.value, "module": item.module, "modules": list(item.modules), "message": item.message}
        for item in report.findings
    ]
    skipped = {item.code: item.reason for item in report.skipped}
    return row | {
        "status": report.status,
        "places": list(places) if places is not None else None,
        "findings": found,
        "skipped": {code: skipped[code] for code in codes if code in skipped},
        "seconds": round(time.perf_counter() - begun, 2),
    }


def _work(task: tuple[int, str, int, float]) -> list[dict[str, Any]]:
    index, wanted, limit_s, share = task
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _time_up)
    sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - lives as long as the process
    return rows_of(_SUBJECTS[index], wanted, limit_s, share)


def _time_up(number: int, frame: Any) -> None:
    raise TimeUp


#: Set before the workers are forked: a build function that is a closure cannot be sent to them.
_SUBJECTS: list[Subject] = []


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Mutate healthy models and check the mutants.")
    parser.add_argument("--zoo", type=Path, default=ROOT.parent / "shared" / "zoo", help="folder of zoo.py")
    parser.add_argument("--no-zoo", action="store_true", help="the idioms only")
    parser.add_argument("--only", metavar="TEXT", default="", help="subjects whose name holds TEXT")
    parser.add_argument("--operator", metavar="TEXT", default="", help="operators whose name or code holds TEXT")
    parser.add_argument("--limit", type=int, metavar="N", help="stop after N subjects")
    parser.add_argument("--share", type=float, default=1.0, help="check this share of the idioms' mutants, the same ones every time")
    parser.add_argument("--zoo-share", type=float, default=1.0, help="the same for the models of the zoo, which are larger")
    parser.add_argument("--rows", type=Path, nargs="*", metavar="FILE", help="write the page of these rows and check nothing")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--time-limit", type=int, default=120, metavar="SECONDS", help="for one check")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "mutation.jsonl")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "mutation.md")
    parser.add_argument("--no-page", action="store_true", help="write no page (a part of the mutants is no result)")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    from benchmarks.mutation_page import page, summary
    from nnlint import registry

    rules = {rule.code: (rule.name, rule.level.value) for rule in registry.load().rules}
    rows = _checked(arguments) if arguments.rows is None else _read(arguments.rows)
    print(summary(rows, rules))
    if not arguments.no_page:
        arguments.page.write_text(page(rows, rules, arguments.share, arguments.zoo_share), encoding="utf-8")
        print(f"wrote {arguments.page}")
    return 0


def _read(files: list[Path]) -> list[dict[str, Any]]:
    """The rows of earlier runs."""
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def _checked(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of this run, written as they come."""
    # The zoo first: it completes torchvision, which the idioms' libraries then import as it is.
    zoo = [] if arguments.no_zoo else list(zoo_models(arguments.zoo))
    _SUBJECTS.extend([subject for subject in (*idioms(), *zoo) if arguments.only in subject.name][: arguments.limit])
    tasks = [
        (index, arguments.operator, arguments.time_limit, arguments.share if _is_idiom(subject) else arguments.zoo_share)
        for index, subject in enumerate(_SUBJECTS)
    ]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with arguments.out.open("w", encoding="utf-8") as out:
        pool = multiprocessing.get_context("fork").Pool(arguments.workers, maxtasksperchild=1)
        for made in pool.imap_unordered(_work, tasks):
            rows += made
            out.writelines(json.dumps(row) + "\n" for row in made)
            out.flush()
            print(f"{made[0]['subject']}: {len(made) - 1} mutants", flush=True)
        pool.close()
    return rows


def _is_idiom(subject: Subject) -> bool:
    return subject.name.startswith("idioms/")


if __name__ == "__main__":
    raise SystemExit(main())
