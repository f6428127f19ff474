"""Faulty variants for the tables of thresholds.py: healthy idioms and nets of grid.py with one fault of the mutation operators."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grid
import torch

from benchmarks import zoo
from benchmarks.mutation_operators import OPERATORS, Operator
from benchmarks.mutation_subjects import ZOO, idioms, zoo_models
from benchmarks.mutation_tools import NotApplicable

#: Faulty models that each rule is to be evaluated on.
WANTED = 20
#: Batches with which each net of grid.py is taken: its data differ as well.
BATCHES = (32, 16, 8, 64)


@dataclass(frozen=True)
class Healthy:
    """A healthy model that operators can be applied to."""

    name: str
    build: Callable[[], Any]


def healthy_models() -> tuple[Healthy, ...]:
    """The nets of grid.py with batches of several sizes, the healthy idioms, and the models of the zoo that are mutated."""
    nets = [
        Healthy(f"grid/{name} of {batch}", lambda make=make, batch=batch: grid.with_adamw(make(batch)))
        for batch in BATCHES
        for name, make in grid.MODELS.items()
    ]
    return (*nets, *(Healthy(subject.name, subject.build) for subject in (*idioms(), *zoo_models(zoo))))


def operators_of(code: str) -> list[Operator]:
    """The operators that are counted for a rule; where none is, those that it may report beside another rule."""
    own = [operator for operator in OPERATORS if operator.codes[0] == code]
    return own or [operator for operator in OPERATORS if code in operator.codes]


def variants(code: str, models: tuple[Healthy, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and fields of models with a fault that the rule has to report, the operators in turns, the models in a drawn order."""
    rounds = [_mutants(operator, models) for operator in operators_of(code)]
    for turn in itertools.zip_longest(*rounds):
        yield from (mutant for mutant in turn if mutant is not None)


def _mutants(operator: Operator, models: tuple[Healthy, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    # Those of the zoo last: they take seconds.
    for model in sorted(models, key=lambda model: (model.name in ZOO, zlib.crc32(f"{model.name} {operator.name}".encode()))):
        torch.manual_seed(0)
        try:
            fields = model.build()
            mutant = operator.apply(fields) if isinstance(fields, dict) else None
        except (NotApplicable, RuntimeError, ValueError):
            continue  # the fault breaks the forward of this model, or it offers no place for it
        if mutant is not None:
            yield f"{model.name}, {operator.name}", mutant.fields
