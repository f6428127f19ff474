"""What somebody means by a key that no setup has: by the words in it, by what it holds, and only then by its letters."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator

#: Fields and words that people use for them, the more telling ones first, in keys such as `train_loader`, `lossFn`, `max_grad_norm`.
_WORDS = (
    ("inputs", "x xs input"),
    ("targets", "y ys target"),
    ("val_data", "val valid validation test eval evaluation dev holdout"),
    ("interval", "interval scheduler_interval step_scheduler"),
    ("scheduler", "scheduler sched schedule warmup annealing policy"),
    ("grad_scaler", "scaler gradscaler"),
    ("grad_clip", "clip clipping max_norm max_grad_norm clip_val"),
    ("precision", "precision amp autocast half dtype bf16 fp16 mixed"),
    ("num_classes", "classes num_labels n_labels nclass n_class num_class nb_classes"),
    ("planned_steps", "steps iterations iters max_steps num_steps total_steps"),
    ("pad_id", "pad padding padding_idx pad_idx pad_token pad_token_id padding_id padding_token ignore_index"),
    ("players", "players generator discriminator critic actor gan networks nets models netg netd agents"),
    ("frozen", "frozen freeze fixed backbone_frozen"),
    ("causal", "causal autoregressive"),
    ("task", "task problem objective_type"),
    ("data", "data loader dataloader dl dataset trainset train training batches ds"),
    ("optimizer", "optimizer optimizers optim opt optimiser optimisers solver"),
    ("loss", "loss losses criterion criteria cost objective lossfn"),
    ("targets", "labels label ground truth gt answer answers"),
    ("inputs", "features feature example examples sample samples batch image images tokens ids"),
    ("model", "model net network module backbone architecture arch"),
)
#: Words of what no field is for, although others of its words are a field's: `batch_size`, `gradient_accumulation_steps`.
_NO_FIELD = frozenset({"batch_size", "accumulation", "accumulate", "accum", "log", "logging", "save", "workers", "num_workers"})
_SMALL_LETTERS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def meant_by(key: str, fields: Collection[str], held: Collection[str] = ()) -> str | None:
    """The field that a key stands for; None where nothing tells.

    Args:
        key: as written.
        fields: the fields there are.
        held: the fields that the value under it could be, likeliest first.
    """
    if _NO_FIELD & _parts(key):
        return None
    candidates = [name for name in _by_words(key) if name in fields]
    fitting = [name for name in candidates if name in held]
    found = [*fitting, *candidates, *(name for name in held if name in fields)]
    near = difflib.get_close_matches(key.lower(), list(fields), n=1, cutoff=0.75)
    return next(iter([*near, *found]), None)


def _by_words(key: str) -> Iterator[str]:
    """The fields whose words are in the key, in the order of the table: `valid_loader` is validation data, `lr_scheduler` a scheduler."""
    parts = _parts(key)
    parts |= {part.rstrip("s") for part in parts} | {part.rstrip("0123456789") for part in parts}
    for field, words in _WORDS:
        if parts & set(words.split()):
            yield field


def _parts(key: str) -> set[str]:
    """The words of a key, whole, and in pairs and threes."""
    spelt = _SMALL_LETTERS.sub("_", key).lower().replace("-", "_").replace(" ", "_")
    single = spelt.split("_")
    pairs = {"_".join(single[start : start + size]) for size in (2, 3) for start in range(len(single) - size + 1)}
    return {*single, spelt, *pairs}
