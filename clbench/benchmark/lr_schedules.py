"""Learning-rate schedules over the experiences of a stream: factors of ``training.lr``.

Each is a function of the experience e (from 0), the fraction u in (0, 1] of its steps that are done with the one to
come, and the number of experiences n. A schedule belongs to the benchmark, which knows n; strategies do not see it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from clbench.core.errors import Refused, did_you_mean
from clbench.core.parameters import Count, Fraction, validate

Rate = Callable[[int, float, int], float]


def constant(_e: int, _u: float, _n: int) -> float:
    """The same rate throughout."""
    return 1.0


def linear(e: int, _u: float, n: int, *, end: Fraction = 0.1) -> float:
    """From 1 in the first experience to ``end`` in the last, in equal steps."""
    return 1.0 - (1.0 - end) * (e / (n - 1) if n > 1 else 0.0)


def cosine(e: int, _u: float, n: int, *, end: Fraction = 0.1) -> float:
    """From 1 in the first experience to ``end`` in the last, along half a cosine."""
    return end + (1.0 - end) * 0.5 * (1.0 + math.cos(math.pi * (e / (n - 1) if n > 1 else 0.0)))


def step(e: int, _u: float, _n: int, *, gamma: Fraction = 0.5, every: Count = 1) -> float:
    """Multiplied by ``gamma`` after every so many experiences."""
    return gamma ** (e // every)


def rewarm(_e: int, u: float, _n: int, *, warmup: Fraction = 0.1, end: Fraction = 0.1) -> float:
    """In every experience anew: up from 0 over the fraction ``warmup`` of its steps, then down to ``end`` along half a
    cosine. Source: Gupta et al. 2023, arXiv 2308.04014 (continual pre-training); fractions are ours."""
    if u < warmup:
        return u / warmup
    return end + (1.0 - end) * 0.5 * (1.0 + math.cos(math.pi * (u - warmup) / (1.0 - warmup) if warmup < 1 else 0.0))


SCHEDULES: dict[str, Callable[..., float]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "step": step,
    "rewarm": rewarm,
}


def canonical(written: str | Mapping[str, Any]) -> str | dict[str, Any]:
    """A schedule with every setting written out: ``"constant"``, or ``{name: {setting: value}}``.

    Raises:
        Refused: An unknown name or setting, a wrong type, or not exactly one name.
    """
    named = {written: {}} if isinstance(written, str) else dict(written)
    if len(named) != 1:
        raise Refused(f"lr_schedule {written!r} has to be one name, or {{name: {{setting: value}}}}")
    ((name, given),) = named.items()
    if name not in SCHEDULES:
        raise Refused(f"there is no learning-rate schedule {name!r}; {did_you_mean(name, SCHEDULES)}")
    filled = validate(SCHEDULES[name], given or {}, where=f"lr_schedule {name!r}")
    return "constant" if name == "constant" else {name: filled}


def rate(written: str | Mapping[str, Any]) -> Rate | None:
    """The function behind a canonical schedule; ``None`` where the rate is constant."""
    if isinstance(written, str):
        return None
    ((name, settings),) = written.items()
    return partial(SCHEDULES[name], **settings)
