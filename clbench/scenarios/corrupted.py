"""Corrupted: all classes under noise, blur, low contrast, ..., one after another, rising and falling, or mixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from clbench.core.errors import Refused, did_you_mean
from clbench.core.rng import Generator, derive
from clbench.core.types import Dataset, Experience, Index, Rows, Stream, Task
from clbench.scenarios.shared_settings import Output, Setting, check_experiences, common, units

DEFAULT = ("gaussian_noise", "gaussian_blur", "contrast", "brightness", "pixelate")
"""One corruption of each kind: noise, blur, light (two of them), resolution."""

Order = Literal["continual", "gradual", "mixed"]


def corrupted(
    dataset: Dataset,
    seed: int,
    *,
    setting: Setting = "domain",
    corruptions: list[str] | None = None,
    severity: int = 5,
    order: Order = "continual",
    experiences: int | None = None,
    first_clean: bool = True,
    rows_per_experience: int | None = None,
    output: Output = "seen",
    task_labels: bool | None = None,
    boundaries: bool = True,
) -> Stream:
    """Generate a stream of images under changing corruptions; each corruption, at ``severity``, is one task.

    ``continual``: One experience per corruption, at ``severity``. ``gradual``: Each corruption rises from severity 1 to
    ``severity`` and falls again, one experience per step (1 2 3 4 5 4 3 2 1); all of these are visits of its task.
    ``mixed``: Every sample of an experience has a corruption of its own, drawn uniformly. A sample under one corruption
    and severity is the same in every visit. The samples within an experience are different; experiences share samples.

    Args:
        dataset: The data set, with C classes: images (channels, height, width) with values in [0, 1] after scaling.
        seed: Determines the noise, the samples if ``rows_per_experience`` is given, and the mixture.
        setting: ``domain``: the same C output units throughout. ``task`` and ``class``: C units for each task, with the
            task revealed or hidden.
        corruptions: Names in order, each once; see :data:`clbench.data.corruptions.STRENGTHS`. The default is
            gaussian_noise, gaussian_blur, contrast, brightness, pixelate.
        severity: Severity of the corruptions, 1 to 5.
        order: See above.
        experiences: Number of mixed experiences, by default the number of corruptions; only for ``mixed``.
        first_clean: Whether the stream begins with an experience, and a task, of clean images.
        rows_per_experience: Training samples of each experience, drawn uniformly without replacement and independently
            for each experience; by default all.
        output: Which units compete: those ``seen`` so far, or ``all``.
        task_labels: Whether the task of a sample is revealed; by default only in the task setting.
        boundaries: Whether the strategy sees beginnings and ends of experiences.

    Raises:
        Refused: Samples are not images in [0, 1], a corruption is unknown or repeated, saturation is applied to grey
            images, the severity is impossible, or the data set has too few samples.

    Source: Hendrycks & Dietterich 2019 (arXiv 1903.12261), ImageNet-C; Wang et al. 2022 (arXiv 2203.13591), continual
    and gradual order.
    """
    from clbench.data.corruptions import CLEAN, Corrupt

    shared = common(setting=setting, output=output, task_labels=task_labels, boundaries=boundaries)
    _check_images(dataset)
    kinds = _corruptions(dataset, corruptions)
    if not 1 <= severity <= 5:
        raise Refused(f"severity = {severity} does not exist; choose 1 to 5", "severity")
    _check_rows(dataset, rows_per_experience)
    tasks = [(CLEAN, 0)] * first_clean + [(kind, severity) for kind in kinds]  # views 0 to T-1 are evaluated
    views, view_of = _schedule(tasks, kinds, order=order, severity=severity, experiences=experiences)
    transform = Corrupt(views, derive(seed, "stream/corruptions"))
    task_of_view = np.array([next(t for t, (kind, _) in enumerate(tasks) if kind == view[0]) for view in views])  # (V,)
    label_map = None
    if shared.setting != "domain":
        label_map = task_of_view[:, None] * dataset.n_classes + np.arange(dataset.n_classes)  # (V, C)
    build = _Visit(
        train=dataset.train,
        seed=seed,
        view_of=view_of,
        task_of_view=task_of_view,
        first_corrupted=int(first_clean),
        label_map=label_map,
        rows_per_experience=rows_per_experience,
        boundary=shared.boundaries,
    )
    return Stream(
        name="corrupted",
        dataset=dataset,
        tasks=_tasks(dataset, tasks, label_map),
        length=len(view_of),
        build=build,
        n_outputs=dataset.n_classes * (1 if label_map is None else len(tasks)),
        seed=seed,
        description={
            "scenario": "corrupted",
            **shared.describe(),
            "order": order,
            "first_clean": bool(first_clean),
            "rows_per_experience": rows_per_experience,
            "views_of_experiences": view_of.tolist(),
            "transform": transform.describe(),
        },
        task_labels=shared.task_labels,
        transform=transform,
        label_map=label_map,
        output=shared.output,
    )


MIXED = -1
"""Value in place of a view if every sample has a view of its own."""


@dataclass(frozen=True, eq=False)
class _Visit:
    """Build experience i: all training samples, or a random part, under one view or each under its own."""

    train: Rows
    seed: int
    view_of: Index  # (E,)
    task_of_view: Index  # (V,)
    first_corrupted: int
    label_map: Index | None  # (V, C)
    rows_per_experience: int | None
    boundary: bool

    def __call__(self, i: int) -> Experience:
        if self.rows_per_experience is None:
            rows = np.arange(len(self.train), dtype=np.int64)
        else:
            rows = np.sort(Generator(self.seed, f"stream/rows/{i}").sample(len(self.train), self.rows_per_experience))
        view: int | Index = int(self.view_of[i])
        if view == MIXED:
            draw = Generator(self.seed, f"stream/views/{i}")
            corruptions = len(np.unique(self.task_of_view)) - self.first_corrupted
            view = self.first_corrupted + draw.integers(len(rows), corruptions)  # (N,)
        task = self.task_of_view[view]
        y = self.train.y[rows]
        present = np.unique(y if self.label_map is None else self.label_map[view, y])
        return Experience(
            i,
            rows,
            task=task if isinstance(view, np.ndarray) else int(task),
            view=view,
            classes=tuple(int(unit) for unit in present),
            boundary=self.boundary,
        )


# ------------------------------------------------------------------------------------------- settings


def _check_images(dataset: Dataset) -> None:
    if len(dataset.shape) != 3:
        raise Refused(
            f"{dataset.name!r} has samples of shape {dataset.shape}, which cannot be corrupted; scenario 'corrupted' "
            "takes images (channels, height, width), 'permuted' and 'split' take anything"
        )
    x, scale = dataset.train.x, dataset.scale
    whole = x.dtype == np.uint8 and 255 * scale <= 1  # 8-bit images need no check
    if not whole and (x.min() * scale < -1e-6 or x.max() * scale > 1 + 1e-6):
        raise Refused(
            f"{dataset.name!r} has scaled values from {x.min() * scale:.4g} to {x.max() * scale:.4g}, and corruptions "
            "need images in [0, 1]; give the data set a scale that maps its values there"
        )


def _corruptions(dataset: Dataset, given: list[str] | None) -> list[str]:
    from clbench.data.corruptions import CLEAN, COLOUR_ONLY, STRENGTHS

    kinds = list(DEFAULT if given is None else given)
    if not kinds or len(set(kinds)) != len(kinds):
        raise Refused(f"corruptions = {kinds} must name at least one, each once", "corruptions")
    for kind in kinds:
        if kind == CLEAN:
            raise Refused("corruptions: 'clean' is none; set first_clean to begin with clean images", "corruptions")
        if kind not in STRENGTHS:
            raise Refused(f"corruptions: {kind!r} does not exist; {did_you_mean(kind, STRENGTHS)}", "corruptions")
        if kind in COLOUR_ONLY and dataset.shape[0] != 3:
            raise Refused(
                f"corruptions: {kind!r} needs colour, and images of {dataset.name!r} have {dataset.shape[0]} channel; "
                "leave it out",
                "corruptions",
            )
    return kinds


def _check_rows(dataset: Dataset, rows_per_experience: int | None) -> None:
    if rows_per_experience is not None and not 1 <= rows_per_experience <= len(dataset.train):
        raise Refused(
            f"rows_per_experience = {rows_per_experience} is not possible: {dataset.name!r} has {len(dataset.train)} "
            "training samples; ask for 1 to that many, or leave it out for all",
            "rows_per_experience",
        )


def _schedule(
    tasks: list[tuple[str, int]], kinds: list[str], *, order: str, severity: int, experiences: int | None
) -> tuple[list[tuple[str, int]], Index]:
    """Return all views, those of the tasks first, and the view of each experience (E,)."""
    if order not in get_args(Order):
        raise Refused(f"order = {order!r} does not exist; {did_you_mean(order, get_args(Order))}", "order")
    if experiences is not None and order != "mixed":
        raise Refused(
            f"experiences = {experiences} is for order = 'mixed'; with {order!r} the corruptions and the severity set "
            "their number, so leave it out",
            "experiences",
        )
    clean = [0] * (len(tasks) - len(kinds))
    if order == "continual":
        return tasks, np.arange(len(tasks), dtype=np.int64)
    if order == "mixed":
        count = len(kinds) if experiences is None else check_experiences(experiences)
        return tasks, np.array(clean + [MIXED] * count, dtype=np.int64)
    views, steps = list(tasks), [*range(1, severity), *range(severity, 0, -1)]
    views += [(kind, level) for kind in kinds for level in range(1, severity)]
    return views, np.array(clean + [views.index((kind, level)) for kind in kinds for level in steps], dtype=np.int64)


def _tasks(dataset: Dataset, views: list[tuple[str, int]], label_map: Index | None) -> tuple[Task, ...]:
    test = np.arange(len(dataset.test), dtype=np.int64)  # one array for all tasks
    names = [kind if severity == 0 else f"{kind} {severity}" for kind, severity in views]
    return tuple(
        Task(t, name, test, units(dataset.test, label_map=None if label_map is None else label_map[t]), view=t)
        for t, name in enumerate(names)
    )
