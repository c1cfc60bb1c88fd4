"""The search for a learning rate of a strategy's own, as a learner could make it: on held-out training samples of the
first experiences, and on seeds of its own."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clbench.ablation.arms import Arm
from clbench.core.errors import Refused
from clbench.core.record import Record
from clbench.metrics import get as get_metric
from clbench.tuning.protocols import first, own_seeds

FACTORS = (0.1, 0.3, 1.0, 3.0)
"""The first learning rates, as multiples of the benchmark's."""
STEP = 10**0.5
"""Factor from a rate at an end of the search to the next one beyond it."""
FURTHER = 2
"""How often the search goes beyond its first rates if the best is at an end."""
SEARCHED_BY = "acc"
CLOSE = 0.01
"""Difference between two means up to which the search hardly separates two rates."""


@dataclass(frozen=True)
class Protocol:
    """Say on what the search chooses.

    Args:
        experiences: K, the first experiences that it uses.
        seeds: Its seeds, none of which is a seed of the comparison.
        factors: The first learning rates, as multiples of the benchmark's.
    """

    experiences: int
    seeds: tuple[int, ...]
    factors: tuple[float, ...] = FACTORS

    @property
    def name(self) -> str:
        """Return its name: ``first:3``."""
        return f"first:{self.experiences}"

    def overrides(self, stream: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of the search's cells.

        Args:
            stream: The benchmark's canonical ``stream`` section.
        """
        return first(self.experiences).overrides(stream)


def protocol(written: str, compared: Sequence[int], factors: Sequence[float]) -> Protocol:
    """Read the protocol of a search, such as ``first:3``.

    Args:
        written: ``first:K``.
        compared: Seeds of the comparison.
        factors: Multiples of the benchmark's learning rate.

    Raises:
        Refused: The text is none of these, or a factor is not above 0.
    """
    match = re.fullmatch(r"first:([1-9]\d*)", written.strip())
    if match is None:
        raise Refused(
            f"the search {written!r} is not known; write first:K, such as first:3, for the first K experiences"
        )
    listed = tuple(sorted({float(factor) for factor in factors}))
    if not listed or not all(0 < factor < math.inf for factor in listed):
        raise Refused(f"factors {list(factors)} are not possible; give numbers above 0, such as 0.1,0.3,1,3")
    return Protocol(int(match[1]), own_seeds(compared), listed)


@dataclass(frozen=True)
class Found:
    """Hold the result of the search for one arm.

    Args:
        lr: The learning rate with the highest mean.
        at_end: Whether it is the lowest or highest that was tried.
        means: Learning rate -> mean over seeds; NaN if a seed did not finish.
    """

    lr: float
    at_end: bool
    means: Mapping[float, float]


def search(
    arms: Sequence[Arm], lr: float, how: Protocol, run: Callable[[list[dict[str, Any]]], list[Record]]
) -> dict[str, Found]:
    """Return the learning rate of each arm, by its label.

    If the best rate of an arm is at an end of the search, the search goes beyond it, at most twice.

    Args:
        arms: The arms; arms with the same label are searched once.
        lr: The benchmark's learning rate.
        how: The protocol.
        run: Runs entries of a benchmark's ``strategies`` on the search's cells.

    Raises:
        Refused: A cell failed, so that the rates of its arm cannot be ranked. A diverged cell is a result.
    """
    tried: dict[str, dict[float, float]] = {arm.label: {} for arm in arms}
    written = {arm.label: arm.written for arm in arms}
    todo = {label: [rounded(lr * factor) for factor in how.factors] for label in written}
    for _ in range(FURTHER + 1):
        entries = [at_rate(written[label], label, rate) for label, rates in todo.items() for rate in rates]
        found = _means(run(entries))
        for label, rates in todo.items():
            tried[label] |= {rate: found[label, rate] for rate in rates}
        todo = {label: beyond for label, means in tried.items() if (beyond := _beyond(means, lr))}
        if not todo:
            break
    return {label: _best(means, lr) for label, means in tried.items()}


def close_calls(found: Mapping[str, Found]) -> list[str]:
    """Return a sentence for each arm with a second rate whose mean is hardly below that of the chosen one."""
    told = []
    for label, each in found.items():
        others = {rate: mean for rate, mean in each.means.items() if rate != each.lr and not math.isnan(mean)}
        second = max(others, key=others.__getitem__, default=each.lr)
        if others and each.means[each.lr] - others[second] <= CLOSE:
            told.append(
                f"the search hardly separates two learning rates of {label}, {each.lr:g} and {second:g} (means "
                f"{each.means[each.lr]:.3f} and {others[second]:.3f}); with the other one the shares may differ"
            )
    return told


def at_rate(written: Any, label: str, lr: float) -> dict[str, Any]:
    """Return the entry of a benchmark's ``strategies`` for a strategy at a learning rate."""
    return {"strategy": written, "label": label, "training": {"lr": lr}}


def rounded(lr: float) -> float:
    """Return a learning rate with three digits."""
    return float(f"{lr:.3g}")


def _means(records: Sequence[Record]) -> dict[tuple[str, float], float]:
    metric, scores = get_metric(SEARCHED_BY), dict[tuple[str, float], list[float]]()
    for record in records:
        if record.status not in ("done", "diverged"):
            raise Refused(
                f"the search for learning rates is incomplete, so nothing can be compared: {record.label}, seed "
                f"{record.seed}, {record.status}: {record.reason}; run the same command again after you have mended "
                "the cause: finished cells are kept"
            )
        done = record.status == "done" and record.trace is not None
        value = metric(record.trace).value if done and record.trace is not None else math.nan
        label = record.label.rpartition(" [")[0]
        scores.setdefault((label, record.cell["training"]["lr"]), []).append(value)
    return {place: float(np.mean(values)) for place, values in scores.items()}


def _best(means: Mapping[float, float], lr: float) -> Found:
    """Return the rate with the highest mean; of equal ones the nearest to the benchmark's."""
    finished = {rate: mean for rate, mean in means.items() if not math.isnan(mean)}
    if not finished:
        return Found(lr, at_end=False, means=means)
    best = min(finished, key=lambda rate: (-finished[rate], abs(math.log(rate / lr)), rate))
    return Found(best, best in (min(means), max(means)), means)


def _beyond(means: Mapping[float, float], lr: float) -> list[float]:
    found = _best(means, lr)
    if found.lr == max(means) and len(means) > 1:
        return [float(f"{found.lr * STEP:.2g}")]
    if found.lr == min(means) and len(means) > 1:
        return [float(f"{found.lr / STEP:.2g}")]
    return []
