"""Put one fault at a time into healthy models and see whether the right rule names the right place.

Usage: python benchmarks/mutation.py [--only resnet] [--operator softmax] [--no-zoo] [--limit 20]

The models are the healthy idioms of tests/idioms and a part of the zoo. Writes one JSON line for each mutant (`--out`) and
docs/evidence/mutation.md (`--page`): recall, diagnosis and the false alarms on the unmutated twins, for each rule.
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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: two workers share two cores

ROOT = Path(__file__).resolve().parent.parent
IDIOMS = ROOT / "tests" / "idioms"
sys.path[:0] = [str(ROOT), str(ROOT / "rules"), str(IDIOMS)]

#: Models of the zoo that are built and checked in a second or two, of all its libraries and many architectures.
ZOO = (
    "nn/transformer", "nn/encoder", "nn/encoder_norm_first", "nn/decoder", "nn/lstm_lm", "nn/bigru_last", "nn/rnncell_loop", "nn/mlp",
    "nn/lenet", "nn/cnn_bn", "nn/cnn_flatten_32", "nn/conv1d_flatten", "nn/conv3d", "nn/autoencoder", "nn/embbag", "nn/mha_block",
    "nn/data_dep", "nn/two_inputs", "pyg/GraphSAGE", "pyg/PMLP",
    "torchvision/mobilenet_v3_small", "torchvision/mnasnet0_5", "torchvision/shufflenet_v2_x1_5", "torchvision/regnet_x_800mf",
    "timm/test_byobnet", "timm/test_efficientnet_ln", "timm/test_nfnet", "timm/test_vit4", "timm/test_coatnet", "timm/resnet10t",
    "timm/resnetv2_18", "timm/convnext_zepto_rms", "timm/pvt_v2_b0", "timm/regnetx_002", "timm/ese_vovnet19b_slim_dw",
    "hf/AlbertForSequenceClassification", "hf/BeitForImageClassification", "hf/BertLMHeadModel", "hf/BlenderbotSmallForCausalLM",
    "hf/DeiTForImageClassification", "hf/Dinov2ForImageClassification", "hf/DistilBertForSequenceClassification",
    "hf/FalconMambaForCausalLM", "hf/FNetForSequenceClassification", "hf/GPT2LMHeadModel", "hf/ImageGPTForImageClassification",
    "hf/MegatronBertForCausalLM", "hf/MistralForCausalLM", "hf/NomicBertForSequenceClassification", "hf/PhiForCausalLM",
    "hf/PLBartForCausalLM", "hf/SiglipForImageClassification", "hf/T5ForConditionalGeneration", "hf/ViTForImageClassification",
)  # fmt: skip

#: Pictures for the models of the zoo that take any size: a check of 224 x 224 takes five times as long.
PICTURE = 96

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
        for name in ("transformers", "peft"):
            if name in file.stem:
                library(name)
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[file.stem] = module
        spec.loader.exec_module(module)
        for name, build in vars(module).items():
            if name.startswith("build_") and name not in UNCHANGEABLE:
                yield Subject(f"idioms/{name.removeprefix('build_')}", build)


def zoo_models() -> Iterator[Subject]:
    """The models of the zoo that are mutated."""
    from benchmarks import zoo
    from benchmarks.zoo_setup import training_setup

    for name, build in zoo.zoo(("nn", "timm", "torchvision", "hf", "pyg")):
        if name in ZOO:
            yield Subject(name, lambda name=name, build=build: _classified(name, training_setup(name, _smaller(build)).fields))


def _smaller(build: Callable[[], Any]) -> Callable[[], Any]:
    """Build a model with smaller pictures where it takes them."""

    def built() -> Any:
        import torch

        model, args, kwargs = build()
        if not args or args[0].dim() != 4 or min(args[0].shape[2:]) <= PICTURE:
            return model, args, kwargs
        smaller = (args[0][..., :PICTURE, :PICTURE].contiguous(), *args[1:])
        try:
            with torch.no_grad():
                model(*smaller, **kwargs)
        except (RuntimeError, AssertionError):
            return model, args, kwargs  # its positions are those of one size
        return model, smaller, kwargs

    return built


def _classified(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The setup of a zoo model with plain cross-entropy where it gives (batch, classes)."""
    import torch
    from torch import nn

    from benchmarks.mutation_tools import called, prediction_of

    if name.startswith(("hf/", "pyg/")):
        return fields
    with torch.no_grad():
        found = prediction_of(called(fields["model"], fields["inputs"]))
    if found is not None and found.dim() == 2 and found.shape[0] == 8 and found.shape[1] > 1:
        targets = fields.get("targets")
        fields |= {"targets": torch.arange(8) % found.shape[1] if targets is None else targets, "loss": nn.CrossEntropyLoss()}
    return fields


# -------------------------------------------------------------------- one subject


def rows_of(subject: Subject, operators: Iterable[Any], limit_s: int) -> list[dict[str, Any]]:
    """The unmutated twin of a subject, and those of its mutants that the operators can make."""
    rows = [_row(subject, None, limit_s)]
    rows += [_row(subject, operator, limit_s) for operator in operators]
    return [row for row in rows if row["status"] != "not applicable"]


def rows_for(operator: Any, subjects: Iterable[Subject], wanted: int, limit_s: int) -> list[dict[str, Any]]:
    """The mutants of the first subjects that offer the operator a place, in an order drawn once for all by a checksum."""
    rows: list[dict[str, Any]] = []
    for subject in sorted(subjects, key=lambda subject: _draw(subject.name, operator.name)):
        if len(rows) == wanted:
            break
        row = _row(subject, operator, limit_s)
        rows += [row] if row["status"] != "not applicable" else []
    return rows


def _draw(subject: str, operator: str) -> float:
    """A number from 0 to 1 that looks random and is the same every time."""
    return zlib.crc32(f"{subject} {operator}".encode()) / 2**32


def _row(subject: Subject, operator: Any, limit_s: int) -> dict[str, Any]:
    """What a check says of the mutant, or of the subject itself where there is no operator."""
    import torch

    from benchmarks.mutation_tools import NotApplicable
    from nnlint.config import CheckSettings
    from nnlint.engine import check

    name, codes, probes = (operator.name, operator.codes, operator.probes) if operator is not None else ("", (), ())
    row: dict[str, Any] = {"subject": subject.name, "operator": name, "codes": list(codes)}
    begun = time.perf_counter()
    signal.alarm(limit_s)
    try:
        torch.manual_seed(0)
        fields, places = subject.build(), None
        if operator is not None:
            made = operator.apply(fields) if isinstance(fields, dict) else None  # a tuple has no field to change
            if made is None:
                return row | {"status": "not applicable"}
            fields, places = made.fields, made.places
        report = check(fields, CheckSettings(probes=probes))
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


@dataclass(frozen=True)
class Task:
    """A subject with the operators that are sampled for it, or an operator with the models of the zoo."""

    limit_s: int
    subject: int | None = None
    operators: tuple[int, ...] = ()
    zoo_models: int = 0


def _work(task: Task) -> list[dict[str, Any]]:
    from benchmarks.mutation_operators import OPERATORS

    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _time_up)
    sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - lives as long as the process
    operators = [OPERATORS[index] for index in task.operators]
    if task.subject is not None:
        return rows_of(_SUBJECTS[task.subject], operators, task.limit_s)
    zoo = [subject for subject in _SUBJECTS if not _is_idiom(subject)]
    return [row for operator in operators for row in rows_for(operator, zoo, task.zoo_models, task.limit_s)]


def _time_up(number: int, frame: Any) -> None:
    raise TimeUp


#: Set before the workers are forked: a build function that is a closure cannot be sent to them.
_SUBJECTS: list[Subject] = []


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Mutate healthy models and check the mutants.")
    parser.add_argument("--no-zoo", action="store_true", help="the idioms only")
    parser.add_argument("--only", metavar="TEXT", default="", help="subjects whose name holds TEXT")
    parser.add_argument("--operator", metavar="TEXT", default="", help="operators whose name holds TEXT, or that stand for this code")
    parser.add_argument("--limit", type=int, metavar="N", help="stop after N subjects")
    parser.add_argument("--share", type=float, default=1.0, help="check this share of the idioms' mutants, the same ones every time")
    parser.add_argument("--zoo-models", type=int, default=8, metavar="N", help="put each operator into this many models of the zoo")
    parser.add_argument("--rows", type=Path, nargs="*", metavar="FILE", help="write the page of these rows and check nothing")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--time-limit", type=int, default=120, metavar="SECONDS", help="for one check")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "mutation.jsonl")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "evidence" / "mutation.md")
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
        arguments.page.write_text(page(rows, rules, arguments.share, arguments.zoo_models), encoding="utf-8")
        print(f"wrote {arguments.page}")
    return 0


def _read(files: list[Path]) -> list[dict[str, Any]]:
    """The rows of earlier runs."""
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def _checked(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of this run, written as they come."""
    # The zoo first: it completes torchvision, which the idioms' libraries then import as it is.
    zoo = [] if arguments.no_zoo else list(zoo_models())
    _SUBJECTS.extend([subject for subject in (*idioms(), *zoo) if arguments.only in subject.name][: arguments.limit])
    for subject in zoo:
        subject.build()  # imports what it needs, once for all workers
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with arguments.out.open("w", encoding="utf-8") as out:
        pool = multiprocessing.get_context("fork").Pool(arguments.workers, maxtasksperchild=1)
        for made in pool.imap_unordered(_work, _tasks(arguments)):
            rows += made
            out.writelines(json.dumps(row) + "\n" for row in made)
            out.flush()
            print(", ".join(dict.fromkeys(row["subject"] for row in made)), f"{len(made)} rows", flush=True)
        pool.close()
    return rows


def _tasks(arguments: argparse.Namespace) -> list[Task]:
    from benchmarks.mutation_operators import OPERATORS

    limit_s, tasks = arguments.time_limit, []
    wanted = [index for index, one in enumerate(OPERATORS) if arguments.operator in one.name or arguments.operator in one.codes]
    for index, subject in enumerate(_SUBJECTS):
        sampled = [one for one in wanted if _draw(subject.name, OPERATORS[one].name) < arguments.share]
        tasks.append(Task(limit_s, index, tuple(sampled) if _is_idiom(subject) else ()))
    if not all(_is_idiom(subject) for subject in _SUBJECTS):
        tasks += [Task(limit_s, operators=(one,), zoo_models=arguments.zoo_models) for one in wanted]
    return tasks


def _is_idiom(subject: Subject) -> bool:
    return subject.name.startswith("idioms/")


if __name__ == "__main__":
    raise SystemExit(main())
