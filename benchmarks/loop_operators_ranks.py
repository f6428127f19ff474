"""Faults of scripts that several ranks run: applied to the scripts of benchmarks/scripts/ranks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from benchmarks.loop_operators import Operator, is_step, steps
from benchmarks.loop_script import Edit, Mutant, Script, Statement


def _loaders(script: Script) -> list[Statement]:
    return [one for one in script.statements if isinstance(one, ast.Assign) and "sampler=" in script.text(one)]


def no_sampler(script: Script) -> Iterator[Mutant]:
    """The ranks were seeded alike, so that they shuffle alike."""
    for statement in _loaders(script):
        edit = Edit(script).delete(*script.calls("set_epoch"))
        match = re.search(r"(shuffle=False, )?sampler=[\w.]+(\(\w+\))?", script.text(statement))
        assert match is not None
        yield edit.expecting(edit.substitute(statement, match.group(0), "shuffle=True"))


def epoch_not_set(script: Script) -> Iterator[Mutant]:
    for statement in script.calls("set_epoch"):
        yield Edit(script).delete(statement).expecting(*_loaders(script))


def _wrapped_call(script: Script) -> tuple[Statement, str] | None:
    names = [name for name in ("self.model", "ddp_model", "model") if f"{name}(" in script.source and f"{name} = " in script.source]
    for statement in script.statements:
        if isinstance(statement, ast.Assign) and names and f"{names[0]}(" in script.text(statement):
            if "DDP(" not in script.text(statement) and "Parallel(" not in script.text(statement):
                return statement, names[0]
    return None


def bypassed(script: Script) -> Iterator[Mutant]:
    found = _wrapped_call(script)
    if found is not None:
        edit = Edit(script)
        yield edit.expecting(edit.substitute(found[0], f"{found[1]}(", f"{found[1]}.module("))


def bypassed_sometimes(script: Script) -> Iterator[Mutant]:
    """Every other training forward goes past the wrapper."""
    found = _wrapped_call(script)
    if found is not None:
        edit = Edit(script)
        turn = "(globals().__setitem__('turn', not globals().get('turn', False)) or globals()['turn'])"
        chosen = f"({found[1]}.module if {turn} else {found[1]})("
        yield edit.expecting(edit.substitute(found[0], f"{found[1]}(", chosen))


def clipped_on_one(script: Script) -> Iterator[Mutant]:
    for step in steps(script):
        name = "self.model" if "self." in script.receiver(step) else "model"
        edit = Edit(script)
        clip = f"if dist.get_rank() == 0:\n    torch.nn.utils.clip_grad_norm_({name}.parameters(), 1e-3)"
        yield edit.expecting(edit.insert_before(step, clip), step)


def changed_on_one(script: Script) -> Iterator[Mutant]:
    """A weight is changed by hand on the last rank alone, after each step."""
    for step in steps(script):
        name = "self.model" if "self." in script.receiver(step) else "model"
        edit = Edit(script)
        change = f"if dist.get_rank() == 1:\n    next({name}.parameters()).data.mul_(1.01)"
        yield edit.expecting(edit.insert_after(step, change), step)


def not_wrapped(script: Script) -> Iterator[Mutant]:
    """The wrapper is left out: each rank trains alone on its part."""
    for statement in script.statements:
        match = re.search(r"(?:DDP|nn\.parallel\.DistributedDataParallel)\((\w+)\)", script.text(statement))
        if isinstance(statement, ast.Assign) and match and "no_sync" not in script.source:
            edit = Edit(script)
            edit.substitute(statement, match.group(0), match.group(1))
            yield edit.expecting(statement, *[one for one in script.statements if is_step(script)(one)])


OPERATORS = (
    Operator(("DST002",), "the sampler left out", no_sampler),
    Operator(("DST003",), "set_epoch() deleted", epoch_not_set),
    Operator(("DST005",), "the module inside the wrapper called", bypassed),
    Operator(("DST005",), "the module inside called every other time", bypassed_sometimes),
    Operator(("DST001",), "clipped on one rank", clipped_on_one),
    Operator(("DST001",), "a weight changed on one rank", changed_on_one),
    Operator(("DST001",), "not wrapped", not_wrapped),
)
