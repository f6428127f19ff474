"""What `nnlint run` costs beside the bare script: an iteration while it is watched, and one afterwards.

Bare and watched iterations alternate in one process, so that both meet the same machine: for each round a fresh model is trained
bare, then watched. The ratio is that of the medians over all rounds; the setup is judged by no rule here.

    python benchmarks/observe_cost.py --output docs/evidence/observe-cost.md
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from nnlint.observation.course import Plan
from nnlint.observation.observer import Observer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.libraries import library

WATCHED = 4  # updates, the default of `nnlint run`
Step = Callable[[], None]


def cnn() -> Step:
    """MNIST's example network, 64 samples."""
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
    )  # fmt: skip
    return _classifier(model, torch.randn(64, 1, 28, 28), 10)


class _Block(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False), nn.BatchNorm2d(outside),
        )  # fmt: skip
        same = stride == 1 and inside == outside
        self.skip = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.body(x) + self.skip(x))


def resnet18() -> Step:
    """ResNet-18 on 16 images of 32 x 32."""
    widths = [
        (64, 64, 1),
        (64, 64, 1),
        (64, 128, 2),
        (128, 128, 1),
        (128, 256, 2),
        (256, 256, 1),
        (256, 512, 2),
        (512, 512, 1),
    ]
    blocks = [_Block(*width) for width in widths]
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3, 1, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    return _classifier(model, torch.randn(16, 3, 32, 32), 10)


class _Gpt(nn.Module):
    def __init__(self, vocabulary: int = 256, width: int = 128, layers: int = 6, length: int = 64) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True, norm_first=True, dropout=0.1)
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
        hidden = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        return self.head(self.blocks(hidden, mask=mask, is_causal=True))


def gpt() -> Step:
    """A GPT of 6 layers of width 128, 8 sequences of 64 tokens."""
    model, ids = _Gpt(), torch.randint(0, 256, (8, 65))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()

    return step


def _classifier(model: nn.Module, x: torch.Tensor, classes: int) -> Step:
    y = torch.randint(0, classes, (len(x),))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()

    return step


def seconds(step: Step, count: int) -> list[float]:
    """The time of each of `count` iterations."""
    taken = []
    for _ in range(count):
        start = time.process_time()
        step()
        taken.append(time.process_time() - start)
    return taken


def measured(make: Callable[[], Step], rounds: int) -> tuple[float, float, float, float]:
    """(bare iteration in ms, first watched / bare, later watched / bare, afterwards / bare), medians over the rounds."""
    bare, first, watched, after = [], [], [], []
    for _ in range(rounds):
        step = make()
        seconds(step, 2)
        bare += seconds(step, WATCHED)
        observer = Observer(Plan(keep_going=True, fold=False))
        observer.start()
        step = make()  # its optimizer is seen being made
        taken = seconds(step, WATCHED - 1)
        observer.stop()
        first.append(taken[0])
        watched += taken[1:]
        after += seconds(step, WATCHED)
        again = make()
        seconds(again, 2)
        bare += seconds(again, WATCHED)
    middle = statistics.median(bare)
    return 1000 * middle, *(statistics.median(found) / middle for found in (first, watched, after))


def ending_itself(iterations: int) -> Observer:
    """An observer that takes its hooks off after so many updates, as `nnlint run --keep-going` does."""

    def ended() -> None:
        made.stop()

    made = Observer(Plan(iterations=iterations, keep_going=True, fold=False), ended)
    return made


class Rows(torch.utils.data.Dataset[Any]):
    """Sentences of 32 random tokens."""

    def __len__(self) -> int:
        return 256

    def __getitem__(self, index: int) -> dict[str, Any]:
        ids = torch.randint(5, 100, (32,), generator=torch.Generator().manual_seed(index))
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": index % 2}


def trained(steps: int) -> list[float]:
    """Seconds between the steps of a tiny BERT under the Hugging Face Trainer, by a callback of its own."""
    library("transformers")
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.marks: list[float] = []

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002 the Trainer passes all it has
            self.marks.append(time.process_time())

    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    model = BertForSequenceClassification(BertConfig(vocab_size=100, **shape))
    clock = Clock()
    settings = TrainingArguments(
        output_dir=tempfile.mkdtemp(), max_steps=steps, per_device_train_batch_size=8, report_to=[],
        save_strategy="no", logging_strategy="no", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    Trainer(model=model, args=settings, train_dataset=Rows(), callbacks=[clock]).train()
    return [later - sooner for sooner, later in zip(clock.marks, clock.marks[1:], strict=False)]


def trainer(rounds: int) -> tuple[float, float, float, float]:
    """The same numbers as `measured`, for the Trainer."""
    bare, watched, after, first = [], [], [], []
    trained(3)
    for _ in range(rounds):
        bare += trained(8)[2:]
        observer = ending_itself(6)
        observer.start()
        taken = trained(14)
        observer.stop()
        first.append(taken[0])
        watched += taken[1:4]
        after += taken[7:]
    middle = statistics.median(bare)
    return 1000 * middle, *(statistics.median(found) / middle for found in (first, watched, after))


def rows(rounds: int) -> Iterator[str]:
    """The table, line by line."""
    yield "| script | bare iteration, CPU ms | first watched | watched | afterwards |"
    yield "|---|---|---|---|---|"
    cases: list[tuple[str, Callable[[], tuple[float, float, float, float]]]] = [
        ("MNIST CNN, 64 samples", lambda: measured(cnn, rounds)),
        ("ResNet-18, 16 images of 32 x 32", lambda: measured(resnet18, rounds)),
        ("GPT, 6 layers of width 128, 8 x 64 tokens", lambda: measured(gpt, rounds)),
        ("BERT, 2 layers of width 64, HF Trainer", lambda: trainer(rounds)),
    ]
    for name, run in cases:
        milliseconds, first, watched, after = run()
        line = f"| {name} | {milliseconds:.0f} | {first:.2f} | {watched:.2f} | {after:.2f} |"
        print(line, flush=True)
        yield line


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    table = "\n".join(rows(chosen.rounds))
    page = f"""# What watching a script costs

`python benchmarks/observe_cost.py --rounds {chosen.rounds}`: CPU time of one training iteration while `nnlint run` watches, and after its
hooks are gone, beside the bare iteration; medians, one thread, torch {torch.__version__}. Bare and watched iterations alternate. The
machine had a load of {load:.1f} when the run began, so that single ratios carry noise of about 10 %. The first watched iteration also
tapes what is between the model and the loss, and copies the parameters once.

{table}

The probes of the rules are not in these numbers: they run once, after the script was stopped.
"""
    if chosen.output:
        chosen.output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
