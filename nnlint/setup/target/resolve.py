"""From a target string (`pkg.module:attr`, `path/to/file.py:attr`, `mod:build(depth=18)`, `timm:NAME`) to a setup."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from torch import nn

from nnlint.setup.complete import complete
from nnlint.setup.errors import SetupError
from nnlint.setup.options import SetupOptions
from nnlint.setup.target.accepted_forms import build, to_setup
from nnlint.setup.target.construction_sites import ConstructionSites
from nnlint.setup.target.importing import importing, load_module, near_names
from nnlint.setup.target.library_models import ADAPTERS
from nnlint.setup.training_setup import TrainingSetup
from nnlint.tensors import describe

#: The names looked for, in this order, in a file or module given without an attribute.
DISCOVERED = ("nnlint_setup", "build", "build_fn", "make_model", "create_model", "model")
_TARGET = re.compile(r"(?P<where>.+?)(?::(?P<attribute>[^\W\d][\w.]*)\s*(?P<call>\(.*\))?)?", re.DOTALL)
_PREFIXED = re.compile(r"(?P<prefix>[a-z]+):(?P<rest>.+)", re.DOTALL)
_CALL = re.compile(r"(?P<name>[^(]+?)\s*(?P<call>\(.*\))?", re.DOTALL)
_SYNTAX = "write module:attribute, path/to/file.py:attribute, or with literal arguments module:build(depth=18)"


@dataclass(frozen=True)
class Target:
    """A target string taken apart.

    Attributes:
        where: the module or file; for a prefixed target, the name behind the prefix.
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


def resolve(target: str, overrides: SetupOptions | None = None) -> TrainingSetup:
    """The training setup a target string names, completed with inputs, loss and targets.

    The user's code runs under the seed of the options; the process's random generators are as before afterwards. The
    directories that its imports need stay on `sys.path`, because models import lazily.

    Raises:
        SetupError: RUN001, when the target cannot be loaded or is no training setup; RUN005, when there are no inputs.
    """
    options = overrides or SetupOptions()
    parsed = parse_target(target)
    sites = ConstructionSites()
    if parsed.prefix is not None:
        adapter = ADAPTERS[parsed.prefix]
        with sites:
            name = f"{parsed.prefix}:{parsed.where}"
            made = build(adapter, (parsed.where, *(parsed.args or ())), parsed.kwargs, name=name, seed=options.seed)
        return complete(to_setup(made, sites=sites, origin=f"{name} gave"), options)
    with sites, importing(parsed.where, options) as source:
        module = load_module(parsed.where, source, options)
        name = parsed.attribute or _discover(module, parsed.where)
        value = _attribute(module, name, parsed.where)
        value, origin = _called(value, name, parsed, options)
        setup = to_setup(value, sites=sites, origin=origin)
    return complete(setup, options)


def load_attribute(target: str, options: SetupOptions) -> Any:
    """The object a `module:attribute` string names, called if there is a call in it (a loss, for example).

    Raises:
        SetupError: RUN001.
    """
    parsed = parse_target(target)
    if parsed.attribute is None:
        raise SetupError("RUN001", f"{target!r} names no attribute: write module:attribute")
    with importing(parsed.where, options) as source:
        value = _attribute(load_module(parsed.where, source, options), parsed.attribute, parsed.where)
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
            raise SetupError("RUN001", f"malformed target {text!r}: write {prefixed['prefix']}:NAME")
        args, kwargs = _literals(match["call"], text)
        return Target(match["name"], None, args, kwargs, prefixed["prefix"])
    match = _TARGET.fullmatch(text)
    # Behind a Windows drive letter no colon may be left in the module or path, and in neither an open parenthesis.
    if match is None or ":" in match["where"][2:] + match["where"][:1] or "(" in match["where"].rpartition("/")[2]:
        raise SetupError("RUN001", f"malformed target {text!r}: {_SYNTAX}")
    args, kwargs = _literals(match["call"], text)
    return Target(match["where"], match["attribute"], args, kwargs)


def _literals(call: str | None, target: str) -> tuple[tuple[Any, ...] | None, dict[str, Any]]:
    """The arguments of `(…)`; (None, {}) where there is no call. Nothing but literals is ever evaluated."""
    if call is None:
        return None, {}
    try:
        node = ast.parse(f"f{call}", mode="eval").body
    except SyntaxError as error:
        raise SetupError("RUN001", f"malformed arguments in target {target!r}: {error.msg}") from error
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise SetupError("RUN001", f"malformed target {target!r}: {_SYNTAX}")
    try:
        args = tuple(ast.literal_eval(argument) for argument in node.args)
        kwargs = {word.arg: ast.literal_eval(word.value) for word in node.keywords if word.arg is not None}
    except ValueError as error:
        message = f"arguments in target {target!r} must be literals (numbers, strings, lists, None, ...)"
        raise SetupError("RUN001", message) from error
    if len(kwargs) < len(node.keywords):
        raise SetupError("RUN001", f"arguments in target {target!r} must be written out: no ** is possible")
    return args, kwargs


def _discover(module: ModuleType, where: str) -> str:
    for name in DISCOVERED:
        if hasattr(module, name):
            return name
    own = _public_names(module)
    has = f"; it defines {', '.join(own[:8])}" if own else ""
    raise SetupError(
        "RUN001",
        f"{where} defines none of {', '.join(DISCOVERED)}{has}; name the attribute to check: {where}:attribute",
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


def _attribute(module: ModuleType, dotted: str, where: str) -> Any:
    found: Any = module
    path = where
    for name in dotted.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            names = _public_names(found) if hasattr(found, "__dict__") else []
            raise SetupError("RUN001", f"{path} has no attribute {name!r}{near_names(name, names)}") from error
        path = f"{path}:{name}" if path == where else f"{path}.{name}"
    return found


def _called(value: Any, name: str, parsed: Target, options: SetupOptions) -> tuple[Any, str]:
    """The object itself, or what it returns; with the words that say which of the two, for errors."""
    callable_target = callable(value) and not isinstance(value, nn.Module)
    if not callable_target:
        if parsed.args is not None:
            message = f"{parsed.where}:{name} is {describe(value)}: it cannot be called with arguments"
            raise SetupError("RUN001", message)
        return value, f"{parsed.where}:{name} is"
    made = build(value, parsed.args or (), parsed.kwargs, name=name, seed=options.seed)
    return made, f"{name}() returned"
