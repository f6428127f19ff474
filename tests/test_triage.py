"""One cause, one finding: what is folded, what stays."""

from __future__ import annotations

from nnlint.finding import Finding, Level, Place
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
