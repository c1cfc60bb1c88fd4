"""Learning-rate schedules over the experiences of a stream, or over the epochs of each: factors of ``training.lr``.

A schedule belongs to the benchmark, which knows the number of experiences; strategies do not see it. Other packages add
schedules by the entry point ``clbench.lr_schedules``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import AfterValidator, Field

from clbench.benchmark.schedule_notation import Written, load, shown, split, with_source
from clbench.core.errors import Refused
from clbench.core.parameters import Count, Fraction, validate
from clbench.core.registry import Registry

Rate = Callable[[int, float, int, int], float]
"""A schedule with its settings, from e, u and n of :class:`LrSchedule` and the epoch, counted from 0, to a factor."""


class LrSchedule(Protocol):
    """Return the factor of the learning rate for a step. Keyword-only parameters are the settings of the schedule.

    Args:
        e: The experience, counted from 0.
        u: The fraction of the experience's steps that are done after the step, in (0, 1].
        n: The number of experiences.
    """

    def __call__(self, e: int, u: float, n: int, /, **settings: Any) -> float: ...


class EpochSchedule(Protocol):
    """Return the factor of the learning rate in an epoch of an experience; marked by :func:`by_epoch`.

    Every experience begins at its epoch 0 again. Keyword-only parameters are the settings of the schedule.

    Args:
        epoch: The epoch, counted from 0.
        epochs: The number of epochs of the experience; early stopping may end it before.
    """

    def __call__(self, epoch: int, epochs: int, /, **settings: Any) -> float: ...


F = TypeVar("F", bound=Callable[..., float])
MARK = "counts_epochs"


def by_epoch(schedule: F) -> F:
    """Mark a function as an :class:`EpochSchedule`; write it above the function as ``@by_epoch``."""
    setattr(schedule, MARK, True)
    return schedule


def _rising(places: list[int]) -> list[int]:
    if places != sorted(set(places)):
        raise Refused(f"epochs {places} do not rise; write each once, from the first to the last", "at")
    return places


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


@by_epoch
def milestones(
    epoch: int,
    _epochs: int,
    *,
    at: Annotated[list[Count], Field(min_length=1), AfterValidator(_rising)],
    factor: Fraction = 0.1,
) -> float:
    """Multiply the rate by ``factor`` when ``at`` of the experience's epochs are done: ``torch.optim.lr_scheduler``'s
    ``MultiStepLR``, new in every experience.

    Args:
        at: Numbers of epochs of an experience, rising, each at least 1.
        factor: What multiplies the rate at each, in [0, 1].
    """
    return factor ** sum(epoch >= place for place in at)


@by_epoch
def cosine_annealing(epoch: int, epochs: int, *, end: Fraction = 0.0) -> float:
    """Lower the rate from 1 along half a cosine over the epochs of an experience: ``torch.optim.lr_scheduler``'s
    ``CosineAnnealingLR``, new in every experience.

    Args:
        end: The factor that one more epoch would have; ``eta_min`` of torch is ``end`` times the rate.

    Source: Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts inside an experience.
    """
    return end + (1.0 - end) * 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))


LR_SCHEDULES = Registry(
    "learning-rate schedule",
    "clbench.lr_schedules",
    {
        "constant": ("clbench.benchmark.lr_schedules:constant", "the same learning rate throughout"),
        "linear": ("clbench.benchmark.lr_schedules:linear", "lower in every experience, in equal steps"),
        "cosine": ("clbench.benchmark.lr_schedules:cosine", "lower in every experience, along half a cosine"),
        "step": ("clbench.benchmark.lr_schedules:step", "multiplied by a factor at regular intervals"),
        "rewarm": ("clbench.benchmark.lr_schedules:rewarm", "up from 0 and down again within every experience"),
        "milestones": (
            "clbench.benchmark.lr_schedules:milestones",
            "multiplied by a factor after given epochs of every experience",
        ),
        "cosine_annealing": (
            "clbench.benchmark.lr_schedules:cosine_annealing",
            "lower in every epoch of an experience, along half a cosine",
        ),
    },
)
"""Learning-rate schedules by name, each an :class:`LrSchedule` or an :class:`EpochSchedule`."""


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


def rate(written: Written, epochs: int) -> Rate | None:
    """Return the function of a canonical schedule; ``None`` if the rate is constant.

    Args:
        written: The schedule, as in a cell.
        epochs: The number of epochs of the experience.

    Raises:
        Refused: The cell of the schedule was planned with other code.
    """
    read = None if isinstance(written, str) else split(written)
    if read is None:
        return None
    schedule = load(LR_SCHEDULES, read[0], written)
    return partial(_in_epoch if counts_epochs(written) else _in_experience, partial(schedule, **read[1]), epochs)


def _in_experience(schedule: Callable[..., float], _epochs: int, e: int, u: float, n: int, _epoch: int) -> float:
    return schedule(e, u, n)


def _in_epoch(schedule: Callable[..., float], epochs: int, _e: int, _u: float, _n: int, epoch: int) -> float:
    return schedule(epoch, epochs)


def counts_epochs(written: Written) -> bool:
    """Return whether a canonical schedule counts the epochs of an experience."""
    read = None if isinstance(written, str) else split(written)
    return read is not None and bool(getattr(LR_SCHEDULES.get(read[0]), MARK, False))


def check_epochs(settings: Mapping[str, Any]) -> None:
    """Check the settings of a cell whose schedule counts epochs; others pass.

    Args:
        settings: The sections of the cell in canonical form.

    Raises:
        Refused: Experiences have no epochs, or the rate would be the same in all of them.
    """
    training = settings["training"]
    first = training.get("first") or {}
    written = training.get("lr_schedule", "constant")
    _check_epochs("training", written, training["epochs"], training["iterations"])
    if first:
        own, epochs = first.get("lr_schedule", written), first.get("epochs", training["epochs"])
        _check_epochs("training.first", own, epochs, training["iterations"])


def _check_epochs(place: str, written: Written, epochs: int, iterations: int | None) -> None:
    if not counts_epochs(written):
        return
    name = shown(written)
    if iterations is not None:
        raise Refused(
            f"{place}.lr_schedule = {name} counts epochs, and training.iterations = {iterations} counts steps; set "
            "training.epochs and leave iterations out, or use rewarm, which follows the steps of an experience",
            "lr_schedule",
        )
    function = rate(written, epochs)
    if function is not None and all(function(0, 1.0, 1, epoch) == 1.0 for epoch in range(epochs)):
        raise Refused(
            f"{place}.lr_schedule = {name} never changes the rate in {place}.epochs = {epochs}, since it acts between "
            "the epochs of an experience; make more epochs, or use constant",
            "lr_schedule",
        )
