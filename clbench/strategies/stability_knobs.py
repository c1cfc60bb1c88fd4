"""The settings of a strategy that trade stability for plasticity: those that its parts declare an identity for.

At its identity a part does nothing, so the strategy is most plastic there. The further the setting is from it, the
more the part holds on to what was learned before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clbench.core.errors import Refused, did_you_mean
from clbench.core.parameters import schema, validate
from clbench.core.search_space import Search, ranges, shown
from clbench.strategies import STRATEGIES, notation
from clbench.strategies.canonical_form import canonical
from clbench.strategies.knobs import TRAINING, owner_of, owners_of
from clbench.strategies.notation import Written
from clbench.strategies.part import Part
from clbench.strategies.strategy import Strategy

Defaults = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class StabilityKnob:
    """Describe one setting of a part.

    Args:
        place: The setting as the user names it, such as ``ewc.strength``.
        part: Position of the part in the chain.
        setting: The field of the part.
        start: The value to begin with, far from the identity.
        identity: The value at which the part does nothing.
    """

    place: str
    part: int
    setting: str
    start: float
    identity: float

    def decayed(self, factor: float) -> float:
        """Return the value at a fraction of the distance between identity and start, such as 0.25; whole if both
        are."""
        if isinstance(self.start, int) and isinstance(self.identity, int):
            return self.identity + round((self.start - self.identity) * factor)
        return self.identity + (self.start - self.identity) * factor


def starts(
    written: Written, defaults: Defaults, wanted: Sequence[str] | Mapping[str, float] | None
) -> dict[str, float]:
    """Return the settings of a strategy to choose during a run, with the values to begin with.

    A setting begins with the value in ``wanted``, else with the one that the user wrote in the strategy, else with the
    end of its search range that is further from its identity.

    Args:
        written: The strategy as the user wrote it.
        defaults: The benchmark's values for parameters without a default.
        wanted: Places to choose, without or with a value; ``None`` for all that have a range and an identity.

    Returns:
        Place -> value; empty if the strategy has no such setting, or none that is wanted.

    Raises:
        Refused: A wanted place names an unknown setting, one without an identity, or a value that is not allowed or
            does nothing.
    """
    names: list[str] = []
    found: dict[str, float] = {}
    for name, given in notation.calls(written):
        owner = owner_of(name, names)
        asked = {place.rpartition(".")[2]: place for place in wanted or () if place.rpartition(".")[0] == owner}
        fixed = {each: wanted[place] for each, place in asked.items()} if isinstance(wanted, Mapping) else {}
        known = schema(STRATEGIES.get(name)).model_fields
        for setting in asked:
            if setting not in known:
                raise Refused(
                    f"tuning.knobs: strategy {name!r} has no parameter {setting!r}; {did_you_mean(setting, known)}",
                    "knobs",
                )
        declared = {each: search for each, search in ranges(STRATEGIES.get(name)).items() if not search.choices}
        identity = _identities(name, {**given, **fixed}, defaults)
        for setting in known:
            if setting not in asked and (wanted is not None or setting not in identity or setting not in declared):
                continue
            if setting not in identity:
                raise Refused(
                    f"tuning.knobs: {owner}.{setting} has no declared identity, a value at which it does nothing; "
                    f"{_instead(owner, identity)}",
                    "knobs",
                )
            neutral, search = identity[setting], declared.get(setting)
            start = fixed.get(setting, given.get(setting, None if search is None else _far(search, neutral)))
            if start is None:
                raise Refused(
                    f"tuning.knobs: {owner}.{setting} has no search range; give the value to begin with, as in "
                    f"tuning.knobs={{{owner}.{setting}: 100}}",
                    "knobs",
                )
            found[f"{owner}.{setting}"] = _checked(name, setting, start, neutral, given, defaults)
    return found


def starts_within(written: Written, defaults: Defaults, given: Mapping[str, Search]) -> dict[str, float]:
    """Return the settings of a strategy to choose during a run, as :func:`starts` does, with the user's ranges.

    Args:
        written: The strategy as the user wrote it.
        defaults: The benchmark's values for parameters without a default.
        given: Ranges by place; those of other strategies are passed over. The value to begin with is the end that is
            further from the identity.

    Raises:
        Refused: The strategy has no such setting, or a range belongs to a setting without an identity.
    """
    owners = owners_of(written)
    training = next((place for place in given if place.rpartition(".")[0] == TRAINING), None)
    if training is not None:
        raise Refused(
            f"--space {training}: protocol chf chooses settings of strategies; learning rates to choose from are "
            "written tuning.learning_rates=[0.1, 0.01] in the benchmark"
        )
    own = {place: search for place, search in given.items() if place.rpartition(".")[0] in owners}
    neutral = _neutral_values(written, defaults)
    wanted = {}
    for place, search in own.items():
        if search.choices:
            raise Refused(f"--space {place}: protocol chf needs a range of numbers, LOW:HIGH, not choices")
        wanted[place] = _far(search, neutral.get(place, 0.0))
    found = {**starts(written, defaults, None), **starts(written, defaults, wanted)}
    if not found:
        raise Refused(
            f"protocol chf has nothing to choose for {notation.label(written)}: none of its settings has a search "
            "range and a value at which its part does nothing; leave it out, or use another protocol"
        )
    return found


def _neutral_values(written: Written, defaults: Defaults) -> dict[str, float]:
    """Return the value at which a part does nothing, for each setting that has one, by place."""
    names: list[str] = []
    found: dict[str, float] = {}
    for name, given in notation.calls(written):
        owner = owner_of(name, names)
        identity = _identities(name, given, defaults)
        found |= {f"{owner}.{setting}": value for setting, value in identity.items()}
    return found


def _instead(owner: str, identity: Mapping[str, Any]) -> str:
    if identity:
        return f"choose {' or '.join(f'{owner}.{each}' for each in identity)}, or leave knobs out"
    return "leave it out of knobs"


def _checked(
    name: str, setting: str, start: Any, neutral: float, given: Mapping[str, Any], defaults: Defaults
) -> float:
    """Return the value to begin with, as the setting takes it.

    Raises:
        Refused: The setting does not allow it, or it is the identity.
    """
    usual = {**_for_required(name, {**given, **defaults.get(name, {})}), **defaults.get(name, {})}
    fill = {key: value for key, value in usual.items() if key != setting}
    values = validate(STRATEGIES.get(name), {**given, setting: start}, where=f"strategy {name!r}", fill=fill)
    value: float = values[setting]
    if value == neutral:
        raise Refused(
            f"tuning: {name}.{setting} = {shown(value)} is the value at which it does nothing; begin with another one, "
            "or leave tuning out",
            "knobs",
        )
    return value


def _far(search: Search, neutral: float) -> float:
    """Return the end of a range that is further from the identity."""
    low, high = float(search.low or 0.0), float(search.high or 0.0)
    return high if abs(high - neutral) >= abs(low - neutral) else low


def check_owners(strategies: Iterable[Written | Mapping[str, Any]], wanted: Iterable[str]) -> None:
    """Refuse settings to choose that belong to none of some strategies.

    Raises:
        Refused: There is such a place.
    """
    owners = [owner for strategy in strategies for owner in owners_of(strategy)]
    for place in wanted:
        owner = place.rpartition(".")[0]
        if owner not in owners:
            raise Refused(
                f"tuning.knobs: {place} is written as STRATEGY.SETTING, and no strategy is called {owner!r}; "
                f"{did_you_mean(owner, owners)}",
                "knobs",
            )


def with_required(written: Written, values: Mapping[str, float], defaults: Defaults) -> dict[str, dict[str, Any]]:
    """Return a benchmark's defaults with the values to begin with, for settings that have no value otherwise."""
    made = {name: dict(own) for name, own in defaults.items()}
    names: list[str] = []
    for name, given in notation.calls(written):
        owner = owner_of(name, names)
        for setting, info in schema(STRATEGIES.get(name)).model_fields.items():
            if info.is_required() and setting not in given and f"{owner}.{setting}" in values:
                made.setdefault(name, {}).setdefault(setting, values[f"{owner}.{setting}"])
    return made


def _identities(name: str, given: Mapping[str, Any], defaults: Defaults) -> dict[str, float]:
    """Return the numbers at which the parts of a recipe do nothing, by setting of the recipe."""
    known = schema(STRATEGIES.get(name)).model_fields
    missing = _for_required(name, {**given, **defaults.get(name, {})})
    parts = Strategy.of(canonical([(name, {**missing, **given})], defaults)).parts()
    return {
        setting: value
        for part in parts
        for setting, value in (part.identity or {}).items()
        if setting in known and _number(value)
    }


def _for_required(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value from its range for each setting of a recipe that needs a value and has none."""
    target = STRATEGIES.get(name)
    fields = schema(target).model_fields
    return {
        setting: search.ends[-1]
        for setting, search in ranges(target).items()
        if fields[setting].is_required() and setting not in given
    }


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def stability_knobs(strategy: Strategy, parts: Sequence[Part], values: Mapping[str, float]) -> list[StabilityKnob]:
    """Return the knobs of a strategy in a run.

    Args:
        strategy: The strategy of the cell.
        parts: Its parts in this run.
        values: Place -> value to begin with, as the cell has them.
    """
    names: list[str] = []
    found, before = [], 0
    for item in strategy.items:
        owner = owner_of(str(item["name"]), names)
        count = len(Strategy.of([item]).parts())
        for number in range(before, before + count):
            identity = parts[number].identity or {}
            found += [
                StabilityKnob(f"{owner}.{setting}", number, setting, values[f"{owner}.{setting}"], value)
                for setting, value in identity.items()
                if f"{owner}.{setting}" in values and _number(value)
            ]
        before += count
    return found


def at_identity(parts: Sequence[Part], knobs: Iterable[StabilityKnob]) -> list[tuple[Part, dict[str, Any]]]:
    """Return the parts that have a knob, each with all settings of its declared identity."""
    return [(parts[number], dict(parts[number].identity or {})) for number in sorted({knob.part for knob in knobs})]
