"""Combinators: functions from a stream to a stream, written in a benchmark file as ``apply: [{repeat: {times: 2}},
...]``.

A combinator is a function ``name(stream, *, settings) -> Stream``. Its keyword parameters are its settings. Like a
scenario it is pure and lazy. It draws from generators seeded by the stream's seed and its own position in the list, and
adds itself to the stream's description. Letters: E experiences, N samples of one experience.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from clbench.core.errors import Refused, did_you_mean
from clbench.core.parameters import validate
from clbench.core.registry import Registry
from clbench.core.rng import Generator, derive
from clbench.core.types import Experience, Index, Mask, Stream

COMBINATORS = Registry(
    "combinator",
    "clbench.combinators",
    {
        "repeat": ("clbench.scenarios.combinators:repeat", "the whole sequence of experiences again and again"),
        "recur": ("clbench.scenarios.combinators:recur", "experiences come back by the time since their last visit"),
        "subsample": ("clbench.scenarios.combinators:subsample", "a stratified fraction of each experience's samples"),
        "first": (
            "clbench.scenarios.first_experiences:first",
            "only the first K experiences, on which a learner can choose settings",
        ),
        "label_noise": ("clbench.scenarios.label_noise:label_noise", "a fraction of the training labels is wrong"),
        "interleave": ("clbench.scenarios.interleave:interleave", "two streams over one data set, taking turns"),
    },
)


def canonical(written: Any) -> list[dict[str, Any]]:
    """Check the value of ``apply`` and write out all settings; this needs no data.

    Args:
        written: A list of names, or of mappings from one name to its settings.

    Returns:
        A list of mappings ``{name: settings}``.

    Raises:
        Refused: The value is no such list, a name or a setting is unknown, or a value has a wrong type.
    """
    if not isinstance(written, Sequence) or isinstance(written, str):
        raise Refused(f"apply = {written!r} is not a list; write it as [{{repeat: {{times: 2}}}}, ...]", "apply")
    steps = []
    for entry in written:
        single = {entry: {}} if isinstance(entry, str) else entry
        if not isinstance(single, Mapping) or len(single) != 1 or not isinstance(next(iter(single)), str):
            raise Refused(f"apply: {entry!r} is not one combinator; write {{name: {{setting: value}}}}", "apply")
        name, settings = next(iter(single.items()))
        if not isinstance(settings or {}, Mapping):
            raise Refused(f"apply: the settings of {name!r} are {settings!r}, not a mapping", "apply")
        given = {key: value for key, value in (settings or {}).items() if key != "source"}
        checked = validate(COMBINATORS.get(name), given, where=f"combinator {name!r}")
        if COMBINATORS.source(name):
            checked["source"] = COMBINATORS.source(name)
        if name == "interleave":
            from clbench import scenarios

            checked["other"] = scenarios.canonical(checked["other"])
        steps.append({name: checked})
    return steps


def applied(stream: Stream, steps: Sequence[Mapping[str, Any]]) -> Stream:
    """Apply a canonical list of combinators to a stream, from first to last.

    Raises:
        Refused: A combinator cannot be applied to its input.
    """
    for step in steps:
        for name, settings in step.items():
            stream = COMBINATORS.get(name)(stream, **{key: v for key, v in settings.items() if key != "source"})
    return stream


def noted(stream: Stream, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stream's description with one more combinator."""
    return {**stream.description, "apply": [*stream.description.get("apply", []), {name: dict(settings)}]}


def purpose(stream: Stream, name: str) -> str:
    """Return the purpose of a combinator's generator. The same combinator twice in a list draws different numbers."""
    return f"stream/apply/{len(stream.description.get('apply', []))}/{name}"


# ------------------------------------------------------------------------------------------- other orders of visits


@dataclass(frozen=True, eq=False)
class _Revisit:
    """Build experience i: the base stream's experience at ``positions[i]``, with a new number."""

    base: Callable[[int], Experience]
    positions: Index  # (E,)

    def __call__(self, i: int) -> Experience:
        return replace(self.base(int(self.positions[i])), id=i)


@dataclass(frozen=True, eq=False)
class _RevisitedViews:
    """Return the views of tasks (T,) while experience i runs: those of the base stream's experience at
    ``positions[i]``."""

    base: Callable[[int], Index]
    positions: Index  # (E,)

    def __call__(self, i: int) -> Index:
        return self.base(int(self.positions[i]))


def _visiting(stream: Stream, positions: Index, description: dict[str, Any]) -> Stream:
    return replace(
        stream,
        length=len(positions),
        build=_Revisit(stream.build, positions),
        views_at=None if stream.views_at is None else _RevisitedViews(stream.views_at, positions),
        description=description,
    )


def repeat(stream: Stream, *, times: int = 2, order: Literal["same", "seeded"] = "same") -> Stream:
    """Repeat the whole sequence of experiences ``times`` times; each visit has the same samples.

    Args:
        stream: A stream of E experiences.
        times: Number of repetitions, at least 1.
        order: The ``same`` order every time, or a random order from the second time on (``seeded``).

    Raises:
        Refused: ``times`` is below 1.
    """
    if times < 1:
        raise Refused(f"repeat: times = {times} leaves no stream; give at least 1", "times")
    if order not in ("same", "seeded"):
        raise Refused(f"repeat: order = {order!r} does not exist; {did_you_mean(order, ('same', 'seeded'))}", "order")
    draw = Generator(stream.seed, purpose(stream, "repeat"))
    once = np.arange(len(stream), dtype=np.int64)
    later = [draw.permutation(len(stream)) if order == "seeded" else once for _ in range(times - 1)]
    settings = {"times": times, "order": order}
    return _visiting(stream, np.concatenate([once, *later]), noted(stream, "repeat", settings))


Recurrence = Literal["power_law", "exponential", "uniform"]


def recur(
    stream: Stream,
    *,
    visits: int,
    schedule: Recurrence = "power_law",
    alpha: float = 1.0,
    t0: float = 0.0,
    beta: float = 1.0,
    enter_every: int = 1,
    floor: float = 0.0,
) -> Stream:
    """Let experiences recur: they enter in their order, and the more recent the last visit, the more likely the next.

    Visit b is the first visit of experience b / enter_every if that is an integer below E. Otherwise one of the
    experiences that have entered is drawn, with a weight that depends on the number l of visits since its last one: (l
    + t0)^-alpha (``power_law``), exp(-l / beta) (``exponential``), or equal weights (``uniform``). Frequent experiences
    reinforce themselves. With alpha above 1, or exponentially, a single one fills the rest of a long stream, unless
    there is a ``floor``. Each visit has the same samples; for different samples in each visit, apply ``subsample``
    afterwards.

    Args:
        stream: A stream of E experiences.
        visits: Length of the new stream.
        schedule: See above.
        alpha: Exponent of the power law, at least 0.
        t0: Shift of the power law, at least 0.
        beta: Decay length of the exponential, above 0.
        enter_every: Visits from one entry to the next, at least 1.
        floor: Probability in [0, 1] with which a visit is drawn uniformly instead.

    Raises:
        Refused: A number is out of range, or the visits end before every experience has entered.

    Source: mode ``self`` of :func:`clbench.scenarios.power_law.power_law`, applied to the experiences of any stream.
    """
    from clbench.scenarios.lags import Weights, perform

    if schedule not in get_args(Recurrence):
        hint = did_you_mean(schedule, get_args(Recurrence))
        raise Refused(f"recur: schedule = {schedule!r} does not exist; {hint}", "schedule")
    if enter_every < 1 or not 0 <= floor <= 1:
        raise Refused(f"recur: enter_every = {enter_every} must be at least 1, and floor = {floor} within 0 to 1")
    needed = (len(stream) - 1) * enter_every + 1
    if visits < needed:
        raise Refused(
            f"recur: {visits} visits end before the last of {len(stream)} experiences enters, one every {enter_every}; "
            f"ask for at least {needed} visits",
            "visits",
        )
    weights = Weights(schedule, alpha=alpha, t0=t0, beta=beta)
    seed = derive(stream.seed, purpose(stream, "recur"))
    positions = perform(
        seed, weights, tasks=len(stream), blocks=visits, enter_every=enter_every, floor=floor
    )  # (visits,)
    settings = {"visits": visits, **weights.describe(), "enter_every": enter_every, "floor": floor}
    return _visiting(stream, positions, noted(stream, "recur", settings))


# ------------------------------------------------------------------------------------------- fewer samples


def subsample(stream: Stream, *, fraction: float) -> Stream:
    """Keep a fraction of the samples of every experience, drawn without replacement and independently for each
    experience.

    Of the n samples of each task and output unit in an experience, ``fraction`` · n are kept, rounded, but at least
    one, so that no class or task disappears. The samples stay in their order.

    Args:
        stream: Any stream.
        fraction: Fraction in (0, 1].

    Raises:
        Refused: The fraction is outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise Refused(f"subsample: fraction = {fraction} is not possible; give a number above 0, at most 1", "fraction")
    build = _Fewer(stream, float(fraction), purpose(stream, "subsample"))
    return replace(stream, build=build, description=noted(stream, "subsample", {"fraction": float(fraction)}))


@dataclass(frozen=True, eq=False)
class _Fewer:
    """Build experience i with a stratified fraction of its samples."""

    base: Stream
    fraction: float
    purpose: str

    def __call__(self, i: int) -> Experience:
        experience = self.base.build(i)
        units = self.base.labels(self.base.dataset.train, experience.rows, experience.view)
        strata = np.asarray(experience.task) * self.base.n_outputs + units  # (N,)
        kept = np.flatnonzero(chosen(strata, self.fraction, Generator(self.base.seed, f"{self.purpose}/{i}"), least=1))
        task, view = (c if isinstance(c, int) else c[kept] for c in (experience.task, experience.view))
        return replace(experience, rows=experience.rows[kept], task=task, view=view)


def chosen(strata: Index, fraction: float, draw: Generator, *, least: int = 0) -> Mask:
    """Draw a share of every stratum: of n samples ``fraction`` · n, rounded half up. A larger fraction adds samples.

    Args:
        strata: (N,) stratum of each sample, any integers.
        fraction: Fraction in [0, 1].
        draw: Generator of the order of the samples.
        least: Minimum number of samples of every stratum.

    Returns:
        (N,) bool mask of the chosen samples.
    """
    order = draw.permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]  # stratum by stratum, shuffled within each
    _, starts, sizes = np.unique(strata[order], return_index=True, return_counts=True)
    rank = np.arange(len(strata)) - np.repeat(starts, sizes)
    quota = np.maximum(least, np.floor(fraction * sizes + 0.5))
    mask = np.zeros(len(strata), dtype=np.bool_)
    mask[order] = rank < np.repeat(quota, sizes)
    return mask
