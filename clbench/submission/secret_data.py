"""Change a data set by a secret key: as hard as before, and unknown to whoever knows the test samples by heart.

The key permutes the labels, and the pixels too where this changes nothing for an honest strategy: in a multilayer
perceptron every input has an equal place, so that permuted pixels are as easy as plain ones. Networks that use the
places of pixels (convolutions, patches, pretrained weights), augmentations, and scenarios that rotate or corrupt images
get mirrored and turned images in place of permuted pixels. Test samples are changed like training samples, so the task
is as hard as before. A strategy that knows the answers by heart gives those of the plain data.

Every class gets another label. Where the benchmark fixes the order of classes, labels are permuted within the classes
of one task, so that the tasks stay as hard as they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.rng import Generator
from clbench.core.types import Dataset, Index, Rows, content_hash
from clbench.running.plan import make_stream, rows

NEUTRAL_MODELS = ("mlp",)
"""Models in which all inputs have equal places."""
OF_PLACES = ("rotated", "corrupted")
"""Scenarios that change images in a way that depends on the places of pixels."""


def secret_data(
    cell: Mapping[str, Any], seeds: Sequence[int], key: int, *, data_dir: str | None = None
) -> tuple[Dataset, str]:
    """Return the data set of a cell after the changes of a key, and the changes in words.

    Args:
        cell: The configuration of the cell.
        seeds: Seeds of its row; two of them tell whether the benchmark fixes the order of classes.
        key: The secret key.
        data_dir: The folder of data sets.
    """
    plain = rows(cell["stream"], data_dir=data_dir)
    draws = Generator(key, "submission/secret data")
    places, told = _places(cell, plain, draws)
    changed = _moved(plain, places) if places is not None else plain
    labels = np.arange(plain.n_classes)
    if plain.family == "classification":
        labels = _labels(_groups(cell, plain, seeds, data_dir), plain.n_classes, draws)
        changed = _relabelled(changed, labels)
        told = f"{told}permuted labels"
    else:
        told = told.removesuffix(" and ") or "no change"
    return replace(
        changed,
        checksum=content_hash(
            [plain.checksum, hex(key), told, labels.tolist(), [] if places is None else places.tolist()]
        ),
    ), told


# ------------------------------------------------------------------------------------------------- labels


def _groups(cell: Mapping[str, Any], plain: Dataset, seeds: Sequence[int], data_dir: str | None) -> Index:
    """Return (C,) the group of each class; a label may become any other one of its group."""
    of_origin = np.zeros(plain.n_classes, dtype=np.int64)
    for number, origin in enumerate(plain.origins):
        of_origin[origin.classes[0] : origin.classes[1]] = number
    memberships = []
    for seed in sorted(set(seeds))[:2]:
        stream = make_stream(cell["stream"], seed, data_dir=data_dir)
        member = np.zeros((len(stream.tasks), plain.n_classes), dtype=bool)
        for task in stream.tasks:
            member[task.id, np.unique(plain.test.y[task.rows])] = True
        memberships.append(member)
    fixed = len(memberships) < 2 or np.array_equal(memberships[0], memberships[1])
    columns = np.concatenate([of_origin[None], memberships[0]]) if fixed else of_origin[None]
    return np.unique(columns, axis=1, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _labels(groups: Index, n_classes: int, draws: Generator) -> Index:
    """Return (C,) the new label of each class: one random cycle through each group, so that none keeps its own."""
    labels = np.arange(n_classes)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        cycle = members[draws.permutation(len(members))]
        labels[cycle] = np.roll(cycle, -1)
    return labels


def _relabelled(data: Dataset, labels: Index) -> Dataset:
    names = np.empty(data.n_classes, dtype=object)
    names[labels] = data.class_names
    train, test = (replace(part, y=labels[part.y]) for part in (data.train, data.test))
    return replace(data, train=train, test=test, class_names=tuple(map(str, names)))


# ------------------------------------------------------------------------------------------------- inputs


def _places(cell: Mapping[str, Any], plain: Dataset, draws: Generator) -> tuple[Index | None, str]:
    """Return (P,) the old place of each new pixel of a channel, or of each new column, with words; ``None`` for no
    change."""
    shape, model = plain.shape, cell["model"]
    if plain.tokens:
        return None, ""
    if learns_any_order_of_inputs(cell):
        return draws.permutation(int(np.prod(shape[-2:])) if len(shape) == 3 else shape[0]), "permuted pixels and "
    if len(shape) != 3:
        return None, ""
    grid = np.arange(shape[1] * shape[2]).reshape(shape[1:])
    turned = [grid[:, ::-1]]  # pretrained weights know images the right way up
    if model.get("weights") is None:
        turned += [grid[::-1], grid[::-1, ::-1]]
        if shape[1] == shape[2]:
            turned += [grid.T, grid.T[::-1], grid.T[:, ::-1], grid.T[::-1, ::-1]]
    return turned[int(draws.integers(1, len(turned))[0])].reshape(-1), "mirrored or turned images and "


def learns_any_order_of_inputs(cell: Mapping[str, Any]) -> bool:
    """Return whether an honest strategy learns permuted pixels as easily as plain ones."""
    stream = cell["stream"]
    views = any("strong" in (item.get("parameters") or {}) for item in cell["strategy"])
    return bool(
        cell["model"].get("name") in NEUTRAL_MODELS
        and cell["training"].get("augment", "none") == "none"
        and stream.get("scenario") not in OF_PLACES
        and not stream.get("apply")
        and not views
    )


def _moved(data: Dataset, places: Index) -> Dataset:
    train, test = (_moved_rows(part, places) for part in (data.train, data.test))
    moved = replace(data, train=train, test=test)
    if len(data.shape) != 1:
        return moved  # one mean for each channel, whose pixels stay in it

    def own(held: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(held[place] for place in places) if len(held) == len(places) else held

    return replace(moved, mean=own(data.mean), std=own(data.std), input_names=own(data.input_names))


def _moved_rows(part: Rows, places: Index) -> Rows:
    x: NDArray[Any] = np.asarray(part.x)
    flat = x.reshape(*x.shape[:2], -1) if x.ndim == 4 else x
    return replace(part, x=np.ascontiguousarray(flat[..., places]).reshape(x.shape))
