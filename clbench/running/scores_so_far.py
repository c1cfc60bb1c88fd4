"""ACC and gap of a running cell, from the evaluations that it has made until now.

They are computed from a copy of the trace, by the metrics' own functions, as if the stream ended here. The run is not
changed by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from clbench.core.record import Kind, Trace

if TYPE_CHECKING:
    from clbench.adapters.run_setup import Job

EVERY_SECONDS = 1.0
"""Shortest time between two computations."""
SHARE = 0.02
"""Largest share of the time that computations take."""


@dataclass(frozen=True)
class Scores:
    """Hold what is known of a running cell.

    Args:
        acc: ACC over the tasks met so far; ``None`` if it is not defined yet.
        gap: The gap depth of the switches so far; ``None`` if there was none.
        text: Both for people: ``ACC 91.2 %, gap 12.0 %``.
    """

    acc: float | None = None
    gap: float | None = None
    text: str = ""


NOTHING = Scores()


class ScoresSoFar:
    """Compute the scores of a running cell now and then: at most once a second, in at most 2 % of the time.

    Args:
        clock: Function that returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock, self._due = clock, 0.0
        self._job: Job | None = None
        self._held = NOTHING

    def watch(self, job: Job) -> None:
        """Begin with a job that is ready to train."""
        self._job, self._held = job, NOTHING

    def __call__(self) -> Scores:
        """Return the scores, which may be a moment old."""
        began = self._clock()
        if self._job is not None and began >= self._due:
            try:
                self._held = scores_of(self._job.trace())
            except Exception:  # such as a library's loop without a trace before its end
                self._held = NOTHING
            took = self._clock() - began
            self._due = began + max(EVERY_SECONDS, took / SHARE)
        return self._held


def scores_of(trace: Trace) -> Scores:
    """Return the scores of the trace of a run that has not ended."""
    from clbench.metrics import compute

    now = until_now(trace)
    if now is None:
        return NOTHING
    found, measure = compute(now, ["acc", "gap_depth"]), trace.measure
    acc = found["acc"].value if found["acc"].defined else None
    gap = found["gap_depth"].value if found["gap_depth"].defined else None
    told = [] if acc is None else [f"{measure.short} {measure.text(acc, fewer=1)}"]
    told += [] if gap is None else [f"gap {measure.change(gap, fewer=1)} {measure.unit}".rstrip()]
    return Scores(acc, gap, ", ".join(told))


def until_now(trace: Trace) -> Trace | None:
    """Return a trace as if its stream ended with the last evaluation: without later experiences and their tasks.

    The last evaluation counts as the one at the end of its experience. An experience of which only the switch has been
    evaluated does not count yet. ``None`` if there is none that counts.
    """
    looks = len(trace.kind)
    while looks and trace.kind[looks - 1] in (Kind.START, Kind.SWITCH):
        looks -= 1
    if not looks:
        return None
    trace = trace.at(np.arange(looks))
    kind = trace.kind.copy()
    kind[-1] = Kind.END
    present = trace.present[: int(trace.experience[-1]) + 1]
    tasks = present.any(axis=0)
    columns = ("score", "masked", "competing", "spread", "further")
    by_task = ("rows", "population", "units", "counted")
    chosen = {name: getattr(trace, name)[:, tasks] for name in columns if getattr(trace, name).size}
    chosen |= {name: getattr(trace, name)[tasks] for name in by_task if getattr(trace, name).size}
    return replace(trace, kind=kind, present=present[:, tasks], **chosen)
