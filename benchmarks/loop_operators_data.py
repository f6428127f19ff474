"""Faults of schedules, batches, random numbers, graphs kept alive and losses weighted twice."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from benchmarks.loop_operators import backward_of, is_step, operator, steps
from benchmarks.loop_operators_state import batch_loop, epoch_loops
from benchmarks.loop_script import Edit, Line, Mutant, Script, Statement, call_of

# -------------------------------------------------------------------- schedules


def _schedules(script: Script) -> list[Statement]:
    return script.calls("step", kind="scheduler")


@operator("STP011", name="scheduler.step() before the optimizer's")
def scheduler_first(script: Script) -> Iterator[Mutant]:
    for schedule in _schedules(script):
        call, step = call_of(schedule), script.before(schedule, is_step(script))
        loop = script.loop(schedule)
        edit = Edit(script).delete(schedule)
        if call is None or call.args:
            continue  # a plateau schedule takes the score of this epoch
        if step is not None:
            yield edit.expecting(edit.insert_before(step, script.text(schedule)))
        elif loop is not None and schedule in loop.body:
            yield edit.expecting(edit.insert_before(loop.body[0], script.text(schedule)))


@operator("STP011", name="scheduler.step() deleted")
def no_schedule(script: Script) -> Iterator[Mutant]:
    for schedule in _schedules(script):
        made = script.made(script.receiver(schedule))
        tuples = [one for one in script.statements if isinstance(one, ast.Assign) and "lr_scheduler." in script.text(one)]
        yield Edit(script).delete(schedule).expecting(*made, *tuples)


@operator("STP012", name="a schedule in epochs stepped at each batch")
def per_batch(script: Script) -> Iterator[Mutant]:
    for schedule in _schedules(script):
        call = call_of(schedule)
        if call is None or call.args or script.before(schedule, is_step(script)) is not None:
            continue
        for step in steps(script):
            loop = batch_loop(script, step)
            name = script.receiver(schedule)
            reachable = script.function(step) is script.function(schedule) or name.startswith("self.") or script.function(schedule) is None
            if loop is None or not reachable or (script.function(step) and script.function(step).name == "second_step"):
                continue
            edit = Edit(script).delete(schedule)
            made = edit.insert_after(step, script.text(schedule))
            yield edit.expecting(made, *script.made(name), *_makers(script))
            break


@operator("STP012", name="a schedule in batches stepped at each epoch")
def per_epoch(script: Script) -> Iterator[Mutant]:
    for schedule in _schedules(script):
        loop = script.loop(schedule)
        if script.before(schedule, is_step(script)) is None or loop is None:
            continue
        if (script.loop(loop) is None and script.function(loop) is None) or "forecaster" in script.name:
            continue
        edit = Edit(script).delete(schedule)
        made = edit.insert_after(loop, script.text(schedule))
        yield edit.expecting(made, *script.made(script.receiver(schedule)), *_makers(script))


def _makers(script: Script) -> list[ast.AST]:
    return [one for one in script.statements if isinstance(one, ast.Assign) and re.search(r"lr_scheduler\.|StepLR\(|LambdaLR\(", script.text(one))]


@operator("STP024", name="a factor that is the rate itself")
def absolute_factor(script: Script) -> Iterator[Mutant]:
    for statement in _makers(script):
        text = script.text(statement)
        optimizers = script.optimizers()
        rate = re.search(r"lr=([\w.]+)", script.text(optimizers[0])) if optimizers else None
        match = re.search(r"LambdaLR\(([\w.]+), (?:lr_lambda=)?(.+)\)$", text, re.DOTALL)
        if match is None or rate is None or "noam" in script.name:
            continue
        edit = Edit(script)
        made = edit.replace(
            statement,
            f"{script.text(statement.targets[0])} = torch.optim.lr_scheduler.LambdaLR({match.group(1)}, "  # type: ignore[attr-defined]
            f"lambda step, _factor={match.group(2) if not match.group(2).startswith('lambda') else '(' + match.group(2) + ')'}: "
            f"{rate.group(1)} * _factor(step))",
        )
        yield edit.expecting(made, *_schedules(script))


# -------------------------------------------------------------------- batches


def _training_loops(script: Script) -> list[ast.For]:
    """The loops over batches of a loader in which a step or a call of a training step is."""
    found = []
    for node in script.statements:
        if isinstance(node, ast.For) and _loader_in(script, node) and not script.calls_in(node, "eval"):
            own = [step for step in steps(script) if node is script.loop(step)]
            nested = [step for step in steps(script) if isinstance(script.parents[step], ast.If) and node in script.above(step)]
            if own or nested:
                found.append(node)
    return found


def _loader_in(script: Script, loop: ast.For) -> str | None:
    match = re.search(r"(?:enumerate\()?([\w.]*load\w*|dataset\[\"train\"\]|labelled)\b(?!\()", script.text(loop.iter))
    if match is None or "zip(" in script.text(loop.iter):
        return None
    found = re.search(r"[\w.]*load\w*(\[\w+\])?|dataset\[\"train\"\]", script.text(loop.iter))
    return found.group(0) if found else None


@operator("STP014", name="the loop's batch is not the one that is used")
def stale_batch(script: Script) -> Iterator[Mutant]:
    """A batch that was read before the loop goes into the model while the loop reads on. (One batch, read once and repeated with no
    other read, is how people overfit one batch on purpose: the rule is to be silent on it.)
    """
    for loop in _training_loops(script):
        name = _loader_in(script, loop)
        target = loop.target
        if name is None or "phase" in script.text(loop.iter):
            continue
        counted = "enumerate(" in script.text(loop.iter) and isinstance(target, ast.Tuple)
        taken = script.text(target.elts[1]) if counted else script.text(target)  # type: ignore[attr-defined]
        edit = Edit(script)
        made = edit.insert_before(loop, f"{taken} = next(iter({name}))")
        head = script.text(target)
        edit.substitute(loop, f"for {head} in", f"for {head.replace(taken, '_other') if counted else '_other'} in")
        yield edit.expecting(made, loop, *loop.body)


@operator("STP014", name="next(iter(loader)) in the loop")
def next_iter(script: Script) -> Iterator[Mutant]:
    """With a loader that does not shuffle: each pass begins with the same batch."""
    for loop in _training_loops(script):
        name = _loader_in(script, loop)
        plain = re.fullmatch(r"[\w.]+", script.text(loop.iter))
        shuffled = _shuffled(script)
        if name is None or plain is None or not shuffled:
            continue
        edit = Edit(script)
        for one in shuffled[:1]:
            edit.substitute(one, "shuffle=True", "shuffle=False")
        target = script.text(loop.target)
        edit.substitute(loop, f"for {target} in {name}:", f"for _ in range(len({name})):")
        made = edit.insert_before(loop.body[0], f"{target} = next(iter({name}))")
        yield edit.expecting(made, *loop.body)


def _shuffled(script: Script) -> list[Statement]:
    simple = (ast.Assign, ast.Expr, ast.Return)
    return [one for one in script.statements if isinstance(one, simple) and "shuffle=True" in script.text(one)]


@operator("STP015", name="shuffle=False on data sorted by class")
def not_shuffled(script: Script) -> Iterator[Mutant]:
    if not re.search(r"arange\(\w+\) \* \w+ // \w+|repeat_interleave|arange\(\d+\) // \d+", script.source):
        return
    for statement in _shuffled(script)[:1]:
        edit = Edit(script)
        made = edit.substitute(statement, "shuffle=True", "shuffle=False")
        yield edit.expecting(made, statement, *_training_loops(script))


def _pair(loop: ast.For) -> tuple[str, str] | None:
    """The names of input and target where the loop unpacks them."""
    target = loop.target
    if isinstance(target, ast.Tuple) and len(target.elts) == 2 and isinstance(target.elts[1], ast.Tuple):
        target = target.elts[1]
    if not isinstance(target, ast.Tuple) or len(target.elts) != 2:
        return None
    names = [one.id for one in target.elts if isinstance(one, ast.Name)]
    counters = ("i", "step", "batch", "batch_idx")
    return (names[0], names[1]) if len(names) == 2 and names[0] not in counters and names[1] != "_" else None


@operator("STP016", name="targets permuted")
def permuted(script: Script) -> Iterator[Mutant]:
    for loop in _training_loops(script):
        pair = _pair(loop)
        if pair is not None and not script.text(loop.iter).startswith("dataloaders"):
            edit = Edit(script)
            made = edit.insert_before(loop.body[0], f"{pair[1]} = {pair[1]}[torch.randperm(len({pair[1]}))]")
            yield edit.expecting(made, *loop.body)


@operator("STP016", name="zip of two shuffled passes")
def zipped(script: Script) -> Iterator[Mutant]:
    for loop in _training_loops(script):
        pair, name = _pair(loop), _loader_in(script, loop)
        if pair is None or name is None or not re.fullmatch(r"[\w.]+", script.text(loop.iter)):
            continue
        edit = Edit(script)
        head = edit.substitute(
            loop, f"for {script.text(loop.target)} in {name}:", f"for ({pair[0]}, _), (_, {pair[1]}) in zip({name}, {name}):"
        )
        yield edit.expecting(head, *loop.body)


# -------------------------------------------------------------------- random numbers


@operator("STP017", name="manual_seed in the epoch loop")
def seed_each_epoch(script: Script) -> Iterator[Mutant]:
    for loop in epoch_loops(script):
        if ast.unparse(loop.target) == "epoch":
            edit = Edit(script)
            yield edit.expecting(edit.insert_before(loop.body[0], "torch.manual_seed(0)"))


@operator("STP017", name="manual_seed in the batch loop")
def seed_each_batch(script: Script) -> Iterator[Mutant]:
    for loop in _training_loops(script):
        edit = Edit(script)
        yield edit.expecting(edit.insert_before(loop.body[0], "torch.manual_seed(0)"))


@operator("STP017", name="manual_seed in the evaluation")
def seed_in_evaluation(script: Script) -> Iterator[Mutant]:
    for statement in script.calls("eval"):
        if not re.search(r"ema|teacher", script.receiver(statement)):
            edit = Edit(script)
            yield edit.expecting(edit.insert_after(statement, "torch.manual_seed(0)"))
            return


@operator("STP017", name="random or NumPy seeded in the epoch loop")
def other_seed(script: Script) -> Iterator[Mutant]:
    if "random.choice(" not in script.source and "random.sample(" not in script.source and "np.random" not in script.source:
        if "random.random() <" not in script.source:
            return
    text = "rng = np.random.default_rng(0)" if "default_rng" in script.source else "random.seed(0)"
    text = "np.random.seed(0)" if "np.random.permutation" in script.source else text
    for loop in epoch_loops(script):
        if ast.unparse(loop.target) == "epoch":
            edit = Edit(script)
            statement = f"import random; {text}" if text.startswith("random.") else text
            yield edit.expecting(edit.insert_before(loop.body[0], statement))


# -------------------------------------------------------------------- graphs


@operator("STP018", name="loss kept without .item()")
def loss_kept(script: Script) -> Iterator[Mutant]:
    for statement in script.statements:
        text = script.text(statement)
        loop = script.loop(statement)
        if loop is None or not any(loop in script.above(one) for one in script.calls("backward")):
            continue
        old = re.search(r"(\w+)\.item\(\)|(\w+)\.detach\(\)|float\((\w+)\)", text)
        keeps = re.search(r"\w+ \+= |\.append\(", text)
        if old is None or keeps is None or not isinstance(statement, (ast.AugAssign, ast.Expr)) or "print" in text:
            continue
        name = next(part for part in old.groups() if part)
        edit = Edit(script)
        made: list[Line] = edit.substitute(statement, old.group(0), name)
        if any(_in_evaluation(script, one) for one in (statement,)):
            continue
        yield edit.expecting(made, *script.calls("backward"))


def _in_evaluation(script: Script, statement: Statement) -> bool:
    return any(isinstance(node, ast.With) and "no_grad" in script.text(node.items[0]) for node in script.above(statement))


@operator("STP019", name="hidden state not detached")
def state_not_detached(script: Script) -> Iterator[Mutant]:
    for statement in script.statements:
        if re.fullmatch(r"hidden = repackage_hidden\(hidden\)|state = state\.detach\(\)|net\.cut\(\)", script.text(statement)):
            function = script.function(statement)
            if function is None or function.name != "evaluate":
                yield Edit(script).delete(statement).expecting(*script.calls("backward"))


# -------------------------------------------------------------------- the loss


def _batch_name(script: Script, loop: ast.AST | None) -> str | None:
    pair = _pair(loop) if isinstance(loop, ast.For) else None
    return pair[1] if pair is not None else None


@operator("STP021", name="mean loss times the batch size")
def times_batch(script: Script) -> Iterator[Mutant]:
    yield from _weighted(script, "{loss} = {loss} * {name}.size(0)")


@operator("STP021", name="mean loss divided by the batch size")
def over_batch(script: Script) -> Iterator[Mutant]:
    yield from _weighted(script, "{loss} = {loss} / len({name})")


def _weighted(script: Script, text: str) -> Iterator[Mutant]:
    for backward in script.calls("backward"):
        name, loss = _batch_name(script, script.loop(backward)), script.receiver(backward)
        if name is None or not loss.isidentifier() or "reduction=\"sum\"" in script.source.split("def test")[0]:
            continue
        if script.calls("unscale_") or "ACCUMULATE" in script.source or "first_step" in script.source:
            continue  # the gradient of SAM's first backward is normalized: its size has no effect
        edit = Edit(script)
        yield edit.expecting(edit.insert_before(backward, text.format(loss=loss, name=name)), backward)


__all__ = ["backward_of"]
