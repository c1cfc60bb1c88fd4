"""Drift: the images stay the same and their labels change, both in training and in evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.core.types import Dataset, Experience, Index, Rows, Stream, content_hash
from clbench.scenarios.ordered import check_classes, choose, class_tasks, even, whole_task
from clbench.scenarios.shared_settings import Output, common


def drift(
    dataset: Dataset,
    seed: int,
    *,
    kind: Literal["swap", "permute"] = "swap",
    pattern: Literal["sudden", "gradual", "recurring"] = "sudden",
    times: list[float] | None = None,
    changes: int | None = None,
    changes_per_pass: float | None = None,
    width: int = 0,
    concepts: int | None = None,
    passes: int = 1,
    pieces: int = 1,
    tasks: Literal["all", "classes"] = "all",
    output: Output = "seen",
    boundaries: bool = False,
) -> Stream:
    """Generate a stream with label drift: the output unit of each class follows a concept, and concepts change over
    time.

    The stream is ``passes`` times all training samples, each time in a new order. Concept 0 is the original labels. A
    ``swap`` exchanges the units of two random classes, in addition to all earlier swaps. With ``permute`` each new
    concept is a random permutation that differs from the one before. ``recurring`` cycles through K concepts, 0 to K -
    1 and then 0 again; each of its swaps is another pair, applied to concept 0. An experience ends at each change, so
    that every evaluation uses the current concept. Around a gradual change the share of the new concept rises linearly
    from 0 to 1 over ``width`` samples, and evaluation changes half way.

    Samples keep their order. A sample in the replay buffer keeps the label that it had when it was admitted.

    Args:
        dataset: The data set, with C classes and N training samples.
        seed: Determines the concepts, the orders of the samples, and which samples come early or late around gradual
            changes.
        kind: The kind of change, see above.
        pattern: ``sudden``; ``gradual``, which needs a ``width``; or ``recurring``, which is sudden, or gradual with a
            width.
        times: Times of the changes, as ascending fractions of the stream in (0, 1).
        changes: Number of changes, evenly spaced, at least 0. The default is 4 if no other rate is given.
        changes_per_pass: Changes in N samples, at least 0 (``swaps per epoch`` of the source). Change k comes after k N
            / changes_per_pass samples; none comes at the very end.
        width: Number of samples over which two concepts mix, from 0 to the shortest interval between two changes.
        concepts: K, at least 2, only for ``recurring``; by default 2.
        passes: How often every sample occurs in the stream. An experience longer than N samples holds some of them
            twice.
        pieces: Number of experiences in each interval between two changes.
        tasks: What is evaluated: ``all`` test samples as one task, or each of the ``classes`` of images.
        output: Which units compete: those ``seen`` so far, or ``all``.
        boundaries: Whether the strategy sees beginnings and ends of experiences.

    Raises:
        Refused: More than one of ``times``, ``changes`` and ``changes_per_pass`` is given, changes leave no sample
            between them, the width does not fit, or there are fewer different concepts than requested.

    Source: Man et al. 2022 (arXiv 2205.08645) and its ``lrh.py``: cumulative swaps, also of the validation labels.
    There, a change at the end of a pass comes before the accuracy is measured; here it comes after the evaluation.
    """
    for name, value, known in (
        ("kind", kind, ("swap", "permute")),
        ("pattern", pattern, ("sudden", "gradual", "recurring")),
        ("tasks", tasks, ("all", "classes")),
    ):
        choose(name, value, known)
    shared = common(setting="domain", output=output, task_labels=False, boundaries=boundaries)
    check_classes(dataset)
    stretches = _stretches(len(dataset.train), passes, times, changes, changes_per_pass)  # (S + 1,)
    _check_fit(pattern, width, pieces, stretches)
    label_map = _concepts(dataset, seed, kind, pattern, concepts, len(stretches) - 1)  # (V, C)
    plan = _Plan(dataset.train, seed, stretches, pieces, int(width), label_map, tasks == "classes", shared.boundaries)
    return Stream(
        name="drift",
        dataset=dataset,
        tasks=whole_task(dataset) if tasks == "all" else class_tasks(dataset),
        length=(len(stretches) - 1) * pieces,
        build=plan.experience,
        n_outputs=dataset.n_classes,
        seed=seed,
        description={
            "scenario": "drift",
            "output": shared.output,
            "boundaries": shared.boundaries,
            "kind": kind,
            "pattern": pattern,
            "changes": len(stretches) - 2,
            "stretches": content_hash(stretches.tolist()),
            "width": width,
            "concepts": content_hash(label_map.tolist()),
            "passes": passes,
            "pieces": pieces,
            "tasks": tasks,
        },
        label_map=label_map,
        output=shared.output,
        views_at=plan.views,
    )


# ------------------------------------------------------------------------------------------- when


def _stretches(
    rows: int, passes: int, times: list[float] | None, changes: int | None, changes_per_pass: float | None
) -> Index:
    """Return the boundaries of the intervals with one concept, in samples of the stream, shape (S + 1,)."""
    given = {"times": times, "changes": changes, "changes_per_pass": changes_per_pass}
    said = [name for name, value in given.items() if value is not None]
    if len(said) > 1:
        raise Refused(f"{' and '.join(said)} both say when the concept changes; give one of them", said[1])
    if passes < 1:
        raise Refused(f"passes = {passes} makes no stream; ask for at least 1", "passes")
    total = rows * passes
    if times is not None:
        if not all(0 < t < 1 for t in times):
            raise Refused(f"times = {times} are not all inside the stream; give fractions above 0 and below 1", "times")
        places = [float(t) * total for t in times]
    else:
        # number of intervals; the last one may be shorter than the others
        rate = changes_per_pass
        number = float(1 + (4 if changes is None else changes)) if rate is None else rate * passes
        if not (rate is None) <= number <= total:
            name, value = ("changes", changes) if rate is None else ("changes_per_pass", rate)
            raise Refused(
                f"{name} = {value} is not possible: the stream has {total} samples, and a stretch between two changes "
                f"holds at least one; ask for at least 0 and at most {total - 1} changes in all",
                name,
            )
        places = [k * total / number for k in range(1, math.ceil(number)) if k * total / number + 0.5 < total]
    cuts = np.array([0, *(math.floor(place + 0.5) for place in places), total], dtype=np.int64)
    if np.diff(cuts).min() < 1:
        raise Refused(
            f"times = {times} do not ascend, or leave no sample between two changes of a stream of {total} samples; "
            "give ascending fractions that are further apart",
            "times",
        )
    return cuts


def _check_fit(pattern: str, width: int, pieces: int, stretches: Index) -> None:
    """Refuse a width or a number of pieces that does not fit into the shortest interval."""
    shortest = int(np.diff(stretches).min())
    even(shortest, pieces, "pieces")
    if not (width == 0 if pattern == "sudden" else (pattern == "gradual") <= width <= shortest):
        raise Refused(
            f"width = {width} does not go with pattern = {pattern!r} and stretches of at least {shortest} samples: a "
            f"sudden change has none (0), a gradual one mixes 1 to {shortest} samples, a recurring one 0 to {shortest}",
            "width",
        )


# ------------------------------------------------------------------------------------------- what


def _concepts(dataset: Dataset, seed: int, kind: str, pattern: str, concepts: int | None, stretches: int) -> Index:
    """Return the output unit of each class under each concept, (V, C); the first concept is the original labels."""
    n_classes, draw = dataset.n_classes, Generator(seed, "stream")
    if n_classes < 2:
        raise Refused(f"{dataset.name!r} has one class, so that no label can change; choose other data")
    if pattern == "recurring":
        return _distinct(n_classes, kind, 2 if concepts is None else concepts, draw)
    if concepts is not None:
        raise Refused(
            f"concepts = {concepts} belongs to pattern = 'recurring', not to {pattern!r}; leave it out", "concepts"
        )
    concept = list(range(n_classes))
    label_map = [concept]
    first, second = draw.integers(stretches - 1, n_classes), draw.integers(stretches - 1, n_classes - 1)
    second += second >= first  # any class but the first
    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        concept = list(concept)
        if kind == "swap":
            concept[i], concept[j] = concept[j], concept[i]
        while concept == label_map[-1]:
            concept = draw.permutation(n_classes).tolist()
        label_map.append(concept)
    return np.array(label_map, dtype=np.int64)


def _distinct(n_classes: int, kind: str, concepts: int, draw: Generator) -> Index:
    """Return different concepts to cycle through, (K, C): the identity, and other permutations or single swaps."""
    most = 1 + math.comb(n_classes, 2) if kind == "swap" else math.factorial(n_classes)
    if not 2 <= concepts <= most:
        raise Refused(
            f"concepts = {concepts} cannot recur with kind = {kind!r} and {n_classes} classes; ask for 2 to {most}",
            "concepts",
        )
    label_map = np.tile(np.arange(n_classes, dtype=np.int64), (concepts, 1))
    if kind == "swap":
        pairs = np.stack(np.triu_indices(n_classes, 1), axis=1)[draw.sample(most - 1, concepts - 1)]
        for v, pair in enumerate(pairs, start=1):
            label_map[v, pair] = pair[::-1]
        return label_map
    known = {label_map[0].tobytes()}
    for v in range(1, concepts):
        while label_map[v].tobytes() in known:
            label_map[v] = draw.permutation(n_classes)
        known.add(label_map[v].tobytes())
    return label_map


# ------------------------------------------------------------------------------------------- the stream


@lru_cache(maxsize=4)
def _order(seed: int, number: int, rows: int) -> Index:
    """Return the order of all samples in a pass. It is cached for experiences that share it; do not modify it."""
    order = Generator(seed, f"stream/pass/{number}").permutation(rows)
    order.flags.writeable = False
    return order


@dataclass(frozen=True, eq=False)
class _Plan:
    """Build experiences, and return the current concept of each.

    Args:
        train: The training samples.
        seed: The seed of the stream.
        stretches: (S + 1,) boundaries of the intervals with one concept.
        pieces: Number of experiences in each interval.
        width: Number of samples over which two concepts mix.
        label_map: (V, C) output unit of each class under each concept.
        by_class: Whether tasks are classes.
        boundary: Whether the strategy sees beginnings and ends of experiences.
    """

    train: Rows
    seed: int
    stretches: Index
    pieces: int
    width: int
    label_map: Index
    by_class: bool
    boundary: bool

    def views(self, experience: int) -> Index:
        """Return the concept (T,) under which each task is evaluated while an experience runs."""
        tasks = self.label_map.shape[1] if self.by_class else 1
        return np.full(tasks, experience // self.pieces % len(self.label_map), dtype=np.int64)

    def experience(self, i: int) -> Experience:
        """Build experience i."""
        stretch, piece = divmod(i, self.pieces)
        start, stop = (int(place) for place in self.stretches[stretch : stretch + 2])
        size, longer = divmod(stop - start, self.pieces)  # the first pieces are one longer
        first, last = (start + size * p + min(p, longer) for p in (piece, piece + 1))
        rows = self._rows(first, last)
        view = self._view(i, stretch, np.arange(first, last))
        y = self.train.y[rows]
        return Experience(
            i,
            rows,
            task=y if self.by_class else 0,
            view=view,
            classes=tuple(int(unit) for unit in np.unique(self.label_map[view, y])),
            boundary=self.boundary,
            shuffled=False,
        )

    def _rows(self, start: int, stop: int) -> Index:
        """Return the samples at positions ``start`` to ``stop`` of all passes one after another."""
        n = len(self.train)
        parts = [
            _order(self.seed, p, n)[max(0, start - p * n) : stop - p * n] for p in range(start // n, -(-stop // n))
        ]
        return np.concatenate(parts)

    def _view(self, i: int, stretch: int, position: Index) -> int | Index:
        """Return the concept of each position (N,), or one integer if it is the same for all."""
        start, stop = self.stretches[stretch], self.stretches[stretch + 1]
        number = np.full(len(position), stretch, dtype=np.int64)
        if self.width:
            u = Generator(self.seed, f"stream/rows/{i}").uniform(len(position))
            # progress of the transition at the middle of each sample: from 0 to 1 over width samples, 1/2 at the change
            since, until = ((position + 0.5 - place) / self.width + 0.5 for place in (start, stop))
            number[u >= since] -= stretch > 0
            number[u < until] += stop < self.stretches[-1]
        number %= len(self.label_map)
        return int(number[0]) if (number == number[0]).all() else number
