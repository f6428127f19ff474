"""What the events of a log refer to by name: optimizers, modules, parameters, loaders, schedulers, scalers, the process group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nnlint.finding import Location


@dataclass(frozen=True)
class ParameterFacts:
    """A parameter that took part.

    Attributes:
        name: `<module>.<path>`, or the script's variable for a tensor that no module owns.
        module: the module that the name starts with; empty for a bare tensor.
        path: in `named_parameters()` of that module.
        shape: its shape.
        dtype: its dtype, without `torch.`.
        requires_grad: as it was last seen.
        optimizers: names of the optimizers that held it.
        first_seen: index of the first event after it was seen, in a forward or in an optimizer.
        changed: its values were seen to change, by whatever.
    """

    name: str
    module: str = ""
    path: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    requires_grad: bool = True
    optimizers: tuple[str, ...] = ()
    first_seen: int = 0
    changed: bool = False


@dataclass(frozen=True)
class OptimizerFacts:
    """An optimizer that was made or stepped.

    Attributes:
        name: the script's variable, else the class.
        type: its class.
        location: the line that made it; None where it was made before the observation.
        made: index of the first event after it was made.
        parameters: of all groups, by name.
        groups: the numbers and flags of each group as it was made (lr, momentum, betas, weight_decay, ...).
        replaced: name of an older optimizer over the same parameters, or None.
        replaced_state: the replaced one kept averages of gradients (momentum), which were lost.
        keeps_state: it keeps averages of gradients.
    """

    name: str
    type: str
    location: Location | None = None
    made: int = 0
    parameters: frozenset[str] = frozenset()
    groups: tuple[Mapping[str, Any], ...] = ()
    replaced: str | None = None
    replaced_state: bool = False
    keeps_state: bool = False


@dataclass(frozen=True)
class ModuleFacts:
    """An outermost called module (wrappers looked through).

    Attributes:
        name: the script's variable, else the class.
        type: its class.
        parameters: names of all its parameters.
        trainable: those that require a gradient.
        dropouts: paths of its dropout layers.
        batch_norms: paths of its batch-norm layers that keep running statistics.
        own_train: it defines a `train` of its own.
        statistics_moved: the running statistics of its batch norms are other ones than at its first call.
    """

    name: str
    type: str
    parameters: frozenset[str] = frozenset()
    trainable: frozenset[str] = frozenset()
    dropouts: tuple[str, ...] = ()
    batch_norms: tuple[str, ...] = ()
    own_train: bool = False
    statistics_moved: bool = False


@dataclass(frozen=True)
class SchedulerFacts:
    """A learning-rate scheduler.

    Attributes:
        name: the script's variable, else the class.
        type: its class.
        optimizer: the optimizer whose rates it sets.
        location: the line that made it.
        made: index of the first event after it was made.
        settings: its numbers (T_max, step_size, gamma, milestones, total_steps, ...).
        base_lrs: the base rate of each group.
        factors: for a scheduler by function: the factor of each group at its first three positions.
        peaks: for a scheduler by function: the largest factor of each group, over its first positions.
        ends_at: for a scheduler by function: the position at which the rate of the first group reaches 0, where that is near.
        part_of: name of the scheduler that holds and steps it (SequentialLR, a warm-up around another), or None.
    """

    name: str
    type: str
    optimizer: str | None = None
    location: Location | None = None
    made: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    base_lrs: tuple[float, ...] = ()
    factors: tuple[tuple[float, ...], ...] = ()
    peaks: tuple[float, ...] = ()
    ends_at: int | None = None
    part_of: str | None = None


@dataclass(frozen=True)
class LoaderFacts:
    """A DataLoader that was read.

    Attributes:
        name: the script's variable, else `DataLoader`.
        location: the line that made it, else the line that first read it.
        batches: length of a pass; None where unknown.
        samples: length of the dataset; None where unknown.
        batch_size: None where the loader does not batch by size.
        shuffled: its sampler draws in random order; None for an iterable dataset or a sampler of the script's own.
        sampler: class of the sampler.
        dataset: class of the dataset.
        dataset_key: equal for loaders over the same dataset object, subsets looked through.
        subset: hash of the subset's indices, None for a whole dataset.
        workers: number of worker processes.
        drop_last: as given.
        has_generator: a generator of its own was given.
        replicas: (number, rank) of a DistributedSampler; None for others.
        training: whether a batch of it came into a forward that a backward reached.
        worker_generators: names of dataset attributes that hold a random generator, copied equally into each worker.
        label_shares: share of each label in the whole dataset, where it has a table of them (`targets`, `labels`, the last tensor).
    """

    name: str
    location: Location | None = None
    batches: int | None = None
    samples: int | None = None
    batch_size: int | None = None
    shuffled: bool | None = None
    sampler: str = ""
    dataset: str = ""
    dataset_key: int = 0
    subset: int | None = None
    workers: int = 0
    drop_last: bool = False
    has_generator: bool = False
    replicas: tuple[int, int] | None = None
    training: bool = False
    worker_generators: tuple[str, ...] = ()
    label_shares: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ScalerFacts:
    """A GradScaler: `location` is the line that made it, `enabled` as given, `made` the index of the first event after."""

    name: str
    location: Location | None = None
    enabled: bool = True
    made: int = 0


@dataclass(frozen=True)
class End:
    """How the observation ended.

    Attributes:
        reason: "enough" (all iterations seen), "finished" (the script or the `with` block ended), "raised", "interrupted", "no updates"
            (backwards came and no update), "stopped" (the script ended itself by SystemExit).
        error: the exception's text.
        error_type: its class.
        location: the script's line that raised.
        steps: updates seen, by values as well as by optimizer steps.
        backwards: backwards seen.
    """

    reason: str = "finished"
    error: str | None = None
    error_type: str | None = None
    location: Location | None = None
    steps: int = 0
    backwards: int = 0


@dataclass(frozen=True)
class GroupFacts:
    """The process group of one rank: `backend`, `rank`, `world`; `wrappers` are the classes that wrap its modules, by module name."""

    rank: int = 0
    world: int = 1
    backend: str = ""
    wrappers: Mapping[str, str] = field(default_factory=dict)
