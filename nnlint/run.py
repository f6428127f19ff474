"""From an observed script to its reports: which setups it had, what was seen of its loop, what kept it from being judged."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nnlint import engine
from nnlint.failure import Failure
from nnlint.finding import Skip
from nnlint.frames import format_trace, location_of_exception, syntax_fault
from nnlint.observation.course import ObservationEnded
from nnlint.observation.leaving import ProcessReplaced
from nnlint.observation.observed import Observed
from nnlint.observation.setup_from_run import Reconstructed, reconstruct
from nnlint.probes.torch_errors import likely_cause, one_line
from nnlint.report import ReportedFinding, TargetReport
from nnlint.seeding import RandomStates
from nnlint.timeline import timeline_of

if TYPE_CHECKING:
    from nnlint.config import CheckSettings
    from nnlint.observation.log import Observation
    from nnlint.observation.observer import Observer
    from nnlint.observation.ranks import Exchange
    from nnlint.registry import Registry

#: A replay that differs by more than this share from the script's own first loss is told.
_SAME = 1e-3
#: How a script ended that is no failure: `sys.exit(0)` at its end.
_FINE = (None, 0)
#: Words of gloo's and nccl's exceptions on the ranks that are left when one has ended.
_PEER = ("by peer", "remote process", "remote worker", "Broken pipe", "Socket closed")


def without_repeats(reports: list[TargetReport], earlier: list[TargetReport]) -> list[TargetReport]:
    """The reports of a later training of a script without the findings that an earlier one had at the same lines."""
    known = {_fault(finding) for report in earlier for finding in report.findings}
    kept = (
        (report, [finding for finding in report.findings if _fault(finding) not in known]) for report in reports
    )
    return [report.model_copy(update={"findings": findings}) for report, findings in kept]


def _fault(finding: ReportedFinding) -> tuple[str, ...]:
    place = finding.location
    return (finding.code, f"{place.file}:{place.line}") if place is not None else (finding.code, finding.message)


@dataclass
class Judge:
    """Judges an observation, once.

    Attributes:
        observer: what watched.
        settings: as of a check.
        target: the script's name in the report.
        exchange: how ranks tell each other what they saw; None for a single process.
        registry: the rules; all installed packs by default.
    """

    observer: Observer
    settings: CheckSettings
    target: str
    exchange: Exchange | None = None
    registry: Registry | None = None

    def reports(self, error: BaseException | None = None) -> list[TargetReport]:
        """The report of the loop and of each player; none on a rank that leaves it to the first.

        Args:
            error: what ended the script, if anything did.
        """
        observation = self.observer.observation()
        if self.exchange is not None:
            ranks = self.exchange.gather(observation)
            if ranks is None:
                return []
            observation = replace(observation, ranks=ranks)
        players = self._players(error)
        if len(players) == 1 and players[0].setup is not None:
            return [self._report(observation, error, players[0])]
        loop = self._report(observation, error, None, players)
        return [loop, *(self._report(observation, None, player, alone=False) for player in players if player.setup)]

    # ---------------------------------------------------------------- players

    def _players(self, error: BaseException | None) -> list[Reconstructed]:
        observer = self.observer
        found = []
        for material in observer.players.finish(error):
            known = observer.context_of(material.optimizers)
            try:
                made = reconstruct(observer.players, material, observer.state, known)
            except Exception as failure:
                made = Reconstructed("", reason=f"reconstructing its setup raised {one_line(failure)}")
            if made.setup is not None:
                lines = {"construction": observer.sites.by_path(made.setup.model), "script_lines": made.lines}
                made.setup = made.setup.model_copy(update=lines)
            found.append(made)
        return found

    def _report(
        self,
        observation: Observation,
        error: BaseException | None,
        player: Reconstructed | None,
        players: list[Reconstructed] | None = None,
        *,
        alone: bool = True,
    ) -> TargetReport:
        evidence: dict[str, Any] = {
            "Events": observation.events,
            "Loaders": observation.loaders,
            "Ranks": observation.ranks or Skip("one process trained: there is no process group"),
        }
        elsewhere = tuple(_ended_elsewhere(observation))
        ended = elsewhere if elsewhere and _is_of_peer(error) else (*self._ended_by(error), *elsewhere)
        observed = Observed(
            target=self.target if alone else f"{self.target}:{player.name if player else ''}",
            evidence=evidence,
            judges_loop=alone,
            judges_setup=player is not None or not any(other.setup for other in players or ()),
            assumptions=tuple(self._said(observation, players or [])) if alone else (),
            no_setup=self._why_no_setup(players or []),
            failed=(*self._failed(), *self._lost(observation)) if alone else (),
            unless_explained=tuple(self._unanswered(observation)) if alone and not ended else (),
            measured=_timeline(observation) if alone else {},
            raised=one_line(error) if error is not None else "",
            unless_repeated=ended if alone else (),
        )
        if player is None or player.setup is None:
            return engine.check(None, self.settings, registry=self.registry, observed=observed)
        with self._as_it_began(player) as said:
            observed = replace(observed, assumptions=(*observed.assumptions, *said))
            return engine.check(player.setup, self.settings, registry=self.registry, observed=observed)

    @contextmanager
    def _as_it_began(self, player: Reconstructed) -> Iterator[list[str]]:
        """The player's state before its first step, and what is to be said about its replay."""
        setup = player.setup
        assert setup is not None
        roots = [setup.model, *(part for part in (setup.loss, setup.own_loss, setup.optimizer) if part is not None)]
        with ExitStack() as stack:
            stack.enter_context(_plain_modes())
            stack.enter_context(self.observer.players.initial.back(*roots, trainable=player.trainable))
            yield list(_replay_of(player))

    # ---------------------------------------------------------------- words

    def _said(self, observation: Observation, players: list[Reconstructed]) -> Iterator[str]:
        end = observation.events.end
        yield f"watched {_count(end.steps, 'update')} and {_count(end.backwards, 'backward')}"
        if observation.ranks is not None and len(observation.ranks.events) < observation.ranks.world:
            yield f"{len(observation.ranks.events)} of {observation.ranks.world} ranks were observed"
        if self.observer.course.has_folded:
            yield "epochs were ended early to see what happens between them (--no-fold leaves them whole)"
            if end.error is not None:
                yield f"after that the script raised {end.error_type}: {end.error}"
        if self.observer.state.captured:
            yield "what the script records into a CUDA graph is not watched"
        for player in players:
            if player.setup is None:
                yield f"no training setup for {player.name or 'the script'}: {player.reason}"

    def _why_no_setup(self, players: list[Reconstructed]) -> str:
        reasons = [player.reason for player in players if player.reason]
        if reasons:
            return f"no training setup could be made: {reasons[0]}"
        if self.observer.players.reason:
            return f"no training setup could be made: {self.observer.players.reason}"
        return "no training setup could be made: no module call led to a backward"

    def _failed(self) -> Iterator[Failure]:
        failure = self.observer.course.failure
        if failure is not None:
            message = f"nnlint's observation raised {type(failure).__name__}: {failure}; the script went on unobserved"
            trace = "".join(traceback.format_exception(failure))  # with nnlint's own lines: they are what has to be fixed
            yield Failure("RUN011", message, "please report this with the trace", trace=trace)

    def _ended_by(self, error: BaseException | None) -> Iterator[Failure]:
        """What ended the script, unless it or nnlint meant it to end."""
        if error is None or isinstance(error, (ObservationEnded, KeyboardInterrupt)) or self.observer.course.has_folded:
            return
        if isinstance(error, SystemExit):
            if error.code in _FINE:
                return
            message = f"the script ended itself with exit status {error.code!r}"
        elif isinstance(error, SyntaxError):
            fix = "make the script run without nnlint first"
            name = Path(error.filename).name if error.filename else "the script"
            message = f"{name} is not valid Python: {syntax_fault(error)}"
            yield Failure("RUN012", message, fix, location=location_of_exception(error))
            return
        else:
            message = str(error) if isinstance(error, ProcessReplaced) else f"the script raised {one_line(error)}"
        fix = likely_cause(error) or "make the script run without nnlint first; what it did until then is judged"
        yield Failure("RUN012", message, fix, location=location_of_exception(error), trace=format_trace(error))

    def _lost(self, observation: Observation) -> Iterator[Failure]:
        """Ranks of this machine that left no log; those of other machines hand theirs to no one."""
        if self.exchange is None or observation.ranks is None:
            return
        dead = [rank for rank in observation.ranks.lost if rank in self.exchange.local]
        if dead:
            named = ", ".join(map(str, dead))
            yield Failure(
                "RUN012", f"rank {named} ended without a log: it died, or still runs", "look at the output of that rank"
            )

    def _unanswered(self, observation: Observation) -> Iterator[Failure]:
        end = observation.events.end
        if end.steps == 0 and end.reason != "raised" and self.observer.course.failure is None:
            backwards = _count(end.backwards, "backward") if end.backwards else "no backward"
            seen = f"{backwards} and no update while it was observed"
            started = self.observer.processes.started
            fix = "start the script so that it reaches its training loop (fewer samples, no resumed state, the training command)"
            if started is not None:
                seen += "; it started processes of its own, which nnlint does not watch"
                fix = (
                    "call the training function in this process (rank 0 of 1), or let torchrun start the processes: "
                    "torchrun --nproc-per-node 2 -m nnlint run train.py"
                )
            yield Failure("RUN011", f"the script made {seen}", fix, location=started)


def _ended_elsewhere(observation: Observation) -> Iterator[Failure]:
    """Exceptions of other ranks than the first; one that the first raised as well, at the same line, is told by it."""
    own = observation.events.end
    for rank, events in observation.ranks.events.items() if observation.ranks is not None else ():
        end = events.end
        if end.reason != "raised" or (end.error_type, end.location) == (own.error_type, own.location):
            continue
        if not any(sign in (end.error or "") for sign in _PEER):
            message = f"rank {rank} raised {end.error_type}: {(end.error or '').partition(chr(10))[0]}"
            yield Failure("RUN012", message, "look at what this rank does differently", location=end.location)


def _is_of_peer(error: BaseException | None) -> bool:
    """Whether an exception only says that another rank is gone."""
    return error is None or any(sign in str(error) for sign in _PEER)


def _timeline(observation: Observation) -> dict[str, Any]:
    made = timeline_of(observation.events)
    return {"timeline": made} if made else {}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _replay_of(player: Reconstructed) -> Iterator[str]:
    """Whether the setup computes what the script computed."""
    assert player.setup is not None
    if player.expected is None:
        return
    states = RandomStates()
    try:
        got = player.replay()
    except Exception as error:
        yield f"replaying the script's first loss raised {one_line(error)}"
        return
    finally:
        states.restore()
    if abs(got - player.expected) > _SAME * max(1.0, abs(player.expected)):
        yield f"replaying the script's first loss gives {got:.6g}; the script had {player.expected:.6g}"


@contextmanager
def _plain_modes() -> Iterator[None]:
    """Gradients on and autocast off, whatever the script has switched on where it is now."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield
