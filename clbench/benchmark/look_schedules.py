"""When to look between the start and the ends of experiences, which are looked at in any case.

A schedule decides by the clocks of the run alone: iterations done in the stream, and iterations since the running
experience began. The second may count from boundaries that are hidden from training: looking changes nothing there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import Field

from clbench.core.errors import Refused, did_you_mean
from clbench.core.parameters import Count, validate

Due = Callable[[int, int], bool]
"""From iterations done in the stream, and in the running experience (both from 1), to whether to look."""

NAMES = ("every", "dense", "ends", "at")


def every(period: int) -> Due:
    """At the multiples of ``period`` in the stream; never where it is 0."""
    return lambda step, _since: period > 0 and step % period == 0


def dense(*, steps: Count = 20, growth: Annotated[float, Field(gt=1)] = 1.1) -> Due:
    """Every iteration right after a switch, where accuracy falls, and ever more seldom later.

    A minimum that lies between two looks is missed, the more so the later it comes: iteration s of an experience is
    at most ``(growth - 1) * s`` iterations away from the look before it.

    Args:
        steps: Iterations of every experience that are all looked at.
        growth: Factor, above 1, from one looked-at iteration to the next after those: the product rounded down, and at
            least one more.
    """
    later: set[int] = set()
    last = steps

    def due(_step: int, since: int) -> bool:
        nonlocal last
        while last < since:  # 'later' is worked out as far as it was asked for
            last = max(last + 1, int(last * growth))
            later.add(last)
        return since <= steps or since in later

    return due


def at(steps: list[int]) -> Due:
    """At the iterations given, counted from 1 in the whole stream."""
    chosen = frozenset(steps)
    return lambda step, _since: step in chosen


def canonical(written: str | Mapping[str, Any]) -> str | dict[str, Any]:
    """A schedule with every setting written out.

    Args:
        written: ``every``, ``ends``, ``dense``, ``{dense: {steps: .., growth: ..}}`` or ``{at: [..]}``.

    Raises:
        Refused: An unknown name or setting, a wrong type, or not exactly one name.
    """
    named = {written: None} if isinstance(written, str) else dict(written)
    if len(named) != 1:
        raise Refused(f"evaluation.schedule {written!r} has to be one name, like ends, or {{at: [1, 10, 100]}}")
    ((name, given),) = named.items()
    if name not in NAMES:
        raise Refused(f"there is no schedule of looks {name!r}; {did_you_mean(str(name), NAMES)}")
    if name == "dense":
        return {"dense": validate(dense, given or {}, where="evaluation.schedule 'dense'")}
    if name == "at":
        return {"at": _iterations(given)}
    if given:
        hint = "; its period is evaluation.every" if name == "every" else ""
        raise Refused(f"evaluation.schedule {name!r} takes no settings, and got {given!r}{hint}")
    return name


def _iterations(given: Any) -> list[int]:
    whole = isinstance(given, list) and all(isinstance(n, int) and not isinstance(n, bool) for n in given)
    if not whole or not given or min(given) < 1:
        raise Refused(
            f"evaluation.schedule 'at' takes iterations of the whole stream from 1, like {{at: [1, 10, 100]}}, and got "
            f"{given!r}; for the ends of experiences alone write ends"
        )
    return sorted(set(given))


def probing(written: Any) -> int | dict[str, Any]:
    """The steps to probe: a period, 0 for none, or a schedule that picks steps, with every setting written out.

    Raises:
        Refused: Anything else, or as :func:`canonical`.
    """
    if isinstance(written, int) and not isinstance(written, bool) and written >= 0:
        return written
    schedule = canonical(written) if isinstance(written, str | Mapping) else written
    if isinstance(schedule, dict):
        return schedule
    raise Refused(
        f"evaluation.probe {written!r} names no steps; write a whole number of steps between probes, 0 for none, "
        "dense, or {at: [1, 10, 100]}"
    )


def due(written: str | Mapping[str, Any], period: int) -> Due:
    """The function behind a schedule.

    Args:
        written: As for :func:`canonical`.
        period: Of the schedule ``every``; the others do not read it.

    Raises:
        Refused: As :func:`canonical`.
    """
    schedule = canonical(written)
    if isinstance(schedule, str):
        return every(period if schedule == "every" else 0)
    ((name, settings),) = schedule.items()
    return dense(**settings) if name == "dense" else at(settings)
