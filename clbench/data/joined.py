"""Joined data sets: samples one after another, with all classes, and pixels on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.types import Dataset, Origin, Rows
from clbench.data.arrays import checksum


def join(datasets: Sequence[Dataset], *, names: Sequence[str] | None = None) -> Dataset:
    """Join data sets to one; a class of a data set is then called ``name/class``.

    The labels of each data set follow those of the one before it. Grey images are repeated to three channels if another
    data set has colour. If scales or types differ, 8-bit images are brought to 0..255 (rounded), all others to floats
    in [0, 1]. Statistics for normalisation are left out, since they depend on the whole.

    Args:
        datasets: At least two, with images of one height and width or vectors of one length.
        names: Names for the data sets; by default their own.

    Raises:
        Refused: There are fewer than two, two have the same name, or the shapes of samples cannot be made equal.
    """
    names = [dataset.name for dataset in datasets] if names is None else list(names)
    others = [dataset.name for dataset in datasets if dataset.family != "classification"]
    if others:
        raise Refused(
            f"data sets of classes can be joined, and {others[0]!r} holds numbers to be predicted; use it alone"
        )
    if len(datasets) < 2 or len(set(names)) < len(names):
        raise Refused(f"a sequence joins at least two data sets with different names, not {names}")
    datasets = [replace(dataset, name=name) for dataset, name in zip(datasets, names, strict=True)]
    channels = _channels(datasets)
    convert, scale = _common_scale(datasets)

    def together(split: str) -> Rows:
        parts: list[Rows] = [getattr(dataset, split) for dataset in datasets]
        x = [_widened(convert(part.x, d.scale), channels) for part, d in zip(parts, datasets, strict=True)]
        starts = np.cumsum([0, *(d.n_classes for d in datasets)])
        y = [part.y + start for part, start in zip(parts, starts, strict=False)]
        return Rows(np.concatenate(x), np.concatenate(y).astype(np.int64))

    train, test = together("train"), together("test")
    ends = [np.cumsum([0, *sizes]).tolist() for sizes in zip(*map(_sizes, datasets), strict=True)]
    spans = (list(pairwise(stops)) for stops in ends)
    return Dataset(
        name="+".join(names),
        train=train,
        test=test,
        class_names=tuple(f"{d.name}/{name}" for d in datasets for name in d.class_names),
        scale=scale,
        checksum=checksum(train, test, scale),
        origins=tuple(Origin(name, *span) for name, *span in zip(names, *spans, strict=True)),
    )


def located(dataset: Dataset) -> tuple[Origin, ...]:
    """Return the origins with new ranges, after some samples were left out; the order of samples must be unchanged."""

    def span(rows: Rows, origin: Origin) -> tuple[int, int]:
        own = np.flatnonzero((rows.y >= origin.classes[0]) & (rows.y < origin.classes[1]))
        return int(own[0]), int(own[-1]) + 1

    return tuple(
        replace(origin, train=span(dataset.train, origin), test=span(dataset.test, origin))
        for origin in dataset.origins
    )


def _sizes(dataset: Dataset) -> tuple[int, int, int]:
    return len(dataset.train), len(dataset.test), dataset.n_classes


def _channels(datasets: Sequence[Dataset]) -> int | None:
    """Return the number of channels for all images; ``None`` for vectors."""
    shapes = {dataset.name: dataset.shape for dataset in datasets}
    told = ", ".join(f"{name} has {shape}" for name, shape in shapes.items())
    if len({(len(shape), *shape[1:]) if len(shape) == 3 else shape for shape in shapes.values()}) > 1:
        raise Refused(f"samples of different shapes cannot be joined ({told}); set size to bring images to one size")
    counts = {shape[0] for shape in shapes.values()}
    if len(datasets[0].shape) != 3:
        return None
    if len(counts) > 1 and counts != {1, 3}:
        raise Refused(f"images of {sorted(counts)} channels cannot be joined ({told}); only 1 and 3 go together")
    return max(counts)


def _widened(x: NDArray[Any], channels: int | None) -> NDArray[Any]:
    """Repeat grey images (N, 1, H, W) to the given number of channels."""
    return x if channels is None or x.shape[1] == channels else np.repeat(x, channels, axis=1)


def _common_scale(datasets: Sequence[Dataset]) -> tuple[Any, float]:
    """Return a function from stored values and their scale to values on the common scale, and that scale."""
    if len({(d.train.x.dtype, d.scale) for d in datasets}) == 1:
        return (lambda x, _: x), datasets[0].scale
    if all(_eight_bit(d) for d in datasets):
        levels = np.arange(256)
        return (lambda x, scale: np.minimum(np.rint(levels * scale * 255), 255).astype(np.uint8)[x]), 1 / 255
    return (lambda x, scale: np.asarray(x, dtype=np.float32) * np.float32(scale)), 1.0


def _eight_bit(dataset: Dataset) -> bool:
    """Return whether values are 8-bit and at most 1 when scaled."""
    top = max(int(rows.x.max()) if rows.x.dtype == np.uint8 else 0 for rows in (dataset.train, dataset.test))
    return dataset.train.x.dtype == np.uint8 and top * dataset.scale <= 1 + 1e-9
