"""The words for what is meant to be so: `declared=` and `task=` of a training setup. No torch here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

#: Trait -> what it says. Rules about it stay silent. A rule pack's own traits are written `pack:trait` and not checked.
TRAITS: Mapping[str, str] = MappingProxyType(
    {
        "batch-mixing": "samples of a batch depend on each other: a contrast between them, a graph of the batch",
        "end-never-labelled": "the end of a sequence has no label on purpose",
        "label-shift": "labels are shifted against the inputs on purpose",
        "sees-future": "an output may depend on later positions",
        "symmetric": "the loss is applied both ways on purpose",
        "mutual-learning": "models are trained towards each other's predictions",
        "compiled": "a compiled model is checked as compiled",
        "parallel": "a data-parallel model is checked with its wrapper",
        "monte-carlo-dropout": "dropout stays on in evaluation",
        "multi-label": "a sample may have several classes",
        "multilabel": "a sample may have several classes",
        "norm-over-time": "a norm may average over padded positions",
        "one-vs-rest": "binary losses on exclusive classes: one decision for each class",
        "ordinal": "classes in an order, fitted as numbers",
        "autoencoder": "the target is the input",
        "reconstruction": "the target is the input, or what was hidden of it",
        "regression": "integer targets are numbers, not classes",
        "padding-in-loss": "padded positions count in the loss",
        "padding-read": "padded positions may change the outputs at real ones",
        "query-normalized": "attention normalized over the queries",
        "random-features": "layers frozen at their random values",
        "set-input": "the order of the inputs along the sequence does not matter",
        "slot-attention": "attention normalized over the slots",
        "stochastic": "evaluation is random: a sampler, a noise input",
        "subsampling": "positions of the input are skipped",
        "tied-weights": "layers share parameters",
        "time-major": "inputs are (time, batch, ...)",
        "unused-heads": "layers that this training does not use",
        "unused-inputs": "inputs, or parts of them, that the model does not use",
        "weight-sharing": "layers share parameters",
    }
)

#: Task -> what the model learns.
TASKS: Mapping[str, str] = MappingProxyType(
    {
        "classification": "one class for each sample or position",
        "multilabel": "any number of classes for each sample",
        "regression": "numbers",
        "ordinal": "classes in an order",
        "language-modeling": "the next token, or hidden ones",
        "segmentation": "one class for each pixel",
        "detection": "boxes and their classes",
        "ranking": "an order of items",
        "retrieval": "embeddings that are compared",
        "contrastive": "which samples belong together",
        "autoencoder": "the input again",
        "reconstruction": "the input again, or what was hidden of it",
        "generation": "samples of the data's distribution",
        "translation": "another sequence",
        "reinforcement": "actions, or their values",
    }
)


def check_words(words: Iterable[str], known: Mapping[str, str], what: str) -> None:
    """Refuse words that nobody reads: a misspelt trait would silence nothing.

    Raises:
        ValueError: a word is not known; it names the nearest.
    """
    for word in words:
        if word in known or ":" in word:
            continue
        near = difflib.get_close_matches(word.lower().replace("_", "-").replace(" ", "-"), known, n=1, cutoff=0.5)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown {what} {word!r}{meant} (known: {', '.join(sorted(known))})")
