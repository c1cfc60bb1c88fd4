"""Check that two streams have nothing in common: no class, by data set and name, and no sample, by its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from clbench.core.errors import Refused
from clbench.core.types import Dataset, Index, Rows, Stream
from clbench.data.dataset_registry import DATASETS

NAMED = 3
"""Number of common classes that a message names."""


def check_nothing_shared(ours: Stream, theirs: Stream, benchmark: str, other: str) -> None:
    """Refuse to search settings on a stream that shares classes or samples with the reported one.

    Args:
        ours: The reported stream.
        theirs: The stream of the search.
        benchmark: Name of the reported benchmark, for the message.
        other: Name of the other one.

    Raises:
        Refused: They share a class or a sample.
    """
    shared = shared_classes(ours, theirs)
    cure = "choose a benchmark with other classes and samples, or the protocol first:K"
    if shared:
        named = ", ".join(shared[:NAMED]) + (", ..." if len(shared) > NAMED else "")
        what = f"{len(shared)} classes" if len(shared) > 1 else "the class"
        raise Refused(f"protocol other:{other} is not possible: {benchmark} and {other} share {what} ({named}); {cure}")
    count = shared_samples(ours, theirs)
    if count:
        raise Refused(
            f"protocol other:{other} is not possible: {count} sample{'s' * (count != 1)} of {other} "
            f"{'are' if count != 1 else 'is'} also in {benchmark}; {cure}"
        )


def shared_classes(ours: Stream, theirs: Stream) -> list[str]:
    """Return the names of classes that both streams use, in order.

    Classes of one data set are equal if their numbers are. Classes of two are equal if their names are, in any case of
    letters. Names that are numbers count only between data sets that clbench knows by name, where they mean digits; in
    a user's files they may mean anything. Families without classes have no class in common.
    """
    if "classification" not in (ours.family, theirs.family) or ours.family != theirs.family:
        return []
    own, other = _classes(ours), _classes(theirs)
    if ours.dataset.name == theirs.dataset.name and ours.dataset.class_names == theirs.dataset.class_names:
        return [ours.dataset.class_names[each] for each in sorted(own & other)]
    mean = _known(ours.dataset) and _known(theirs.dataset)
    names = {_plain(theirs.dataset.class_names[each]) for each in other}
    found = [ours.dataset.class_names[each] for each in sorted(own)]
    return [name for name in found if _plain(name) in names and (mean or not _plain(name).isdigit())]


def shared_samples(ours: Stream, theirs: Stream) -> int:
    """Return how many different samples of the other stream are also in the reported one, byte for byte."""
    one, two = ours.dataset.train.x, theirs.dataset.train.x
    if one.shape[1:] != two.shape[1:] or one.dtype != two.dtype:
        return 0
    return len(set(_checksums(ours)) & set(_checksums(theirs)))


def _known(dataset: Dataset) -> bool:
    return all(name in {entry.name for entry in DATASETS} for name in dataset.name.split("+"))


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").split())


def _used(stream: Stream) -> Iterator[tuple[Rows, Index]]:
    """Yield the training and the test samples that a stream uses, each with their positions."""
    yield stream.dataset.train, np.unique(np.concatenate([experience.rows for experience in stream]))
    yield stream.dataset.test, np.unique(np.concatenate([task.rows for task in stream.tasks]))


def _classes(stream: Stream) -> set[int]:
    return {int(label) for rows, index in _used(stream) for label in np.unique(np.asarray(rows.y[index]))}


def _checksums(stream: Stream) -> Iterator[bytes]:
    for rows, index in _used(stream):
        for place in index:
            yield hashlib.blake2b(np.ascontiguousarray(rows.x[place]).tobytes(), digest_size=12).digest()
