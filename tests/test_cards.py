"""The index of a rule pack: it answers for the pack, and never when it is behind the sources."""

from __future__ import annotations

import shutil
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from nnlint import cards, registry

_PACK = Path(__file__).resolve().parent.parent / "rules" / "nnlint_rules"


def _spec(package: Path) -> ModuleSpec:
    spec = ModuleSpec("nnlint_rules", None, is_package=True)
    spec.submodule_search_locations = [str(package)]
    return spec


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    copy = tmp_path / "nnlint_rules"
    shutil.copytree(_PACK, copy, ignore=shutil.ignore_patterns("__pycache__", cards.INDEX))
    (copy / cards.INDEX).write_text(cards.index_text(copy, registry.load().rules), encoding="utf-8")
    return copy


def test_index_says_what_the_rules_say(pack: Path) -> None:
    indexed = cards._indexed(_spec(pack))
    assert indexed == [cards.card_of(rule) for rule in registry.load().rules]


def test_changed_source_makes_the_index_count_no_more(pack: Path) -> None:
    rule = pack / "loss" / "softmax_before_cross_entropy.py"
    rule.write_text(rule.read_text() + "\n# changed\n")
    assert cards._indexed(_spec(pack)) is None


def test_added_rule_makes_the_index_count_no_more(pack: Path) -> None:
    (pack / "loss" / "new_rule.py").write_text('"""New."""\n')
    assert cards._indexed(_spec(pack)) is None


def test_pack_without_index_has_no_cards_of_its_own(pack: Path) -> None:
    (pack / cards.INDEX).unlink()
    assert cards._indexed(_spec(pack)) is None


def test_unknown_rule_names_the_nearest() -> None:
    with pytest.raises(KeyError, match="did you mean softmax-before-cross-entropy"):
        cards.find("softmax-before-crossentropy", [cards.card_of(rule) for rule in registry.load().rules])
