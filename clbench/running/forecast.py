"""The forecast of a matrix's duration, from timing a few iterations and evaluations of each strategy on this machine.

For each strategy, a run over four experiences (the first three and the last) is timed, each shortened to a few
iterations. Rehearsal has then begun, boundaries have been crossed, and small and large evaluations have been made. The
numbers of steps, boundaries and evaluations in the whole run are then counted. Some steps take longer with every
experience learned before, as those of gem do; others take longer towards the end of the stream. Both are separated and
extrapolated linearly. Not included are: boundaries that take longer with more experiences, steps that take longer with
a fuller replay buffer, parts that change the number of samples of an experience, and other programs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch

from clbench.adapters.run_setup import Skip
from clbench.benchmark import evaluation_schedules
from clbench.benchmark.run_settings import RunSettings
from clbench.benchmark.schema import Training
from clbench.core.errors import Refused
from clbench.core.global_rng import preserved
from clbench.core.record import Kind
from clbench.core.torch_threads import torch_threads
from clbench.core.types import Index, Stream, content_hash
from clbench.evaluate import Evaluator, Subject
from clbench.running.cell_key import Cell
from clbench.running.prepare import prepare_job
from clbench.running.prepared_run import Run
from clbench.training.batch_splits import BatchSplit

PILOT = 6
"""Number of iterations that estimate how many can be afforded."""
FEWEST, MOST = 8, 200
"""Smallest and largest number of iterations that are timed in each experience."""
WARM_UP = 3
"""Number of first iterations that do not count, since objects are created at first use."""
VISITS = 4
"""Number of experiences that are timed, or all if the stream has fewer."""
LOOKS = 4
"""Largest number of evaluations after steps that are timed in each experience."""
FEWEST_LOOKS = 2
"""Number of evaluations of each kind that are timed however long they take; the first one must gather its samples."""


TOGETHER = 24.0
"""Approximate seconds of timed iterations for all strategies; many strategies get less than their budget each."""


@dataclass(frozen=True)
class Forecast:
    """Hold the expected duration of one strategy's cells.

    Args:
        label: Label of the strategy.
        cells: Number of cells to run.
        seconds: Wall-clock time of one of them; NaN if unknown.
        reason: The reason if it is unknown.
    """

    label: str
    cells: int
    seconds: float
    reason: str = ""


@dataclass
class Clock:
    """Replace an evaluator: evaluate like it, and measure the time of everything.

    Args:
        evaluator: The evaluator.
        visits: The experience of the benchmark's stream for each one that is run.
        iterations: Number of iterations of each.
        wait: A function that waits until the device has finished.
        allowance: Seconds of evaluations of each kind after which no more than :data:`FEWEST_LOOKS` are made: in each
            experience for those after steps, in the whole run for others. With 0, only steps are evaluated.
    """

    evaluator: Evaluator
    visits: list[int]
    iterations: int
    wait: Callable[[], None]
    allowance: float
    steps: dict[int, list[float]] = field(default_factory=dict)
    ends: dict[int, float] = field(default_factory=dict)
    finish: float = 0.0
    step_looks: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    """Number of inputs and seconds of each evaluation, per experience."""
    switch_looks: list[float] = field(default_factory=list)
    end_looks: list[float] = field(default_factory=list)
    """Seconds of the evaluation at the start, and of those at ends."""
    due_at_ends: int = 0
    """Number of evaluations at the start and at ends, whether they were made or not."""
    since: float = field(default_factory=perf_counter)

    def look(self, learner: Subject, kind: Kind, number: int, step: int) -> None:
        """Measure the time since the last call, and evaluate."""
        self.wait()
        now = perf_counter()
        spent = now - self.since
        if kind is Kind.STEP:
            self.steps.setdefault(number, []).append(spent)
        elif kind is Kind.END:
            if number in self.ends:
                self.finish = spent
            else:
                self.ends[number] = spent
        self.due_at_ends += kind not in (Kind.STEP, Kind.SWITCH)
        if self._wants(kind, number):
            self._evaluate(learner, kind, number, step)
        # time at the beginning of an experience belongs to its first step
        self.since = perf_counter() - (spent if kind is Kind.SWITCH else 0.0)

    def _wants(self, kind: Kind, number: int) -> bool:
        """Return whether one more evaluation of a kind tells enough for its time."""
        if kind is Kind.STEP:
            done = [seconds for _, seconds in self.step_looks.get(number, [])]
            return len(done) < FEWEST_LOOKS or (len(done) < LOOKS and sum(done) < self.allowance)
        done = self.switch_looks if kind is Kind.SWITCH else self.end_looks
        return self.allowance > 0 and (len(done) <= FEWEST_LOOKS or sum(done) < self.allowance)

    def _evaluate(self, learner: Subject, kind: Kind, number: int, step: int) -> None:
        """Evaluate if it is due, and measure the time."""
        now, place = perf_counter(), self.visits[number] if number >= 0 else -1
        looks, rows = learner.cost.looks, learner.cost.evaluation_rows
        self.evaluator.look(learner, kind, place, step)
        if kind is Kind.STEP:
            missing = LOOKS - len(self.step_looks.setdefault(number, []))
            if learner.cost.looks == looks and self.iterations - len(self.steps[number]) < missing:
                self.evaluator.take(learner, kind, place, step)  # too few were due so far
        self.wait()
        if learner.cost.looks > looks:
            took = perf_counter() - now
            if kind is Kind.STEP:
                self.step_looks[number].append((learner.cost.evaluation_rows - rows, took))
            else:
                (self.switch_looks if kind is Kind.SWITCH else self.end_looks).append(took)


def forecast(
    cells: Sequence[Cell],
    *,
    data_dir: str | None = None,
    device: str = "cpu",
    budget: float = 1.5,
    watch: Callable[[str], Any] = lambda _label: None,
) -> list[Forecast]:
    """Time each strategy among some cells.

    Args:
        cells: The cells to run; the first one of each strategy and benchmark is timed.
        data_dir: The directory of data sets.
        device: ``cpu`` or ``cuda``.
        budget: Approximate seconds of timed iterations for each strategy; less if there are many (:data:`TOGETHER`).
        watch: A function that gets the label of the strategy that is timed next.

    Returns:
        One forecast per strategy, in the order of the cells.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(content_hash({**cell.config, "seed": 0}), []).append(cell)
    found, budget = [], min(budget, TOGETHER / max(1, len(groups)))
    for group in groups.values():
        watch(group[0].label)
        seconds, reason = np.nan, ""
        try:
            seconds = cell_seconds(group[0], data_dir=data_dir, device=device, budget=budget)
        except Skip as error:
            seconds, reason = 0.0, f"skipped: {error}"
        except Exception as error:  # anything that a run would report in its record
            told = str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
            reason = f"cannot be timed: {told}"
        found.append(Forecast(group[0].label, len(group), seconds, reason))
    return found


def warm_up() -> None:
    """Import what the first cell of a process imports: torch's first optimiser loads its compiler."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)


def matrix_seconds(forecasts: Iterable[Forecast], *, jobs: int) -> float:
    """Return the wall-clock time of all cells if each in turn goes to the first free one of ``jobs`` workers.

    Unknown times count as 0.
    """
    busy = [0.0] * jobs
    for each in forecasts:
        for _ in range(each.cells):
            busy[busy.index(min(busy))] += 0.0 if np.isnan(each.seconds) else each.seconds
    return max(busy)


def cell_seconds(cell: Cell, *, data_dir: str | None = None, device: str = "cpu", budget: float = 1.5) -> float:
    """Return the wall-clock time of a cell, in seconds; see :func:`forecast`.

    Raises:
        Skip: The cell will be skipped.
        Refused: The cell is impossible.
        Diverged: It diverges within the timed iterations.
    """
    with preserved(device), torch_threads(cell.config["training"]["threads"]):
        pilot = _timed(cell, PILOT, visits=1, allowance=0.0, data_dir=data_dir, device=device)
        share = budget / VISITS
        number = min(max(int(share / max(pilot.iteration_seconds, 1e-6)), FEWEST), MOST)
        sample = _timed(cell, number, visits=VISITS, allowance=share, data_dir=data_dir, device=device)
    return sample.whole_seconds(times=times_learned(cell))


def times_learned(cell: Cell) -> int:
    """Return how often a run learns each experience at least: more than once if it chooses settings itself."""
    tuning = cell.config.get("tuning")
    return 1 if tuning is None else 1 + max(1, len(tuning.get("learning_rates", ())))


@dataclass(frozen=True)
class _Sample:
    """Hold a run over a few experiences of a few iterations each, and the counts of the whole run.

    Args:
        setup: Seconds to build the run.
        clock: The measured times.
        iterations: (E,) number of iterations of each experience of the whole run.
        looks: (E,) number of evaluations after steps.
        inputs: (E,) number of inputs of one of them.
    """

    setup: float
    clock: Clock
    iterations: Index
    looks: Index
    inputs: Index

    @property
    def steps(self) -> list[list[float]]:
        """Return the seconds of the usual steps, in each experience that was run."""
        return [steps[1 if number else WARM_UP :] or steps[1:] for number, steps in self.clock.steps.items()]

    @property
    def step_seconds(self) -> list[float]:
        """Return the seconds of a usual step, in each experience that was run."""
        return [_mean(steps) for steps in self.steps]

    @property
    def growth(self) -> float:
        """Return how many seconds longer a step takes for every experience learned before it; 0 if scatter may explain
        it.

        It comes from t = a + b · place + c · experiences learned, fitted to all timed experiences but the first.
        """
        places = np.array(self.clock.visits[1:], dtype=float)
        if len(places) < 3 or np.ptp(np.diff(places)) == 0:  # every experience is run, or too few to separate b from c
            return 0.0
        weights = np.linalg.inv(np.stack([np.ones(3), places, np.arange(3)], axis=1))[2]
        later = self.steps[1:]
        noise = np.array([np.std(steps) / np.sqrt(len(steps)) for steps in later])
        found = float(weights @ [_mean(steps) for steps in later])
        return found if found > 2 * np.linalg.norm(weights * noise) else 0.0

    @property
    def iteration_seconds(self) -> float:
        """Return the seconds of a step and its share of evaluations."""
        took = [seconds for looks in self.clock.step_looks.values() for _, seconds in looks]
        return float(self.step_seconds[0] + _mean(took) * self.looks.sum() / max(1, self.iterations.sum()))

    def whole_seconds(self, *, times: int = 1) -> float:
        """Return the seconds of the whole run.

        Args:
            times: How often each experience is learned; it is evaluated once.
        """
        clock, at = self.clock, self.clock.visits
        everywhere, usual = np.arange(len(self.iterations)), self.step_seconds
        first = [max(0.0, clock.steps[number][0] - usual[number]) for number in range(len(at))]  # with its beginning
        step, begin, end = (np.interp(everywhere, at, known) for known in (usual, first, list(clock.ends.values())))
        learned = np.cumsum(self.iterations > 0) - 1  # before each, in the whole run
        step += self.growth * (learned - np.interp(everywhere, at, np.arange(len(at))))
        seconds = self.setup + times * (self.iterations * step + begin + end).sum() + clock.finish
        start, *ends = clock.end_looks
        after_the_stream = clock.due_at_ends - 1 - len(at)  # one more if parts act there
        looks = start + (len(self.iterations) + after_the_stream) * _mean(ends) + self._step_looks()
        looks += len(self.iterations) * _mean(clock.switch_looks)
        return float(seconds + looks)

    def _step_looks(self) -> float:
        if not self.looks.any():
            return 0.0
        later = [look for looks in self.clock.step_looks.values() for look in looks[1:] or looks]
        inputs, seconds = (np.array(column, dtype=float) for column in zip(*later, strict=True))
        slope = 0.0
        if len(np.unique(inputs)) > 1:
            slope = max(0.0, float(np.polyfit(inputs, seconds, 1)[0]))
        each = np.maximum(0.0, seconds.mean() + slope * (self.inputs - inputs.mean()))
        gathering = [max(0.0, looks[0][1] - _mean([s for _, s in looks[1:]])) for looks in self._several()]
        return float((self.looks * each).sum() + (self.looks > 0).sum() * _mean(gathering))

    def _several(self) -> list[list[tuple[int, float]]]:
        return [looks for looks in self.clock.step_looks.values() if len(looks) > 1]


def _timed(cell: Cell, iterations: int, *, visits: int, allowance: float, data_dir: str | None, device: str) -> _Sample:
    settings = RunSettings.of(cell.config)
    training, evaluation = settings.training, settings.evaluation
    began = perf_counter()
    run = prepare_job(cell, data_dir=data_dir, device=device)
    setup = perf_counter() - began
    whole = run.stream
    fewest = run.learner.side_work.fewest_rows if isinstance(run, Run) else 1
    there = _iterations(whole, training, run.share, fewest)
    learned = np.flatnonzero(there).tolist()  # the others have no samples
    places = sorted({*learned[: VISITS - 1], learned[-1]})[:visits]
    # at least two, since the first step of an experience includes its beginning
    iterations = max(2, min(iterations, *(int(there[place]) for place in places)))
    clock = Clock(run.evaluator, places, iterations, _waiter(device), allowance)
    inputs = _inputs(run.evaluator)
    looks = _looks(there, evaluation_schedules.due(evaluation.schedule, evaluation.every))
    run.shorten(places, iterations, clock)
    clock.since = perf_counter()
    run.train()
    return _Sample(setup, clock, there, looks, inputs)


def _iterations(stream: Stream, training: Training, share: int, fewest: int) -> Index:
    if training.iterations is not None:
        return np.full(len(stream), training.iterations * share)
    split = BatchSplit(training.batch_size, training.drop_last, fewest)
    return np.array([training.during(e).epochs * split.count(len(each)) for e, each in enumerate(stream)])


def _looks(iterations: Index, due: evaluation_schedules.Due) -> Index:
    """Return the number of evaluations after steps in each experience, (E,)."""
    before = np.cumsum(iterations) - iterations
    counted = zip(before.tolist(), iterations.tolist(), strict=True)
    return np.array([sum(due(start + since, since) for since in range(1, n + 1)) for start, n in counted])


def _inputs(evaluator: Evaluator) -> Index:
    """Return the number of inputs of an evaluation after a step in each experience, (E,)."""
    known: dict[tuple[int, ...], int] = {}
    found = []
    for experience, tasks in enumerate(evaluator.panels.step_tasks()):
        key = tuple(tasks)
        if key not in known:
            known[key] = evaluator.panels.passed(tasks, experience)
        found.append(known[key])
    return np.array(found)


def _waiter(device: str) -> Callable[[], None]:
    return (lambda: None) if device == "cpu" else partial(torch.cuda.synchronize, device)


def _mean(seconds: Sequence[float]) -> float:
    return float(np.mean(seconds)) if len(seconds) else 0.0
