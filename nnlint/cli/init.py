"""`nnlint init`: a starter configuration."""

from __future__ import annotations

from pathlib import Path

import click

from nnlint.cli.errors import Refusal

_CONFIG = "pyproject.toml"
_MOST_TARGETS = 5


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option("--dry-run", is_flag=True, help="Show what would be written without writing it.")
def init(path: Path, dry_run: bool) -> None:  # noqa: FBT001 - click passes the flag
    """Write a starter [tool.nnlint] to pyproject.toml, with the targets found in PATH (a file or a folder).

    A file that trains when it is run needs no configuration: the command for it is shown instead.
    """
    from nnlint.starter import Offer, offer_of, offers_below

    try:
        offers = [offer_of(path)] if path.is_file() else list(offers_below(path))
    except SyntaxError as error:
        raise Refusal(f"{path}:{error.lineno}: not valid Python: {error.msg}") from error
    except ValueError as error:  # no text, or with zero bytes in it
        raise Refusal(f"{path}: not valid Python: the file is not UTF-8 text") from error
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from error
    if not path.exists():
        raise Refusal(f"{path} does not exist")
    scripts: list[Offer] = [offer for offer in offers if offer.trains]
    for script in scripts:
        click.echo(
            f"{script.file.as_posix()} trains when it is run. Check the training itself: nnlint run {script.file.as_posix()}"
        )
    targets = [target for offer in offers for target in offer.targets][:_MOST_TARGETS]
    if not targets:
        if not scripts:
            what = "found no function that returns a model, no model and no training script"
            raise Refusal(f"{path}: {what}; `nnlint check --help` says what a target is")
        return
    text = _table(targets)
    if dry_run:
        click.echo(text, nl=False)
        return
    _append(Path(_CONFIG), text)
    click.echo(
        f"{_CONFIG}: [tool.nnlint] with {len(targets)} target{'s' if len(targets) > 1 else ''}. Next: nnlint check"
    )


def _table(targets: list[str]) -> str:
    listed = "".join(f'    "{target}",\n' for target in targets)
    return (
        "[tool.nnlint]\n"
        "# Models, or functions that return a model or a whole training setup; `nnlint check --help` says more\n"
        f"targets = [\n{listed}]\n"
        '# fail-on = "error"      # lowest level that fails the check: error, warning, info, never\n'
        '# baseline = "nnlint-baseline.json"   # accept today\'s findings: nnlint baseline\n'
        '# timeout = "5m"\n'
    )


def _append(file: Path, text: str) -> None:
    """Add the table to the file.

    Raises:
        Refusal: the file has one already, or cannot be written.
    """
    from nnlint.config import ConfigError, load

    try:
        old = file.read_text(encoding="utf-8") if file.exists() else ""
        if "[tool.nnlint" in old and load(file).file is not None:
            raise Refusal(f"{file} already has a [tool.nnlint]; `nnlint config` shows it")
        file.write_text(f"{old.rstrip()}\n\n{text}" if old.strip() else text, encoding="utf-8")
    except ConfigError as error:
        raise Refusal(str(error)) from error
    except UnicodeDecodeError as error:
        raise Refusal(f"{file}: not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    except OSError as error:
        raise Refusal(f"{file}: {error.strerror}") from error
