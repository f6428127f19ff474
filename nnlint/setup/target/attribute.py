"""What a target string names: the string taken apart, and the attribute found, and called where it says so."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from torch import nn

from nnlint.setup.errors import SetupError
from nnlint.setup.options import SetupOptions
from nnlint.setup.target.accepted_forms import build, build_without_weights
from nnlint.setup.target.importing import importing, load_module, near_names, nearest
from nnlint.setup.target.library_models import ADAPTERS
from nnlint.tensors import describe

DISCOVERED = ("nnlint_setup", "build", "build_fn", "make_model", "create_model", "model")
_TARGET = re.compile(r"(?P<where>.+?)(?::(?P<attribute>[^\W\d][\w.]*)\s*(?P<call>\(.*\))?)?", re.DOTALL)
_PREFIXED = re.compile(r"(?P<prefix>[a-z]+):(?P<rest>.+)", re.DOTALL)
_CALL = re.compile(r"(?P<name>[^(]+?)\s*(?P<call>\(.*\))?", re.DOTALL)
_SYNTAX = "write module:attribute, path/to/file.py:attribute, or with literal arguments module:build(depth=18)"


@dataclass(frozen=True)
class Target:
    """A target string taken apart.

    Attributes:
        where: the module or file; for a prefixed target, the name after the prefix.
        attribute: the dotted attribute; None where it has to be discovered.
        args: literal positional arguments; None where there was no call.
        kwargs: literal keyword arguments.
        prefix: of a library that models are taken from by name.
    """

    where: str
    attribute: str | None = None
    args: tuple[Any, ...] | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    prefix: str | None = None


def load_attribute(target: str, options: SetupOptions) -> Any:
    """The object a `module:attribute` string names, called if there is a call in it (a loss, for example).

    Raises:
        SetupError: RUN001.
    """
    parsed = parse_target(target)
    if parsed.attribute is None:
        raise SetupError("RUN001", f"{target!r} names no attribute", fix="write module:attribute")
    with importing(parsed.where, options) as source:
        value = attribute_of(load_module(parsed.where, source, options), parsed.attribute, parsed.where)
        if parsed.args is None:
            return value
        return build(value, parsed.args, parsed.kwargs, name=parsed.attribute, seed=options.seed)


def parse_target(text: str) -> Target:
    """The parts of a target string.

    Raises:
        SetupError: RUN001, when it is malformed or its arguments are not literals.
    """
    text = text.strip()
    prefixed = _PREFIXED.fullmatch(text)
    if prefixed is not None and prefixed["prefix"] in ADAPTERS:
        match = _CALL.fullmatch(prefixed["rest"])
        if match is None:
            raise SetupError("RUN001", f"malformed target {text!r}", fix=f"write {prefixed['prefix']}:NAME")
        args, kwargs = _literals(match["call"], text)
        return Target(match["name"], None, args, kwargs, prefixed["prefix"])
    match = _TARGET.fullmatch(text)
    # Behind a Windows drive letter no colon may be left in the module or path, and in neither an open parenthesis.
    if match is None or ":" in match["where"][2:] + match["where"][:1] or "(" in match["where"].rpartition("/")[2]:
        raise SetupError("RUN001", f"malformed target {text!r}", fix=_SYNTAX)
    args, kwargs = _literals(match["call"], text)
    return Target(match["where"], match["attribute"], args, kwargs)


def _literals(call: str | None, target: str) -> tuple[tuple[Any, ...] | None, dict[str, Any]]:
    """The arguments of `(…)`; (None, {}) where there is no call. Nothing but literals is ever evaluated."""
    if call is None:
        return None, {}
    try:
        node = ast.parse(f"f{call}", mode="eval").body
    except SyntaxError as error:
        raise SetupError("RUN001", f"malformed arguments in target {target!r}: {error.msg}", fix=_SYNTAX) from error
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise SetupError("RUN001", f"malformed target {target!r}", fix=_SYNTAX)
    try:
        args = tuple(ast.literal_eval(argument) for argument in node.args)
        kwargs = {word.arg: ast.literal_eval(word.value) for word in node.keywords if word.arg is not None}
    except ValueError as error:
        message = f"arguments in target {target!r} must be literals (numbers, strings, lists, None, ...)"
        raise SetupError("RUN001", message, fix=_SYNTAX) from error
    if len(kwargs) < len(node.keywords):
        raise SetupError("RUN001", f"arguments in target {target!r} must be written out: no ** is possible", fix=_SYNTAX)
    return args, kwargs


def discover(module: ModuleType, where: str) -> str:
    """The attribute to check where the target names none.

    Raises:
        SetupError: RUN001, when the module defines none of the usual names.
    """
    for name in DISCOVERED:
        if hasattr(module, name):
            return name
    if _is_folder(module):
        raise SetupError("RUN001", f"{where} is a folder, not a module", fix=f"name a file in it: {where}/model.py:attribute")
    own = _public_names(module)
    has = f"; it defines {', '.join(own[:8])}" if own else ""
    raise SetupError(
        "RUN001",
        f"{where} defines none of {', '.join(DISCOVERED)}{has}",
        fix=f"name the attribute to check: {where}:{own[0] if own else 'attribute'}",
    )


def _public_names(owner: Any) -> list[str]:
    """What the user may have meant: names defined there, not imported ones or plain values."""
    home = getattr(owner, "__name__", None) if isinstance(owner, ModuleType) else None
    return [
        name
        for name, value in vars(owner).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and (home is None or getattr(value, "__module__", home) == home or isinstance(value, nn.Module))
    ]


def attribute_of(module: ModuleType, dotted: str, where: str) -> Any:
    """The object at a dotted path in the module.

    Raises:
        SetupError: RUN001, with near names.
    """
    found: Any = module
    path = where
    for name in dotted.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            names = _public_names(found) if hasattr(found, "__dict__") else []
            message = f"{path} has no attribute {name!r}{near_names(name, names)}"
            raise SetupError("RUN001", message, fix=_existing(module, where, name, names)) from error
        path = f"{path}:{name}" if path == where else f"{path}.{name}"
    return found


def _is_folder(module: ModuleType) -> bool:
    """Whether it is a folder without `__init__.py`, which Python imports as a module without content."""
    return getattr(module, "__file__", None) is None and hasattr(module, "__path__")


def _existing(module: ModuleType, where: str, name: str, names: list[str]) -> str:
    """What to write for an attribute that is not there."""
    if _is_folder(module):
        return f"{where} is a folder: name a file in it, such as {where}/model.py:{name}"
    near = nearest(name, names)
    if not near:
        return f"define {name} in {where}, or name what is there: {where}:attribute"
    return f"write {where}:{near[0]}"


def called(value: Any, name: str, parsed: Target, options: SetupOptions) -> tuple[Any, str]:
    """The object itself, or what it returns; with the words that say which of the two, for errors.

    Raises:
        SetupError: RUN001, when it cannot be called, or raises.
    """
    callable_target = callable(value) and not isinstance(value, nn.Module)
    if not callable_target:
        if parsed.args is not None:
            message = f"{parsed.where}:{name} is {describe(value)}: it cannot be called with arguments"
            raise SetupError("RUN001", message, fix=f"leave the arguments out: {parsed.where}:{name}")
        return value, f"{parsed.where}:{name} is"
    chosen = build_without_weights if options.is_meta else build
    made = chosen(value, parsed.args or (), parsed.kwargs, name=name, seed=options.seed)
    return made, f"{name}() returned"
