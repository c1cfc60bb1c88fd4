"""Split: the classes of a data set are distributed over experiences; every training sample occurs in exactly one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from clbench import families
from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.core.types import Dataset, Experience, Index, Rows, Stream, Task
from clbench.scenarios.class_groups import (
    Experiences,
    Order,
    drawn_elsewhere,
    group_sizes,
    places_of,
    written_order,
)
from clbench.scenarios.shared_settings import Output, Setting, common


def split(
    dataset: Dataset,
    seed: int,
    *,
    setting: Setting = "class",
    experiences: Experiences = 5,
    order: Order = "seeded",
    output: Output = "seen",
    task_labels: bool | None = None,
    boundaries: bool = True,
) -> Stream:
    """Generate a stream whose experiences hold disjoint groups of classes; each group is one task.

    Args:
        dataset: The data set, with C classes.
        seed: Determines the order of the classes if ``order`` is ``"seeded"``.
        setting: ``class``: C output units, with the task hidden. ``task``: the same units, with the task revealed.
            ``domain``: labels are positions within the group, so that all tasks share C / experiences units (on digits
            in fixed order with 5 experiences: even or odd).
        experiences: Number of groups, 1 to C. If it does not divide C, the first groups have one class more. A list
            such as ``[50, 10, 10]`` or ``{first: 50, each: 10}`` gives the size of each group; sizes add up to C.
        order: The order in which classes are assigned to groups: ascending (``fixed``), random (``seeded``), a list of
            numbers or names, a file with one name a line, ``{numpy: 1993}`` (``RandomState(1993).permutation(C)``, as
            PyCIL and PILOT order classes), or ``{python: 1}`` (``random.Random(1).shuffle``, as CODA-Prompt does).
        output: Which units compete: those ``seen`` so far, or ``all``.
        task_labels: Whether the task of a sample is revealed; by default only in the task setting.
        boundaries: Whether the strategy sees beginnings and ends of experiences.

    In a data set of numbers, groups of samples replace classes: ascending ranges of the first target with equally many
    training samples. With ``seeded``, the ranges of an experience are neighbours, and experiences come in a random
    order. All tasks share their outputs (``setting: domain``).

    Raises:
        Refused: There are fewer classes than experiences, sizes do not add up to C, the order does not name all classes
            once, groups differ in size in the domain setting, or a group has no training or test samples.

    Source: van de Ven et al. 2022, Nature Machine Intelligence 4, 1185 (the three settings).
    """
    shared = common(setting=setting, output=output, task_labels=task_labels, boundaries=boundaries)
    classes = _class_order(dataset, seed, order)  # (C,)
    sizes = group_sizes(experiences, dataset.n_classes, dataset.name)
    numbers = not families.of(dataset).has_classes
    if numbers and order == "seeded":
        classes = _runs(sizes, seed)
    groups = _groups(dataset, classes, sizes, "class" if numbers else setting)
    task_of = np.empty(dataset.n_classes, dtype=np.int64)  # (C,)
    for t, group in enumerate(groups):
        task_of[group] = t
    label_map = _positions(groups, dataset.n_classes) if setting == "domain" and not numbers else None
    build = _Group(dataset.train, task_of, label_map, shared.boundaries)
    return Stream(
        name="split",
        dataset=dataset,
        tasks=_tasks(dataset, groups, build, task_of),
        length=len(groups),
        build=build,
        n_outputs=dataset.n_classes if label_map is None else len(groups[0]),
        seed=seed,
        description={
            "scenario": "split",
            **shared.describe(),
            "experiences": len(groups),
            "order": order if order in ("fixed", "seeded") else "given",
            "classes": classes.tolist(),
            **_described(sizes),
        },
        task_labels=shared.task_labels,
        label_map=label_map,
        output=shared.output,
    )


@dataclass(frozen=True, eq=False)
class _Group:
    """Build experience i: the training samples whose class belongs to group i."""

    train: Rows
    task_of: Index  # (C,)
    label_map: Index | None  # (T, C)
    boundary: bool

    def __call__(self, i: int) -> Experience:
        rows = np.flatnonzero(self.task_of[self.train.y] == i)  # (N,)
        present = np.unique(self.train.y[rows])
        view = 0 if self.label_map is None else i
        return Experience(i, rows, task=i, view=view, classes=self.units(i, present), boundary=self.boundary)

    def units(self, i: int, classes: Index) -> tuple[int, ...]:
        """Return the output units of raw classes in group ``i``, ascending."""
        mapped = classes if self.label_map is None else self.label_map[i, classes]
        return tuple(sorted(int(unit) for unit in mapped))


def _described(sizes: list[int]) -> dict[str, Any]:
    """Return the sizes of groups as they enter a description: not if their number determines them."""
    return {} if sizes == group_sizes(len(sizes), sum(sizes), "") else {"sizes": sizes}


def _class_order(dataset: Dataset, seed: int, order: Any) -> Index:
    """Return all C classes in the order in which they are assigned to groups, shape (C,)."""
    try:
        written = written_order(order)
    except ValueError as error:
        raise Refused(f"order = {order!r} is not allowed: {error}", "order") from None
    if isinstance(written, dict):
        return drawn_elsewhere(written, dataset.n_classes)
    if isinstance(written, str):
        drawn = written == "seeded"
        return Generator(seed, "stream").permutation(dataset.n_classes) if drawn else np.arange(dataset.n_classes)
    return places_of(written, dataset.class_names, dataset.name)


def _runs(sizes: list[int], seed: int) -> Index:
    """Return groups of numbers in the order in which experiences get them, (G,): groups of neighbours, in a random
    order."""
    left = Generator(seed, "stream").permutation(len(sizes)).tolist()
    runs = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    chosen = []
    for size in sizes:  # a run as large as the experience
        chosen.append(next(run for run in left if sizes[run] == size))
        left.remove(chosen[-1])
    return np.concatenate([runs[run] for run in chosen])


def _groups(dataset: Dataset, classes: Index, sizes: list[int], setting: str) -> list[Index]:
    n_classes = len(classes)
    if setting == "domain" and len(set(sizes)) > 1:
        divisors = [n for n in range(1, n_classes + 1) if n_classes % n == 0]
        asked = f"into {len(sizes)}" if not _described(sizes) else f"into groups of {sizes}"
        raise Refused(
            f"the domain setting needs groups of equal size, and {n_classes} classes of {dataset.name!r} do not divide "
            f"{asked}; choose experiences among {divisors}, or the class or task setting"
        )
    ends = [0, *np.cumsum(sizes).tolist()]
    groups = [classes[start:stop] for start, stop in pairwise(ends)]
    for split_name, rows in (("training", dataset.train), ("test", dataset.test)):
        count = np.bincount(rows.y, minlength=n_classes)  # (C,)
        for i, group in enumerate(groups):
            if not count[group].any():
                raise Refused(
                    f"experience {i} would hold no {split_name} samples: {dataset.name!r} has none of classes "
                    f"{group.tolist()}; remove these classes, or ask for fewer experiences"
                )
    return groups


def _positions(groups: list[Index], n_classes: int) -> Index:
    """Return the position of each class within group t, (T, C); -1 for classes of other groups, which every loss
    refuses."""
    label_map = np.full((len(groups), n_classes), -1, dtype=np.int64)
    for t, group in enumerate(groups):
        label_map[t, group] = np.arange(len(group))
    return label_map


def _tasks(dataset: Dataset, groups: list[Index], build: _Group, task_of: Index) -> tuple[Task, ...]:
    task_of_row = task_of[dataset.test.y]  # (N,)
    tasks = []
    for t, group in enumerate(groups):
        rows = np.flatnonzero(task_of_row == t)
        present = np.unique(dataset.test.y[rows])
        name = " ".join(dataset.class_names[c] for c in group)
        tasks.append(Task(t, name, rows, build.units(t, present), view=0 if build.label_map is None else t))
    return tuple(tasks)
