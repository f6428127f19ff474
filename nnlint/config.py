"""Settings of a check, and `[tool.nnlint]` of pyproject.toml. No torch here: the command line needs it first."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from nnlint.evidence import PROBES
from nnlint.finding import Level
from nnlint.overrides import Override, expected_finding
from nnlint.provenance import MODEL_LIBRARIES
from nnlint.units import seconds, size

if TYPE_CHECKING:
    from typing_extensions import Self

#: The standard library's parser from Python 3.11 on, its backport before; by name, so that type checkers need only one.
_TOML = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

FILE_NAME = "pyproject.toml"

_FILE_TARGET = re.compile(r"(.+\.py):(.*)", re.DOTALL)
#: Settings that add up: the file's, those of a target's entry and those of the command line.
ADDED = ("extend_select", "ignore")


class ConfigError(Exception):
    """The configuration cannot be used; the message names the file and the key."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _OfTarget(_Settings):
    """The keys that a single target may have of its own; the file, the command line and the Python API know them too."""

    select: tuple[str, ...] = Field(default=(), description="rules to run: codes, names, prefixes, ALL; empty for all")
    extend_select: tuple[str, ...] = Field(default=(), description="rules to run besides those of `select`")
    ignore: tuple[str, ...] = Field(default=(), description="rules not to run")
    fail_on: Level | None = Field(default=Level.ERROR, description="lowest level that fails the check, or never")
    device: str | None = Field(default=None, description="where to measure: cpu, cuda:0, ...; where the model is if not set")
    static: bool = Field(default=False, description="run nothing on real values")
    deep: bool = Field(default=False, description="run the longer probes too")
    probes: tuple[str, ...] = Field(default=(), description="single longer probes to run without `deep`")
    budget: float | None = Field(default=None, description="what the probes of one target may take: seconds, 60s, 2m")
    input: tuple[str, ...] = Field(default=(), description="example inputs, one specification for each argument")
    loss: str | None = Field(default=None, description="loss of a target that defines none: a name or module:attribute")
    batch_size: int | None = Field(default=None, ge=1, description="samples in a generated batch")
    classes: int | None = Field(default=None, ge=1, description="number of classes, if it cannot be inferred")
    weights: str | None = Field(default=None, description="checkpoint to load into the model")
    rules: dict[str, dict[str, Any]] = Field(default={}, description="options of single rules, and their `level`")

    @field_validator("fail_on", mode="before")
    @classmethod
    def _never(cls, value: object) -> object:
        levels = [level.value for level in reversed(Level)]
        if isinstance(value, str) and value not in (*levels, "never"):
            raise ValueError(f"{value!r} is not one of {', '.join(levels)}, never")
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
        return _as_seconds(value)

    @model_validator(mode="after")
    def _static_or_deep(self) -> Self:
        if self.static and self.deep:
            raise ValueError("static and deep exclude each other: the longer probes run the model on real values")
        return self


class _Shared(_OfTarget):
    """The keys of a configuration file that the command line and the Python API know too."""

    seed: int = Field(default=0, ge=0, description="seed of everything random: same seed, same report")
    libraries: tuple[str, ...] = Field(
        default=tuple(MODEL_LIBRARIES),
        description="import names of model libraries; what they chose is judged leniently",
    )


class CheckSettings(_Shared):
    """How one target is checked: what the engine needs to know, wherever it was said."""

    default_input: tuple[str, ...] = Field(
        default=(), description="example inputs where the target has none of its own"
    )
    directory: Path | None = Field(default=None, description="what relative targets start from; the working directory")
    details: bool = Field(default=False, description="report what pictures need too: histograms, modules, operations")


class _Limited(_Settings):
    timeout: float | None = Field(default=None, description="seconds after which the check of one target is stopped")
    memory_limit: int | None = Field(default=None, description="what one target may allocate: bytes, 800M, 4G")

    @field_validator("timeout", mode="before")
    @classmethod
    def _timeout_seconds(cls, value: object) -> object:
        return _as_seconds(value)

    @field_validator("memory_limit", mode="before")
    @classmethod
    def _bytes(cls, value: object) -> object:
        return size(value) if isinstance(value, str) else value


class TargetSettings(_OfTarget, _Limited):
    """An entry of `targets`: a target, and what is set for it alone."""

    target: str = Field(min_length=1, description="the target, as on the command line")

    @property
    def own(self) -> dict[str, Any]:
        """What the entry sets, by field name."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set - {"target"})}


class FileSettings(_Shared, _Limited):
    """Every key of `[tool.nnlint]`."""

    targets: tuple[TargetSettings, ...] = Field(
        default=(), description="what is checked if the command line names nothing: targets, or tables with options"
    )
    baseline: str | None = Field(default=None, description="file of known findings, which are not reported again")
    cache: bool = Field(default=True, description="answer targets that have not changed from .nnlint_cache/")
    jobs: int = Field(default=1, ge=1, description="how many targets are checked at a time")
    overrides: tuple[Override, ...] = Field(default=(), description="findings accepted for targets or modules, and why")
    expect: dict[str, str] = Field(default={}, description='"CODE module-glob" of a known finding -> reason')

    @field_validator("targets", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            return value
        return [{"target": entry} if isinstance(entry, str) else entry for entry in value]

    @field_validator("targets")
    @classmethod
    def _once(cls, value: tuple[TargetSettings, ...]) -> tuple[TargetSettings, ...]:
        names = [entry.target for entry in value]
        for entry in value:
            if entry.own and names.count(entry.target) > 1:
                raise ValueError(f"{entry.target} is listed twice")
        return value

    @field_validator("expect")
    @classmethod
    def _explained(cls, value: dict[str, str]) -> dict[str, str]:
        for key, reason in value.items():
            if not 1 <= len(key.split()) <= 2:
                raise ValueError(f"{key!r} is not 'CODE' or 'CODE module-glob'")
            if not reason.strip():
                raise ValueError(f"{key!r} has no reason")
        return value


def _as_seconds(value: object) -> object:
    return seconds(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else value


@dataclass(frozen=True)
class Config:
    """What a configuration file says; all defaults when there is none."""

    file: Path | None
    values: FileSettings

    @property
    def targets(self) -> tuple[str, ...]:
        """Targets to check when the command line names none."""
        return tuple(entry.target for entry in self.values.targets)

    @property
    def suppressions(self) -> tuple[Override, ...]:
        """The overrides, and the expected findings as overrides."""
        return (*self.values.overrides, *(expected_finding(key, reason) for key, reason in self.values.expect.items()))

    @property
    def folder(self) -> Path | None:
        """The folder that relative paths in the file start from; None where it is the working directory."""
        folder = self.file.resolve().parent if self.file is not None else None
        return None if folder == Path.cwd() else folder

    def own(self, target: str, start: Path | None = None) -> TargetSettings | None:
        """The entry of `targets` with options for this target, if there is one.

        Args:
            target: as it was named.
            start: what a target that is a file starts from; None for the configuration's folder.
        """
        base = self.folder or Path.cwd()
        wanted = _identity(target, start or base)
        return next((entry for entry in self.values.targets if entry.own and _identity(entry.target, base) == wanted), None)

    def settings(
        self,
        changes: Mapping[str, object],
        *,
        target: TargetSettings | None = None,
        added: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    ) -> CheckSettings:
        """The settings of the file, then of a target's own entry, then `changes` from the command line.

        The file's `input` speaks for every target, so it is used only where a target has no inputs of its own. What an
        entry ignores or selects besides adds up with the file's, and so does `added` of the command line.

        Raises:
            ConfigError: a changed value is not valid.
        """
        kept = {name: getattr(self.values, name) for name in _Shared.model_fields}
        kept |= {"input": (), "default_input": self.values.input}
        own = {name: value for name, value in (target.own if target else {}).items() if name in _OfTarget.model_fields}
        for name in ADDED:
            own[name] = (*kept[name], *own.get(name, ()), *added.get(name, ()))
        rules = own.get("rules", {})
        own["rules"] = {code: {**kept["rules"].get(code, {}), **rules.get(code, {})} for code in {**kept["rules"], **rules}}
        kept |= _switched_off(own) | own
        if self.folder is not None and kept["weights"] is not None:
            kept["weights"] = str(self.folder / Path(kept["weights"]).expanduser())
        try:
            return CheckSettings.model_validate({**kept, **_switched_off(changes), **changes})
        except ValidationError as error:
            raise ConfigError("; ".join(problems(error, CheckSettings))) from error


def _switched_off(given: Mapping[str, object]) -> dict[str, bool]:
    """What settings that come later switch off of earlier ones: `static` and `deep` exclude each other."""
    return {other: False for one, other in (("static", "deep"), ("deep", "static")) if given.get(one)}


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


def _identity(target: str, base: Path) -> str:
    """The target with its file, if it is one, as an absolute path."""
    match = _FILE_TARGET.fullmatch(target)
    return f"{(base / Path(match[1]).expanduser()).resolve()}:{match[2]}" if match else target


def suggestion(unknown: str, known: list[str]) -> str:
    """`; did you mean a, b?` or nothing."""
    near = difflib.get_close_matches(unknown, known, n=3)
    return f"; did you mean {', '.join(near)}?" if near else ""


def _table(file: Path) -> dict[str, Any] | None:
    """The `[tool.nnlint]` table, or None; a file not called pyproject.toml may hold its keys at the top."""
    try:
        with file.open("rb") as stream:
            content = _TOML.load(stream)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    except _TOML.TOMLDecodeError as error:
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
        told = "\n".join(f"{file}: {problem}" for problem in problems(error, FileSettings))
        raise ConfigError(told) from error


def _normalized(file: Path, table: dict[str, Any]) -> dict[str, Any]:
    """The table with snake_case keys, down to the options of rules."""
    values = _snake(file, table)
    for name in ("overrides", "targets"):
        if isinstance(values.get(name), list):
            values[name] = [_normalized(file, entry) if isinstance(entry, dict) else entry for entry in values[name]]
    rules = values.get("rules")
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


#: Pydantic's kind of error -> what TOML calls the value that was expected.
_EXPECTED = {
    **dict.fromkeys(("tuple_type", "list_type"), "a list in brackets"),
    **dict.fromkeys(("dict_type", "model_type"), "a table"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "an integer"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": "a string",
}


def problems(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    """What a user reads of a validation error, one text for each problem.

    Args:
        error: what pydantic says.
        model: what was validated; its keys are what may have been meant.
    """
    for detail in error.errors():
        path = ".".join(str(part) for part in detail["loc"]).replace("_", "-")
        if detail["type"] == "extra_forbidden":
            yield f"unknown key {path}{_nearest_key(detail, model)}"
        elif detail["type"] == "missing":
            yield f"{path} is missing"
        elif detail["type"] in _EXPECTED:
            yield f"{path}: expects {_EXPECTED[detail['type']]}, got {detail['input']!r}"
        else:
            message = detail["msg"].removeprefix("Value error, ")
            yield f"{path}: {message[:1].lower()}{message[1:]}" if path else message


def _nearest_key(detail: ErrorDetails, model: type[BaseModel]) -> str:
    owners: dict[object, type[BaseModel]] = {"overrides": Override, "targets": TargetSettings}
    owner = owners.get(detail["loc"][0], model) if len(detail["loc"]) > 1 else model
    known = [name.replace("_", "-") for name in owner.model_fields]
    return suggestion(str(detail["loc"][-1]).replace("_", "-"), known)
