"""`Options`: the typed thresholds of a rule. Apart from `nnlint.rule`, so that `nnlint --help` does not load pydantic."""

from __future__ import annotations

import inspect
import io
import tokenize
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Base of a rule's thresholds: `[tool.nnlint.rules.CODE]` in pyproject.toml. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    #: How `nnlint.rule` knows the class without importing it.
    is_nnlint_options: ClassVar[bool] = True

    @classmethod
    def meanings(cls) -> dict[str, str]:
        """What each option means: its description, or the comment that ends its line."""
        comments: dict[str, str] = {}
        source = inspect.cleandoc(inspect.getsource(cls))
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                comments[token.line.strip().partition(":")[0]] = token.string.lstrip("# ").strip()
        return {name: field.description or comments.get(name, "") for name, field in cls.model_fields.items()}
