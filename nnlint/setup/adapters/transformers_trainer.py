"""A transformers Trainer, or its arguments beside a model, as a training setup: its collator, batches, optimizer and schedule.

Nothing is trained and the Trainer stays as it is: what it would make for training is made by a copy of it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from nnlint.setup.adapters.tokenizers import TOKENIZER_KEYS, pad_id_of
from nnlint.setup.adapters.trainers import fields_of_trainer, is_trainer
from nnlint.setup.errors import SetupError
from nnlint.setup.inputs.signature import ForwardSignature
from nnlint.tensors import describe

#: Keys that belong to a Trainer, beside those of a setup.
TRAINER_KEYS = frozenset({"train_dataset", "eval_dataset", "data_collator", *TOKENIZER_KEYS})
_LABELS = ("label", "label_ids", "labels")


def is_transformers_trainer(value: object) -> bool:
    """Whether the value is a Trainer of transformers (or one derived from it), not only its arguments."""
    return is_trainer(value) and hasattr(value, "args") and isinstance(getattr(value, "model", None), nn.Module)


def fields_with_trainers(parts: Mapping[str, Any], trainers: list[Any]) -> dict[str, Any]:
    """The fields of a setup in a dict with Trainers or arguments beside it; what the dict says goes before what they say.

    Raises:
        SetupError: RUN001, when a Trainer's own code raises.
    """
    fields = {key: part for key, part in parts.items() if key not in TRAINER_KEYS}
    theirs: dict[str, Any] = {}
    for trainer in trainers:
        theirs |= fields_of_trainer(trainer)
    held = next((one for one in trainers if is_transformers_trainer(one)), None)
    arguments = next(
        (getattr(one, "args", one) for one in trainers if hasattr(getattr(one, "args", one), "adam_beta1")), None
    )
    if held is not None:
        fields.setdefault("model", held.model)
        parts = {**_given_to(held), **parts}
    fields |= _batches(fields, parts, arguments)
    if fields.get("pad_id") is None and (padding := pad_id_of(parts)) is not None:
        fields["pad_id"] = padding
    if arguments is not None and isinstance(fields.get("model"), nn.Module):
        try:
            theirs |= _training(fields, held, arguments)
        except Exception as error:
            message = f"the {type(held or arguments).__name__} raised {type(error).__name__}: {error}"
            raise SetupError("RUN001", message, fix="give the optimizer itself, as 'optimizer'") from error
    return {**theirs, **fields}


def _given_to(trainer: Any) -> dict[str, Any]:
    names = ("train_dataset", "eval_dataset", "data_collator", "processing_class")
    return {name: getattr(trainer, name) for name in names if getattr(trainer, name, None) is not None}


def _training(fields: Mapping[str, Any], trainer: Any, arguments: Any) -> dict[str, Any]:
    """Optimizer, schedule, loss and number of steps."""
    model, found = fields["model"], dict[str, Any]()
    steps = _planned(arguments, fields.get("data"))
    if steps is not None:
        found["planned_steps"] = steps
    if fields.get("optimizer") is None:
        found["optimizer"] = _optimizer(model, trainer, arguments)
        if fields.get("scheduler") is None and steps is not None:
            found |= {"scheduler": _scheduler(found["optimizer"], trainer, arguments, steps), "interval": "step"}
    if trainer is not None and _has_own_loss(trainer) and fields.get("loss") is None:
        found["own_loss"] = TrainerLoss(trainer)
    return found


def _planned(arguments: Any, data: Any) -> int | None:
    """Updates that the training will take."""
    if arguments.max_steps > 0:
        return int(arguments.max_steps)
    try:
        batches = len(data)
    except TypeError:
        return None
    each = max(batches // max(arguments.gradient_accumulation_steps, 1), 1)
    return math.ceil(arguments.num_train_epochs * each) or None


def _optimizer(model: Any, trainer: Any, arguments: Any) -> Any:
    if trainer is not None:
        if trainer.optimizer is not None:
            return trainer.optimizer
        twin = copy.copy(trainer)
        twin.create_optimizer()
        return twin.optimizer
    from transformers import Trainer

    kind, settings = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
    bare: Any = object.__new__(Trainer)
    decayed = set(bare.get_decay_parameter_names(model))
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for name, p in named if name in decayed], "weight_decay": arguments.weight_decay},
        {"params": [p for name, p in named if name not in decayed], "weight_decay": 0.0},
    ]
    return kind([group for group in groups if group["params"]], **settings)


def _scheduler(optimizer: Any, trainer: Any, arguments: Any, steps: int) -> Any:
    if trainer is not None:
        if trainer.lr_scheduler is not None:
            return trainer.lr_scheduler
        twin = copy.copy(trainer)
        twin.create_scheduler(num_training_steps=steps, optimizer=optimizer)
        return twin.lr_scheduler
    from transformers import get_scheduler

    warmup = arguments.get_warmup_steps(steps)
    more = {"scheduler_specific_kwargs": arguments.lr_scheduler_kwargs} if arguments.lr_scheduler_kwargs else {}
    return get_scheduler(
        arguments.lr_scheduler_type, optimizer, num_warmup_steps=warmup, num_training_steps=steps, **more
    )


# -------------------------------------------------------------------- batches


def _batches(fields: Mapping[str, Any], parts: Mapping[str, Any], arguments: Any) -> dict[str, Any]:
    """`data` and `val_data` as the Trainer makes them: its collator over the datasets."""
    found = {}
    given = {
        "data": ("train_dataset", "per_device_train_batch_size"),
        "val_data": ("eval_dataset", "per_device_eval_batch_size"),
    }
    for name, (key, size) in given.items():
        dataset = fields.get(name, parts.get(key))
        if isinstance(dataset, Mapping) and key in parts:  # several evaluation sets: the first stands for them
            dataset = next(iter(dataset.values()), None)
        if dataset is None or not (key in parts or (arguments is not None and _is_dataset(dataset))):
            continue
        if isinstance(dataset, torch.utils.data.DataLoader):
            found[name] = dataset
            continue
        found[name] = _loader(dataset, fields.get("model"), parts, arguments, size, shuffled=name == "data")
    return found


def _is_dataset(value: Any) -> bool:
    """Whether it holds single samples, as a Trainer takes them."""
    return isinstance(value, torch.utils.data.Dataset) or type(value).__module__.partition(".")[0] == "datasets"


def _loader(
    dataset: Any, model: Any, parts: Mapping[str, Any], arguments: Any, size: str, *, shuffled: bool
) -> torch.utils.data.DataLoader[Any]:
    collate = parts.get("data_collator") or _default_collator(parts)
    # As a Trainer does it: by the named arguments, also where `**kwargs` would take any other column.
    names = ForwardSignature.of(model).names if isinstance(model, nn.Module) else ()
    if getattr(arguments, "remove_unused_columns", True) and names:
        collate = Columns(collate, frozenset((*names, *_LABELS)))
    orderless = isinstance(dataset, torch.utils.data.IterableDataset)
    generator = torch.Generator().manual_seed(getattr(arguments, "seed", 0))
    return torch.utils.data.DataLoader(
        dataset,
        batch_size=getattr(arguments, size, 8),
        shuffle=shuffled and not orderless,
        generator=generator,
        collate_fn=collate,
        drop_last=bool(getattr(arguments, "dataloader_drop_last", False)),
    )


def _default_collator(parts: Mapping[str, Any]) -> Callable[[Any], Any]:
    """The Trainer's: padding where there is a tokenizer, else the stacking of equal tensors."""
    import transformers

    tokenizer: Any = parts.get("processing_class") or parts.get("tokenizer")
    if hasattr(tokenizer, "pad"):
        padding: Callable[[Any], Any] = transformers.DataCollatorWithPadding(tokenizer)
        return padding
    default: Callable[[Any], Any] = transformers.default_data_collator
    return default


@dataclass(frozen=True)
class Columns:
    """A collator that drops what the model's `forward` does not take, as a Trainer does."""

    collate: Callable[[Any], Any] = field(repr=False)
    kept: frozenset[str]

    def __call__(self, samples: list[Any]) -> Any:
        """The batch of these samples."""
        known = [
            {key: part for key, part in sample.items() if key in self.kept} if isinstance(sample, Mapping) else sample
            for sample in samples
        ]
        return self.collate(known)


# -------------------------------------------------------------------- loss


def _has_own_loss(trainer: Any) -> bool:
    """Whether the loss is not simply the model's: an overridden `compute_loss`, a loss function, label smoothing."""
    defined = next(kind for kind in type(trainer).__mro__ if "compute_loss" in vars(kind))
    others = (getattr(trainer, name, None) for name in ("compute_loss_func", "label_smoother"))
    return defined.__module__.partition(".")[0] != "transformers" or any(other is not None for other in others)


@dataclass(frozen=True, eq=False)
class TrainerLoss:
    """`own_loss` of a setup whose Trainer computes the loss."""

    trainer: Any = field(repr=False)

    def __call__(self, model: nn.Module, inputs: Any, targets: Any) -> torch.Tensor:
        """The Trainer's loss on the batch.

        Raises:
            SetupError: RUN003, when it returns something that is no loss.
        """
        batch = (
            dict(inputs)
            if isinstance(inputs, Mapping)
            else {str(getattr(model, "main_input_name", "input_ids")): inputs}
        )
        if targets is not None:
            batch.setdefault("labels", targets)
        loss = self.trainer.compute_loss(model, batch)
        if not isinstance(loss, torch.Tensor):
            raise SetupError("RUN003", f"compute_loss of {type(self.trainer).__name__} returned {describe(loss)}")
        return loss
