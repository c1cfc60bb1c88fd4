"""What of a difference between two strategies is whose, paired by seed, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clbench.ablation.loss_forms import MeasuredForm
from clbench.core.measure import Measure
from clbench.metrics import get as get_metric
from clbench.metrics.interval import SEEDS_FOR_INTERVAL, half_width

TOTAL, FORM, OTHER, RATE, IDEA = "total difference", "loss form", "other code", "learning rate", "the idea itself"
"""The difference at the benchmark's learning rate, and its shares in this order."""
TUNED = "at their own best rates"


@dataclass(frozen=True)
class Effect:
    """Hold one share of a difference, paired by seed.

    Args:
        name: Whose share it is.
        values: (n,) its value of each seed, in the unit of the metric.
        meaning: Which two arms are compared.
    """

    name: str
    values: tuple[float, ...]
    meaning: str

    @property
    def mean(self) -> float:
        """Return the mean over seeds."""
        return float(np.mean(self.values))

    @property
    def half(self) -> float:
        """Return half of the 95 % interval over seeds; NaN for fewer than three seeds, as on leaderboards."""
        return float(half_width(self.values, fewest=SEEDS_FOR_INTERVAL))

    @property
    def separated(self) -> bool | None:
        """Tell whether the interval leaves out 0; ``None`` for fewer than three seeds, which have no interval."""
        return None if math.isnan(self.half) else abs(self.mean) > self.half


@dataclass(frozen=True)
class Compared:
    """Hold one arm of an ablation with its results.

    Args:
        role: ``strategy``, ``identity``, ``control``, ``baseline`` or ``equal form``.
        label: The strategy.
        lr: Its own best learning rate.
        lr_at_end: Whether that is at an end of the search.
        usual: (n,) values of the metric at the benchmark's learning rate.
        best: (n,) values at its own.
    """

    role: str
    label: str
    lr: float
    lr_at_end: bool
    usual: tuple[float, ...]
    best: tuple[float, ...]


@dataclass(frozen=True, repr=False)
class Ablation:
    """Hold what of the difference between a strategy and a baseline is whose.

    Args:
        benchmark: Name and version of the benchmark.
        metric: Name of the metric.
        measure: What scores are.
        lr: The benchmark's learning rate.
        seeds: Seeds of the comparison, in the order of all values.
        arms: The arms, the strategy first.
        control: The role of the arm that the idea is compared with.
        forms: Role -> the form of the loss, as far as it was measured.
        search: What the learning rates were chosen on, in words.
        notes: What a reader has to know besides.
    """

    benchmark: str
    metric: str
    measure: Measure
    lr: float
    seeds: tuple[int, ...]
    arms: tuple[Compared, ...]
    control: str
    forms: Mapping[str, MeasuredForm]
    search: str
    notes: tuple[str, ...] = ()

    def arm(self, role: str) -> Compared:
        """Return the arm of a role."""
        return next(arm for arm in self.arms if arm.role == role)

    @property
    def effects(self) -> tuple[Effect, ...]:
        """Return the total difference and its shares, which add up to it at every seed."""
        ours, base, control = self.arm("strategy"), self.arm("baseline"), self.arm(self.control)
        form = next((arm for arm in self.arms if arm.role == "equal form"), base)
        total, left = _minus(ours.usual, base.usual), _minus(ours.usual, control.usual)
        idea, name = _minus(ours.best, control.best), _called(control.role)
        found = [Effect(TOTAL, total, f"strategy - baseline, both at lr {self.lr:g}")]
        if form is not base:
            found.append(
                Effect(FORM, _minus(form.usual, base.usual), f"{_called(form.role)} - baseline, at the same lr")
            )
        if control not in (form, base):
            meaning = f"{name} - {_called(form.role)}, at the same lr"
            found.append(Effect(OTHER, _minus(control.usual, form.usual), meaning))
        found.append(
            Effect(RATE, _minus(left, idea), f"strategy - {name} at lr {self.lr:g}, minus that at their own best lr")
        )
        found.append(Effect(IDEA, idea, f"strategy - {name}, each at its own best lr"))
        return tuple(found)

    @property
    def tuned(self) -> Effect:
        """Return the difference between strategy and baseline, each at its own best learning rate."""
        values = _minus(self.arm("strategy").best, self.arm("baseline").best)
        return Effect(TUNED, values, "strategy - baseline, each at its own best lr")

    def number(self, value: float, *, signed: bool = False) -> str:
        """Return a value of the metric, or a difference, as people read it: in percent for accuracies."""
        metric = get_metric(self.metric)
        text = f"{metric.shown(value, self.measure):.{metric.decimals(self.measure, percent=1)}f}"
        text = text.removeprefix("-") if float(text) == 0 else text
        return f"+{text}" if signed and not text.startswith("-") else text

    def interval(self, effect: Effect) -> str:
        """Return ``+2.5 ± 3.9``, or the mean alone for fewer than three seeds."""
        return self.summary(effect.values, signed=True)

    def summary(self, values: Sequence[float], *, signed: bool = False) -> str:
        """Return mean and half of the 95 % interval over seeds; the mean alone for fewer than three seeds."""
        mean, half = float(np.mean(values)), float(half_width(values, fewest=SEEDS_FOR_INTERVAL))
        text = self.number(mean, signed=signed)
        return text if math.isnan(half) else f"{text} ± {self.number(half).removeprefix('-')}"

    @property
    def _in_percent(self) -> bool:
        return get_metric(self.metric).in_percent(self.measure)

    @property
    def sentence(self) -> str:
        """Return the result in plain words."""
        total, *shares, idea = self.effects
        title = get_metric(self.metric).under(self.measure).title
        unit = "points of " if self._in_percent else ""
        named = {FORM: "the form of the loss", OTHER: "other code", RATE: "the learning rate"}
        told = [f"{self.number(each.mean, signed=True)} come from {named[each.name]}" for each in shares]
        told = [told[0], *(text.replace("come from", "from") for text in told[1:])]
        verdict = {
            True: "which is separated from 0",
            False: "which is not separated from 0",
            None: "on fewer than three seeds, which have no interval",
        }[idea.separated]
        return (
            f"Of {self.interval(total)} {unit}{title} over {self.arm('baseline').label}, {', '.join(told)}, and the "
            f"idea itself adds {self.interval(idea)}, {verdict}. Each at its own best learning rate, the two differ by "
            f"{self.interval(self.tuned)}."
        )

    @property
    def text(self) -> str:
        """Return the whole result as Markdown: arms, effects, sentence and notes."""
        title = get_metric(self.metric).under(self.measure).title
        lines = [f"# {self.arm('strategy').label} against {self.arm('baseline').label}", "", self.sentence, ""]
        lines += [f"| {' | '.join(row)} |" for row in ruled(self.effect_rows)]
        lines += ["", f"{title} on {self.benchmark}, seeds {', '.join(map(str, self.seeds))}:", ""]
        lines += [f"| {' | '.join(row)} |" for row in ruled(self.arm_rows)]
        lines += ["", *(f"- {line}" for line in self.remarks)]
        return "\n".join(lines) + "\n"

    @property
    def arm_rows(self) -> list[tuple[str, ...]]:
        """Return the table of arms, its heading first."""
        heading = ("arm", "strategy", f"at lr {self.lr:g}", "at its own best lr", "best lr")
        rows: list[tuple[str, ...]] = [heading]
        for each in self.arms:
            rate = f"{each.lr:g}{' (end of the search)' if each.lr_at_end else ''}"
            rows.append((_called(each.role), each.label, self.summary(each.usual), self.summary(each.best), rate))
        return rows

    @property
    def effect_rows(self) -> list[tuple[str, ...]]:
        """Return the table of effects, its heading first."""
        words = {True: "yes", False: "no", None: "too few seeds"}
        heading = ("effect", "difference", "separated from 0", "what is compared")
        return [
            heading,
            *((e.name, self.interval(e), words[e.separated], e.meaning) for e in (*self.effects, self.tuned)),
        ]

    @property
    def remarks(self) -> list[str]:
        """Return the loss forms, the search and further notes, one sentence each."""
        told = [f"loss of {self._label(role)}: {form}" for role, form in self.forms.items() if role != "equal form"]
        ours, base = self.forms.get("strategy"), self.forms.get("baseline")
        if ours and base and base.length:
            told.append(
                f"the gradient of {self._label('strategy')} is {ours.length:g} times as long as that of the mean loss "
                f"over the same samples, that of {self._label('baseline')} {base.length:g} times (medians "
                "of measured steps)"
            )
        return [*told, self.search, *self.notes]

    def _label(self, role: str) -> str:
        return self.arm(role).label

    @property
    def data(self) -> dict[str, Any]:
        """Return everything as plain data, for JSON."""
        return {
            "benchmark": self.benchmark,
            "metric": self.metric,
            "lr": self.lr,
            "seeds": list(self.seeds),
            "sentence": self.sentence,
            "effects": [
                {"name": e.name, "mean": e.mean, "half": None if math.isnan(e.half) else e.half,
                 "separated": e.separated, "values": list(e.values), "meaning": e.meaning}
                for e in (*self.effects, self.tuned)
            ],
            "arms": [
                {"role": a.role, "strategy": a.label, "best_lr": a.lr, "lr_at_end": a.lr_at_end,
                 "usual": list(a.usual), "best": list(a.best)}
                for a in self.arms
            ],
            "control": self.control,
            "forms": {role: {**vars(form)} for role, form in self.forms.items()},
            "remarks": self.remarks,
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"Ablation({self._label('strategy')} against {self._label('baseline')} on {self.benchmark})"

    def __str__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


def ruled(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the rows of a table with the line below its heading, as Markdown needs it."""
    return [rows[0], tuple("---" for _ in rows[0]), *rows[1:]]


def _called(role: str) -> str:
    return "baseline at equal loss form" if role == "equal form" else role


def _minus(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    return tuple(a - b for a, b in zip(ours, theirs, strict=True))
