"""The search of one strategy: which trials it asks for, and what it concludes from their records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from clbench.core.errors import Refused
from clbench.core.record import Record
from clbench.core.search_space import Knob
from clbench.core.trace_equality import trace_digest
from clbench.core.types import content_hash
from clbench.metrics.metric import Metric
from clbench.strategies import notation
from clbench.strategies.knobs import with_values
from clbench.tuning.choice import Trial, best, idle, other_value
from clbench.tuning.proposals import Proposals, Values, first_values


class Study:
    """Search the settings of one strategy.

    Args:
        strategy: The strategy as in a benchmark file.
        knobs: The settings to search.
        proposals: What proposes their values.
        trials: Number of trials.
        metric: The metric to improve.
    """

    def __init__(
        self, strategy: Any, knobs: Sequence[Knob], proposals: Proposals, *, trials: int, metric: Metric
    ) -> None:
        self.strategy, self.knobs, self.most, self.metric = strategy, tuple(knobs), trials, metric
        self.proposals = proposals
        self.trials: list[Trial] = []
        self.checks: list[Trial] = []
        self.steps: dict[str, float] = {}
        """Optimiser steps of each run, by key, so that equal trials count once."""

    @property
    def label(self) -> str:
        """Return the strategy as text."""
        written = self.strategy["strategy"] if _overrides(self.strategy) else self.strategy
        return notation.label(written)

    @property
    def is_complete(self) -> bool:
        """Return whether all trials are done."""
        return len(self.trials) >= self.most

    def ask(self) -> list[Values]:
        """Return the values of the next trials."""
        return self.proposals.ask(self.most - len(self.trials))

    def entry(self, values: Values) -> Any:
        """Return the strategy with some values, as in a benchmark file."""
        return with_values(self.strategy, values)

    def tell(self, trials: Sequence[Trial]) -> None:
        """Take the results of the values that were asked for last.

        Raises:
            Refused: The first trials all failed or were skipped, so that the strategy cannot run there.
        """
        beginning = not self.trials
        self.trials += trials
        sign = -1.0 if self.metric.higher_is_better is False else 1.0
        self.proposals.tell([sign * trial.mean for trial in trials])
        if beginning and all(not any(trial.digests) for trial in trials):
            raise Refused(f"{self.label} cannot be tuned: {trials[0].problem}")

    def trial(self, values: Values, records: Sequence[Record]) -> Trial:
        """Return the trial of some values from its records, one for each seed."""
        self.steps |= {record.key: record.cost.get("steps", 0.0) for record in records}
        scores, problem = [], ""
        for record in records:
            value = math.nan
            if record.status == "done" and record.trace is not None:
                found = self.metric(record.trace)
                value, why = found.value, found.reason or "it has no value"
                problem = problem or ("" if found.defined else f"{self.metric.name}: {why}")
            else:
                problem = problem or f"{record.label}, seed {record.seed}, {record.status}: {record.reason}"
            scores.append(value)
        digests = tuple("" if record.trace is None else trace_digest(record.trace) for record in records)
        steps = sum(record.cost.get("steps", 0.0) for record in records)
        return Trial(values, tuple(scores), digests, steps, problem)

    # ------------------------------------------------------------------------------------------- the answer

    @property
    def higher(self) -> bool:
        """Return whether higher scores are better."""
        return self.metric.higher_is_better is not False

    @property
    def leader(self) -> Trial:
        """Return the best trial so far.

        Raises:
            Refused: No trial has a score.
        """
        found = best([*self.trials, *self.checks], self.knobs, higher=self.higher)
        if found is None:
            raise Refused(
                f"none of the {len(self.trials)} trials of {self.label} has a score; the first one: "
                f"{self.trials[0].problem}"
            )
        return found

    def to_check(self) -> list[Values]:
        """Return what else to run: with several knobs, the best trial with one of them at another value."""
        if len(self.knobs) < 2 or idle(self.trials):
            return []
        found = self.leader.values
        return [other_value(knob, found) for knob in self.knobs]

    def idle_places(self, leader: Trial) -> list[str]:
        """Return the knobs that change no recorded score there: runs that differ in them alone have equal traces.

        Args:
            leader: The trial from which :meth:`to_check` went out.
        """
        if idle(self.trials):
            return [knob.place for knob in self.knobs]
        pairs = zip(self.knobs, self.checks, strict=False) if len(self.knobs) > 1 else ()
        return [knob.place for knob, check in pairs if check.same_runs(leader)]

    def settled(self, chosen: Trial, idle_places: Sequence[str]) -> Values:
        """Return the chosen values, with knobs that change no recorded score at their default."""
        usual = first_values(self.knobs)
        return {place: usual[place] if place in idle_places else value for place, value in chosen.values.items()}

    def identity(self, protocol: Mapping[str, Any]) -> str:
        """Return the hash of the search: protocol, ranges, proposals and scores, in order."""
        told = [
            [sorted(trial.values.items()), [None if math.isnan(score) else score for score in trial.scores]]
            for trial in [*self.trials, *self.checks]
        ]
        return content_hash({**protocol, "knobs": [knob.describe for knob in self.knobs], "trials": told})


def _overrides(written: Any) -> bool:
    return isinstance(written, Mapping) and "strategy" in written
