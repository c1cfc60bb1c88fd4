"""Rotated: every experience shows all classes rotated by its own angle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from clbench.core.errors import Refused, did_you_mean
from clbench.core.rng import Generator
from clbench.core.types import Dataset, Experience, Index, Stream
from clbench.scenarios.shared_settings import Output, Setting, check_experiences, common, views_stream

PUBLISHED = (0.0, 80.0, 160.0)
"""Angles in degrees of the stability-gap demonstrations (Hess et al. 2023, arXiv 2311.04898)."""

MAX_VIEWS = 1000
"""Number of angles that approximate a continuous drift, including those of the tasks."""


def rotated(
    dataset: Dataset,
    seed: int,
    *,
    setting: Setting = "domain",
    degrees: list[float] | None = None,
    experiences: int | None = None,
    max_degrees: float = 180.0,
    spacing: Literal["random", "even"] = "even",
    continuous: bool = False,
    rows_per_experience: int | None = None,
    output: Output = "seen",
    task_labels: bool | None = None,
    boundaries: bool = True,
) -> Stream:
    """Generate a stream in which experience i shows the data rotated by the i-th angle.

    Without ``degrees`` and ``experiences`` the angles are 0, 80 and 160 degrees. Random angles cause large differences
    between seeds; fixed angles are recommended.

    Args:
        dataset: The data set, with C classes: images (channels, height, width).
        seed: Determines random angles and, with ``rows_per_experience``, the samples.
        setting: ``domain``: the same C output units throughout. ``task`` and ``class``: C units for each angle, with
            the task revealed or hidden.
        degrees: The angles in degrees, one per experience.
        experiences: Number of angles E, if ``degrees`` is not given; at least 1.
        max_degrees: Exclusive upper bound of the angles that ``experiences`` gives, above 0.
        spacing: ``even``: angle i is i * max_degrees / E; ``random``: uniform in [0, max_degrees), drawn per seed.
        continuous: Whether the angle drifts. The samples of experience i, in a random order that is equal in every
            pass, are rotated step by step from the i-th angle towards the next one. The last experience stays at its
            angle. Tasks are evaluated at the angles themselves.
        rows_per_experience: Training samples of each experience, drawn uniformly without replacement and independently
            for each experience; by default all.
        output: Which units compete: those ``seen`` so far, or ``all``.
        task_labels: Whether the task of a sample is revealed; by default only in the task setting.
        boundaries: Whether the strategy sees beginnings and ends of experiences.

    Raises:
        Refused: Samples are not images, both ``degrees`` and ``experiences`` are given, angles are impossible, a
            continuous drift has one angle, or the data set has too few samples.

    Source: Lopez-Paz and Ranzato 2017 (arXiv 1706.08840), section 5.1: random angles in [0, 180).
    """
    from clbench.data.transforms import Rotate

    shared = common(setting=setting, output=output, task_labels=task_labels, boundaries=boundaries)
    if len(dataset.shape) != 3:
        raise Refused(
            f"{dataset.name!r} has samples of shape {dataset.shape}, which cannot be rotated; scenario 'rotated' takes "
            "images (channels, height, width), 'permuted' and 'split' take anything"
        )
    angles = _angles(seed, degrees, experiences, max_degrees, spacing)
    stream = views_stream(
        dataset,
        seed,
        name="rotated",
        names=[f"{angle:.4g} degrees" for angle in angles],
        transform=Rotate(np.asarray(angles)),
        shared=shared,
        rows_per_experience=rows_per_experience,
        description={"degrees": angles},
    )
    return _drifting(stream, angles) if continuous else stream


# ------------------------------------------------------------------------------------------- continuous drift


@dataclass(frozen=True, eq=False)
class _Drift:
    """Build experience i: its samples in random order, rotated further after every N / steps samples."""

    still: Callable[[int], Experience]
    seed: int
    angles: int
    steps: int

    def __call__(self, i: int) -> Experience:
        experience = self.still(i)
        n = len(experience)
        order = Generator(self.seed, f"stream/order/{i}").permutation(n)
        view: int | Index = i
        if i < self.angles - 1:
            step = np.arange(n) * self.steps // n  # (N,)
            view = np.where(step == 0, i, self.angles + i * (self.steps - 1) + step - 1)
        return replace(experience, rows=experience.rows[order], view=view, shuffled=False)


def _drifting(stream: Stream, angles: list[float]) -> Stream:
    """Return the same stream with a drift from every angle to the next. Views above E are the steps between the
    angles."""
    from clbench.data.transforms import Rotate

    if len(angles) == 1:
        raise Refused("continuous = True drifts from one angle to the next; give at least two angles", "continuous")
    drifts = len(angles) - 1
    steps = max(1, min(len(stream[0]), (MAX_VIEWS - len(angles)) // drifts + 1))
    between = [a + (b - a) * s / steps for a, b in pairwise(angles) for s in range(1, steps)]
    label_map = stream.label_map
    if label_map is not None:
        label_map = np.concatenate([label_map, np.repeat(label_map[:-1], steps - 1, axis=0)])  # (V, C)
    return replace(
        stream,
        build=_Drift(stream.build, stream.seed, len(angles), steps),
        transform=Rotate(np.asarray(angles + between)),
        label_map=label_map,
        description={**stream.description, "continuous": {"steps": steps}},
    )


def _angles(
    seed: int, degrees: list[float] | None, experiences: int | None, max_degrees: float, spacing: str
) -> list[float]:
    """Return the angles in degrees, one per experience."""
    if spacing not in ("random", "even"):
        raise Refused(f"spacing = {spacing!r} does not exist; {did_you_mean(spacing, ('random', 'even'))}")
    if degrees is not None and experiences is not None:
        raise Refused(
            f"degrees = {degrees} and experiences = {experiences} both say which angles there are; give one of them"
        )
    if experiences is None:
        angles = [float(angle) for angle in (PUBLISHED if degrees is None else degrees)]
        if not angles or not np.isfinite(angles).all():
            raise Refused(
                f"degrees = {degrees} is not a list of finite angles; give at least one, such as [0, 80, 160]"
            )
        return angles
    count = check_experiences(experiences)
    if not 0 < max_degrees < np.inf:
        raise Refused(f"max_degrees = {max_degrees} leaves no angle to choose; give a finite number above 0")
    fractions = Generator(seed, "stream").uniform(count) if spacing == "random" else np.arange(count) / count
    return [float(fraction * max_degrees) for fraction in fractions]
