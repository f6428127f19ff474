"""`nnlint run`: watch a training script and report."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from nnlint.cli.checking import accepted, prepared, report_options, why
from nnlint.cli.errors import INTERRUPTED, Refusal, require_streams
from nnlint.cli.options import run_options

if TYPE_CHECKING:
    from nnlint.cli.checking import Run
    from nnlint.cli.output import Destination
    from nnlint.observation.leaving import Leaving
    from nnlint.observation.observer import Observer
    from nnlint.observation.passing import Passing
    from nnlint.report import Report, TargetReport

#: Trainings of one script that are watched, one after the other.
_MOST_TRAININGS = 3
_MACHINE = ("json", "jsonl", "sarif", "junit", "github", "html", "markdown")


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="SCRIPT [ARGUMENTS]...")
@run_options
@click.pass_context
def run(context: click.Context, /, command: tuple[str, ...], **options: Any) -> None:
    """Run SCRIPT (with -m: a module) and judge its training by its first iterations.

    Options of nnlint stand before the script, the script's own after it. By default the script is stopped once enough was
    seen; its standard output stays its own and the report goes to standard error, or with a --format to standard output.

    Exit status: 0 nothing at or above --fail-on; 1 findings; 2 something could not be judged.
    """
    from nnlint.cli.output import destination, is_drawn, require

    require_streams()
    if not command:
        raise click.UsageError("no script: write nnlint run train.py, or nnlint run -m package.train")
    require(options["style"])
    # The script may change the working directory.
    root = Path.cwd()
    named = [destination(text, options["style"]) for text in options["output"]]
    files = [replace(file, path=root / file.path) for file in named]
    asked = prepared((command[0],), {**options, "details": is_drawn(options["style"], files) or None})
    asked.judge()
    watch = _Watch(asked, options, files, root)
    process = os.getpid()
    error = _run_script(command, options, watch)
    if os.getpid() != process:
        _end_child(context, error)
    context.exit(watch.finish(error))


def _end_child(context: click.Context, error: BaseException | None) -> NoReturn:
    """End a process that the script has forked as it would have ended: the first one reports."""
    if isinstance(error, SystemExit):
        raise error
    if error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
    context.exit(int(error is not None))


def _run_script(command: tuple[str, ...], options: Mapping[str, Any], watch: _Watch) -> BaseException | None:
    """What ended the script, if it did not come to its end by itself.

    Raises:
        Refusal: there is no such script.
    """
    from nnlint.observation.start import ScriptNotFoundError, run_script

    error: BaseException | None = None
    with contextlib.ExitStack() as output:
        watch.output = output
        output.enter_context(_own_output(options["style"]))
        output.callback(watch.leaving.remove)
        watch.leaving.install()
        try:
            watch.namespace = run_script(command[0], command[1:], as_module=options["module"], on_torch=watch.begin)
        except ScriptNotFoundError as missing:
            if watch.observer is not None:
                watch.observer.stop()
            raise Refusal(str(missing)) from missing
        except BaseException as raised:
            error = raised
        watch.stop(error)
    return error


@contextlib.contextmanager
def _own_output(style: str) -> Iterator[None]:
    """Keep standard output for a machine format: what the script prints goes to standard error then."""
    if style not in _MACHINE:
        yield
        return
    from nnlint.worker.streams import stdout_to_stderr

    with stdout_to_stderr():
        yield


@dataclass
class _Watch:
    """The observations, from the script's import of torch to the report: one, or one for each training of the script."""

    run: Run
    options: Mapping[str, Any]
    files: list[Destination]
    root: Path
    namespace: Any = None
    observer: Observer | None = None
    report: Report | None = None
    output: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _trainings: int = 0
    _reports: list[TargetReport] = field(default_factory=list)
    _passing: Passing | None = None
    _status: int = field(default=0)

    def begin(self) -> None:
        """Torch is there, or the script's next training begins: watch."""
        self._passing, before = None, self.observer
        self.observer = self._made()
        self.observer.course.after_folds = before is not None
        self.observer.start()

    def _made(self) -> Observer:
        from nnlint.observation.course import Plan
        from nnlint.observation.observer import Observer

        self._trainings += 1
        given = self.options
        plan = Plan(given["iterations"], given["fold"], given["keep_going"], given["until_evaluation"])
        return Observer(plan, self._enough, self._trains_later)

    def _trains_later(self) -> bool:
        """Whether the script is to run on to a training after the one that was seen."""
        from nnlint.observation.later import trains_later
        from nnlint.observation.ranks import Exchange
        from nnlint.observation.things import script_frames

        is_alone = Exchange.of_environment() is None
        return is_alone and self._trainings < _MOST_TRAININGS and trains_later(script_frames())

    def _enough(self) -> None:
        """Enough was seen. Where the script goes on, it is judged at once, and its next training is watched as well."""
        from nnlint.observation.passing import Passing

        assert self.observer is not None
        if not self.options["keep_going"] and not self.observer.course.passes_on:
            return
        self.observer.stop()
        self._judge(None)
        if self.options["keep_going"]:
            self._write()
        else:
            self._passing = Passing(self.observer.optimizers, self.begin)
            self._passing.start()

    def stop(self, error: BaseException | None) -> None:
        """The script has ended, by itself or not."""
        if self.observer is None:
            self.observer = self._made()  # it never imported torch
        if self._passing is not None:
            self._passing.stop()
            self._say_unwatched(self._passing.given_up, error)
        elif self.report is None:
            self.observer.stop(error)

    def _say_unwatched(self, given_up: str | None, error: BaseException | None) -> None:
        """Add to the first report why a later training was not watched."""
        from nnlint.observation.course import ObservationEnded
        from nnlint.probes.torch_errors import one_line

        said = given_up
        if said is None and isinstance(error, Exception) and not isinstance(error, ObservationEnded):
            # It may come from the short epochs.
            said = f"the script raised {one_line(error)} on the way to a later training, which was not watched"
        if said and self._reports:
            first = self._reports[0]
            self._reports[0] = first.model_copy(update={"assumptions": [*first.assumptions, said]})

    @cached_property
    def leaving(self) -> Leaving:
        """What notices an end past Python."""
        from nnlint.observation.leaving import Leaving

        return Leaving(self._leave)

    def _leave(self, error: BaseException) -> int | None:
        """Report before the process ends past Python; the exit status, or None where the script may go on elsewhere."""
        from nnlint.observation.leaving import ProcessReplaced

        if self.report is not None and isinstance(error, ProcessReplaced):
            return None
        try:
            if threading.current_thread() is not threading.main_thread():
                raise Refusal("another thread of the script ended the process: its training was not judged")
            self.stop(error)
            self.output.close()
            return self.finish(error)
        except click.ClickException as refused:
            refused.show()
            return refused.exit_code
        except BaseException:
            traceback.print_exc()
            return 2
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()

    def finish(self, error: BaseException | None) -> int:
        """Report, and give the exit status."""
        if isinstance(error, KeyboardInterrupt):
            click.echo("nnlint: interrupted", err=True)
        if self.report is None:
            if self._passing is None:
                self._judge(error)
            self._write()
        elif error is not None and not isinstance(error, SystemExit):
            sys.excepthook(type(error), error, error.__traceback__)
        if self.report is None:  # another rank reports
            return 0
        if self._status:
            self.leaving.judged(self._status)
            click.echo(f"nnlint: exit status {self._status}: {why(self.report, self.run)}", err=True)
        if isinstance(error, KeyboardInterrupt):
            return INTERRUPTED
        return self._status or _status_of(error, went_on=bool(self.options["keep_going"]))

    def _judge(self, error: BaseException | None) -> None:
        """Make the reports of the training that was observed last."""
        from nnlint.observation.ranks import Exchange
        from nnlint.run import Judge, without_repeats

        assert self.observer is not None
        if self._trainings > 1 and not self.observer.end.steps:
            return  # an optimizer was made, and nothing trained with it
        settings, target = self.run.tasks[0].settings, self.run.targets[0]
        if self._trainings > 1:
            target = f"{target} (training {self._trainings})"
        judge = Judge(self.observer, settings, target, Exchange.of_environment(), self.run.registry)
        self._reports += without_repeats(judge.reports(error), self._reports)

    def _write(self) -> None:
        from nnlint.cli.output import write

        if not self._reports:
            return
        self.report = accepted(self._reports, self.run)
        style = self.options["style"]
        shown = report_options(self.run, self.options, self.files, self.root)
        write(self.report, style, self.files, shown, to_stderr=style not in _MACHINE)
        self._status = self.run.status(self.report)


def _status_of(error: BaseException | None, *, went_on: bool) -> int:
    """The script's own exit status, where it was let to its end and nothing was found."""
    if not went_on or error is None:
        return 0
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 1
