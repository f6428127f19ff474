"""Findings that a configuration accepts for single targets or modules, or reports at another level."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nnlint.finding import Level

if TYPE_CHECKING:
    from typing_extensions import Self


class Override(BaseModel):
    """Findings that some targets or modules have on purpose: not reported there, or at another level, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str | tuple[str, ...] = Field(default="*", description="glob of targets, or several")
    module: str | tuple[str, ...] = Field(default="*", description="glob of module paths, or several")
    ignore: tuple[str, ...] = Field(default=(), description="rules whose findings are not reported")
    levels: dict[str, Level] = Field(default={}, description="rule -> level that its findings are reported at")
    reason: str = Field(description="why; the report repeats it")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.reason.strip():
            raise ValueError("reason is empty: say why")
        if not (self.ignore or self.levels):
            raise ValueError("neither ignore nor levels is given")
        return self

    def is_about(self, target: str, module: str) -> bool:
        """Whether the entry covers this module of this target."""
        return self.covers(target) and _any_glob(self.module, module)

    def covers(self, target: str) -> bool:
        """Whether the entry speaks of this target."""
        return _any_glob(self.target, target)

    @property
    def selectors(self) -> tuple[str, ...]:
        """The rules it names."""
        return (*self.ignore, *self.levels)


def _any_glob(globs: str | tuple[str, ...], name: str) -> bool:
    return any(fnmatchcase(name, glob) for glob in ((globs,) if isinstance(globs, str) else globs))


def expected_finding(key: str, reason: str) -> Override:
    """The override that an entry of `expect` stands for; the key is "CODE" or "CODE module-glob"."""
    code, *module = key.split()
    return Override(module=module[0] if module else "*", ignore=(code,), reason=reason)
