"""Faults of the training step's order, as edits of a script: gradients, steps, clipping, the scaler."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.loop_script import Edit, Mutant, NotApplicable, Script, Statement, call_of, is_kind

Made = Callable[[Script], Iterator[Mutant]]


@dataclass(frozen=True)
class Operator:
    """A fault: the rules that name it (the first is the one that the table counts it under), its words, the edits."""

    codes: tuple[str, ...]
    name: str
    make: Made

    def mutants(self, script: Script) -> Iterator[Mutant]:
        """All places that a script offers."""
        try:
            yield from self.make(script)
        except NotApplicable:
            return


OPERATORS: list[Operator] = []


def operator(*codes: str, name: str) -> Callable[[Made], Made]:
    """Enter an operator into the list."""

    def enter(make: Made) -> Made:
        OPERATORS.append(Operator(codes, name, make))
        return make

    return enter


# -------------------------------------------------------------------- what a script has


def steps(script: Script) -> list[Statement]:
    """The statements that step an optimizer, a scaler's included."""
    return [
        *script.calls("step", kind="optimizer"),
        *script.calls("step", kind="scaler"),
        *script.calls("second_step"),
    ]


def is_step(script: Script) -> Callable[[Statement], bool]:
    """Whether a statement steps an optimizer."""
    known = set(steps(script))
    return lambda statement: statement in known


def clears(script: Script) -> list[Statement]:
    """The statements that clear gradients, those inside an optimizer's own methods left out."""
    return [statement for statement in script.calls("zero_grad") if script.receiver(statement) != "self"]


def has_closure(script: Script, step: Statement) -> bool:
    """Whether the step is given a function."""
    call = call_of(step)
    return call is not None and bool(call.args) and not is_kind(script.receiver(step), "scaler")


def step_of(script: Script, clear: Statement) -> Statement | None:
    """The step that a clearing belongs to: of the same optimizer, else the next in the block, else the only one."""
    own = [step for step in steps(script) if script.receiver(step) == script.receiver(clear)]
    following = script.after(clear, is_step(script))
    every = steps(script)
    near = script.before(clear, is_step(script)) if following is None else following
    return own[0] if own else near or (every[0] if every else None)


def backward_of(script: Script, step: Statement) -> Statement | None:
    """The backward before a step in its block, or before the block that holds it (an accumulation's `if`)."""

    def is_backward(statement: Statement) -> bool:
        return statement in known

    known = set(script.calls("backward"))
    found = script.before(step, is_backward)
    parent = script.parents[step]
    if found is None and isinstance(parent, ast.If):
        found = script.before(parent, is_backward)
    return found


# -------------------------------------------------------------------- gradients


@operator("STP001", name="zero_grad() deleted")
def no_zero_grad(script: Script) -> Iterator[Mutant]:
    """Where gradients are cleared at two places (before the loop as well), the one inside the innermost loop goes."""
    found = clears(script)
    for statement in found:
        others = [other for other in found if script.receiver(other) == script.receiver(statement)]
        if len(others) > 1 and script.loop(statement) is None:
            continue
        edit = Edit(script).delete(statement)
        step = step_of(script, statement)
        yield edit.expecting(step, backward_of(script, step) if step is not None else None)
    for statement in script.calls("second_step"):
        edit = Edit(script)
        yield edit.expecting(edit.substitute(statement, "zero_grad=True", "zero_grad=False"))


@operator("STP001", name="zero_grad() moved before the loop")
def zero_grad_before_loop(script: Script) -> Iterator[Mutant]:
    for statement in clears(script):
        loop, step = script.loop(statement), step_of(script, statement)
        if loop is None or step is None or statement not in loop.body or script.function(statement) in _closures(script):
            continue
        if len(steps(script)) > 1 and step not in loop.body and script.function(step) is not script.function(statement):
            continue
        edit = Edit(script).delete(statement)
        edit.insert_before(loop, script.text(statement))
        yield edit.expecting(step, backward_of(script, step))


def _closures(script: Script) -> list[ast.AST]:
    return [node for node in ast.walk(script.tree) if isinstance(node, ast.FunctionDef) and node.name == "closure"]


@operator("STP002", name="zero_grad() between backward() and step()")
def zero_grad_after_backward(script: Script) -> Iterator[Mutant]:
    for statement in clears(script):
        step = step_of(script, statement)
        if step is None or has_closure(script, step):
            continue
        edit = Edit(script).delete(statement)
        yield edit.expecting(edit.insert_before(step, script.text(statement)))


@operator("STP002", name="zero_grad() at each batch of an accumulation")
def zero_grad_in_window(script: Script) -> Iterator[Mutant]:
    for step in steps(script):
        backward = backward_of(script, step)
        if isinstance(script.parents[step], ast.If) and backward is not None and "phase" not in script.source:
            if backward in script.block(step):
                continue
            edit = Edit(script)
            clear = next(iter(clears(script)))
            yield edit.expecting(edit.insert_before(backward, script.text(clear)), step)
    for statement in script.calls("backward"):
        if "gradient_accumulation_steps" in script.source:
            edit = Edit(script)
            yield edit.expecting(edit.insert_before(statement, "self.model.zero_grad()"))


@operator("STP002", name="step() moved out of the batch loop")
def step_after_loop(script: Script) -> Iterator[Mutant]:
    for step in script.calls("step", kind="optimizer"):
        loop, backward = script.loop(step), backward_of(script, step)
        if not isinstance(loop, ast.For) or has_closure(script, step) or backward is None or step not in loop.body:
            continue
        if script.loop(loop) is None and script.function(loop) is None:
            continue  # it would come once, at the end of the script
        if not any(clear in loop.body for clear in clears(script)):
            continue
        edit = Edit(script).delete(step)
        made = edit.insert_after(loop, script.text(step))
        yield edit.expecting(made, *[clear for clear in clears(script) if clear in loop.body])


@operator("STP003", name="step() before backward()")
def step_before_backward(script: Script) -> Iterator[Mutant]:
    for step in steps(script):
        backward = backward_of(script, step)
        if backward is None or has_closure(script, step) or backward not in script.block(step):
            continue
        if len([one for one in script.block(step) if one in script.calls("backward")]) > 1 and "netD" not in script.source:
            continue
        edit = Edit(script).delete(step)
        yield edit.expecting(edit.insert_before(backward, script.text(step)))


@operator("STP004", name="step() deleted")
def no_step(script: Script) -> Iterator[Mutant]:
    for step in steps(script):
        if script.function(step) is not None and script.function(step).name == "second_step":
            continue
        made = script.made(_stepped(script, step))
        yield Edit(script).delete(step).expecting(backward_of(script, step), *made, *script.calls("backward"))


def _stepped(script: Script, step: Statement) -> str:
    call = call_of(step)
    assert call is not None
    return script.text(call.args[0]) if is_kind(script.receiver(step), "scaler") else script.receiver(step)


@operator("STP022", name="step() twice")
def step_twice(script: Script) -> Iterator[Mutant]:
    for step in steps(script):
        if has_closure(script, step) or is_kind(script.receiver(step), "scaler") or "second_step" in script.text(step):
            continue
        if script.function(step) is not None and script.function(step).name == "second_step":
            continue
        edit = Edit(script)
        yield edit.expecting(edit.insert_after(step, script.text(step)), step)


@operator("STP022", name="scaler.step() and step()")
def scaler_and_step(script: Script) -> Iterator[Mutant]:
    for step in script.calls("step", kind="scaler"):
        edit = Edit(script)
        yield edit.expecting(edit.insert_after(step, f"{_stepped(script, step)}.step()"), step)


# -------------------------------------------------------------------- the loss


@operator("STP006", name="loss rebuilt from its number")
def loss_from_number(script: Script) -> Iterator[Mutant]:
    yield from _other_loss(script, "torch.tensor({loss}.item(), requires_grad=True).backward()")


@operator("STP006", name="loss detached")
def loss_detached(script: Script) -> Iterator[Mutant]:
    yield from _other_loss(script, "{loss}.detach().requires_grad_().backward()")


def _other_loss(script: Script, text: str) -> Iterator[Mutant]:
    for backward in script.calls("backward"):
        loss = script.receiver(backward)
        if loss.isidentifier() and "netD" not in script.source:
            edit = Edit(script)
            yield edit.expecting(edit.replace(backward, text.format(loss=loss)))


@operator("STP006", name="forward under no_grad")
def forward_without_grad(script: Script) -> Iterator[Mutant]:
    """The classic repair of "does not require grad": outputs computed under no_grad are told to require it."""
    for backward in script.calls("backward"):
        assigned = script.before(backward, _assigns(script, script.receiver(backward)))
        call = call_of(assigned) if assigned is not None else None
        models = [argument for argument in call.args if isinstance(argument, ast.Call)] if call is not None else []
        if call is None or len(models) != 1 or models[0] is not call.args[0] or not _is_model(script, models[0]):
            continue
        edit = Edit(script)
        inner = script.text(call.args[0])
        whole = script.text(assigned).replace(inner, "predicted", 1)
        edit.replace(assigned, f"with torch.no_grad():\n    predicted = {inner}\npredicted.requires_grad_()\n{whole}")
        yield edit.expecting(backward)


def _is_model(script: Script, call: ast.Call) -> bool:
    """Whether what is called is what the script trains."""
    return f"{script.text(call.func)}.parameters()" in script.source and not script.calls("first_step")


def _assigns(script: Script, name: str) -> Callable[[Statement], bool]:
    return lambda statement: isinstance(statement, ast.Assign) and script.text(statement.targets[0]) == name


@operator("STP006", name="generator's term on detached samples")
def detached_fake(script: Script) -> Iterator[Mutant]:
    for old, new in (
        ("output = netD(fake)\n", "output = netD(fake.detach())\n"),
        ("-critic(generator(z)).mean()", "-critic(generator(z).detach()).mean()"),
        ("critic(state, new_action)", "critic(state, new_action.detach())"),
    ):
        if old not in script.source:
            continue
        line = script.source[: script.source.index(old)].count("\n") + 1
        changed = next(one for one in script.statements if one.lineno == line)
        edit = Edit(script)
        made = edit.substitute(changed, old.strip(), new.strip())
        backward = script.after(changed, lambda other: other in script.calls("backward"))
        yield edit.expecting(made, backward)


# -------------------------------------------------------------------- clipping


def _clip_calls(script: Script) -> list[Statement]:
    return script.calls("clip_grad_norm_", "clip_grad_value_")


@operator("STP008", name="clip after step()")
def clip_after_step(script: Script) -> Iterator[Mutant]:
    for clip in _clip_calls(script):
        step = script.after(clip, is_step(script))
        if step is not None:
            edit = Edit(script).delete(clip)
            yield edit.expecting(edit.insert_after(step, script.text(clip)))


@operator("STP008", name="clip before backward()")
def clip_before_backward(script: Script) -> Iterator[Mutant]:
    for clip in _clip_calls(script):
        backward = script.before(clip, lambda other: other in script.calls("backward"))
        if backward is not None:
            edit = Edit(script).delete(clip)
            yield edit.expecting(edit.insert_before(backward, script.text(clip)))


@operator("STP008", name="clip of scaled gradients")
def clip_scaled(script: Script) -> Iterator[Mutant]:
    for unscale in script.calls("unscale_"):
        yield Edit(script).delete(unscale).expecting(*_clip_calls(script))


# -------------------------------------------------------------------- the scaler


@operator("STP009", name="scaled loss, bare step()")
def bare_step(script: Script) -> Iterator[Mutant]:
    for step in script.calls("step", kind="scaler"):
        edit = Edit(script).delete(*script.calls("unscale_"))
        yield edit.expecting(edit.replace(step, f"{_stepped(script, step)}.step()"))


@operator("STP009", name="scaler.update() deleted")
def no_update(script: Script) -> Iterator[Mutant]:
    for update in script.calls("update", kind="scaler"):
        yield Edit(script).delete(update).expecting(*script.calls("step", kind="scaler"), *script.calls("unscale_"))


@operator("STP009", name="a new scaler at each batch or epoch")
def scaler_anew(script: Script) -> Iterator[Mutant]:
    made = [one for one in script.statements if isinstance(one, ast.Assign) and "GradScaler(" in script.text(one)]
    for loop in (node for node in script.statements if isinstance(node, ast.For)):
        if made and script.function(loop) is script.function(made[0]) and ast.unparse(loop.target) == "epoch":
            edit = Edit(script)
            yield edit.expecting(edit.insert_before(loop.body[0], script.text(made[0])))


@operator("STP010", name="accumulated loss not divided")
def not_divided(script: Script) -> Iterator[Mutant]:
    for old in (" / ACCUMULATE", " / self.args.gradient_accumulation_steps"):
        for statement in script.statements:
            if old in script.text(statement) and isinstance(statement, ast.Assign):
                edit = Edit(script)
                yield edit.expecting(edit.substitute(statement, old, ""), *script.calls("backward"))
