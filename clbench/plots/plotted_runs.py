"""The runs of a plot, and what they have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clbench.comparison import comparable
from clbench.comparison.record_groups import by_strategy, is_finished, joint_runs
from clbench.core.errors import Refused, did_you_mean
from clbench.core.measure import ACCURACY, Measure
from clbench.core.record import Kind, Record, Trace
from clbench.core.shown_text import drawn as drawn_text
from clbench.metrics import curves
from clbench.metrics.accuracy_matrix import acc, end_looks, visited
from clbench.metrics.metric import Undefined
from clbench.plots.picture_format import current
from clbench.plots.strategy_styles import Style, styles

THIN_SPACE = "\u2009"


@dataclass(frozen=True, eq=False)
class Runs:
    """Hold the finished runs of one benchmark.

    Args:
        benchmark: Name and version, and differences from the shipped file of that version; or the name to draw.
        records: Name to draw -> a record per seed, in the requested order, or else by rank with the best first. The
            name is the label, unless the current format has another.
        labels: All labels of the result set, sorted, including those of other benchmarks and those not requested. The
            style of a strategy that is not shipped depends on them, so that it is the same in all plots of the set.
        own_labels: Name to draw -> label.
    """

    benchmark: str
    records: dict[str, list[Record]]
    labels: tuple[str, ...]
    own_labels: Mapping[str, str]

    @property
    def looks(self) -> dict[str, Style]:
        """Return the style of each name, which is that of its label."""
        found = styles(self.labels)
        return {name: found[label] for name, label in self.own_labels.items()}

    @property
    def traces(self) -> dict[str, list[Trace]]:
        """Return label -> a trace per seed."""
        return {label: [r.trace for r in found if r.trace is not None] for label, found in self.records.items()}

    @property
    def measure(self) -> Measure:
        """Return the measure of the scores of these runs."""
        return next(trace.measure for found in self.traces.values() for trace in found)

    @property
    def seeds(self) -> list[int]:
        """Return the number of seeds of each strategy."""
        return [len(found) for found in self.records.values()]

    def following(self) -> dict[str, list[Trace]]:
        """Return the traces with all experiences of the stream, without upper bounds that merge them."""
        length = max(trace.n_experiences for found in self.traces.values() for trace in found)
        found = {label: [t for t in own if t.n_experiences == length] for label, own in self.traces.items()}
        return {label: own for label, own in found.items() if own}


def choose(records: Iterable[Record], benchmark: str | None, strategies: Sequence[str] | None) -> Runs:
    """Return the finished runs of a benchmark and of some strategies, by default all from the best ACC to the worst.

    Raises:
        Refused: No run is finished, one of several benchmarks must be chosen, or a benchmark or label is unknown.
    """
    every = list(records)
    found = comparable.tables(record for record in every if is_finished(record))
    if not found:
        others = Counter(record.status for record in every)
        told = ", ".join(f"{number} {status}" for status, number in sorted(others.items()))
        raise Refused(
            f"there is nothing to plot: no cell is done{f' ({told})' if told else '; run the benchmark first'}"
        )
    if benchmark is None and len(found) > 1:
        raise Refused(f"the records hold several benchmarks ({', '.join(found)}); choose one with --benchmark")
    chosen = benchmark or next(iter(found))
    if chosen not in found:
        named = [title for title, held in found.items() if held[0].benchmark == chosen]
        if len(named) > 1:
            raise Refused(f"cells of {chosen} differ in more than the seed; choose one of {', '.join(named)}")
        chosen = named[0] if named else chosen
    if chosen not in found:
        raise Refused(f"no cell of benchmark {chosen!r} is done; {did_you_mean(chosen, found)}")
    grouped = {title: by_strategy(members) for title, members in found.items()}
    runs = grouped[chosen]
    everyone = tuple(sorted({label for own in grouped.values() for label in own}))
    wanted = as_labels(strategies or (), everyone)
    for label in wanted:
        if label not in runs:
            raise Refused(f"no cell of strategy {label!r} is done on {chosen}; {did_you_mean(label, runs)}")
    names = current().names
    drawn: dict[str, str] = {}
    for label in dict.fromkeys(wanted or _by_rank(runs)):
        name = drawn_text(names.get(label, label))
        name = f"{THIN_SPACE}{name}" if name.startswith("_") else name  # no legend shows names that begin with _
        if name in drawn:
            raise Refused(f"{drawn[name]!r} and {label!r} cannot both be called {name!r} in one picture")
        drawn[name] = label
    title = drawn_text(names.get(chosen, chosen), None)
    made = Runs(title, {name: runs[label] for name, label in drawn.items()}, everyone, drawn)
    try:
        for traces in made.traces.values():
            list(map(end_looks, traces))
    except Undefined as why:
        raise Refused(f"{chosen} cannot be drawn: {why}") from None
    return made


def as_labels(written: Iterable[str], labels: Iterable[str]) -> list[str]:
    """Return the labels of strategies, which may be written as the names that the current format draws."""
    known = {name: label for label, name in current().names.items()} | {label: label for label in labels}
    return [known.get(text, text) for text in written]


def _by_rank(runs: Mapping[str, Sequence[Record]]) -> list[str]:
    """Return labels from the best mean ACC to the worst, over the seeds of all if there are such; equals by name."""
    common = set.intersection(*({record.seed for record in found} for found in runs.values()))

    def rank(label: str) -> tuple[float, str]:
        found = [record.trace for record in runs[label] if not common or record.seed in common]
        try:
            return -float(np.mean([acc(trace) for trace in found if trace is not None])), label
        except Undefined:
            return np.inf, label

    return sorted(runs, key=rank)


def median_boundaries(runs: Mapping[str, Sequence[Trace]]) -> curves.Curve:
    """Return the iterations at which experiences begin, and the end, (E + 1,), as median over runs of one stream."""
    made: curves.Curve = np.median(
        [curves.experience_boundaries(trace) for traces in runs.values() for trace in traces], axis=0
    )
    return made


def has_step_looks(runs: Mapping[str, Sequence[Trace]]) -> bool:
    """Return whether any run was evaluated between ends."""
    return any((trace.kind == Kind.STEP).any() for traces in runs.values() for trace in traces)


def rows_error(runs: Mapping[str, Sequence[Trace]]) -> str:
    """Return the caption about the standard error from the number of evaluation samples; empty if it is 0."""
    largest, sizes = 0.0, set()
    for trace in (trace for traces in runs.values() for trace in traces):
        seen = visited(trace)
        largest = max(largest, float(np.nanmax(trace.standard_error[:, seen], initial=0.0)))
        sizes |= set(trace.rows[seen].tolist())
    if not largest:
        return ""
    count = str(min(sizes)) if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)}"
    measure = next(trace.measure for traces in runs.values() for trace in traces)
    error = measure.change(largest, fewer=1) + " points" * (measure == ACCURACY)
    return f"{count} samples a task: standard error at most {error}"


def default_window(lengths: Sequence[float]) -> int:
    """Return the number of iterations after a switch that contain the gap: a fifth of an experience, or 30 if it is
    longer.

    Args:
        lengths: Iterations of the experiences after the switches, at least one.
    """
    shortest = int(min(lengths))
    return max(2, min(shortest, max(30, shortest // 5)))


def on_other_streams(records: Mapping[str, Sequence[Record]]) -> set[str]:
    """Return the strategies with another stream than most: joint training, and others with a different stream.

    Streams are compared by their fingerprints, seed by seed.
    """
    joint = {record.key for record in joint_runs(record for found in records.values() for record in found)}
    outside = {label for label, found in records.items() if any(record.key in joint for record in found)}
    streams: dict[int, Counter[str]] = {}
    pairs = [(label, r) for label, found in records.items() if label not in outside for r in found if r.fingerprint]
    for _, record in pairs:
        streams.setdefault(record.seed, Counter())[record.fingerprint] += 1
    usual = {seed: counts.most_common(1)[0][0] for seed, counts in streams.items()}
    return outside | {label for label, record in pairs if record.fingerprint != usual[record.seed]}
