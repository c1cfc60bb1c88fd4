"""The form of a strategy's loss, measured on the first experiences of a benchmark."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from clbench.core.errors import Refused
from clbench.core.global_rng import preserved
from clbench.core.store import write
from clbench.core.torch_threads import torch_threads
from clbench.evaluate.no_evaluations import NoEvaluations
from clbench.running.cell_key import Cell
from clbench.running.user_objects import UserObjects

EXPERIENCES, STEPS = 2, 1000
"""A measured run ends after so many experiences, or after so many steps."""
ALL_OF, EVERY = 20, 10
"""So many of the first steps are all measured, then every tenth."""
ALIKE = 0.1
"""Largest relative difference between two weights that count as equal."""


@dataclass(frozen=True)
class MeasuredForm:
    """Describe the form of a strategy's loss: medians over the measured steps.

    Args:
        alone: Sum of the weights of the stream's samples in batches without rehearsed samples; ``None`` if there were
            none.
        new: The same in batches with rehearsed samples.
        old: Sum of the weights of rehearsed samples; ``None`` if nothing is rehearsed.
        new_all: Whether the loss uses outputs of classes that do not compete on the stream's samples.
        old_all: The same on rehearsed samples.
        rows: Rehearsed samples of a batch; 0 for none.
        first: Whether samples are rehearsed in the first experience too.
        weighted: Whether the loss is a weighted form of the family's; if not, weights are matched by the length of
            the gradient.
        length: Length of the gradient as a multiple of that of the mean loss over the same samples, in the last
            measured experience: not each strategy rehearses in the first.
    """

    alone: float | None = None
    new: float | None = None
    old: float | None = None
    new_all: bool = False
    old_all: bool = False
    rows: int = 0
    first: bool = False
    weighted: bool = True
    length: float = 1.0

    def same(self, other: MeasuredForm) -> bool:
        """Return whether another form is equal, up to a tenth of each weight."""
        weights = zip((self.alone, self.new, self.old), (other.alone, other.new, other.old), strict=True)
        exact = all(getattr(self, name) == getattr(other, name) for name in ("new_all", "old_all", "rows", "first"))
        return exact and all(near(ours, theirs) for ours, theirs in weights)

    def __str__(self) -> str:
        """Return the form in words."""
        if not self.rows:
            told = [f"the stream's mean loss x {_short(self.alone)}"]
        else:
            told = [f"{_short(self.new)} x the stream's mean loss + {_short(self.old)} x that of rehearsed samples"]
            told += ["rehearses from the first experience on" if self.first else "rehearses earlier experiences"]
        opened = [name for name, used in (("the stream's", self.new_all), ("rehearsed", self.old_all)) if used]
        told += [f"all classes compete on {' and '.join(opened)} samples"] if opened else []
        told += [] if self.weighted else ["another loss than the family's, so weights are lengths of gradients"]
        return ", ".join(told)


def near(ours: float | None, theirs: float | None) -> bool:
    """Return whether two weights are equal up to a tenth, or one of them is unknown."""
    if ours is None or theirs is None:
        return True
    return abs(ours - theirs) <= ALIKE * max(abs(ours), abs(theirs))


def loss_form(
    cell: Cell, *, data_dir: str | None, device: str, kept: Path | None, given: UserObjects | None = None
) -> MeasuredForm | None:
    """Train a cell for a few experiences and return the form of its loss; ``None`` if it has no step of our loop.

    Args:
        cell: The cell.
        data_dir: The folder of data sets.
        device: The device of the run.
        kept: A folder in which forms are kept by key; ``None`` for none.
        given: Objects of the user's program that replace names.

    Raises:
        Refused: The strategy cannot run on this benchmark.
    """
    place = None if kept is None else kept / f"{cell.key}.json"
    if place is not None:
        with suppress(OSError, ValueError, TypeError):
            found = json.loads(place.read_text(encoding="utf-8"))
            return None if found is None else MeasuredForm(**found)
    form = _measured(cell, data_dir, device, given)
    if place is not None:
        with suppress(OSError):  # it is measured again next time
            write(place, json.dumps(None if form is None else asdict(form), indent=1).encode())
    return form


class _Enough(Exception):
    """End a run on purpose."""


def _measured(cell: Cell, data_dir: str | None, device: str, given: UserObjects | None) -> MeasuredForm | None:
    from clbench.adapters.run_setup import Skip
    from clbench.running.loss_measure import LossMeasure
    from clbench.running.prepare import prepare_job
    from clbench.running.prepared_run import Run

    with preserved(), torch_threads(cell.config["training"]["threads"]):
        try:
            run = prepare_job(cell, data_dir=data_dir, device=device, given=given)
        except Skip as why:
            raise Refused(f"{cell.label} cannot run on this benchmark: {why}; choose another benchmark") from None
        if not isinstance(run, Run):
            return None
        measure = LossMeasure(run, lambda step: step <= ALL_OF or step % EVERY == 0)
        if measure.reason:
            return None
        run.evaluator = NoEvaluations()  # type: ignore[assignment]

        def stop(step: int, done: float) -> None:
            if step >= STEPS or done * len(run.stream) >= EXPERIENCES:
                raise _Enough

        with suppress(_Enough):
            _train(run, stop, cell.label)
        return of_steps(measure.steps)


def _train(run: Any, tick: Callable[[int, float], None], label: str) -> None:
    from clbench.training.loss_check import Diverged

    try:
        run.train(tick)
    except (Diverged, FloatingPointError) as error:
        raise Refused(f"{label} diverges on the first experiences: {error}; lower the learning rate") from None
    except (_Enough, Refused):
        raise
    except Exception as error:
        raise Refused(f"{label} fails: {type(error).__name__}: {error}; clbench check shows where") from error


def of_steps(steps: list[Any]) -> MeasuredForm | None:
    """Return the form of measured steps (``clbench.running.loss_measure.StepForm``); ``None`` for none."""
    if not steps:
        return None
    from clbench.running.loss_measure import NEW, OLD

    lone, both = [s for s in steps if not s.rehearsed], [s for s in steps if s.rehearsed]
    weights = {
        "alone": _median(s.weights.get(NEW) for s in lone),
        "new": _median(s.weights.get(NEW) for s in both),
        "old": _median(s.weights.get(OLD) for s in both),
    }
    if any(weight == 0 for weight in weights.values()):  # a loss on features: only its whole length is known
        whole, share = _median(s.length for s in both), _median(s.rehearsed / s.size for s in both)
        weights["alone"] = _median(s.length for s in lone)
        if whole is not None and share is not None:
            weights["new"], weights["old"] = whole * (1 - share), whole * share
    last = max((s.experience for s in steps if s.experience is not None), default=None)
    lengths = _median(s.length for s in both or lone if s.experience == last)  # where every strategy may rehearse
    return MeasuredForm(
        **{name: _rounded(weight) for name, weight in weights.items()},
        new_all=any(NEW in used for s in steps for used in s.outside.values()),
        old_all=any(OLD in used for s in steps for used in s.outside.values()),
        rows=int(median(s.rehearsed for s in both)) if both else 0,
        first=any(s.experience == 0 for s in both),
        weighted=all(sum(s.weighted.get(name, True) for s in steps) * 2 > len(steps) for name in (NEW, OLD)),
        length=1.0 if lengths is None else float(f"{lengths:.2g}"),
    )


def _median(values: Any) -> float | None:
    known = [value for value in values if value is not None and not math.isnan(value)]
    return median(known) if known else None


def _rounded(weight: float | None) -> float | None:
    """Round to two digits, so that a control has settings that people can read, and whole tenths stay exact."""
    return None if weight is None else float(f"{weight:.2g}")


def _short(weight: float | None) -> str:
    return "1" if weight is None else f"{weight:g}"
