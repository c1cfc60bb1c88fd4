"""Some of the classes of a data set: the setting ``classes``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator

from clbench.core.errors import Refused
from clbench.core.name_lists import listed_in
from clbench.core.near_names import nearest
from clbench.core.types import Dataset, Index, Rows
from clbench.data.arrays import checksum
from clbench.data.labels import some


def written_classes(written: Any) -> Any:
    """Return the setting ``classes`` as a list; a file with one name a line is read.

    Raises:
        ValueError: The file does not exist or cannot be used, the list is too short, or it holds something twice.
    """
    if isinstance(written, str):
        names = listed_in(written)
        if names is None:
            raise ValueError(
                f"there is no file {written}; write a list of classes, or a file with one name a line, beside the "
                "benchmark file or with an absolute path"
            )
        written = names
    if len(written) < 2:
        raise ValueError("it names fewer than two classes; name at least two")
    twice = next((each for i, each in enumerate(written) if each in written[:i]), None)
    if twice is not None:
        raise ValueError(f"it holds {twice!r} twice; name each class once")
    return list(written)


Classes = Annotated[list[int | str] | str, AfterValidator(written_classes)]
"""Names of classes, or their numbers, or a file with one name a line."""


def positions(classes: Sequence[int | str], names: Sequence[str], where: str) -> Index:
    """Return the positions of chosen classes among all, in the order in which they are chosen.

    Args:
        classes: Names of classes, or their numbers.
        names: The names of all classes.
        where: Name of the data set in messages.

    Raises:
        Refused: A class does not exist, or is chosen twice.
    """
    place = {name: i for i, name in enumerate(names)}
    found = []
    for each in classes:
        if isinstance(each, int):
            if not 0 <= each < len(names):
                raise Refused(
                    f"classes: {where} has no class {each}; its numbers go from 0 to {len(names) - 1}", "classes"
                )
            found.append(each)
        elif each in place:
            found.append(place[each])
        else:
            near = nearest(each, names)
            hint = f"did you mean {near!r}?" if near else f"it has {some(list(names))}"
            raise Refused(f"classes: {where} has no class {each!r}; {hint}", "classes")
    if len(set(found)) < len(found):
        raise Refused(f"classes: a class of {where} is chosen by its name and by its number; name it once", "classes")
    return np.asarray(found, dtype=np.int64)


def subset(dataset: Dataset, classes: Sequence[int | str]) -> Dataset:
    """Return the samples of some classes; classes are numbered in the order in which they are chosen.

    Args:
        dataset: The data set.
        classes: As in :func:`positions`.

    Raises:
        Refused: As there, or the data set has no classes.
    """
    if dataset.family != "classification":
        raise Refused("dataset: classes goes with labels, and this data set holds numbers to predict; leave it out")
    kept = positions(classes, dataset.class_names, f"data set {dataset.name!r}")
    number = np.full(dataset.n_classes, -1, dtype=np.int64)
    number[kept] = np.arange(len(kept))

    def some_of(rows: Rows) -> Rows:
        held = number[rows.y] >= 0
        domain, listed = (None if each is None else each[held] for each in (rows.domain, rows.listed))
        return Rows(np.asarray(rows.x)[held], number[rows.y][held], None, domain, listed)

    train, test = some_of(dataset.train), some_of(dataset.test)
    return replace(
        dataset,
        train=train,
        test=test,
        class_names=tuple(dataset.class_names[c] for c in kept),
        checksum=checksum(train, test, dataset.scale),
        origins=(),
    )
