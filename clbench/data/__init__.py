"""Data sets: from a name or from arrays to rows in memory, decoded once and shared between processes.

No torch is imported here; only the torchvision source needs it, and only when it decodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from typing import Annotated, Any, Literal

from pydantic import Field

from clbench.core.parameters import validate
from clbench.core.types import Dataset
from clbench.data import dataset_registry
from clbench.data.arrays import from_arrays
from clbench.data.dataset_registry import DATASETS, check_name, parts, resolve, source
from clbench.data.joined import join, located
from clbench.data.pixel_values import Layout
from clbench.data.roots import data_root
from clbench.data.splits import Normalize, prepare

__all__ = [
    "DATASETS",
    "canonical",
    "check_name",
    "contents_of",
    "family_of",
    "finish",
    "from_arrays",
    "join",
    "load",
    "prepare",
    "read",
    "source",
]

READING = ("size", "scale", "layout", "background", "family")
"""Settings with which rows are read, before anything is held out."""
LATER = frozenset({"scale", "layout", "background", "family"})
"""Settings that stand in a cell only where they differ from their default, so that older cells keep their keys."""

Scale = Annotated[float, Field(gt=0)]
Background = Annotated[str, Field(pattern=r"^(black|white|grey|#[0-9a-fA-F]{6})$")]


def load(
    name: str,
    data_dir: str | PathLike[str] | None = None,
    *,
    normalize: Normalize = "none",
    validation: float = 0.0,
    train_rows: int | None = None,
    evaluate_on: Literal["test", "validation"] = "test",
    size: int | None = None,
    scale: Scale | None = None,
    layout: Layout | None = None,
    background: Background | None = None,
    family: Literal["classification", "regression"] | None = None,
) -> Dataset:
    """Load a data set by name; the keyword parameters are the settings of a benchmark file's ``dataset`` mapping.

    Args:
        name: A registered name (``digits``, ``mnist``), a torchvision class name (``FashionMNIST``), or
            ``folder:PATH``, ``npz:PATH``, ``parquet:PATH``, ``csv:PATH`` with a path relative to ``data_dir`` or
            absolute; or several of them with ``+`` between, which are joined in that order (see :func:`join`). A path
            with ``+`` may stand in quotes.
        data_dir: Where data sets lie and are downloaded to; else ``CLBENCH_DATA``, else the user's cache folder.
        normalize: ``mean-std`` stores the per-channel statistics of the remaining training rows in the result;
            ``columns`` those of each feature of vectors.
        validation: Fraction of the training rows held out, stratified, the same for every seed; in [0, 1).
        train_rows: Size of a fixed stratified subset of what remains; all where ``None``.
        evaluate_on: What becomes ``Dataset.test``: the test split or the rows held out.
        size: Side in pixels to which images are resized (both sides, bilinear); as they are where ``None``.
        scale: What values are divided by to lie in [0, 1], such as 255; told from them by default.
        layout: ``NHWC`` where channels come last, ``NCHW`` where they come first; told from the shape by default.
        background: What shows through transparent pixels of images: ``black`` (the default), ``white``, ``grey`` or
            ``#rrggbb``.
        family: ``regression`` where the labels of a file are numbers to be predicted, (N,) or (N, columns).

    Returns:
        The data set, its arrays memory-mapped where they come from the cache.

    Raises:
        Refused: Unknown name, missing or damaged files, unusable contents, or impossible settings.
    """
    return finish(
        read(name, data_dir, size=size, scale=scale, layout=layout, background=background, family=family),
        name,
        normalize=normalize,
        validation=validation,
        train_rows=train_rows,
        evaluate_on=evaluate_on,
    )


def canonical(options: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of :func:`load` checked and written out, as they enter a cell and its key.

    Raises:
        Refused: An unknown setting or a wrong type.
    """
    filled = validate(load, options, where="dataset")
    return {key: value for key, value in filled.items() if key not in LATER or value is not None}


def read(name: str, data_dir: str | PathLike[str] | None = None, **settings: Any) -> Dataset:
    """The whole data set of a name, before anything is held out: the first half of :func:`load`.

    Args:
        name: As there.
        data_dir: As there.
        settings: Those of :data:`READING`, as there.
    """
    root = data_root(data_dir)
    check_name(name, root)
    given = {key: value for key, value in settings.items() if value is not None}
    if given.get("family") == dataset_registry.family(name):
        del given["family"]  # as it is anyway
    names = parts(name, root)
    loaded = [resolve(part)(root, **given) for part in names]
    return loaded[0] if len(loaded) == 1 else join(loaded, names=names)


def family_of(name: str, options: Mapping[str, Any]) -> str:
    """The family of a data set, told without reading it: by its settings, or by its source.

    Args:
        name: As in :func:`load`.
        options: Settings of it.
    """
    return str(options.get("family") or dataset_registry.family(name))


def contents_of(name: str, data_dir: str | PathLike[str] | None = None) -> str:
    """What identifies the rows behind a name where the name alone does not.

    See :func:`clbench.data.dataset_registry.contents`.

    Raises:
        Refused: As there.
    """
    return dataset_registry.contents(name, data_root(data_dir))


def finish(
    whole: Dataset,
    name: str,
    *,
    normalize: Normalize = "none",
    validation: float = 0.0,
    train_rows: int | None = None,
    evaluate_on: Literal["test", "validation"] = "test",
) -> Dataset:
    """What :func:`load` makes of a whole data set: the second half of it."""
    prepared = prepare(
        whole, normalize=normalize, validation=validation, train_rows=train_rows, evaluate_on=evaluate_on, name=name
    )
    return replace(prepared, origins=located(prepared))
