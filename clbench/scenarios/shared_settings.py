"""The settings that all scenarios share, their checks, and streams whose tasks are views of all classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from clbench.core.errors import Refused, did_you_mean
from clbench.core.rng import Generator
from clbench.core.types import Dataset, Experience, Index, Rows, Stream, Task, Transform

Setting = Literal["class", "task", "domain"]
"""How tasks differ and what is revealed (van de Ven et al. 2022, Nature Machine Intelligence 4, 1185).

``class``: different output units in each task, with the task hidden. ``task``: different units, with the task revealed.
``domain``: the same units in every task.
"""
Output = Literal["seen", "all"]
"""Which output units compete in loss and prediction: those that occurred so far, or all from the start."""


@dataclass(frozen=True)
class Common:
    """Hold the settings that every scenario has; :func:`common` checks them.

    Args:
        setting: See :data:`Setting`.
        output: See :data:`Output`.
        task_labels: Whether the task of a sample is revealed.
        boundaries: Whether the strategy sees beginnings and ends of experiences.
    """

    setting: str
    output: str
    task_labels: bool
    boundaries: bool

    def describe(self) -> dict[str, Any]:
        """Return the settings by name, JSON-able."""
        return dict(vars(self))


def common(*, setting: str, output: str, task_labels: bool | None, boundaries: bool) -> Common:
    """Check the common settings, and fill in ``task_labels``: revealed only in the task setting.

    Raises:
        Refused: The setting or output is unknown, or the task labels contradict the setting.
    """
    for name, value, known in (("setting", setting, get_args(Setting)), ("output", output, get_args(Output))):
        if value not in known:
            raise Refused(f"{name} = {value!r} does not exist; {did_you_mean(str(value), known)}")
    revealed = setting == "task" if task_labels is None else bool(task_labels)
    if setting != "domain" and revealed != (setting == "task"):
        other = "class" if setting == "task" else "task"
        raise Refused(
            f"task_labels = {revealed} contradicts setting = {setting!r}, where they are "
            f"{'revealed' if setting == 'task' else 'hidden'}; leave task_labels out, or choose setting = {other!r}"
        )
    return Common(setting, output, revealed, bool(boundaries))


def check_experiences(experiences: int) -> int:
    """Return the number of experiences if it is at least 1.

    Raises:
        Refused: It is smaller.
    """
    if experiences < 1:
        raise Refused(f"experiences = {experiences} makes no stream; ask for at least 1")
    return int(experiences)


def units(rows: Rows, index: Index | None = None, label_map: Index | None = None) -> tuple[int, ...]:
    """Return the output units among the labels of ``rows`` (or of ``rows[index]``), ascending.

    Args:
        rows: Training or test samples.
        index: (n,) indices of the samples; ``None`` for all.
        label_map: (C,) output unit of each raw label; ``None`` for the identity.
    """
    present = np.unique(rows.y if index is None else rows.y[index])
    return tuple(sorted(int(u) for u in (present if label_map is None else label_map[present])))


# --------------------------------------------------------------------------------------- tasks with their own samples


def own_experience(i: int, train: Rows, rows: Index, label_map: Index | None, *, boundary: bool) -> Experience:
    """Return experience i of a stream whose i-th experience is the i-th task.

    Args:
        i: Its number.
        train: All training samples.
        rows: (N,) indices of those of the experience.
        label_map: (T, C) output unit of each raw label in each task; ``None`` for the identity.
        boundary: Whether the strategy sees where it begins and ends.
    """
    view, own = (0, None) if label_map is None else (i, label_map[i])
    return Experience(i, rows, task=i, view=view, classes=units(train, rows, own), boundary=boundary)


def own_task(t: int, name: str, test: Rows, rows: Index, label_map: Index | None) -> Task:
    """Return task t with the test samples ``rows``; arguments are as in :func:`own_experience`."""
    view, own = (0, None) if label_map is None else (t, label_map[t])
    return Task(t, name, rows, units(test, rows, own), view=view)


# ------------------------------------------------------------------------------------------- views of all classes


@dataclass(frozen=True, eq=False)
class _Visit:
    """Build experience i: view i of all training samples, or of a random part."""

    train: Rows
    seed: int
    label_map: Index | None  # (V, C)
    rows_per_experience: int | None
    all_units: tuple[int, ...]
    boundary: bool

    def __call__(self, i: int) -> Experience:
        mapped = None if self.label_map is None else self.label_map[i]
        if self.rows_per_experience is None:
            rows = np.arange(len(self.train), dtype=np.int64)
            classes = self.all_units if mapped is None else tuple(sorted(int(mapped[u]) for u in self.all_units))
        else:
            # A generator per experience, so that any experience can be built alone and in any order.
            draw = Generator(self.seed, f"stream/rows/{i}")
            rows = np.sort(draw.sample(len(self.train), self.rows_per_experience))  # (N,)
            classes = units(self.train, rows, mapped)
        return Experience(i, rows, task=i, view=i, classes=classes, boundary=self.boundary)


def views_stream(
    dataset: Dataset,
    seed: int,
    *,
    name: str,
    names: list[str],
    transform: Transform,
    shared: Common,
    rows_per_experience: int | None,
    description: dict[str, Any],
) -> Stream:
    """Return a stream of V experiences and V tasks; each shows all classes under its own view.

    Args:
        dataset: The data set that holds the samples.
        seed: The seed of the stream.
        name: Name of the scenario.
        names: Names of the tasks, V of them.
        transform: The transform of samples under views 0 to V-1.
        shared: The common settings. In the class and task settings every view has C output units of its own.
        rows_per_experience: Training samples of each experience, drawn uniformly without replacement and independently
            for each experience; ``None`` for all.
        description: The scenario's own settings and realised values, JSON-able.

    Raises:
        Refused: The data set has too few samples.
    """
    count, n_views, n_classes = len(dataset.train), len(names), dataset.n_classes
    if rows_per_experience is not None and not 1 <= rows_per_experience <= count:
        raise Refused(
            f"rows_per_experience = {rows_per_experience} is not possible: {dataset.name!r} has {count} training "
            "samples; ask for 1 to that many, or leave it out for all"
        )
    label_map = None
    if shared.setting != "domain":
        label_map = np.arange(n_views * n_classes, dtype=np.int64).reshape(n_views, n_classes)  # (V, C)
    test = np.arange(len(dataset.test), dtype=np.int64)  # one array for all tasks
    seen = units(dataset.test)
    shift = 0 if label_map is None else n_classes
    tasks = tuple(
        Task(t, task_name, test, tuple(t * shift + u for u in seen), view=t) for t, task_name in enumerate(names)
    )
    return Stream(
        name=name,
        dataset=dataset,
        tasks=tasks,
        length=n_views,
        build=_Visit(dataset.train, seed, label_map, rows_per_experience, units(dataset.train), shared.boundaries),
        n_outputs=n_classes if label_map is None else n_views * n_classes,
        seed=seed,
        description={
            "scenario": name,
            **shared.describe(),
            "rows_per_experience": rows_per_experience,
            **description,
        },
        task_labels=shared.task_labels,
        transform=transform,
        label_map=label_map,
        output=shared.output,
    )
