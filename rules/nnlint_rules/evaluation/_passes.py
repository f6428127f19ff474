"""What the rules of the evaluation share: which forwards evaluate, and how they are told from those of training."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from nnlint import Forward, Pass, Place, Read, Skip, Step

if TYPE_CHECKING:
    from nnlint import Event, Events


def at(event: Event) -> Place:
    """The script's line of an event."""
    return Place("", event.location)


def evaluations(events: Events) -> tuple[Forward, ...]:
    """Forwards of trained modules on data that training does not use: batches of another loader, or tensors that come again.

    Raises:
        Skip: no training or no evaluation was seen.
    """
    if events.first_trained is None:
        raise Skip("no backward reached a forward")
    found = (*_of_loaders(events), *_of_tensors(events))
    if not found:
        raise Skip("no evaluation was seen within the observed iterations; --until-evaluation waits for one")
    return found


def loader_of(events: Events, forward: Forward) -> str | None:
    """The loader whose batch went into a forward."""
    read = events[forward.reads[-1]] if forward.reads else None
    return read.loader if isinstance(read, Read) else None


def is_apart(events: Events, forward: Forward) -> bool:
    """Whether no step was made since the pass began that the forward's batch comes from."""
    read = events[forward.reads[-1]]
    assert isinstance(read, Read)
    begun = [event for event in events.between(None, read, Pass) if event.loader == read.loader and not event.ends]
    return bool(begun) and not events.between(begun[-1], forward, Step)


def _of_loaders(events: Events) -> list[Forward]:
    """A loader that is read in step with training (unlabelled batches for pseudo-labels) evaluates nothing."""
    forwards = events.evaluation_forwards
    mixed = {loader_of(events, forward) for forward in forwards if not is_apart(events, forward)}
    return [
        forward for forward in forwards if loader_of(events, forward) not in mixed and not _generates(events, forward)
    ]


def _of_tensors(events: Events) -> list[Forward]:
    """Forwards on tensors that no batch and no training forward had, and that come again after further steps."""
    trained = {leaf.content for forward in events.training_forwards for leaf in forward.inputs}
    trained |= {content for read in events.reads for content in read.content}
    modules = {forward.module for forward in events.training_forwards}
    assert events.first_trained is not None
    found = [
        forward
        for forward in events.forwards[1:]
        if forward.index > events.first_trained.index and forward.module in modules and not forward.backwards
        if forward.inputs and not trained & {leaf.content for leaf in forward.inputs}
    ]
    seen = Counter((key, forward.iteration) for forward in found for key in [content_of(forward)])
    iterations = Counter(key for key, _ in seen)
    return [f for f in found if iterations[content_of(f)] > 1 and not _generates(events, f)]


def content_of(forward: Forward) -> tuple[object, ...]:
    """Equal for forwards of one module on equal inputs."""
    return forward.module, *(leaf.content for leaf in forward.inputs)


def _generates(events: Events, forward: Forward) -> bool:
    """Whether the module's outputs are trained through another module whose own optimizer does not use that backward: a generator."""
    own = events.modules[forward.module].parameters
    for backward in events.backwards:
        steps = [step for step in events.steps if backward.index in step.backwards]
        users = {name for step in steps for name in step.gradients}
        if not own & users:
            continue
        others = {event.module for event in events.at(backward.forwards) if isinstance(event, Forward)} - {
            forward.module
        }
        if any(events.modules[name].trainable and not events.modules[name].parameters & users for name in others):
            return True
    return False
