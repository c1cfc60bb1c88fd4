"""Power law: the longer ago a task was met, the less often it recurs; for several families of tasks."""

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
    """Generate a stream in which tasks recur with a frequency that decays with the time since they were met.

    ``phases``: Experience t introduces task t and rehearses R = round(rehearsal * samples of the new task) samples of
    tasks j < t. They are shared in proportion to the weight of the lag t - j since the introduction of task j, rounded
    by largest remainders. R is equal for all schedules (except 0 for ``none``).

    ``self``: Each experience is a block of one task. The task is drawn in proportion to the weight of the time since
    its last block, so that frequent tasks reinforce themselves. Task j enters with block j * enter_every, which is a
    block of this task.

    Weights of a lag l >= 1: (l + t0)^-alpha (``power_law``), exp(-l / beta) (``exponential``), equal weights
    (``uniform``), only the smallest lag (``last``), only the largest lag (``first``), log((l + 1) / l), which
    distributes the logarithm of the lag evenly (``log_uniform``), no rehearsal (``none``).

    Args:
        dataset: The data set that holds the samples.
        seed: Determines the tasks (as in scenario ``over``), the samples, and the order of blocks in mode ``self``.
        over: The origin of the tasks, as in the scenarios ``permuted``, ``rotated`` and ``split``: permutations of the
            features, angles (even, below 180 degrees), or groups of classes (in random order).
        tasks: Number of tasks, at least 1.
        setting: As in scenario ``over``; by default ``domain``, or ``class`` over ``split``.
        mode: ``phases`` or ``self``.
        schedule: The weights. Mode ``self`` takes power_law, exponential and uniform.
        alpha: Exponent of the power law, at least 0; 0 is uniform.
        t0: Shift of the power law, at least 0.
        beta: Decay length of the exponential, above 0.
        rehearsal: Rehearsed samples per new sample in phases, at least 0.
        new_rows: Samples of the new task in phases, drawn without replacement; by default all.
        keep: Which samples phases can rehearse. By default all samples of an old task, drawn independently in each
            phase. With a number: this many samples in total, from those already shown, shared equally by the old tasks;
            the samples of one task only become fewer. Samples are drawn without replacement within a phase. If more are
            needed than exist, each occurs equally often, or once more.
        blocks: Number of blocks in mode ``self``.
        block_rows: Samples of a block in mode ``self``, drawn without replacement and independently for each block; by
            default all.
        enter_every: Blocks from the entry of one task to the entry of the next in mode ``self``, at least 1.
        floor: Probability in [0, 1] with which the task of a block in mode ``self`` is drawn uniformly instead.
        output: Which units compete: those ``seen`` so far, or ``all``.
        task_labels: Whether the task of a sample is revealed; by default only in the task setting.
        boundaries: Whether the strategy sees beginnings and ends of experiences.

    Raises:
        Refused: The tasks are impossible, settings are out of range or belong to the other mode, the data set has too
            few samples, fewer samples are kept than there are old tasks, or the blocks end before every task has
            entered.

    Source: Gandhi et al. 2024 (arXiv 2401.10393), with both of its ideas in general form. The schedule of the authors'
    earlier code is alpha = 5.6 and t0 = 10 with a budget of its own, and its samples come from all data of a task.
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
    """Build phase t: task t, and samples of earlier tasks."""

    base: Stream  # experience j holds all samples of task j
    weights: Weights
    sizes: Index  # (T,) number of samples of each task
    rehearsal: float
    new_rows: int | None
    keep: int | None

    def __len__(self) -> int:
        return len(self.sizes)

    def counts(self, t: int) -> Index:
        """Return the number of samples of each task in phase t, (T,)."""
        counts = np.zeros_like(self.sizes)
        counts[t] = self.sizes[t] if self.new_rows is None else self.new_rows
        budget = 0 if self.weights.schedule == "none" else round(self.rehearsal * int(counts[t]))
        if t:
            counts[:t] = largest_remainder(self.weights(t - np.arange(t)), budget)
        return counts

    def occasions(self) -> tuple[Index, Index]:
        """Return the lag of each task in each phase, 0 if it is not old, and its number of rehearsed samples, both (E,
        T)."""
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
        """Return the samples of task j in its own phase."""
        rows: Index = self.base[j].rows
        if self.new_rows is None:
            return rows
        drawn: Index = rows[Generator(self.base.seed, f"stream/rows/{j}").sample(len(rows), self.new_rows)]
        return drawn

    def _kept(self, j: int, t: int) -> Index:
        """Return the samples of task j that are kept in phase t; each phase keeps the first ones of the phase
        before."""
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
            f"rehearsal = {rehearsal} is out of range; give rehearsed samples per new sample, at least 0", "rehearsal"
        )
    if keep is not None and keep < max(1, len(base) - 1):
        raise Refused(
            f"keep = {keep} samples cannot be shared by up to {len(base) - 1} old tasks; keep at least one for each, "
            "or leave it out for all samples",
            "keep",
        )
    return _Phases(base, weights, sizes, float(rehearsal), new_rows, keep)


# ------------------------------------------------------------------------------------------- self-scheduled blocks


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Build block b: samples of its task."""

    base: Stream
    sizes: Index  # (T,)
    performed: Index  # (E,) task of each block
    rows: int | None
    enter_every: int

    def __len__(self) -> int:
        return len(self.performed)

    def counts(self, b: int) -> Index:
        """Return the number of samples of each task in block b, (T,)."""
        counts = np.zeros_like(self.sizes)
        task = self.performed[b]
        counts[task] = self.sizes[task] if self.rows is None else self.rows
        return counts

    def occasions(self) -> tuple[Index, Index]:
        """Return the number of blocks since each task's last one, 0 if it cannot be drawn, and whether it is drawn,
        both (E, T)."""
        blocks, tasks = np.arange(len(self)), len(self.sizes)
        done = self.performed[:, None] == np.arange(tasks)  # (E, T)
        last = np.maximum.accumulate(np.where(done, blocks[:, None], -1), axis=0)
        since = np.zeros_like(last)
        since[1:] = np.where(last[:-1] >= 0, blocks[1:, None] - last[:-1], 0)
        since[: tasks * self.enter_every : self.enter_every] = 0  # an entering task is not drawn
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
            f"{sizes.min()} training samples; ask for 1 to that many, or leave it out for all",
            name,
        )


def _experience(i: int, groups: dict[int, Index], base: Stream) -> Experience:
    """Return one experience with samples (n,) of several tasks."""
    parts = [base[j] for j in groups]
    sizes = [len(rows) for rows in groups.values()]
    rows = np.concatenate(list(groups.values()))  # (N,)
    task, view = (np.repeat([getattr(part, name) for part in parts], sizes) for name in ("task", "view"))
    units = np.flatnonzero(np.bincount(base.labels(base.dataset.train, rows, view)))
    return Experience(i, rows, task, view, tuple(units.tolist()), boundary=parts[0].boundary)
