"""One cause, one finding: what is folded, what stays."""

from __future__ import annotations

from nnlint.finding import Finding, Level, Location, Place
from nnlint.rule import Rule
from nnlint.triage import Raised, ordinals, triage


def _rule(code: str, *explains: str) -> Rule:
    return Rule(
        code=code,
        name=code.lower(),
        level=Level.ERROR,
        since="0.1",
        check=lambda: iter(()),
        evidence={"graph": "Graph"},
        optional=frozenset(),
        options=None,
        options_parameter=None,
        explains=explains,
    )


def _raised(rule: Rule, module: str = "", level: Level = Level.ERROR, modules: tuple[str, ...] = ()) -> Raised:
    return Raised(rule, Finding(at=Place(module), message="m", fix="f", modules=modules), level)


def _codes(kept: list[Raised]) -> list[tuple[str, tuple[str, ...]]]:
    return [(item.rule.code, tuple(symptom.rule.code for symptom in item.symptoms)) for item in kept]


def test_explained_finding_becomes_a_symptom() -> None:
    cause, symptom = _rule("AAA001", "BBB001"), _rule("BBB001")
    assert _codes(triage([_raised(symptom), _raised(cause, "head")])) == [("AAA001", ("BBB001",))]


def test_two_independent_faults_both_stay() -> None:
    cause, symptom = _rule("AAA001", "BBB001"), _rule("BBB001")
    kept = triage([_raised(cause, "encoder.0"), _raised(symptom, "decoder.1")])
    assert _codes(kept) == [("AAA001", ()), ("BBB001", ())]


def test_modules_of_the_cause_widen_its_reach() -> None:
    cause, symptom = _rule("AAA001", "BBB001"), _rule("BBB001")
    kept = triage([_raised(cause, "encoder.0", modules=("decoder",)), _raised(symptom, "decoder.1")])
    assert _codes(kept) == [("AAA001", ("BBB001",))]


def test_graver_symptom_is_not_hidden_under_a_milder_cause() -> None:
    cause, symptom = _rule("AAA001", "BBB001"), _rule("BBB001")
    kept = triage([_raised(cause, level=Level.INFO), _raised(symptom, level=Level.ERROR)])
    assert _codes(kept) == [("BBB001", ()), ("AAA001", ())]


def test_chain_folds_into_its_first_cause() -> None:
    first, second, third = _rule("AAA001", "BBB001"), _rule("BBB001", "CCC001"), _rule("CCC001")
    assert _codes(triage([_raised(third), _raised(second), _raised(first)])) == [("AAA001", ("BBB001", "CCC001"))]


def test_circle_of_explanations_hides_nothing() -> None:
    one, other = _rule("AAA001", "BBB001"), _rule("BBB001", "AAA001")
    assert {code for code, _ in _codes(triage([_raised(one), _raised(other)]))} == {"AAA001", "BBB001"}


def test_gravest_first_then_code_and_place() -> None:
    kept = triage(
        [_raised(_rule("BBB001"), "b", Level.INFO), _raised(_rule("CCC001"), "c"), _raised(_rule("AAA001"), "z")]
    )
    assert [item.rule.code for item in kept] == ["AAA001", "CCC001", "BBB001"]


def test_ordinals_number_findings_of_one_rule_at_one_module() -> None:
    rule = _rule("AAA001")
    assert ordinals([_raised(rule, "a"), _raised(rule, "b"), _raised(rule, "a")]) == [0, 0, 1]


def _at(rule: Rule, module: str, message: str = "m", line: int | None = None, level: Level = Level.ERROR) -> Raised:
    place = Place(module, Location("net.py", line) if line else None)
    return Raised(rule, Finding(at=place, message=message, fix="f"), level)


def _said(kept: list[Raised]) -> list[tuple[str, str]]:
    return [(item.module, item.finding.message) for item in kept]


def test_the_same_fault_in_thirty_blocks_is_one_finding_at_the_first() -> None:
    rule = _rule("AAA001")
    kept = triage([_at(rule, f"blocks.{number}.drop", f"blocks.{number}.drop drops 0.9") for number in range(30)])
    assert _said(kept) == [("blocks.0.drop", "blocks.0.drop drops 0.9 (in 30 blocks of blocks.*)")]
    assert kept[0].finding.modules == tuple(f"blocks.{number}.drop" for number in range(30))


def test_measured_numbers_may_differ_from_block_to_block() -> None:
    rule = _rule("AAA001")
    kept = triage([_at(rule, f"layers.{number}", f"{number / 7:.3f}x per layer") for number in (2, 10, 1)])
    assert _said(kept) == [("layers.1", "0.143x per layer (in 3 blocks of layers.*)")]


def test_one_line_at_modules_of_other_names_is_one_finding() -> None:
    rule = _rule("AAA001")
    kept = triage(
        [_at(rule, "decoder.norm", "decoder.norm adds", 7), _at(rule, "encoder.norm", "encoder.norm adds", 7)]
    )
    assert _said(kept) == [("decoder.norm", "decoder.norm adds (in 2 modules: decoder.norm, encoder.norm)")]


def test_numbers_at_two_places_of_the_path() -> None:
    rule = _rule("AAA001")
    kept = triage([_at(rule, f"stages.{outer}.blocks.{inner}.fc") for outer in (0, 1) for inner in (0, 1)])
    assert _said(kept) == [("stages.0.blocks.0.fc", "m (in 4 modules: stages.*.blocks.*.fc)")]


def test_other_words_lines_levels_and_the_same_module_stay_apart() -> None:
    rule = _rule("AAA001")
    found = [
        _at(rule, "a.0", "one"),
        _at(rule, "a.1", "other"),
        _at(rule, "b.0", "two", 3),
        _at(rule, "b.1", "two", 4),
        _at(rule, "c.0", "three"),
        _at(rule, "c.1", "three", level=Level.WARNING),
        _at(rule, "d", "four 1"),
        _at(rule, "d", "four 2"),
        _at(rule, "", "five 1"),
        _at(rule, "", "five 2"),
    ]
    assert len(triage(found)) == len(found)


def test_symptoms_of_repeated_causes_are_kept_once() -> None:
    cause, symptom = _rule("AAA001", "BBB001"), _rule("BBB001")
    found = [_at(rule, f"blocks.{number}", rule.code) for number in range(3) for rule in (cause, symptom)]
    assert _codes(triage(found)) == [("AAA001", ("BBB001",))]


def test_a_block_that_something_else_explains_is_not_counted() -> None:
    cause, symptom = _rule("AAA001", "BBB001"), _rule("BBB001")
    kept = triage([_at(cause, "blocks.1", "cause"), *(_at(symptom, f"blocks.{number}", "same") for number in range(3))])
    assert _said(kept) == [("blocks.1", "cause"), ("blocks.0", "same (in 2 blocks of blocks.*)")]


def test_blocks_come_in_the_order_of_their_numbers() -> None:
    kept = triage([_at(_rule("AAA001"), f"blocks.{number}", f"a{'b' * number}") for number in (10, 2, 1)])
    assert [item.module for item in kept] == ["blocks.1", "blocks.2", "blocks.10"]
