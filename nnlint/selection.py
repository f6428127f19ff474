"""Which rules a check runs, with which options, and at which level their findings are reported."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from nnlint.config import problems
from nnlint.evidence import cost_of
from nnlint.finding import Finding, Level
from nnlint.rule import Rule

if TYPE_CHECKING:
    from nnlint.config import CheckSettings
    from nnlint.observation.observed import Observed
    from nnlint.registry import Registry


class SettingsError(ValueError):
    """Settings that cannot be applied: an unknown rule in `select`, or options a rule does not have."""


def selected_rules(
    registry: Registry, settings: CheckSettings, *, observed: Observed | None = None
) -> tuple[Rule, ...]:
    """The rules to run, cheapest evidence first; those about a training script only where one was observed or they are named.

    Raises:
        SettingsError: `select` or `extend_select` names an unknown rule, or a rule's options do not validate.
    """
    try:
        codes = registry.matching((*(settings.select or ("ALL",)), *settings.extend_select))
        for option_owner in settings.rules:
            registry.find(option_owner)
    except KeyError as error:
        raise SettingsError(str(error.args[0])) from error
    for ignored in settings.ignore:
        with contextlib.suppress(KeyError):  # a rule of another version may well be unknown here
            codes -= registry.matching((ignored,))
    chosen = [rule for rule in registry.rules if rule.code in codes and rule.family != "RUN"]
    if observed is None:
        named = registry.matching(name for name in (*settings.select, *settings.extend_select) if name.upper() != "ALL")
        chosen = [rule for rule in chosen if not rule.is_observed or rule.code in named]
    else:
        chosen = [rule for rule in chosen if observed.judges(rule)]
    for rule in chosen:
        options_of(rule, settings)
    return tuple(sorted(chosen, key=lambda rule: (cost_of(rule.evidence.values()), rule.code)))


def options_of(rule: Rule, settings: CheckSettings) -> Any:
    """The rule's options as configured, or None for a rule without options.

    Raises:
        SettingsError: an option is unknown or of the wrong type.
    """
    given = {key: value for key, value in _configured(rule, settings).items() if key != "level"}
    if rule.options is None:
        if given:
            raise SettingsError(f"rule {rule.code} {rule.name} has no options, got {', '.join(sorted(given))}")
        return None
    try:
        return rule.options(**{key.replace("-", "_"): value for key, value in given.items()})
    except ValidationError as error:
        raise SettingsError(f"rules.{rule.code}: {'; '.join(problems(error, rule.options))}") from error


def _configured(rule: Rule, settings: CheckSettings) -> dict[str, Any]:
    return {**settings.rules.get(rule.name, {}), **settings.rules.get(rule.code, {})}


def level_of(rule: Rule, finding: Finding, settings: CheckSettings) -> Level:
    """The configured level, else that of the finding, else the rule's; a preview rule only informs."""
    configured = _configured(rule, settings).get("level")
    if configured is not None:
        return Level(configured)
    return Level.INFO if rule.preview else finding.level or rule.level
