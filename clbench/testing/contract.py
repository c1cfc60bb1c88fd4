"""The contract of strategies: the list of its properties, and the functions that test them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from clbench.core.errors import Refused, did_you_mean
from clbench.strategies.knobs import check_declared_ranges
from clbench.testing import information_barriers, memory_budgets, run_properties
from clbench.testing.companions import companions
from clbench.testing.loss_remarks import Remark, remarks
from clbench.testing.no_processes import no_processes
from clbench.testing.process_state import as_found
from clbench.testing.trial_runs import Broken, Skipped, Trial, Written

_ASKED: tuple[Callable[[Trial], str | None], ...] = (
    run_properties.deterministic,
    run_properties.resumable,
    run_properties.unwatched,
    run_properties.identity,
    information_barriers.randomness,
    information_barriers.process_state,
    information_barriers.test_rows,
    information_barriers.hidden_labels,
    information_barriers.future,
    information_barriers.rows_to_come,
    companions,
    run_properties.needs,
    memory_budgets.memory,
    memory_budgets.state,
    run_properties.second_model,
    run_properties.second_scenario,
    run_properties.task_labels,
    run_properties.device,
    run_properties.workers,
)
_ALONE = {"randomness", "process_state", "companions", "needs", "memory", "state", "device"}
"""Properties that a single run shows; the others compare two runs."""
_BY_NAME = {ask.__name__: ask for ask in _ASKED}


def meaning(ask: Callable[[Any], Any]) -> str:
    """Return what a property means, from the docstring of the function that tests it."""
    text = str(ask.__doc__).removeprefix("Check that ").removesuffix(".")
    return text[0].upper() + text[1:]


PROPERTIES: Mapping[str, str] = MappingProxyType({ask.__name__: meaning(ask) for ask in _ASKED})
"""Name of a property -> its meaning in one line, in the order in which they are tested."""


@dataclass(frozen=True)
class Verdict:
    """Hold the result of one property for a strategy.

    Args:
        property: A name in :data:`PROPERTIES`.
        status: ``kept``, ``skipped`` if the property cannot be tested, or ``broken``.
        text: The reason if it is not kept; a remark if it is.
    """

    property: str
    status: Literal["kept", "skipped", "broken"]
    text: str = ""


def examine(
    strategy: Written, *, defaults: Mapping[str, Mapping[str, Any]] | None = None, seed: int = 0
) -> Iterator[Verdict]:
    """Test every property of a strategy, one after another; each takes about a second.

    Args:
        strategy: The strategy as in a benchmark: ``"er + mine(strength=1)"``, ``"FILE.py:NAME"``, a mapping or a list.
        defaults: Values for parameters without a default, by name, as in a benchmark's ``defaults``.
        seed: Seed of the runs.

    Raises:
        Refused: The strategy cannot be read.
    """
    trial = _trial(strategy, defaults, seed)
    for name in PROPERTIES:
        try:
            note = _ask(trial, name)
        except Skipped as reason:
            yield Verdict(name, "skipped", str(reason))
        except Broken as error:
            yield Verdict(name, "broken", str(error))
        else:
            yield Verdict(name, "kept", note or "")


def remark(
    strategy: Written, *, defaults: Mapping[str, Mapping[str, Any]] | None = None, seed: int = 0
) -> list[Remark]:
    """Return what the author of a strategy should know besides its contract: which classes its loss uses, how long its
    gradient is, and whether its parts declare an identity. Arguments and errors are as in :func:`examine`.
    """
    with as_found(), no_processes():
        return remarks(_trial(strategy, defaults, seed))


def check_strategy(
    strategy: Written,
    prop: str | None = None,
    *,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
) -> dict[str, str]:
    """Raise an error if a strategy breaks a property, or any property.

    Args:
        strategy: The strategy as in a benchmark: ``"er + mine(strength=1)"``, ``"FILE.py:NAME"``, a mapping or a list.
        prop: A name in :data:`PROPERTIES`; ``None`` tests all of them.
        defaults: Values for parameters without a default, by name, as in a benchmark's ``defaults``.
        seed: Seed of the runs.

    Returns:
        If all properties are tested: those that were skipped, with the reason.

    Raises:
        Broken: The strategy breaks the property. The message names it, the observation, and the place to look.
        Skipped: The single property cannot be tested, as on a stream that hides something it needs. pytest and unittest
            count it as a skipped test with the reason.
        Refused: The strategy cannot be read, or the property does not exist.
    """
    trial = _trial(strategy, defaults, seed)
    if prop is not None:
        if prop not in PROPERTIES:
            raise Refused(f"the contract has no property {prop!r}; {did_you_mean(prop, PROPERTIES)}")
        try:
            _ask(trial, prop)
        except Broken as error:
            raise Broken(_sentence(trial, prop, str(error))) from error
        return {}
    verdicts = list(examine(strategy, defaults=defaults, seed=seed))
    broken = [_sentence(trial, v.property, v.text) for v in verdicts if v.status == "broken"]
    if broken:
        raise Broken("\n".join(broken))
    return {v.property: v.text for v in verdicts if v.status == "skipped"}


def _trial(strategy: Written, defaults: Mapping[str, Mapping[str, Any]] | None, seed: int) -> Trial:
    trial = Trial(strategy, defaults or {}, seed)
    _ = trial.parsed, trial.cell()  # refuses a strategy that cannot be read
    check_declared_ranges(strategy)
    return trial


def _ask(trial: Trial, name: str) -> str | None:
    if name != run_properties.deterministic.__name__:
        with as_found(), no_processes():
            run_properties.ask_sound(trial, compares=name not in _ALONE)
    with as_found(), no_processes():
        return _BY_NAME[name](trial)


def _sentence(trial: Trial, name: str, text: str) -> str:
    return f"{trial.name} breaks {name!r} ({PROPERTIES[name][0].lower()}{PROPERTIES[name][1:]}): {text}"
