"""The realised content of a stream: its hash, and the checks that every generator of streams must pass."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from clbench.core.types import Experience, Index, Rows, Stream, Task

REPETITIONS = ("none", "between", "within")
"""How training samples may recur: never, in several experiences, or also several times within one. Each value includes
the ones before it."""

SPOT_CHECKS = 5
"""Number of experiences that are built again alone, to check that building does not depend on the order."""


def realised_hash(stream: Stream) -> str:
    """Return the hash of all training and evaluation data in order; 16 hex digits.

    It covers samples, output units, tasks, views and classes. Two streams with equal hashes on the same data present
    the same samples with the same labels, whichever recipe generated them. The stream is read once, one experience at a
    time. A transform counts by its description.
    """
    digest = hashlib.sha256()
    transform = None if stream.transform is None else stream.transform.describe()
    head = [stream.length, stream.n_outputs, stream.task_labels, stream.output, stream.dataset.checksum, transform]
    digest.update(json.dumps(head, sort_keys=True).encode())
    for experience in stream:
        _feed(digest, stream, stream.dataset.train, experience)
        digest.update(bytes([experience.boundary, experience.shuffled]))
        if stream.views_at is not None:
            digest.update(_bytes(stream.task_views(experience.id)))
    for task in stream.tasks:
        _feed(digest, stream, stream.dataset.test, task)
    return digest.hexdigest()[:16]


def _feed(digest: Any, stream: Stream, rows: Rows, part: Experience | Task) -> None:
    digest.update(f"{part.id}/{len(part.rows)}/{part.classes}/".encode())
    task = part.task if isinstance(part, Experience) else part.id
    for column in (part.rows, stream.labels(rows, part.rows, part.view), task, part.view):
        digest.update(_bytes(np.broadcast_to(np.asarray(column), len(part.rows))))


def _bytes(column: Index) -> bytes:
    return np.ascontiguousarray(column, dtype="<i8").tobytes()


def repetition(stream: Stream) -> str:
    """Return how training samples recur in a stream, one of :data:`REPETITIONS`."""
    seen = np.zeros(len(stream.dataset.train), dtype=np.bool_)
    found = "none"
    for experience in stream:
        count = np.bincount(experience.rows, minlength=len(seen))
        if count.max(initial=0) > 1:
            return "within"
        if (seen & (count > 0)).any():
            found = "between"
        seen |= count > 0
    return found


# ------------------------------------------------------------------------------------------- the contract


def check_stream(make: Callable[[], Stream]) -> list[str]:
    """Return the faults of a generator of streams, one sentence each; empty if it has none.

    Two builds must agree in fingerprint and content. Every experience must be the same if built alone and in any order.
    Samples must be training samples (and those of tasks test samples, which are other arrays, so that no test sample
    can be trained on). Labels, tasks and classes must be in range and as declared. Samples must not recur more than
    ``description["repetition"]`` says, one of :data:`REPETITIONS`, if the generator declares it.

    Args:
        make: A function that makes the stream; called twice.
    """
    first, second = make(), make()
    problems = list(_faults(first))
    if problems:
        return problems  # a stream with samples out of range cannot be read
    if first.fingerprint != second.fingerprint:
        problems.append(
            f"two builds have fingerprints {first.fingerprint} and {second.fingerprint}; the description must follow "
            "from data set, settings and seed alone"
        )
    elif realised_hash(first) != realised_hash(second):
        problems.append(
            "two builds have one fingerprint and hold different samples or labels; draw everything from "
            "clbench.core.rng with the stream's seed"
        )
    return [*problems, *_order_faults(first), *_repetition_faults(first)]


def _faults(stream: Stream) -> Iterator[str]:
    """Yield all values that are out of range, for each kind the first occurrence."""
    if len(stream) < 1 or not stream.tasks:
        yield f"the stream has {len(stream)} experiences and {len(stream.tasks)} tasks; it needs at least one of each"
        return
    told: set[str] = set()
    for what, part, rows in _parts(stream):
        for kind, fault in _part_faults(stream, part, rows):
            if kind not in told:
                told.add(kind)
                yield f"{what} {part.id}: {fault}"
    for i, task in enumerate(stream.tasks):
        if task.id != i:
            yield f"the task at place {i} has id {task.id}; ids count from 0 in order"
            return
    try:
        json.dumps(stream.description, allow_nan=False)
    except (TypeError, ValueError) as error:
        yield f"the description cannot be written as JSON ({error}); use plain numbers, strings, lists and mappings"


def _parts(stream: Stream) -> Iterator[tuple[str, Experience | Task, Rows]]:
    for experience in stream:
        yield "experience", experience, stream.dataset.train
    for task in stream.tasks:
        yield "task", task, stream.dataset.test


def _part_faults(stream: Stream, part: Experience | Task, rows: Rows) -> Iterator[tuple[str, str]]:
    """Yield kind and sentence of each fault of one experience or task."""
    index = part.rows
    if index.dtype != np.int64 or index.ndim != 1 or len(index) == 0:
        yield "form", f"rows are {index.dtype} of shape {index.shape}; give at least one, int64 of shape (N,)"
        return
    if index.min() < 0 or index.max() >= len(rows):
        yield "range", f"rows go from {index.min()} to {index.max()}, and there are {len(rows)}"
        return
    columns = {"view": part.view, **({"task": part.task} if isinstance(part, Experience) else {})}
    for name, column in columns.items():
        if np.shape(column) not in ((), index.shape):
            yield "form", f"{name} has shape {np.shape(column)}; give one integer, or one per sample {index.shape}"
            return
    if isinstance(part, Experience) and not 0 <= np.min(part.task) <= np.max(part.task) < len(stream.tasks):
        yield "task", f"tasks go from {np.min(part.task)} to {np.max(part.task)}, and there are {len(stream.tasks)}"
    views = np.inf if stream.label_map is None else len(stream.label_map)
    if not 0 <= np.min(part.view) <= np.max(part.view) < views:
        yield "view", f"views go from {np.min(part.view)} to {np.max(part.view)}, and labels are mapped for {views}"
        return
    labels = stream.labels(rows, index, part.view)
    if labels.min() < 0 or labels.max() >= stream.n_outputs:
        yield "label", f"labels go from {labels.min()} to {labels.max()}, and there are {stream.n_outputs} output units"
    elif tuple(np.unique(labels).tolist()) != tuple(part.classes):
        yield "classes", f"classes are said to be {part.classes} and are {tuple(np.unique(labels).tolist())}"


def _order_faults(stream: Stream) -> Iterator[str]:
    """Yield a fault if experiences that are built again, the last one first, differ from those built in order."""
    some = set(np.linspace(0, len(stream) - 1, min(len(stream), SPOT_CHECKS)).astype(int).tolist())
    in_order = {e.id: _print(stream, e) for e in stream if e.id in some}
    if set(in_order) != some:
        yield "the ids of experiences are not their positions"
        return
    for i in sorted(some, reverse=True):
        if _print(stream, stream.build(i)) != in_order[i]:
            yield (
                f"experience {i} differs when it is built again out of order; build(i) must depend on i alone, with a "
                "generator of its own for each experience"
            )
            return


def _print(stream: Stream, experience: Experience) -> str:
    digest = hashlib.sha256()
    _feed(digest, stream, stream.dataset.train, experience)
    return digest.hexdigest()


def _repetition_faults(stream: Stream) -> Iterator[str]:
    declared = stream.description.get("repetition")
    if declared is None:
        return
    if declared not in REPETITIONS:
        yield f"repetition = {declared!r} in the description is none of {', '.join(REPETITIONS)}"
        return
    found = repetition(stream)
    if REPETITIONS.index(found) > REPETITIONS.index(declared):
        yield f"samples recur {found!r} experiences, and the description declares repetition = {declared!r}"
