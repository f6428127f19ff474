"""A training script as statements that can be deleted, moved and replaced, with lines that keep their identity."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

Statement = ast.stmt
Loop = (ast.For, ast.While)

#: What a variable of this kind is called in the scripts.
_KINDS = {
    "optimizer": re.compile(r"opt(im|imi[sz]er)?(_?[A-Za-z]*)?$|optimizer|^optim$"),
    "scheduler": re.compile(r"sched"),
    "scaler": re.compile(r"scaler"),
}


class Line:
    """A line of a script: the same object in the script and in what an edit makes of it."""

    def __init__(self, text: str) -> None:
        self.text = text


@dataclass(frozen=True)
class Mutant:
    """A script with a fault: its source and the numbers of the lines that a finding may name."""

    source: str
    lines: frozenset[int]


class Script:
    """A script, parsed.

    Args:
        name: of the file.
        source: its text.
    """

    def __init__(self, name: str, source: str) -> None:
        self.name, self.source = name, source
        self.lines = [Line(text) for text in source.splitlines()]
        self.tree = ast.parse(source)
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    # ---------------------------------------------------------------- reading

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        """All statements in the order of the text."""
        found = (node for node in ast.walk(self.tree) if isinstance(node, ast.stmt))
        return tuple(sorted(found, key=lambda node: (node.lineno, -(node.end_lineno or 0))))

    def text(self, node: ast.AST) -> str:
        """The source of a node."""
        return ast.get_source_segment(self.source, node) or ""

    def calls(self, *methods: str, kind: str | None = None) -> list[Statement]:
        """Statements that are one call of a method (`x.step()`, also assigned), of a variable of this kind."""
        found = []
        for statement in self.statements:
            call = call_of(statement)
            if call is None or not isinstance(call.func, ast.Attribute) or call.func.attr not in methods:
                continue
            if kind is None or is_kind(self.receiver(statement), kind):
                found.append(statement)
        return found

    def calls_in(self, node: ast.AST, method: str) -> bool:
        """Whether a method of this name is called anywhere inside."""
        return any(isinstance(one, ast.Attribute) and one.attr == method for one in ast.walk(node))

    def receiver(self, statement: Statement) -> str:
        """`self.opt` of `self.opt.step()`."""
        call = call_of(statement)
        assert call is not None
        assert isinstance(call.func, ast.Attribute)
        return self.text(call.func.value)

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around it, inner ones first."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def loop(self, statement: ast.AST) -> ast.For | ast.While | None:
        """The innermost loop around it, in the same function."""
        for node in self.above(statement):
            if isinstance(node, Loop):
                return node
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                return None
        return None

    def function(self, statement: ast.AST) -> ast.FunctionDef | None:
        """The innermost function around it."""
        return next((node for node in self.above(statement) if isinstance(node, ast.FunctionDef)), None)

    def block(self, statement: Statement) -> list[Statement]:
        """The statements beside it, itself included."""
        parent = self.parents[statement]
        for field in ("body", "orelse", "finalbody"):
            block = getattr(parent, field, None)
            if isinstance(block, list) and statement in block:
                return block
        raise AssertionError(f"{self.name}: a statement in no block")

    def after(self, statement: Statement, test: Callable[[Statement], bool]) -> Statement | None:
        """The first statement after it in its block that passes."""
        block = self.block(statement)
        return next((other for other in block[block.index(statement) + 1 :] if test(other)), None)

    def before(self, statement: Statement, test: Callable[[Statement], bool]) -> Statement | None:
        """The last statement before it in its block that passes."""
        block = self.block(statement)
        return next((other for other in reversed(block[: block.index(statement)]) if test(other)), None)

    def span(self, *nodes: ast.AST | None) -> list[Line]:
        """The lines of nodes."""
        given = [node for node in nodes if node is not None]
        return [line for node in given for line in self.lines[node.lineno - 1 : node.end_lineno]]  # type: ignore[attr-defined]

    def made(self, name: str) -> list[ast.Assign]:
        """The assignments of a call to a name (`self.opt` or `opt`)."""
        wanted = last_part(name)
        return [
            statement
            for statement in self.statements
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call)
            if any(last_part(self.text(target)) == wanted for target in statement.targets)
        ]

    def optimizers(self) -> list[ast.Assign]:
        """The lines that make an optimizer."""
        return [
            statement
            for statement in self.statements
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call) and statement.value.args
            if re.search(r"\b(SGD|Adam|AdamW|RMSprop|Adadelta|LBFGS|SAM)\($", self.text(statement.value.func) + "(")
        ]


class Edit:
    """Changes of a script, each on the lines that the script had."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._lines = list(script.lines)
        self._expected: list[Line] = []

    def delete(self, *statements: Statement) -> Edit:
        """Take statements out; where a block would be empty, `pass` stays."""
        for statement in statements:
            own = self.script.span(statement)
            at = self._lines.index(own[0])
            left = [Line(indent_of(own[0].text) + "pass")] if len(self.script.block(statement)) == 1 else []
            self._lines[at : at + len(own)] = left
        return self

    def undecorate(self, function: ast.FunctionDef) -> Edit:
        """Take a function's decorators off."""
        for decorator in function.decorator_list:
            self._lines.remove(self.script.lines[decorator.lineno - 1])
        return self

    def replace(self, statement: Statement, text: str) -> list[Line]:
        """Write another text in a statement's place."""
        own = self.script.span(statement)
        at = self._lines.index(own[0])
        made = [Line(indent_of(own[0].text) + part) for part in text.splitlines()]
        self._lines[at : at + len(own)] = made
        return made

    def substitute(self, statement: ast.AST, old: str, new: str) -> list[Line]:
        """Replace a text within a statement; its lines stay the same objects' successors."""
        own = self.script.span(statement)
        found = next((line for line in own if old in line.text), None)
        if found is None:
            raise NotApplicable(old)
        made = Line(found.text.replace(old, new, 1))
        self._lines[self._lines.index(found)] = made
        return [made]

    def insert_before(self, statement: Statement, text: str) -> list[Line]:
        """Write lines before a statement, with its indentation."""
        first = self.script.span(statement)[0]
        return self._insert(self._lines.index(first), indent_of(first.text), text)

    def insert_after(self, statement: Statement, text: str) -> list[Line]:
        """Write lines after a statement (the last line of a block for a loop), with its indentation."""
        own = self.script.span(statement)
        last = next(line for line in reversed(own) if line in self._lines)
        return self._insert(self._lines.index(last) + 1, indent_of(own[0].text), text)

    def _insert(self, at: int, indent: str, text: str) -> list[Line]:
        made = [Line(indent + part if part else part) for part in text.splitlines()]
        self._lines[at:at] = made
        return made

    def expecting(self, *where: ast.AST | Line | list[Line] | None) -> Mutant:
        """The mutant, with the lines that a finding may name."""
        wanted: list[Line] = []
        for place in where:
            if isinstance(place, Line):
                wanted.append(place)
            elif isinstance(place, list):
                wanted += place
            elif place is not None:
                wanted += self.script.span(place)
        source = "\n".join(line.text for line in self._lines) + "\n"
        ast.parse(source)
        numbers = {number for number, line in enumerate(self._lines, 1) if any(line is one for one in wanted)}
        return Mutant(source, frozenset(numbers))


class NotApplicable(Exception):
    """The script has no place for the fault."""


def call_of(statement: ast.AST) -> ast.Call | None:
    """The call that a statement consists of."""
    value = getattr(statement, "value", None)
    return value if isinstance(statement, (ast.Expr, ast.Assign)) and isinstance(value, ast.Call) else None


def last_part(name: str) -> str:
    """`opt` of `self.opt`."""
    return name.rpartition(".")[2]


def is_kind(name: str, kind: str) -> bool:
    """Whether a variable is called like an optimizer, a scheduler, a scaler."""
    last = last_part(name)
    if kind == "optimizer" and (_KINDS["scheduler"].search(last) or _KINDS["scaler"].search(last)):
        return False
    return bool(_KINDS[kind].search(last))


def indent_of(text: str) -> str:
    """The blanks that a line begins with."""
    return text[: len(text) - len(text.lstrip())]
