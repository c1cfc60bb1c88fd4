"""The settings of a strategy that a tuner may turn, and the strategy at other values of them. This module imports no
torch before a strategy is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clbench.benchmark.schema import Benchmark, Training, defaults_of
from clbench.core import parameters
from clbench.core.errors import Refused, UnknownSetting, did_you_mean
from clbench.core.search_space import Knob, Search, by_owner, check_range, check_ranges, ranges
from clbench.strategies import STRATEGIES, notation
from clbench.strategies.notation import Written

TRAINING = "training"
"""The owner of settings of the benchmark that a strategy may override."""


def space_of(
    strategy: Written | Mapping[str, Any], benchmark: Benchmark | None = None, given: Mapping[str, Search] | None = None
) -> list[Knob]:
    """Return the settings of a strategy that a tuner may turn, in the order in which they are written.

    These are the settings with a declared search range whose value the user has not written, and those with a range in
    ``given``, which comes before a declared one. A declared range is widened to the value without tuning.

    Args:
        strategy: A strategy as in a benchmark file.
        benchmark: The benchmark, whose ``defaults`` and ``training`` are the values without tuning.
        given: Ranges by place, as :func:`clbench.core.search_space.parse_space` reads them; ranges of other strategies
            are passed over.

    Raises:
        Refused: A range in ``given`` names an unknown setting or does not fit it, or nothing can be turned.
    """
    written, section = _split(strategy)
    ours, found = by_owner(given or {}), []
    defaults = {} if benchmark is None else defaults_of(benchmark)
    names: list[str] = []
    for name, values in notation.calls(written):
        owner = owner_of(name, names)
        found += _of_recipe(owner, name, values, defaults.get(name, {}), ours.get(owner, {}))
    found += _of_training(ours.get(TRAINING, {}), benchmark, section)
    if not found:
        raise Refused(_nothing(written))
    return found


def spaces_of(
    strategies: Sequence[Written | Mapping[str, Any]],
    benchmark: Benchmark | None = None,
    given: Mapping[str, Search] | None = None,
) -> list[list[Knob]]:
    """Return :func:`space_of` for each strategy.

    Raises:
        Refused: As there, or a range in ``given`` belongs to none of the strategies.
    """
    owners = [each for strategy in strategies for each in owners_of(strategy)]
    for place in given or {}:
        owner, _, name = place.rpartition(".")
        if owner != TRAINING and owner not in owners:
            known = [*dict.fromkeys(owners), TRAINING]
            elsewhere = owner in STRATEGIES or owner in Benchmark.model_fields
            cure = f"allowed are settings of {', '.join(known)}" if elsewhere else did_you_mean(owner, known)
            raise Refused(f"--space {place}: no strategy to tune is called {owner!r}; {cure}", name)
    return [space_of(strategy, benchmark, given) for strategy in strategies]


def owners_of(strategy: Written | Mapping[str, Any]) -> list[str]:
    """Return the first part of the places of a strategy's settings: its recipes, numbered from the second of a name
    on."""
    names: list[str] = []
    for name, _ in notation.calls(_split(strategy)[0]):
        owner_of(name, names)
    return names


def with_values(strategy: Written | Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """Return a strategy as in a benchmark file, with other values of its settings.

    Args:
        strategy: A strategy as in a benchmark file.
        values: Place of a setting -> its value; places are those of :func:`space_of`.

    Returns:
        The strategy as text, such as ``er + ewc(strength=100)``; a mapping with ``strategy`` and ``training`` if the
        strategy has settings of the benchmark, or its own label.

    Raises:
        Refused: The strategy has no such place.
    """
    written, section = _split(strategy)
    left, calls = dict(values), []
    names: list[str] = []
    for name, given in notation.calls(written):
        owner = owner_of(name, names)
        own = {place: left.pop(place) for place in list(left) if place.rpartition(".")[0] == owner}
        calls.append((name, {**given, **{place.rpartition(".")[2]: value for place, value in own.items()}}))
    text = notation.text(calls)
    turned = {place: left.pop(place) for place in list(left) if place.rpartition(".")[0] == TRAINING}
    if left:
        raise Refused(
            f"{notation.label(written)} has no setting {next(iter(left))!r}; its parts are {', '.join(names)}"
        )
    training = {**section.get(TRAINING, {}), **{place.rpartition(".")[2]: value for place, value in turned.items()}}
    if not training and not section:
        return text
    return {**section, "strategy": text, **({TRAINING: training} if training else {})}


def _split(strategy: Written | Mapping[str, Any]) -> tuple[Written, dict[str, Any]]:
    """Return a strategy, and the settings of the benchmark that stand beside it."""
    if isinstance(strategy, Mapping) and "strategy" in strategy:
        return strategy["strategy"], {name: value for name, value in strategy.items() if name != "strategy"}
    return strategy, {}


def owner_of(name: str, names: list[str]) -> str:
    """Return the owner of a recipe's settings, ``ewc`` or ``ewc#2``, and add it to those before it."""
    times = 1 + sum(each.partition("#")[0] == name for each in names)
    names.append(name if times == 1 else f"{name}#{times}")
    return names[-1]


def _of_recipe(
    owner: str, name: str, values: Mapping[str, Any], defaults: Mapping[str, Any], given: Mapping[str, Search]
) -> list[Knob]:
    """Return the knobs of one recipe.

    Args:
        owner: The first part of their places.
        name: The name of the recipe.
        values: The settings that the user wrote.
        defaults: The benchmark's values.
        given: The user's ranges by setting.

    Raises:
        Refused: A range that does not fit.
    """
    target, where = STRATEGIES.get(name), f"strategy {name!r}"
    fields = parameters.schema(target).model_fields
    check_ranges(target, where)
    for setting, search in given.items():
        if setting not in fields:
            raise UnknownSetting(f"--space {owner}.{setting}: {where} has no parameter {setting!r}; "
                                 f"{did_you_mean(setting, fields)}", setting)  # fmt: skip
        check_range(search, fields[setting], setting, f"--space {owner}.{setting}")
    own = {key: info.get_default(call_default_factory=True) for key, info in fields.items() if not info.is_required()}
    known = {**own, **defaults, **values}
    free = {
        setting: search
        for setting, search in ranges(target).items()
        if setting not in values and (search.when is None or known.get(search.when[0]) == search.when[1])
    }
    chosen = {**{setting: search.including(known.get(setting)) for setting, search in free.items()}, **given}
    return [
        Knob.of(
            f"{owner}.{setting}",
            chosen[setting],
            whole=parameters.allows_only_whole_numbers(fields[setting].annotation),
            default=known.get(setting),
            required=setting not in known or (known[setting] is None and chosen[setting].when is not None),
        )
        for setting in fields
        if setting in chosen
    ]


def _of_training(given: Mapping[str, Search], benchmark: Benchmark | None, section: Mapping[str, Any]) -> list[Knob]:
    """Return the knobs in the section ``training`` of the benchmark, which have the user's ranges."""
    usual = Training() if benchmark is None else benchmark.training
    found = []
    for setting, search in given.items():
        info = Training.model_fields.get(setting)
        if info is None:
            near = did_you_mean(setting, Training.model_fields)
            raise UnknownSetting(f"--space {TRAINING}.{setting}: training has no setting {setting!r}; {near}", setting)
        check_range(search, info, setting, f"--space {TRAINING}.{setting}")
        default = section.get(TRAINING, {}).get(setting, getattr(usual, setting))
        whole = parameters.allows_only_whole_numbers(info.annotation)
        found.append(Knob.of(f"{TRAINING}.{setting}", search, whole=whole, default=default))
    return found


def check_declared_ranges(strategy: Written) -> None:
    """Refuse declared search ranges outside of the values that their settings allow.

    Raises:
        Refused: A recipe of the strategy declares such a range.
    """
    for name, _ in notation.calls(strategy):
        check_ranges(STRATEGIES.get(name), f"strategy {name!r}")


def _nothing(written: Written) -> str:
    """Return why a strategy has nothing that a tuner may turn, and what to do."""
    label = notation.label(written)
    settings = [
        f"{name}.{setting}"
        for name, _ in notation.calls(written)
        for setting in parameters.schema(STRATEGIES.get(name)).model_fields
    ]
    if not settings:
        return f"{label} has no settings of its own to tune; leave it out, or give --space training.lr=LOW:HIGH:log"
    named = f"{', '.join(settings[:6])}{', ...' if len(settings) > 6 else ''}"
    return (
        f"{label} has no setting with a search range; give one of its own settings a range, as in --space "
        f"'{settings[0]}=LOW:HIGH' (it has {named}), or leave it out"
    )
