"""Learning-rate schedules over the experiences of a stream: factors of ``training.lr``.

A schedule belongs to the benchmark, which knows the number of experiences; strategies do not see it. Other packages add
schedules by the entry point ``clbench.lr_schedules``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from clbench.benchmark.schedule_notation import Written, load, split, with_source
from clbench.core.errors import Refused
from clbench.core.parameters import Count, Fraction, validate
from clbench.core.registry import Registry

Rate = Callable[[int, float, int], float]
"""A schedule with all its settings."""


class LrSchedule(Protocol):
    """Return the factor of the learning rate for a step. Keyword-only parameters are the settings of the schedule.

    Args:
        e: The experience, counted from 0.
        u: The fraction of the experience's steps that are done after the step, in (0, 1].
        n: The number of experiences.
    """

    def __call__(self, e: int, u: float, n: int, /, **settings: Any) -> float: ...


def constant(_e: int, _u: float, _n: int) -> float:
    """Keep the same rate for the whole stream."""
    return 1.0


def linear(e: int, _u: float, n: int, *, end: Fraction = 0.1) -> float:
    """Lower the rate from 1 in the first experience to ``end`` in the last, in equal steps."""
    return 1.0 - (1.0 - end) * (e / (n - 1) if n > 1 else 0.0)


def cosine(e: int, _u: float, n: int, *, end: Fraction = 0.1) -> float:
    """Lower the rate from 1 in the first experience to ``end`` in the last, along half a cosine."""
    return end + (1.0 - end) * 0.5 * (1.0 + math.cos(math.pi * (e / (n - 1) if n > 1 else 0.0)))


def step(e: int, _u: float, _n: int, *, gamma: Fraction = 0.5, every: Count = 1) -> float:
    """Multiply the rate by ``gamma`` every ``every`` experiences."""
    return gamma ** (e // every)


def rewarm(_e: int, u: float, _n: int, *, warmup: Fraction = 0.1, end: Fraction = 0.1) -> float:
    """Raise the rate from 0 over the fraction ``warmup`` of the steps of every experience, then lower it to ``end``
    along half a cosine.

    Source: Gupta et al. 2023, arXiv 2308.04014 (continual pre-training); fractions are ours.
    """
    if u < warmup:
        return u / warmup
    return end + (1.0 - end) * 0.5 * (1.0 + math.cos(math.pi * (u - warmup) / (1.0 - warmup) if warmup < 1 else 0.0))


LR_SCHEDULES = Registry(
    "learning-rate schedule",
    "clbench.lr_schedules",
    {
        "constant": ("clbench.benchmark.lr_schedules:constant", "the same learning rate throughout"),
        "linear": ("clbench.benchmark.lr_schedules:linear", "lower in every experience, in equal steps"),
        "cosine": ("clbench.benchmark.lr_schedules:cosine", "lower in every experience, along half a cosine"),
        "step": ("clbench.benchmark.lr_schedules:step", "multiplied by a factor at regular intervals"),
        "rewarm": ("clbench.benchmark.lr_schedules:rewarm", "up from 0 and down again within every experience"),
    },
)
"""Learning-rate schedules by name, each an :class:`LrSchedule`."""


def canonical(written: Written) -> str | dict[str, Any]:
    """Return a schedule with every setting written out: ``"constant"``, or ``{name: {setting: value}}``.

    Raises:
        Refused: An unknown name or setting, a wrong type, or not exactly one name.
    """
    read = split(written)
    if read is None:
        raise Refused(f"lr_schedule {written!r} must be one name, or {{name: {{setting: value}}}}")
    name, given = read
    if name not in LR_SCHEDULES:
        raise Refused(f"there is no learning-rate schedule {name!r}; {LR_SCHEDULES.hint(name)}")
    filled = validate(LR_SCHEDULES.get(name), given or {}, where=f"lr_schedule {name!r}")
    return "constant" if name == "constant" else with_source(LR_SCHEDULES, name, filled, written)


def rate(written: Written) -> Rate | None:
    """Return the function of a canonical schedule; ``None`` if the rate is constant.

    Raises:
        Refused: The cell of the schedule was planned with other code.
    """
    read = None if isinstance(written, str) else split(written)
    return None if read is None else partial(load(LR_SCHEDULES, read[0], written), **read[1])
