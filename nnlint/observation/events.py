"""What a training script did: the events of its observed iterations, as frozen data that rules read and processes exchange.

A rule asks for evidence by type: `events: Events`, `loaders: Loaders`, `ranks: Ranks` (all in `nnlint.observation.log`, exported from
`nnlint`). `Events` is a sequence of the events below in the order in which they *began*, with queries on top:

    for step in events.steps_of(optimizer):            # Step events of one optimizer, in order
        step.gradients                                 # parameter -> the backwards that its gradient holds at this step
        events.backwards_between(previous, step)       # Backward events that began between two events
        events.order(first, last)                      # "forward:30 -> backward:31 -> step:32", for a message

Identities are names, never objects. An optimizer, module, loader, scheduler or scaler has the name of the script's variable
(`optimizer_d`, `optimizers[1]`), else its class; where several have that name, with the line that made it (`opt (train.py:31)`). A
parameter is `<module>.<path>` (`net.fc.weight`); `<module>` names the outermost module that the script called. Facts about each are in
`events.optimizers[name]`, `events.modules[name]`, ...

Everything is decided by values, not by calls: `Step.gradients` and `Clear.lost` hold whatever way the script has of clearing gradients.
`event.location` is the script's line: the innermost frame outside the standard library and installed packages (for a Trainer: the line
that calls it). An event noticed by its effect alone (`p.grad = None`, `p.data.add_(...)`) has `location` None and stands just
before the event that noticed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from nnlint.finding import Location

Names = frozenset[str]
#: Digests of the states of the random generators of torch, NumPy and Python.
RandomState = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that the script did.

    Attributes:
        index: position in the log; the identity by which other events refer to this one.
        location: the script's line; None where the event was noticed by its effect alone.
        iteration: optimizer steps (of any optimizer) that had ended before.
        epoch: passes over the training loader that had ended before.
        inside: index of the event during which it happened (a backward inside a step with a closure), or None.
    """

    index: int
    location: Location | None = None
    iteration: int = 0
    epoch: int = 0
    inside: int | None = None

    #: What the event is called in a message.
    verb: ClassVar[str] = "event"

    def __str__(self) -> str:
        return f"{self.verb}:{self.location.line}" if self.location is not None else self.verb


@dataclass(frozen=True)
class Leaf:
    """A tensor that was read or passed: `content` is a hash of its bytes, equal for equal contents on any device."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    content: int


@dataclass(frozen=True, kw_only=True)
class Forward(Event):
    """The call of a module that has parameters and is not called by another such module.

    Attributes:
        module: its name; a wrapper (DistributedDataParallel, a compiled module) is looked through.
        wrapper: class name of the wrapper that was called, or None.
        training: its training flag.
        modes: path -> training flag of its dropout and batch-norm layers.
        grad_enabled: whether autograd was on.
        records_graph: whether its output requires grad.
        graph_bytes: bytes of the tensors that its graph keeps for a backward; measured at the first such call of a line.
        recorded: the parameters that the graph of its outputs reaches; looked at where `graph_bytes` is measured.
        inputs: the tensors passed.
        samples: first dimension of the first of them.
        reads: indices of the `Read` events whose tensors were passed (by identity or by content).
        autocast: "float16" or "bfloat16" where automatic mixed precision was on.
        backwards: indices of the `Backward` events whose graph reached it.
        buffers_changed: names of buffers that the call wrote to (batch-norm statistics).
        unoptimized: its trainable parameters that no optimizer held at that time.
        random_state: digests of the random generators (torch, numpy, python) as the call began.
        error: the exception that it raised.
    """

    verb: ClassVar[str] = "forward"
    module: str
    wrapper: str | None = None
    training: bool = True
    modes: Mapping[str, bool] = field(default_factory=dict)
    grad_enabled: bool = True
    records_graph: bool = False
    graph_bytes: int | None = None
    recorded: Names = frozenset()
    inputs: tuple[Leaf, ...] = ()
    samples: int = 0
    reads: tuple[int, ...] = ()
    autocast: str | None = None
    backwards: tuple[int, ...] = ()
    buffers_changed: tuple[str, ...] = ()
    unoptimized: Names = frozenset()
    random_state: RandomState = (0, 0, 0)
    error: str | None = None


@dataclass(frozen=True)
class Term:
    """One summand of a loss.

    Attributes:
        operation: the autograd node that made it (`NllLossBackward0`).
        reached: the parameters its graph reaches.
        forwards: indices of the `Forward` events its graph reaches.
    """

    operation: str
    reached: Names
    forwards: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Backward(Event):
    """A call of the autograd engine by `Tensor.backward`, `autograd.backward` or `autograd.grad`.

    Attributes:
        accumulates: False for `autograd.grad`, which fills no `.grad`.
        loss: its value where it is one number.
        loss_shape: its shape.
        leaf_loss: it has no graph at all (made by `torch.tensor(..., requires_grad=True)`).
        filled: the parameters whose `.grad` it filled or added to.
        reached: the parameters that its graph reaches; None where the graph was too large to walk.
        forwards: indices of the `Forward` events that its graph reaches.
        optimizers: names of the optimizers that hold any parameter of `filled`.
        terms: the summands of the loss; one where it is no sum.
        factors: numbers that the loss was multiplied with last (1/4 for `loss / 4`), outermost first.
        operation: the autograd node below those factors.
        reduction: "mean", "sum" or "none" where `operation` is a loss function of torch that says so.
        made_anew: parameters in its graph that no called module and no optimizer holds, and that the backward of this line before did
            not have.
        nodes: autograd nodes in its graph, 0 where it was not walked.
        retain_graph: as passed.
        create_graph: as passed.
        autocast: "float16" or "bfloat16" where backward ran inside autocast.
        scale: the gradient scaler's factor on the loss, or None.
        targets: what torch's loss functions compared with: for each such tensor a hash of the values of each sample of the forward.
        graphless: the script's lines that computed summands of the loss which record no graph; looked at for the first losses.
        gradient_norm: 2-norm over the gradients of `filled` afterwards.
        zero_share: share of exact zeros among them; measured under float16 autocast only.
        error: the exception that it raised.
    """

    verb: ClassVar[str] = "backward"
    accumulates: bool = True
    loss: float | None = None
    loss_shape: tuple[int, ...] = ()
    leaf_loss: bool = False
    filled: Names = frozenset()
    reached: Names | None = None
    forwards: tuple[int, ...] = ()
    optimizers: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()
    factors: tuple[float, ...] = ()
    operation: str = ""
    reduction: str | None = None
    made_anew: int = 0
    nodes: int = 0
    retain_graph: bool = False
    create_graph: bool = False
    autocast: str | None = None
    scale: float | None = None
    targets: tuple[tuple[int, ...], ...] = ()
    graphless: tuple[Location, ...] = ()
    gradient_norm: float | None = None
    zero_share: float | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Clear(Event):
    """Gradients became None or zero.

    Attributes:
        by: name of the optimizer or module whose `zero_grad` did it; None where it was noticed by value.
        parameters: those whose gradient held something before.
        lost: parameter -> the backwards that its gradient held; see `Events.unused` for those that no step had used.
    """

    verb: ClassVar[str] = "zero_grad"
    by: str | None = None
    parameters: Names = frozenset()
    lost: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Clip(Event):
    """Gradients were clipped.

    Attributes:
        how: "norm", "value", or "noticed" where gradients had shrunk in place between backward and step.
        parameters: whose gradients were passed; those without a gradient included.
        limit: max_norm or clip_value.
        norm: 2-norm over the gradients before.
        held: parameter -> the backwards that its gradient held.
        scale: the scaler's factor that was still on the gradients, or None.
    """

    verb: ClassVar[str] = "clip"
    how: str = "norm"
    parameters: Names = frozenset()
    limit: float | None = None
    norm: float | None = None
    held: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    scale: float | None = None


@dataclass(frozen=True, kw_only=True)
class Step(Event):
    """A call of an optimizer's `step`. A step made by another optimizer's step (SAM, Lookahead) has `inside`.

    Attributes:
        optimizer: its name.
        number: 1 for its first step.
        closure: whether a closure was passed, or a backward ran inside.
        gradients: parameter -> indices of the backwards that its gradient holds, for each parameter whose gradient a backward filled
            and nothing cleared since.
        without_gradient: its other parameters.
        changed: its parameters whose values this step changed.
        lr: the learning rate of each group.
        gradient_norm: 2-norm over the gradients as the step began.
        norms: parameter -> 1-norm of its values afterwards; measured in a process group only.
        scale: the scaler's factor that was still on the gradients, or None.
        alive: indices of the backwards whose graph something still referred to after the step; the last one is among them while
            the script's `loss` holds it.
        alive_forwards: the same for the graphs of forward outputs.
        random_state: digests of the random generators as the step began.
    """

    verb: ClassVar[str] = "step"
    optimizer: str
    number: int
    closure: bool = False
    gradients: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    without_gradient: Names = frozenset()
    changed: Names = frozenset()
    lr: tuple[float, ...] = ()
    gradient_norm: float | None = None
    norms: Mapping[str, float] = field(default_factory=dict)
    scale: float | None = None
    alive: tuple[int, ...] = ()
    alive_forwards: tuple[int, ...] = ()
    random_state: RandomState = (0, 0, 0)

    @property
    def backwards(self) -> tuple[int, ...]:
        """Indices of all backwards that any gradient of this step holds, in order."""
        return tuple(sorted({index for held in self.gradients.values() for index in held}))


@dataclass(frozen=True, kw_only=True)
class Schedule(Event):
    """A call of a scheduler's `step`: `lr_before` and `lr_after` are the rates of each group, `number` is 1 for its first call."""

    verb: ClassVar[str] = "scheduler.step"
    scheduler: str
    optimizer: str | None = None
    number: int = 1
    lr_before: tuple[float, ...] = ()
    lr_after: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Mode(Event):
    """A call of `train()` or `eval()` on a module that is not made by another such call."""

    verb: ClassVar[str] = "train()/eval()"
    module: str
    training: bool

    def __str__(self) -> str:
        verb = "train" if self.training else "eval"
        return f"{verb}:{self.location.line}" if self.location is not None else verb


@dataclass(frozen=True, kw_only=True)
class Seed(Event):
    """The random state was set: `what` is "torch", "numpy" or "random"; `value` the seed, None where a saved state was put back."""

    verb: ClassVar[str] = "seed"
    what: str = "torch"
    value: int | None = None


@dataclass(frozen=True, kw_only=True)
class ScalerCall(Event):
    """A call of a GradScaler.

    Attributes:
        scaler: its name.
        call: "scale", "unscale", "step" or "update".
        optimizer: for unscale and step.
        factor: the scaler's factor before.
        skipped: for step: the optimizer's step was not made, since a gradient was not finite.
        error: the exception that it raised (a second step without `update`).
    """

    verb: ClassVar[str] = "scaler"
    scaler: str
    call: str
    optimizer: str | None = None
    factor: float = 1.0
    skipped: bool = False
    error: str | None = None

    def __str__(self) -> str:
        return f"scaler.{self.call}:{self.location.line}" if self.location is not None else f"scaler.{self.call}"


@dataclass(frozen=True, kw_only=True)
class Update(Event):
    """Parameters changed outside an optimizer's step: by hand, by an average, by loading a state.

    Attributes:
        parameters: those whose values changed.
        by: "load_state_dict", "hand" where only the effect was seen, or "rewriting": they were written to and hold the same values.
        module: for load_state_dict: the module; else None.
        own_state: for load_state_dict: the state that was loaded is the module's own.
    """

    verb: ClassVar[str] = "update"
    parameters: Names = frozenset()
    by: str = "hand"
    module: str | None = None
    own_state: bool = False


@dataclass(frozen=True, kw_only=True)
class StateKept(Event):
    """`module.state_dict()` was called and something still referred to its tensors later.

    Attributes:
        module: its name.
        alive_at: indices of the steps after which the tensors were still referred to.
        shares_storage: they still lie in the module's own memory, so that they hold its newest values.
        changed: the module's values have changed since the call.
        consumed: it was saved or loaded before the module's next change.
    """

    verb: ClassVar[str] = "state_dict"
    module: str
    alive_at: tuple[int, ...] = ()
    shares_storage: bool = False
    changed: bool = False
    consumed: bool = False


@dataclass(frozen=True, kw_only=True)
class Made(Event):
    """An optimizer, scheduler, scaler or loader was made: `what` is the kind, `name` the key into its table."""

    verb: ClassVar[str] = "made"
    what: str
    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)
