"""Settings of a check, and `[tool.nnlint]` of pyproject.toml. No torch here: the command line needs it first."""

from __future__ import annotations

import difflib
import importlib
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from nnlint.evidence import PROBES
from nnlint.finding import Level
from nnlint.provenance import MODEL_LIBRARIES

#: The standard library's parser from Python 3.11 on, its backport before; by name, so that type checkers need only one.
_TOML = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

FILE_NAME = "pyproject.toml"

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", re.IGNORECASE)
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|)\s*")


class ConfigError(Exception):
    """The configuration cannot be used; the message names the file and the key."""


def seconds(duration: str | float) -> float:
    """Seconds in `60s`, `2m`, `1.5h`, `500ms` or a plain number.

    Raises:
        ValueError: not a duration, or not above zero.
    """
    match = _DURATION.fullmatch(str(duration))
    if match is None:
        raise ValueError(f"{duration!r} is not a duration such as 60s, 2m or 1h")
    value = float(match[1]) * _UNITS[match[2]]
    if value <= 0 or not math.isfinite(value):
        raise ValueError(f"{duration!r} is not above zero")
    return value


def size(text: str | float) -> int:
    """Bytes in `800M`, `4G`, `4GiB` or a plain number; units are powers of 1024.

    Raises:
        ValueError: not a size, or not above zero.
    """
    match = _SIZE.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 800M or 4G")
    value = int(float(match[1]) * 1024 ** "KMGT".find(match[2].upper()) * 1024) if match[2] else int(float(match[1]))
    if value <= 0:
        raise ValueError(f"{text!r} is not above zero")
    return value


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Shared(_Settings):
    """The keys of a configuration file that the command line and the Python API know too."""

    select: tuple[str, ...] = Field(default=(), description="rules to run: codes, names, prefixes, ALL; empty for all")
    extend_select: tuple[str, ...] = Field(default=(), description="rules to run besides those of `select`")
    ignore: tuple[str, ...] = Field(default=(), description="rules not to run")
    fail_on: Level | None = Field(default=Level.ERROR, description="lowest level that fails the check, or never")
    seed: int = Field(default=0, ge=0)
    device: str | None = None
    static: bool = Field(default=False, description="run nothing on real values")
    deep: bool = Field(default=False, description="run the longer probes too")
    probes: tuple[str, ...] = Field(default=(), description="single longer probes to run without `deep`")
    budget: float | None = Field(default=None, description="what the probes of one target may take: seconds, 60s, 2m")
    input: tuple[str, ...] = Field(default=(), description="example inputs, one specification for each argument")
    loss: str | None = None
    batch_size: int | None = Field(default=None, ge=1)
    classes: int | None = Field(default=None, ge=1)
    weights: str | None = None
    libraries: tuple[str, ...] = Field(
        default=tuple(MODEL_LIBRARIES),
        description="import names of model libraries; what they chose is judged leniently",
    )
    rules: dict[str, dict[str, Any]] = Field(default={}, description="options of single rules, and their `level`")

    @field_validator("fail_on", mode="before")
    @classmethod
    def _never(cls, value: object) -> object:
        return None if value == "never" else value

    @field_validator("probes")
    @classmethod
    def _known_probes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in PROBES:
                raise ValueError(f"unknown probe {name!r}; known: {', '.join(PROBES)}{suggestion(name, list(PROBES))}")
        return value

    @field_validator("budget", mode="before")
    @classmethod
    def _seconds(cls, value: object) -> object:
        return seconds(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else value


class CheckSettings(_Shared):
    """How one target is checked: what the engine needs to know, wherever it was said."""

    default_input: tuple[str, ...] = Field(
        default=(), description="example inputs where the target has none of its own"
    )
    directory: Path | None = Field(default=None, description="what relative targets start from; the working directory")
    details: bool = Field(default=False, description="report what pictures need too: histograms, modules, operations")


class Override(_Settings):
    """Findings that are not reported for some targets or modules, and why."""

    target: str = "*"
    module: str = "*"
    ignore: tuple[str, ...] = Field(min_length=1)
    reason: str = Field(min_length=1)


class FileSettings(_Shared):
    """Every key of `[tool.nnlint]`."""

    targets: tuple[str, ...] = ()
    baseline: str | None = Field(default=None, description="file of known findings, which are not reported again")
    timeout: float | None = Field(default=None, description="seconds after which the check of one target is stopped")
    memory_limit: int | None = Field(default=None, description="what one target may allocate: bytes, 800M, 4G")
    jobs: int = Field(default=1, ge=1, description="how many targets are checked at a time")
    overrides: tuple[Override, ...] = ()
    expect: dict[str, str] = Field(default={}, description='"CODE module-glob" of a known finding -> reason')

    @field_validator("timeout", mode="before")
    @classmethod
    def _timeout_seconds(cls, value: object) -> object:
        return cls._seconds(value)

    @field_validator("memory_limit", mode="before")
    @classmethod
    def _bytes(cls, value: object) -> object:
        return size(value) if isinstance(value, str) else value

    @field_validator("expect")
    @classmethod
    def _explained(cls, value: dict[str, str]) -> dict[str, str]:
        for key, reason in value.items():
            if not 1 <= len(key.split()) <= 2:
                raise ValueError(f"{key!r} is not 'CODE' or 'CODE module-glob'")
            if not reason.strip():
                raise ValueError(f"{key!r} has no reason")
        return value


@dataclass(frozen=True)
class Config:
    """What a configuration file says; all defaults when there is none."""

    file: Path | None
    values: FileSettings

    @property
    def targets(self) -> tuple[str, ...]:
        """Targets to check when the command line names none."""
        return self.values.targets

    @property
    def suppressions(self) -> tuple[Override, ...]:
        """The overrides, and the expected findings as overrides."""
        return (*self.values.overrides, *(_expected(key, reason) for key, reason in self.values.expect.items()))

    @property
    def folder(self) -> Path | None:
        """The folder that relative paths in the file start from; None where it is the working directory."""
        folder = self.file.resolve().parent if self.file is not None else None
        return None if folder == Path.cwd() else folder

    def settings(self, changes: Mapping[str, object]) -> CheckSettings:
        """The settings of the file with `changes` from the command line.

        The file's `input` speaks for every target, so it is used only where a target has no inputs of its own.

        Raises:
            ConfigError: a changed value is not valid.
        """
        kept = {name: getattr(self.values, name) for name in _Shared.model_fields}
        kept |= {"input": (), "default_input": self.values.input}
        if self.folder is not None and self.values.weights is not None:
            kept["weights"] = str(self.folder / Path(self.values.weights).expanduser())
        try:
            return CheckSettings.model_validate({**kept, **changes})
        except ValidationError as error:
            raise ConfigError("; ".join(_problems(error, CheckSettings))) from error


def load(file: Path | None = None, *, start: Path | None = None) -> Config:
    """Read `file`, or the nearest pyproject.toml with `[tool.nnlint]` in `start` (the working directory) or above.

    Raises:
        ConfigError: the file is missing, is not TOML, or holds an unknown key or a bad value.
    """
    if file is not None:
        return _parsed(file, _table(file) or {})
    origin = (start or Path.cwd()).resolve()
    for folder in (origin, *origin.parents):
        candidate = folder / FILE_NAME
        if candidate.is_file():
            table = _table(candidate)
            if table is not None:
                return _parsed(candidate, table)
    return Config(None, FileSettings())


def suggestion(unknown: str, known: list[str]) -> str:
    """`; did you mean a, b?` or nothing."""
    near = difflib.get_close_matches(unknown, known, n=3)
    return f"; did you mean {', '.join(near)}?" if near else ""


def _expected(key: str, reason: str) -> Override:
    code, *module = key.split()
    return Override(module=module[0] if module else "*", ignore=(code,), reason=reason)


def _table(file: Path) -> dict[str, Any] | None:
    """The `[tool.nnlint]` table, or None; a file not called pyproject.toml may hold its keys at the top."""
    try:
        with file.open("rb") as stream:
            content = _TOML.load(stream)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (_TOML.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error
    tools = content.get("tool", {})
    table = tools.get("nnlint") if isinstance(tools, dict) else None
    if table is None and file.name != FILE_NAME and "tool" not in content:
        table = content
    if table is not None and not isinstance(table, dict):
        raise ConfigError(f"{file}: tool.nnlint is not a table")
    return table


def _parsed(file: Path, table: dict[str, Any]) -> Config:
    try:
        return Config(file, FileSettings.model_validate(_normalized(file, table)))
    except ValidationError as error:
        problems = "\n".join(f"{file}: {problem}" for problem in _problems(error, FileSettings))
        raise ConfigError(problems) from error


def _normalized(file: Path, table: dict[str, Any]) -> dict[str, Any]:
    """The table with snake_case keys, down to the options of rules."""
    values = _snake(file, table)
    overrides, rules = values.get("overrides"), values.get("rules")
    if isinstance(overrides, list):
        values["overrides"] = [_snake(file, entry) if isinstance(entry, dict) else entry for entry in overrides]
    if isinstance(rules, dict):
        values["rules"] = {
            code: _snake(file, options) if isinstance(options, dict) else options for code, options in rules.items()
        }
    return values


def _snake(file: Path, table: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name in values:
            raise ConfigError(f"{file}: {name} is given twice, in kebab-case and in snake_case")
        values[name] = value
    return values


def _problems(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    for detail in error.errors():
        path = ".".join(str(part) for part in detail["loc"]).replace("_", "-")
        if detail["type"] == "extra_forbidden":
            yield f"unknown key {path}{_nearest_key(detail, model)}"
        else:
            message = detail["msg"].removeprefix("Value error, ")
            yield f"{path}: {message[:1].lower()}{message[1:]}" if path else message


def _nearest_key(detail: ErrorDetails, model: type[BaseModel]) -> str:
    owner = Override if detail["loc"][0] == "overrides" else model
    known = [name.replace("_", "-") for name in owner.model_fields]
    return suggestion(str(detail["loc"][-1]).replace("_", "-"), known)
