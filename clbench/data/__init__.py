"""Data sets: from a name or from arrays to samples in memory, decoded once and shared between processes.

This package imports no torch; only the torchvision source needs it, and only for decoding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from typing import Annotated, Any, Literal

from pydantic import Field

from clbench.core.errors import Refused
from clbench.core.parameters import validate
from clbench.core.types import Dataset
from clbench.data import dataset_registry
from clbench.data.arrays import from_arrays
from clbench.data.class_counts import known_classes
from clbench.data.class_subset import Classes, subset
from clbench.data.dataset_registry import DATASETS, check_name, parts, resolve, source
from clbench.data.drawn_split import Split
from clbench.data.frames import from_frame
from clbench.data.joined import join, located
from clbench.data.pixel_values import Layout
from clbench.data.resizing import Resize, check_resize
from clbench.data.roots import Missing as MissingFiles
from clbench.data.roots import data_root
from clbench.data.splits import Normalize, Statistics, prepare
from clbench.data.table_columns import Categories, Missing

__all__ = [
    "DATASETS",
    "canonical",
    "check_name",
    "class_count",
    "contents_of",
    "family_of",
    "finish",
    "from_arrays",
    "from_frame",
    "join",
    "load",
    "may_be_vectors",
    "prepare",
    "read",
    "source",
    "takes",
]

TABLE = ("label", "group", "split", "categories", "missing", "ignore")
"""Settings of files that say which column is what, and how the data set is divided."""
READING = ("size", "resize", "classes", "scale", "layout", "background", "family", "of", *TABLE)
"""Settings that are applied when samples are read, before any samples are held out."""
LATER = frozenset(
    {"test_rows", "resize", "classes", "scale", "layout", "background", "family", "of", "statistics", *TABLE}
)
"""Settings that a cell includes only if they differ from their default, so that older cells keep their keys."""

Scale = Annotated[float, Field(gt=0)]
Background = Annotated[str, Field(pattern=r"^(black|white|grey|#[0-9a-fA-F]{6})$")]


def load(
    name: str,
    data_dir: str | PathLike[str] | None = None,
    *,
    normalize: Normalize = "none",
    validation: float = 0.0,
    train_rows: int | None = None,
    test_rows: int | None = None,
    evaluate_on: Literal["test", "validation"] = "test",
    size: int | None = None,
    resize: Resize | None = None,
    classes: Classes | None = None,
    scale: Scale | None = None,
    layout: Layout | None = None,
    background: Background | None = None,
    family: Literal["classification", "regression"] | None = None,
    label: str | list[str] | None = None,
    group: str | None = None,
    split: Split = None,
    categories: Categories | None = None,
    missing: Missing | None = None,
    ignore: list[str] | None = None,
    statistics: Statistics | None = None,
    of: str | None = None,
) -> Dataset:
    """Load a data set by name. The keyword parameters are the settings of ``dataset`` in a benchmark file.

    Args:
        name: A registered name (``digits``, ``mnist``), the name of a torchvision class (``FashionMNIST``), or
            ``folder:PATH``, ``npz:PATH``, ``parquet:PATH``, ``csv:PATH``, ``list:PATH`` with a path that is absolute or
            relative to ``data_dir``. Several names with ``+`` between them are joined in that order (see :func:`join`).
            A path that contains ``+`` may be put in quotes.
        data_dir: The directory of data sets and downloads; by default ``CLBENCH_DATA``, or else the user's cache.
        normalize: ``mean-std`` stores the statistics of the remaining training samples in the result: per channel of
            images, per column of vectors. A batch is normalised with them.
        validation: Fraction of the training samples to hold out, stratified, equal for every seed; in [0, 1).
        train_rows: Size of a fixed stratified subset of the remaining samples; all if ``None``.
        test_rows: Size of a fixed stratified subset of the test samples; all if ``None``.
        evaluate_on: The samples of ``Dataset.test``: the test split, or the held-out samples.
        size: Side in pixels to which images are resized (both sides, bilinear); ``None`` keeps their size. Of
            ``patterns``, the number of inputs.
        resize: ``{"shorter": 256, "crop": 224, "interpolation": "bicubic"}``: the length of the shorter side in pixels,
            with the ratio of sides kept, the side of the square in the centre that stays, and the filter
            (``bilinear`` by default), as torchvision's ``Resize`` and ``CenterCrop``.
        classes: The classes that are kept: a list of names or numbers, or a text file with one name a line. They are
            numbered in this order.
        scale: Divisor that brings values to [0, 1], such as 255; by default it is derived from the values.
        layout: ``NHWC`` if channels are last, ``NCHW`` if they are first; by default it is derived from the shape.
        background: Colour behind transparent pixels of images: ``black`` (the default), ``white``, ``grey`` or
            ``#rrggbb``.
        family: ``regression`` if the labels of a file are numbers to predict, (N,) or (N, columns).
        label: The column of labels of a table or Parquet file; with ``regression`` several.
        group: The column, or array of an ``.npz`` file, with the domain of each sample. It is no input; the scenario
            ``by_group`` makes an experience of each of its values.
        split: ``{"test": 0.2, "seed": 0}``: the fraction of test samples and the seed of their stratified draw, for
            data that comes in one part; or the column of a table that contains ``train`` or ``test``.
        categories: How columns of text become inputs: ``one-hot`` (the default) or ``codes``.
        missing: How missing values of a table are treated: ``mean`` replaces numbers by the mean of the training
            samples, and a missing category by none; ``drop`` leaves out the samples. By default they are refused.
        ignore: Columns of a table to leave out.
        statistics: With ``mean-std`` and vectors of classes: ``columns`` (the default) for a mean and standard
            deviation of each column, or ``all`` for one of all values together, as in cells of earlier versions and for
            features of a frozen model.
        of: The data set whose samples the column ``row`` of a list numbers (``list:FILE``).

    Returns:
        The data set. Its arrays are memory-mapped if they come from the cache.

    Raises:
        Refused: The name is unknown, files are missing or damaged, contents cannot be used, or settings are impossible.
    """
    return finish(
        read(
            name,
            data_dir,
            size=size,
            resize=resize,
            classes=classes,
            scale=scale,
            layout=layout,
            background=background,
            family=family,
            label=label,
            group=group,
            split=split,
            categories=categories,
            missing=missing,
            ignore=ignore,
            of=of,
        ),
        name,
        normalize=normalize,
        validation=validation,
        train_rows=train_rows,
        test_rows=test_rows,
        evaluate_on=evaluate_on,
        statistics=statistics,
    )


def canonical(options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the settings of :func:`load` and write them out, as they enter a cell and its key.

    Raises:
        Refused: A setting is unknown or has a wrong type.
    """
    filled = validate(load, options, where="dataset")
    check_resize(filled["size"], filled["resize"])
    return {key: value for key, value in filled.items() if key not in LATER or value is not None}


def read(name: str, data_dir: str | PathLike[str] | None = None, **settings: Any) -> Dataset:
    """Read the whole data set of a name, before any samples are held out: the first half of :func:`load`.

    Args:
        name: As for :func:`load`.
        data_dir: As for :func:`load`.
        settings: Those of :data:`READING`, as for :func:`load`.
    """
    root = data_root(data_dir)
    check_name(name, data_dir)
    given = {key: value for key, value in settings.items() if value is not None}
    if given.get("family") == dataset_registry.family(name):
        del given["family"]  # it needs no check
    names = parts(name, data_dir)
    classes = given.get("classes")
    if classes is not None and (len(names) > 1 or not dataset_registry.takes(names[0], "classes")):
        del given["classes"]  # such a source gives all classes
    loaded = [resolve(part, data_dir)(root, **given) for part in names]
    whole = loaded[0] if len(loaded) == 1 else join(loaded, names=names)
    return whole if classes is None or "classes" in given else subset(whole, classes)


def family_of(name: str, options: Mapping[str, Any]) -> str:
    """Return the family of a data set without reading it: from its settings, or from its source.

    Args:
        name: As in :func:`load`.
        options: Settings of the data set.
    """
    return str(options.get("family") or dataset_registry.family(name))


def may_be_vectors(name: str) -> bool:
    """Return whether samples of a name may be vectors; names of images are known."""
    return dataset_registry.may_be_vectors(name)


def takes(name: str, setting: str) -> bool:
    """Return whether the sources of a name read a setting of :data:`READING`; an unknown name takes every setting."""
    if setting == "classes":
        return True  # they are chosen after reading if the source cannot
    try:
        return dataset_registry.takes(name, setting)
    except Refused:
        return True


def class_count(name: str, settings: Mapping[str, Any], data_dir: str | PathLike[str] | None = None) -> int | None:
    """Return the number of classes of a data set, from its name, or else by reading it.

    Args:
        name: As for :func:`load`.
        settings: Those of the data set in a cell.
        data_dir: As for :func:`load`.

    Returns:
        The number, or ``None`` if files are missing.

    Raises:
        Refused: The data set cannot be read.
    """
    known = known_classes(name, settings, data_dir)
    if known is not None:
        return known
    try:
        return read(name, data_dir, **{key: settings[key] for key in READING if key in settings}).n_classes
    except MissingFiles:
        return None


def contents_of(name: str, data_dir: str | PathLike[str] | None = None) -> str:
    """Return what identifies the samples of a name if the name alone does not.

    See :func:`clbench.data.dataset_registry.contents`.

    Raises:
        Refused: As there.
    """
    return dataset_registry.contents(name, data_dir)


def finish(
    whole: Dataset,
    name: str,
    *,
    normalize: Normalize = "none",
    validation: float = 0.0,
    train_rows: int | None = None,
    test_rows: int | None = None,
    evaluate_on: Literal["test", "validation"] = "test",
    statistics: Statistics | None = None,
) -> Dataset:
    """Prepare a whole data set: the second half of :func:`load`."""
    prepared = prepare(
        whole,
        normalize=normalize,
        validation=validation,
        train_rows=train_rows,
        test_rows=test_rows,
        evaluate_on=evaluate_on,
        name=name,
        statistics=statistics,
    )
    return replace(prepared, origins=located(prepared))
