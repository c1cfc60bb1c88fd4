"""When to evaluate between the start and the ends of experiences, which are always evaluated.

A schedule depends on two counts: iterations in the stream, and iterations since the running experience began. The
second may count from boundaries that are hidden from training, since evaluation changes nothing there. Other packages
add schedules by the entry point ``clbench.evaluation_schedules``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Protocol

from pydantic import Field

from clbench.benchmark.schedule_notation import Written, load, split, with_source
from clbench.core.errors import Refused
from clbench.core.parameters import Count, validate
from clbench.core.registry import Registry

Due = Callable[[int, int], bool]
"""From iterations done in the stream, and in the running experience (both from 1), to whether to evaluate."""


class EvaluationSchedule(Protocol):
    """Return the function that decides after which iterations to evaluate.

    Keyword-only parameters are the settings of the schedule. A resumed run gets a new function, so the answer must
    depend only on its two arguments.
    """

    def __call__(self, **settings: Any) -> Due: ...


def every(period: int, /) -> Due:
    """Evaluate at the multiples of ``period`` in the stream, which is ``evaluation.every``; never if it is 0."""
    return lambda step, _since: period > 0 and step % period == 0


def ends() -> Due:
    """Evaluate only at the ends of experiences."""
    return lambda _step, _since: False


def dense(*, steps: Count = 20, growth: Annotated[float, Field(gt=1)] = 1.1) -> Due:
    """Evaluate at every iteration right after a switch, where accuracy falls, and less and less often later.

    A minimum between two evaluations is missed, later ones more easily: iteration s of an experience is at most
    ``(growth - 1) * s`` iterations after the evaluation before it.

    Args:
        steps: Iterations at the beginning of every experience that are all evaluated.
        growth: Factor, above 1, from one evaluated iteration to the next after those: the product is rounded down, and
            is at least one more.
    """
    later: set[int] = set()
    last = steps

    def due(_step: int, since: int) -> bool:
        nonlocal last
        while last < since:  # computed only as far as needed
            last = max(last + 1, int(last * growth))
            later.add(last)
        return since <= steps or since in later

    return due


def at(steps: list[int], /) -> Due:
    """Evaluate at given iterations, counted from 1 in the whole stream; written ``{at: [1, 10, 100]}``."""
    chosen = frozenset(steps)
    return lambda step, _since: step in chosen


EVALUATION_SCHEDULES = Registry(
    "evaluation schedule",
    "clbench.evaluation_schedules",
    {
        "every": ("clbench.benchmark.evaluation_schedules:every", "at regular intervals: evaluation.every steps"),
        "ends": ("clbench.benchmark.evaluation_schedules:ends", "only at the ends of experiences"),
        "dense": ("clbench.benchmark.evaluation_schedules:dense", "often after a switch, then less and less often"),
        "at": ("clbench.benchmark.evaluation_schedules:at", "after the given steps: {at: [1, 10, 100]}"),
    },
)
"""Evaluation schedules by name, each an :class:`EvaluationSchedule`; ``every`` and ``at`` take a value instead."""


def canonical(written: Written, *, where: str = "evaluation.schedule") -> str | dict[str, Any]:
    """Return a schedule with every setting written out.

    Args:
        written: ``every``, ``ends``, ``dense``, ``{dense: {steps: .., growth: ..}}``, ``{at: [..]}``, or another name
            with or without settings.
        where: The name of the setting, for messages.

    Raises:
        Refused: An unknown name or setting, a wrong type, or not exactly one name.
    """
    read = split(written)
    if read is None:
        raise Refused(f"{where} {written!r} must be one name, such as ends, or {{at: [1, 10, 100]}}")
    name, given = read
    if name not in EVALUATION_SCHEDULES:
        raise Refused(f"there is no evaluation schedule {name!r}; {EVALUATION_SCHEDULES.hint(name)}")
    if name == "at":
        return {"at": _iterations(given, where)}
    if name not in ("every", "ends"):
        filled = validate(EVALUATION_SCHEDULES.get(name), given or {}, where=f"{where} {name!r}")
        return with_source(EVALUATION_SCHEDULES, name, filled, written)
    if given:
        hint = "; its period is evaluation.every" if name == "every" else ""
        raise Refused(f"{where} {name!r} takes no settings, and got {given!r}{hint}")
    return name


def _iterations(given: Any, where: str) -> list[int]:
    whole = isinstance(given, list) and all(isinstance(n, int) and not isinstance(n, bool) for n in given)
    if not whole or not given or min(given) < 1:
        raise Refused(
            f"{where} 'at' takes iterations of the whole stream from 1, such as {{at: [1, 10, 100]}}, "
            f"and got {given!r}; for the ends of experiences only, write ends"
        )
    return sorted(set(given))


def probing(written: Any) -> int | dict[str, Any]:
    """Return the steps to probe: a period, 0 for none, or a schedule that selects steps, with every setting written
    out.

    Raises:
        Refused: It is anything else, or as in :func:`canonical`.
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


def due(written: Written, period: int) -> Due:
    """Return the function behind a schedule.

    Args:
        written: As in :func:`canonical`.
        period: Period of the schedule ``every``; the others do not use it.

    Raises:
        Refused: As in :func:`canonical`, or the cell of the schedule was planned with other code.
    """
    read = split(canonical(written))
    assert read is not None
    name, given = read
    if name == "every":
        return every(period)
    return at(given) if name == "at" else load(EVALUATION_SCHEDULES, name, written)(**(given or {}))
