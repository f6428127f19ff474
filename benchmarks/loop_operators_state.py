"""Faults of modes, optimizers, schedules, networks that follow, and evaluation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from benchmarks.loop_operators import backward_of, has_closure, is_step, operator, steps
from benchmarks.loop_script import Edit, Line, Mutant, Script, Statement, call_of


def epoch_loops(script: Script) -> list[ast.For]:
    """The loops that count epochs."""
    loops = (node for node in script.statements if isinstance(node, ast.For))
    return [loop for loop in loops if ast.unparse(loop.target) in ("epoch", "fold")]


def batch_loop(script: Script, node: ast.AST) -> ast.For | None:
    """The loop over batches around a statement."""
    loop = script.loop(node)
    return loop if isinstance(loop, ast.For) else None


# -------------------------------------------------------------------- modes


def _trained(script: Script, statement: Statement) -> bool:
    """Whether the statement's module is the one that is trained, not its teacher."""
    return not re.search(r"ema|teacher|target", script.receiver(statement))


@operator("STP007", name="train() deleted")
def no_train(script: Script) -> Iterator[Mutant]:
    evals = script.calls("eval")
    for statement in script.calls("train"):
        call = call_of(statement)
        if evals and _trained(script, statement) and call is not None and not call.args and isinstance(statement, ast.Expr):
            where = _forwards(script, "backward")
            yield Edit(script).delete(statement).expecting(*evals, *where, *steps(script))


@operator("STP007", name="eval() instead of train()")
def eval_for_train(script: Script) -> Iterator[Mutant]:
    for statement in script.calls("train"):
        call = call_of(statement)
        if _trained(script, statement) and call is not None and not call.args and isinstance(statement, ast.Expr):
            edit = Edit(script)
            made = edit.replace(statement, f"{script.receiver(statement)}.eval()")
            where = _forwards(script, "backward")
            yield edit.expecting(made, *script.calls("eval"), *where, *steps(script))


def _forwards(script: Script, *methods: str) -> list[ast.AST]:
    """The bodies of the loops or functions in which a backward is."""
    found: list[ast.AST] = []
    for backward in script.calls(*methods):
        found += [one for one in script.block(backward) if not isinstance(one, (ast.For, ast.While, ast.FunctionDef))]
    return found


@operator("EVL001", name="eval() deleted")
def no_eval(script: Script) -> Iterator[Mutant]:
    for statement in (one for one in script.calls("eval") if isinstance(one, ast.Expr)):
        if (not _trained(script, statement) and not script.function(statement)) or "netG" in script.receiver(statement):
            continue  # a generator may well sample in training mode: the rule is to be silent on it
        yield Edit(script).delete(statement).expecting(*_evaluation(script, statement), *_evaluating(script))


@operator("EVL002", name="no_grad deleted")
def no_no_grad(script: Script) -> Iterator[Mutant]:
    plain = ("torch.no_grad()", "torch.inference_mode()")
    for statement in script.statements:
        if isinstance(statement, ast.With) and script.text(statement.items[0].context_expr) in plain:
            if not _is_evaluation(script, statement):
                continue
            edit = Edit(script)
            if len(statement.items) > 1:
                edit.substitute(statement, "torch.no_grad(), ", "")
            else:
                edit.substitute(statement, f"with {script.text(statement.items[0].context_expr)}:", "if True:")
            yield edit.expecting(statement, *_evaluation(script, statement))
        if isinstance(statement, ast.FunctionDef) and statement.decorator_list and _is_evaluation(script, statement.body[0]):
            edit = Edit(script)
            yield edit.undecorate(statement).expecting(statement)


def _is_evaluation(script: Script, statement: ast.AST) -> bool:
    """Whether the code around a statement evaluates, told by its function's name or by an eval() before it."""
    function = script.function(statement)
    name = function.name if function is not None else ""
    if re.search(r"eval|valid|test|score|accuracy|estimate", name):
        return True
    block = script.block(statement) if isinstance(statement, ast.stmt) else []
    return any(other in block for other in script.calls("eval")) or "test_input" in script.text(statement)


def _evaluation(script: Script, statement: ast.AST) -> list[ast.AST]:
    """The lines of an evaluation: its function, or what follows in the block."""
    function = script.function(statement)
    if function is not None:
        return [function]
    block = script.block(statement)  # type: ignore[arg-type]
    parent = script.parents[statement]
    rest: list[ast.AST] = list(block[block.index(statement) :])  # type: ignore[arg-type]
    return rest + ([script.loop(parent)] if isinstance(parent, ast.If) and script.loop(parent) else [])  # type: ignore[list-item]


@operator("EVL003", name="evaluated on the training loader")
def evaluates_training(script: Script) -> Iterator[Mutant]:
    names = {node.id for node in ast.walk(script.tree) if isinstance(node, ast.Name)}
    names |= {script.text(node) for node in ast.walk(script.tree) if isinstance(node, ast.Attribute)}
    for name in sorted(names):
        match = re.search(r"val(id|idation)?|test", name)
        other = name[: match.start()] + "train" + name[match.end() :] if match else ""
        if match is None or other not in names or not re.search(r"load|data", name):
            continue
        for statement in script.statements:
            used = _loop_over(statement, name, script) or _call_with(statement, name, script)
            if used:
                edit = Edit(script)
                made = edit.substitute(statement, used, used.replace(name, other))
                yield edit.expecting(made, statement, *_evaluating(script))
                break


def _loop_over(statement: Statement, name: str, script: Script) -> str:
    if isinstance(statement, ast.For) and re.search(rf"\b{re.escape(name)}\b", script.text(statement.iter)):
        scope = script.function(statement)
        return script.text(statement.iter) if scope is None or name.startswith("self.") else ""
    return ""


def _call_with(statement: Statement, name: str, script: Script) -> str:
    if not isinstance(statement, (ast.Expr, ast.Assign)) or "fit(" in script.text(statement) or "DataLoader(" in script.text(statement):
        return ""
    for node in ast.walk(statement):
        if isinstance(node, ast.Call) and any(script.text(one) == name for one in node.args):
            if re.search(r"test|eval|valid|score|accuracy", script.text(node.func)):
                return script.text(node)
    return ""


def _evaluating(script: Script) -> list[ast.AST]:
    return [
        node for node in script.statements if isinstance(node, ast.FunctionDef) and re.search(r"eval|valid|test|score|accuracy", node.name)
    ]


@operator("EVL004", name="best weights not copied")
def by_reference(script: Script) -> Iterator[Mutant]:
    pattern = r"(?:copy\.)?deepcopy\(([\w.]+\.state_dict\(\))\)|\{name: value\.clone\(\) for name, value in ([\w.]+\.state_dict\(\))\.items\(\)\}"
    found = [one for one in script.statements if isinstance(one, ast.Assign) and re.search(pattern, script.text(one))]
    for statement in found:
        edit = Edit(script)
        lines: list[Line] = []
        match = re.search(pattern, script.text(statement))
        assert match is not None
        lines += edit.substitute(statement, match.group(0), match.group(1) or match.group(2))
        yield edit.expecting(lines)


# -------------------------------------------------------------------- optimizers


@operator("STP005", name="optimizer of a copy")
def optimizer_of_copy(script: Script) -> Iterator[Mutant]:
    for made in script.optimizers():
        match = re.search(r"([\w.]+)\.parameters\(\)", script.text(made))
        if match is None or "SAM(" in script.text(made):
            continue
        edit = Edit(script)
        line = edit.substitute(made, match.group(0), f"__import__('copy').deepcopy({match.group(1)}).parameters()")
        yield edit.expecting(line, *steps(script))


@operator("STP005", "STP020", name="model copied after the optimizer was made")
def model_after_optimizer(script: Script) -> Iterator[Mutant]:
    for made in script.optimizers():
        match = re.search(r"\(([\w.]+)\.parameters\(\)", script.text(made))
        if match is None or "self.parameters" in script.text(made) or "SAM(" in script.text(made):
            continue
        name = match.group(1)
        if name.count(".") > name.startswith("self."):
            continue
        if script.function(made) is not None and not name.startswith("self.") and not _is_local(script, made, name):
            continue
        edit = Edit(script)
        line = edit.insert_after(made, f"{name} = __import__('copy').deepcopy({name})")
        yield edit.expecting(line, made, *steps(script))


def _is_local(script: Script, made: Statement, name: str) -> bool:
    function = script.function(made)
    assert function is not None
    return name in {argument.arg for argument in function.args.args} or any(
        script.function(one) is function for one in script.made(name)
    )


@operator("STP005", name="learning rate 0")
def rate_zero(script: Script) -> Iterator[Mutant]:
    for made in script.optimizers():
        match = re.search(r"lr=([^,()]+?)(?=[,)])", script.text(made))
        if match is not None and "OneCycle" not in script.source:
            edit = Edit(script)
            yield edit.expecting(edit.substitute(made, match.group(0), "lr=0.0"), *steps(script))


@operator("STP013", name="a new optimizer at each epoch")
def optimizer_each_epoch(script: Script) -> Iterator[Mutant]:
    for made in script.optimizers():
        for loop in epoch_loops(script):
            if script.function(loop) is script.function(made) and script.loop(made) is not loop and loop.lineno > made.lineno:
                edit = Edit(script)
                yield edit.expecting(edit.insert_before(loop.body[0], script.text(made)))


@operator("STP013", name="a new optimizer at each batch")
def optimizer_each_batch(script: Script) -> Iterator[Mutant]:
    for made in script.optimizers():
        for step in steps(script):
            loop = batch_loop(script, step)
            same = loop is not None and script.function(loop) is script.function(made) and loop.lineno > made.lineno
            if loop is None or not same or has_closure(script, step) or loop not in script.above(step):
                continue
            if script.receiver(step) == script.text(made.targets[0]):
                edit = Edit(script)
                yield edit.expecting(edit.insert_before(loop.body[0], script.text(made)))


@operator("STP020", name="layer replaced after the optimizer was made")
def layer_replaced(script: Script) -> Iterator[Mutant]:
    for made in script.optimizers():
        match = re.search(r"\(([\w.]+)\.parameters\(\)", script.text(made))
        if match is None or "self.parameters" in script.text(made):
            continue
        layer = _last_layer(script, match.group(1))
        if layer is None:
            continue
        edit = Edit(script)
        text = f"{layer} = torch.nn.Linear({layer}.in_features, {layer}.out_features)"
        yield edit.expecting(edit.insert_after(made, text), made, *steps(script), *_forwards(script, "backward"))


def _last_layer(script: Script, name: str) -> str | None:
    """`model.head`, `model[-1]` of a model that the script makes."""
    for one in (found for found in script.made(name) if script.text(found.targets[0]) == name):
        text = script.text(one.value)
        if text.startswith("nn.Sequential") and text.rstrip(")\n ,").split("nn.")[-1].startswith("Linear"):
            return f"{name}[-1]"
        kind = text.split("(")[0]
        classes = (node for node in script.statements if isinstance(node, ast.ClassDef) and node.name == kind)
        for node in classes:
            linear = re.findall(r"self\.(\w+) = nn\.Linear\(", script.text(node))
            if linear:
                return f"{name}.{linear[-1]}"
    return None


@operator("STP020", "STP005", name="optimizer made before the new head")
def optimizer_before_head(script: Script) -> Iterator[Mutant]:
    for made in script.optimizers():
        match = re.search(r"\(([\w.]+)\.parameters\(\)", script.text(made))
        name = match.group(1) if match is not None else ""
        heads = [one for one in script.made(name) if "." in name and script.text(one.targets[0]) == name]
        for head in heads:
            edit = Edit(script).delete(made)
            line = edit.insert_before(head, script.text(made))
            yield edit.expecting(line, head, *steps(script), *_forwards(script, "backward"))


# -------------------------------------------------------------------- networks that follow


@operator("STP023", name="the target is the network itself")
def target_is_network(script: Script) -> Iterator[Mutant]:
    for statement in script.statements:
        match = re.fullmatch(r"(\w*target\w*) = copy\.deepcopy\((\w+)\)", script.text(statement))
        if match:
            edit = Edit(script)
            yield edit.expecting(edit.replace(statement, f"{match.group(1)} = {match.group(2)}"), *_following(script))
        if re.fullmatch(r"(\w*target\w*|ema_\w+)\.load_state_dict\((\w+)\.state_dict\(\)\)", script.text(statement)) and not script.loop(statement):
            edit = Edit(script)
            names = re.findall(r"(\w+)\.(?:load_)?state_dict", script.text(statement))
            yield edit.expecting(edit.replace(statement, f"{names[0]} = {names[1]}"), *_following(script))


def _following(script: Script) -> list[ast.AST]:
    """Where a network is copied or averaged into another, and where the other is called."""
    pattern = r"load_state_dict|lerp_|mul_\(|\.data = "
    found: list[ast.AST] = [one for one in script.statements if isinstance(one, (ast.Expr, ast.Assign)) and re.search(pattern, script.text(one))]
    return found + [one for one in script.statements if isinstance(one, ast.Assign) and re.search(r"(target|ema)\w*\(", script.text(one))]


@operator("STP023", name="the target loads its own state")
def own_state(script: Script) -> Iterator[Mutant]:
    for statement in script.calls("load_state_dict"):
        match = re.fullmatch(r"(\w+)\.load_state_dict\((\w+)\.state_dict\(\)\)", script.text(statement))
        if match and script.loop(statement):
            edit = Edit(script)
            yield edit.expecting(edit.replace(statement, f"{match.group(1)}.load_state_dict({match.group(1)}.state_dict())"))


@operator("STP023", name="the average goes into the trained network")
def wrong_direction(script: Script) -> Iterator[Mutant]:
    for statement in script.statements:
        if not isinstance(statement, ast.For):
            continue
        match = re.fullmatch(r"zip\(([\w.]+)\.parameters\(\), ([\w.]+)\.parameters\(\)\)", script.text(statement.iter))
        if match and re.search(r"target|ema", script.text(statement.target)):
            edit = Edit(script)
            one, two = match.group(1), match.group(2)
            edit.substitute(statement, match.group(0), f"zip({two}.parameters(), {one}.parameters())")
            called = (*_forwards(script, "backward"), *_evaluating(script))
            yield edit.expecting(statement, *_following(script), *_callers(script, statement), *called)


def _callers(script: Script, statement: Statement) -> list[ast.AST]:
    function = script.function(statement)
    return [function, *script.calls(function.name)] if function is not None else []


__all__ = ["backward_of", "batch_loop", "epoch_loops", "is_step"]
