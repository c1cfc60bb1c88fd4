"""The arms of an ablation: the strategy, a control of its own, the baseline, and the baseline at equal loss form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clbench.ablation.loss_forms import MeasuredForm, near
from clbench.core.errors import Refused
from clbench.core.parameters import schema
from clbench.strategies import STRATEGIES, notation
from clbench.strategies.canonical_form import canonical
from clbench.strategies.notation import Written
from clbench.strategies.strategy import Strategy

Defaults = Mapping[str, Mapping[str, Any]]
Calls = list[tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class Arm:
    """Name one of the strategies that are compared.

    Args:
        role: ``strategy``, ``identity``, ``control``, ``baseline`` or ``equal form``.
        label: Its text on leaderboards.
        written: The strategy as in a benchmark file.
    """

    role: str
    label: str
    written: Any


def arm(role: str, written: Written) -> Arm:
    """Return an arm for a strategy that a user wrote."""
    return _arm(role, notation.calls(written))


def _arm(role: str, calls: Calls) -> Arm:
    return Arm(role, notation.text(calls), [{name: dict(given)} for name, given in calls])


def identity_arm(strategy: Written, baseline: Written, defaults: Defaults) -> tuple[Arm | None, str]:
    """Return the strategy with each of its own parts at the settings that the part declares as its identity.

    Args:
        strategy: The strategy.
        baseline: What it is compared with; recipes of both are not the strategy's own.
        defaults: The benchmark's values for parameters without a default.

    Returns:
        The arm and an empty text, or ``None`` and the reason why there is none.
    """
    shared = {STRATEGIES.resolve(name) for name, _ in notation.calls(baseline)}
    calls, changed, without = [], False, []
    for name, given in notation.calls(strategy):
        if STRATEGIES.resolve(name) in shared:
            calls.append((name, given))
            continue
        neutral = _identity_of(name, given, defaults)
        if neutral is None:
            without.append(name)
        else:
            changed = changed or any(given.get(key) != value for key, value in neutral.items())
        calls.append((name, {**given, **(neutral or {})}))
    if without:
        return None, f"{' and '.join(without)} declares no identity, the settings at which the idea is off"
    if all(STRATEGIES.resolve(name) in shared for name, _ in calls):
        return None, "the strategy has only parts of the baseline, at other settings"
    if not changed:
        return None, "the strategy stands at its identity already"
    return _arm("identity", calls), ""


def _identity_of(name: str, given: Mapping[str, Any], defaults: Defaults) -> dict[str, Any] | None:
    """Return the settings of a recipe at which all its parts are at their identity; ``None`` if there are none."""
    (item,) = canonical([(name, given)], defaults)
    parts = Strategy.of([item]).parts()
    known = item["parameters"]
    neutral: dict[str, Any] = {}
    for part in parts:
        if part.identity is None or not set(part.identity) <= set(known):
            return None
        neutral |= part.identity
    try:
        made = Strategy.of([{**item, "parameters": {**known, **neutral}}]).parts()
    except (Refused, TypeError, ValueError):
        return None
    held = all(getattr(part, key) == value for part in made for key, value in (part.identity or {}).items())
    return neutral if held and neutral else None


def equal_form_arm(baseline: Written, ours: MeasuredForm, theirs: MeasuredForm, defaults: Defaults) -> Arm:
    """Return the baseline with the loss form of another strategy; the baseline itself if the forms are equal.

    Args:
        baseline: The baseline.
        ours: The form to give it.
        theirs: Its own form.
        defaults: The benchmark's values for parameters without a default.
    """
    calls = notation.calls(baseline)
    if ours.same(theirs):
        return _arm("equal form", calls)
    if ours.rows and theirs.rows:
        calls = _rehearsing(calls, ours, theirs, defaults)
    pairs = {"alone": (ours.alone, theirs.alone), "new": (ours.new, theirs.new), "old": (ours.old, theirs.old)}
    if not (ours.rows and theirs.rows):
        pairs = {"alone": pairs["alone"]}
    settings: dict[str, Any] = {
        key: own
        for key, (own, other) in pairs.items()
        if own is not None and (not near(own, other) or (key != "alone" and ours.rows != theirs.rows))
    }
    settings |= {"new_classes": "all"} if ours.new_all and not theirs.new_all else {}
    settings |= {"old_classes": "all"} if ours.old_all and not theirs.old_all and theirs.rows else {}
    return _arm("equal form", [*calls, ("loss_form", settings)] if settings else calls)


def _rehearsing(
    calls: Sequence[tuple[str, dict[str, Any]]], ours: MeasuredForm, theirs: MeasuredForm, defaults: Defaults
) -> Calls:
    """Return the baseline's calls with as many rehearsed samples, from the same experience on, where it has settings
    for that."""
    made = []
    for name, given in calls:
        known = schema(STRATEGIES.get(STRATEGIES.resolve(name))).model_fields
        changes: dict[str, Any] = {}
        if ours.first and not theirs.first and "start" in known:
            changes["start"] = "any"
        if ours.rows != theirs.rows and "rows" in known:
            changes["rows"] = ours.rows
        try:
            canonical([(name, {**given, **changes})], defaults)
        except Refused:  # the setting means something else there
            changes = {}
        made.append((name, {**given, **changes}))
    return made
