"""Labelled pictures before they are decoded: which are chosen, which are test samples, and how they become arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.types import Dataset, Index
from clbench.data.arrays import assemble, checksum
from clbench.data.class_subset import positions
from clbench.data.drawn_split import draw_test, drawn, groups_to_draw
from clbench.data.images import decode_all
from clbench.data.labels import check_range, label_array

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class Pictures:
    """Hold the labels of one part of a data set, and how its pictures are opened.

    Args:
        y: (N,) raw labels.
        domain: (N,) raw domains, or ``None``.
        class_names: The name of label i at position i, if labels are numbers with names.
        open_image: A function from a position to its picture.
        where: A function from a position to the picture's name in messages.
        origin: Name of the part in messages.
        listed: (N, 2) experience and task of each picture, if it comes from a list.
        index: (n,) the positions that are chosen; ``None`` for all.
    """

    y: NDArray[Any]
    domain: NDArray[Any] | None
    class_names: list[str] | None
    open_image: Callable[[int], Image]
    where: Callable[[int], str]
    origin: str
    listed: Index | None = None
    index: Index | None = None

    def only(self, kept: NDArray[Any]) -> Pictures:
        """Return some of the pictures, by a mask or by positions."""
        index = (np.arange(len(self.y)) if self.index is None else self.index)[kept]
        domain, listed = (None if each is None else each[kept] for each in (self.domain, self.listed))
        return replace(self, y=self.y[kept], domain=domain, listed=listed, index=index)

    def decoded(self, **how: Any) -> NDArray[np.uint8]:
        """Return the pixels (n, C, H, W); settings are those of :func:`clbench.data.images.decode_all`."""
        at = (lambda i: i) if self.index is None else lambda i: int(self.index[i])
        return decode_all(len(self.y), lambda i: self.open_image(at(i)), where=lambda i: self.where(at(i)), **how)


def assembled(
    name: str,
    parts: Sequence[Pictures],
    *,
    where: str,
    split: Any = None,
    classes: Sequence[int | str] | None = None,
    family: str | None = None,
    scale: float | None = None,
    **how: Any,
) -> Dataset:
    """Return the data set of labelled pictures.

    Args:
        name: Name of the data set.
        parts: Training and test pictures, or all pictures as one part, of which test pictures are drawn.
        where: Name of the origin in messages.
        split: The setting ``split`` for one part.
        classes: The classes that are kept, as in :func:`clbench.data.class_subset.positions`; ``None`` for all.
        family: The family of the data set.
        scale: As in :func:`clbench.data.from_arrays`.
        how: Settings of :func:`clbench.data.images.decode_all`: ``size``, ``resize``, ``background``.

    Raises:
        Refused: Labels do not fit, a class is unknown or lacks samples, or a picture is unreadable.
    """
    names = parts[0].class_names
    if names is not None:
        for part in parts:
            check_range(part.y, len(names), part.origin)
    if classes is not None:
        if family is not None and family != "classification":
            raise Refused("dataset: classes goes with labels, and numbers are to be predicted; leave it out", "classes")
        parts, names = _chosen(parts, classes, where)
    found = list(parts) if len(parts) > 1 else _divided(parts[0], split, family, where)
    train, test = ((part.decoded(**how), part.y) for part in found)
    domains = None if found[0].domain is None else (found[0].domain, found[1].domain)
    made = assemble(
        name,
        train,
        test,
        where=where,
        class_names=names,
        scale=scale,
        layout="NCHW",
        family=family,
        domains=domains,
    )
    if found[0].listed is None:
        return made
    rows = (replace(made.train, listed=found[0].listed), replace(made.test, listed=found[1].listed))
    return replace(made, train=rows[0], test=rows[1], checksum=checksum(*rows, made.scale))


def _chosen(parts: Sequence[Pictures], classes: Sequence[int | str], where: str) -> tuple[list[Pictures], list[str]]:
    """Return the pictures of some classes, with their positions in the list as labels, and the names of these."""
    labels = [label_array(part.y, len(part.y), f"{part.origin}: labels") for part in parts]
    names = parts[0].class_names
    kinds = np.unique(labels[0]) if names is None else np.arange(len(names))
    every = [str(kind) for kind in kinds] if names is None else names
    kept = positions(classes, every, where)
    number = {kinds[c].item(): i for i, c in enumerate(kept)}
    found = []
    for part, y in zip(parts, labels, strict=True):
        new = np.array([number.get(label, -1) for label in y.tolist()], dtype=np.int64)
        found.append(replace(part, y=new).only(np.flatnonzero(new >= 0)))
    return found, [every[c] for c in kept]


def _divided(whole: Pictures, split: Any, family: str | None, where: str) -> list[Pictures]:
    """Return the training and test pictures of data that comes in one part."""
    groups = groups_to_draw(whole.y, len(whole.y), family, where)
    domain = None if whole.domain is None else label_array(whole.domain, len(whole.y), f"{where}: domains")
    held = draw_test(groups, where=where, domains=domain, **drawn(split, where))
    whole = replace(whole, domain=domain)
    return [whole.only(np.flatnonzero(~held)), whole.only(np.flatnonzero(held))]
