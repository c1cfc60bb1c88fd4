"""Power law: old tasks come back the less often the longer ago they were, over any family of tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from clbench.core.errors import Refused, did_you_mean
from clbench.core.rng import Generator
from clbench.core.types import Dataset, Experience, Index, Stream
from clbench.scenarios.lags import DECAYING, Schedule, Weights, largest_remainder, perform
from clbench.scenarios.permuted import permuted
from clbench.scenarios.rotated import rotated
from clbench.scenarios.schedules import digest, refuse_unused
from clbench.scenarios.shared_settings import Output, Setting, check_experiences
from clbench.scenarios.split import split


def power_law(
    dataset: Dataset,
    seed: int,
    *,
    over: Literal["permuted", "rotated", "split"] = "permuted",
    tasks: int = 10,
    setting: Setting | None = None,
    mode: Literal["phases", "self"] = "phases",
    schedule: Schedule = "power_law",
    alpha: float = 1.0,
    t0: float = 0.0,
    beta: float = 1.0,
    rehearsal: float = 0.5,
    new_rows: int | None = None,
    keep: int | None = None,
    blocks: int = 100,
    block_rows: int | None = None,
    enter_every: int = 10,
    floor: float = 0.0,
    output: Output = "seen",
    task_labels: bool | None = None,
    boundaries: bool = True,
) -> Stream:
    """A stream in which tasks recur with a frequency that decays with the time since they were met.

    ``phases``: experience t introduces task t and rehearses R = round(rehearsal * rows of the new task) rows of tasks
    j < t, in proportion to the weight of their lag t - j since they were introduced, rounded by largest remainders. R
    is the same under every schedule (but 0 under ``none``).

    ``self``: each experience is a block of one task; the task is drawn in proportion to the weight of the time since it
    was last performed, which then starts anew, so that frequent tasks reinforce themselves; task j enters, and is
    performed, at block j * enter_every.

    Weights of a lag l >= 1: (l + t0)^-alpha (``power_law``), exp(-l / beta) (``exponential``), alike (``uniform``), the
    smallest lag only (``last``), the largest only (``first``), log((l + 1) / l), which spreads the logarithm of the lag
    evenly (``log_uniform``), nothing (``none``).

    Args:
        dataset: Where the rows live.
        seed: Decides the tasks, as in scenario ``over``, the rows, and which task performs itself.
        over: Where the tasks come from: orders of the features, angles (even, below 180 degrees), or groups of classes
            (in drawn order), the same as in the scenarios ``permuted``, ``rotated`` and ``split``.
        tasks: How many, at least 1.
        setting: As in scenario ``over``; by default ``domain``, or ``class`` over ``split``.
        mode: ``phases`` or ``self``.
        schedule: The weights; ``self`` takes power_law, exponential and uniform.
        alpha: Exponent of the power law, at least 0, which is uniform.
        t0: Shift of the power law, at least 0.
        beta: Decay length of the exponential, above 0.
        rehearsal: Rehearsed rows per new row in phases, at least 0.
        new_rows: Rows of the new task in phases, drawn without replacement; by default all.
        keep: Where phases rehearse from. By default all rows of an old task, drawn anew in each phase. A number: that
            many rows in total, of those that were shown, shared equally by the old tasks, so that the rows of one task
            only become fewer. Rows are drawn without replacement within a phase; where more are wanted than there are,
            each occurs equally often, or once more.
        blocks: Number of blocks in ``self``.
        block_rows: Rows of a block in ``self``, drawn without replacement and anew for each block; by default all.
        enter_every: Blocks from the entry of one task to that of the next in ``self``, at least 1.
        floor: In [0, 1]: with this probability the task of a block in ``self`` is drawn uniformly instead.
        output: Which units compete: ``seen`` so far, or ``all``.
        task_labels: Whether the task of a row is revealed; by default in the task setting only.
        boundaries: Whether beginnings and ends of experiences are visible to the strategy.

    Raises:
        Refused: Impossible tasks, settings out of range or of the other mode, more rows than there are, fewer kept
            rows than old tasks, or blocks that end before every task has entered.

    Source: Gandhi et al. 2024 (arXiv 2401.10393), in the clean form of both of its ideas: the schedule of the authors'
        earlier code is alpha = 5.6 and t0 = 10 with its own budget, and its rows come from all data of a task.
    """
    families: dict[str, Any] = {"permuted": permuted, "rotated": rotated, "split": split}
    for name, value, known in (
        ("over", over, tuple(families)),
        ("mode", mode, ("phases", "self")),
        ("schedule", schedule, get_args(Schedule) if mode == "phases" else DECAYING),
    ):
        if value not in known:
            raise Refused(f"{name} = {value!r} is not possible here; {did_you_mean(value, known)}", name)
    base: Stream = families[over](
        dataset,
        seed,
        setting=setting or ("class" if over == "split" else "domain"),
        experiences=tasks,
        output=output,
        task_labels=task_labels,
        boundaries=boundaries,
    )
    weights = Weights(schedule, alpha=alpha, t0=t0, beta=beta)
    in_phases: dict[str, Any] = {"rehearsal": rehearsal, "new_rows": new_rows, "keep": keep}
    in_blocks = {"blocks": blocks, "block_rows": block_rows, "enter_every": enter_every, "floor": floor}
    build: _Phases | _Blocks
    if mode == "phases":
        refuse_unused(power_law, in_blocks, because="mode = 'phases'")
        build, own = _phases(base, weights, **in_phases), in_phases
    else:
        refuse_unused(power_law, in_phases, because="mode = 'self'")
        build = _blocks(base, weights, blocks=blocks, rows=block_rows, enter_every=enter_every, floor=floor)
        own = {**in_blocks, "performed": digest(build.performed)}
    return replace(
        base,
        name="power_law",
        length=len(build),
        build=build,
        description={
            "scenario": "power_law",
            "over": base.description,
            "boundaries": bool(boundaries),
            "mode": mode,
            **weights.describe(),
            **own,
        },
    )


# ------------------------------------------------------------------------------------------- phases


@dataclass(frozen=True, eq=False)
class _Phases:
    """Builds phase t: task t and rows of the tasks before it."""

    base: Stream  # experience j holds all rows of task j
    weights: Weights
    sizes: Index  # (T,) rows of each task
    rehearsal: float
    new_rows: int | None
    keep: int | None

    def __len__(self) -> int:
        return len(self.sizes)

    def counts(self, t: int) -> Index:
        """Rows of each task in phase t, (T,)."""
        counts = np.zeros_like(self.sizes)
        counts[t] = self.sizes[t] if self.new_rows is None else self.new_rows
        budget = 0 if self.weights.schedule == "none" else round(self.rehearsal * int(counts[t]))
        if t:
            counts[:t] = largest_remainder(self.weights(t - np.arange(t)), budget)
        return counts

    def occasions(self) -> tuple[Index, Index]:
        """Lag of each task in each phase, 0 where it is not old, and its rehearsed rows, (E, T) both."""
        position = np.arange(len(self))
        lags = (position[:, None] - position).clip(min=0)
        return lags, np.stack([self.counts(t) for t in range(len(self))]) * (lags > 0)

    def __call__(self, t: int) -> Experience:
        draw = Generator(self.base.seed, f"stream/rehearsal/{t}")
        groups = {}
        for j, n in enumerate(self.counts(t)):
            if j == t:
                groups[j] = self._shown(j)
            elif n:
                pool = self.base[j].rows if self.keep is None else self._kept(j, t)
                rounds, rest = divmod(int(n), len(pool))
                groups[j] = np.concatenate([*[pool] * rounds, pool[draw.sample(len(pool), rest)]])
        return _experience(t, groups, self.base)

    def _shown(self, j: int) -> Index:
        """Rows of task j when it is new."""
        rows: Index = self.base[j].rows
        if self.new_rows is None:
            return rows
        drawn: Index = rows[Generator(self.base.seed, f"stream/rows/{j}").sample(len(rows), self.new_rows)]
        return drawn

    def _kept(self, j: int, t: int) -> Index:
        """Rows of task j that are left in phase t: each phase keeps the first ones of the phase before."""
        assert self.keep is not None
        share = self.keep // t + (j < self.keep % t)
        shown = self._shown(j)
        order = Generator(self.base.seed, f"stream/kept/{j}").sample(len(shown), min(self.keep, len(shown)))
        return shown[order[:share]]


def _phases(base: Stream, weights: Weights, *, rehearsal: float, new_rows: int | None, keep: int | None) -> _Phases:
    sizes = np.array([len(experience) for experience in base])
    _check_rows("new_rows", new_rows, sizes, base)
    if not (np.isfinite(rehearsal) and rehearsal >= 0):
        raise Refused(
            f"rehearsal = {rehearsal} is out of range; give rehearsed rows per new row, at least 0", "rehearsal"
        )
    if keep is not None and keep < max(1, len(base) - 1):
        raise Refused(
            f"keep = {keep} rows cannot be shared by up to {len(base) - 1} old tasks; keep at least one for each, or "
            "leave it out for all rows",
            "keep",
        )
    return _Phases(base, weights, sizes, float(rehearsal), new_rows, keep)


# ------------------------------------------------------------------------------------------- self-scheduled blocks


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Builds block b: rows of the task performed in it."""

    base: Stream
    sizes: Index  # (T,)
    performed: Index  # (E,) task of each block
    rows: int | None
    enter_every: int

    def __len__(self) -> int:
        return len(self.performed)

    def counts(self, b: int) -> Index:
        """Rows of each task in block b, (T,)."""
        counts = np.zeros_like(self.sizes)
        task = self.performed[b]
        counts[task] = self.sizes[task] if self.rows is None else self.rows
        return counts

    def occasions(self) -> tuple[Index, Index]:
        """Blocks since each task was performed, 0 where it cannot be drawn, and whether it was drawn, (E, T) both."""
        blocks, tasks = np.arange(len(self)), len(self.sizes)
        done = self.performed[:, None] == np.arange(tasks)  # (E, T)
        last = np.maximum.accumulate(np.where(done, blocks[:, None], -1), axis=0)
        since = np.zeros_like(last)
        since[1:] = np.where(last[:-1] >= 0, blocks[1:, None] - last[:-1], 0)
        since[: tasks * self.enter_every : self.enter_every] = 0  # a task that enters is not drawn
        return since, done * (since > 0)

    def __call__(self, b: int) -> Experience:
        task = int(self.performed[b])
        rows = self.base[task].rows
        if self.rows is not None:
            rows = rows[Generator(self.base.seed, f"stream/rows/{b}").sample(len(rows), self.rows)]
        return _experience(b, {task: rows}, self.base)


def _blocks(
    base: Stream, weights: Weights, *, blocks: int, rows: int | None, enter_every: int, floor: float
) -> _Blocks:
    sizes = np.array([len(experience) for experience in base])
    _check_rows("block_rows", rows, sizes, base)
    if not 0 <= floor <= 1:
        raise Refused(f"floor = {floor} is out of range; give a probability from 0 to 1", "floor")
    if enter_every < 1:
        raise Refused(f"enter_every = {enter_every} is out of range; give at least 1 block", "enter_every")
    needed = (len(base) - 1) * enter_every + 1
    if check_experiences(blocks) < needed:
        raise Refused(
            f"blocks = {blocks} end before the last of {len(base)} tasks enters, one every {enter_every} blocks; "
            f"ask for at least {needed} blocks",
            "blocks",
        )
    performed = perform(base.seed, weights, tasks=len(base), blocks=blocks, enter_every=enter_every, floor=floor)
    return _Blocks(base, sizes, performed, rows, enter_every)


# ------------------------------------------------------------------------------------------- both


def _check_rows(name: str, wanted: int | None, sizes: Index, base: Stream) -> None:
    if wanted is not None and not 1 <= wanted <= sizes.min():
        raise Refused(
            f"{name} = {wanted} is not possible: the smallest of {len(sizes)} tasks of {base.dataset.name!r} has "
            f"{sizes.min()} training rows; ask for 1 to that many, or leave it out for all",
            name,
        )


def _experience(i: int, groups: dict[int, Index], base: Stream) -> Experience:
    """One experience of rows (n,) of several tasks."""
    parts = [base[j] for j in groups]
    sizes = [len(rows) for rows in groups.values()]
    rows = np.concatenate(list(groups.values()))  # (N,)
    task, view = (np.repeat([getattr(part, name) for part in parts], sizes) for name in ("task", "view"))
    units = np.flatnonzero(np.bincount(base.labels(base.dataset.train, rows, view)))
    return Experience(i, rows, task, view, tuple(units.tolist()), boundary=parts[0].boundary)
