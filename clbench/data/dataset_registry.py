"""The registry of data sets: from a name to the function that reads it. This module imports nothing heavy.

A source is a function ``(data_dir, *, size=None, scale=None, layout=None, ...) -> Dataset`` with the settings of
:data:`clbench.data.READING`; it may lack settings that it does not support. ``DATASETS.add`` also accepts a finished
:class:`~clbench.core.types.Dataset`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from clbench.core.errors import Refused, did_you_mean
from clbench.core.registry import Registry, load
from clbench.core.types import Dataset
from clbench.data.roots import data_root, placed
from clbench.data.torchvision_source import SPLITS


class Source(Protocol):
    """Load a data set from a directory, with those settings that differ from their default."""

    def __call__(self, data_dir: Path, **settings: Any) -> Dataset: ...


Where = str | PathLike[str] | None
"""The directory of data sets, perhaps with the folder of the benchmark file before it; see
:func:`clbench.data.roots.with_beside`."""
QUOTES = ("'", '"')

_TV = "clbench.data.torchvision_source"

DATASETS = Registry(
    "data set",
    "clbench.datasets",
    {
        "digits": ("clbench.data.digits:digits", "scikit-learn's digits: 1797 images 1x8x8, 10 classes, no download"),
        "diabetes": (
            "clbench.data.diabetes:diabetes",
            "scikit-learn's diabetes: 442 patients, 10 numbers each, a number to predict; no download",
        ),
        "patterns": (
            "clbench.data.patterns:patterns",
            "random patterns: 14014 vectors of 1001 values +1 and -1, 2 classes; made, no download",
        ),
        "mnist": (f"{_TV}:mnist", "MNIST: 70000 images 1x28x28, 10 classes"),
        "fashion_mnist": (f"{_TV}:fashion_mnist", "Fashion-MNIST: 70000 images 1x28x28, 10 classes"),
        "kmnist": (f"{_TV}:kmnist", "Kuzushiji-MNIST: 70000 images 1x28x28, 10 classes"),
        "emnist": (f"{_TV}:emnist", "EMNIST balanced: 131600 images 1x28x28, 47 classes"),
        "usps": (f"{_TV}:usps", "USPS: 9298 images 1x16x16, 10 classes"),
        "svhn": (f"{_TV}:svhn", "Street View House Numbers: 99289 images 3x32x32, 10 classes"),
        "stl10": (f"{_TV}:stl10", "STL-10, labelled part: 13000 images 3x96x96, 10 classes"),
        "cifar10": (f"{_TV}:cifar10", "CIFAR-10: 60000 images 3x32x32, 10 classes"),
        "cifar100": (f"{_TV}:cifar100", "CIFAR-100: 60000 images 3x32x32, 100 classes"),
        "folder:PATH": (
            "clbench.data.folder:from_folder",
            "images in <class>/*, or in train/<class>/* and test/<class>/* (or val)",
        ),
        "csv:PATH": ("clbench.data.csv_table:from_csv", "CSV file with a header and a column of labels"),
        "list:PATH": (
            "clbench.data.sample_list:from_list",
            "CSV or Parquet file with path (or row), label, split and experience of each sample",
        ),
        "npz:PATH": ("clbench.data.npz:from_npz", ".npz file with x and y, or x_train, y_train, x_test, y_test"),
        "hf:PATH": (
            "clbench.data.huggingface:from_hub",
            "owner/name on the Hugging Face hub, read with the package datasets",
        ),
        "parquet:PATH": (
            "clbench.data.parquet:from_parquet",
            "parquet files of images or of a table, one or a folder with train-*, test-*",
        ),
    },
)


def parts(name: str, data_dir: Where = None) -> list[str]:
    """Split a name into the data sets that it joins: ``mnist+usps`` are two.

    A ``+`` inside a path belongs to the path in three cases: no name follows it, the path is in quotes
    (``folder:"cats+digits"``), or a file or folder of the longer name exists.

    Args:
        name: One name or several.
        data_dir: The directory for relative paths; by default the usual one.
    """
    if name in DATASETS:
        return [name]
    pieces, found = name.split("+"), []
    while pieces:
        taken = _whole(pieces, data_dir)
        found.append("+".join(pieces[:taken]))
        pieces = pieces[taken:]
    return found


def _whole(pieces: list[str], data_dir: Where) -> int:
    """Return how many of the first pieces form one data set."""
    form, colon, path = pieces[0].partition(":")
    if not colon:
        return 1
    if path[:1] in QUOTES:
        closed = (
            n
            for n in range(1, len(pieces) + 1)
            if len(rest := "+".join(pieces[:n])) > len(form) + 2 and rest.endswith(path[0])
        )
        return next(closed, len(pieces))
    root = data_root(data_dir)
    for n in range(len(pieces), 1, -1):
        if (root / Path(placed("+".join([path, *pieces[1:n]]).partition("?")[0], data_dir)).expanduser()).exists():
            return n
    return next((n for n in range(1, len(pieces)) if _begins_a_name(pieces[n])), len(pieces))


def _begins_a_name(piece: str) -> bool:
    return piece in DATASETS or piece in SPLITS or f"{piece.partition(':')[0]}:PATH" in DATASETS


def _unquoted(path: str) -> str:
    return path[1:-1] if path[:1] in QUOTES and path[:1] == path[-1:] else path


FORMS = {".csv": "csv", ".npz": "npz", ".parquet": "parquet"}
"""The form of a data set whose name is a bare file, by suffix."""


def check_name(name: str, data_dir: Where = None) -> None:
    """Refuse an unknown data set, also among joined ones, without loading anything heavy.

    Args:
        name: One name or several.
        data_dir: The directory for relative paths; by default the usual one.

    Raises:
        Refused: A name is unknown; the message suggests the nearest one.
    """
    joined = parts(name, data_dir)
    if len(joined) > 1:
        if len(set(joined)) < len(joined):
            raise Refused(f"data set {name!r} joins the same one twice; name each once")
        for part in joined:
            check_name(part)
        return
    form, colon, path = name.partition(":")
    if colon:
        if form.endswith(".py") or f"{form}:PATH" not in DATASETS or not path:
            forms = ", ".join(entry.name for entry in DATASETS if entry.name.endswith(":PATH"))
            raise Refused(f"data set {name!r} is not of a known form; write one of {forms}")
    elif name not in DATASETS and name not in SPLITS:
        known = [entry.name for entry in DATASETS] + list(SPLITS)
        form = FORMS.get(Path(name).suffix.lower(), "folder" if "/" in name else "")
        told = f"write {form}:{name}" if form else did_you_mean(name, known)
        raise Refused(f"there is no data set called {name!r}; {told}")


def source(name: str) -> str:
    """Return what identifies the code of the plugins of a name, for the key of a cell; empty if there is none."""
    forms = [f"{form}:PATH" if colon else form for form, colon, _ in (part.partition(":") for part in parts(name))]
    return "+".join(filter(None, (DATASETS.source(form) for form in forms if not DATASETS.is_added(form))))


def family(name: str) -> str:
    """Return the family of tasks of a data set without settings, as its source declares it (an attribute
    ``family``)."""
    if ":" in name or name not in DATASETS:
        return "classification"
    return str(getattr(DATASETS.get(name), "family", "classification"))


def may_be_vectors(name: str) -> bool:
    """Return whether samples of a name may be vectors: those of tables, arrays, and other programs and packages."""

    def of(part: str) -> bool:
        form, colon, _ = part.partition(":")
        if colon:
            return form not in ("folder", "hf")
        return part in DATASETS and DATASETS.entry(part).origin != "clbench"

    return any(map(of, parts(name)))


CONTENTS = {
    "csv": "clbench.data.csv_table:contents_of",
    "list": "clbench.data.sample_list:contents_of",
    "npz": "clbench.data.npz:contents_of",
    "folder": "clbench.data.folder:contents_of",
    "parquet": "clbench.data.parquet:contents_of",
}
"""Map forms whose files belong to the user to the function that computes the checksum of those files."""


def contents(name: str, data_dir: Where) -> str:
    """Return what identifies the samples of a name if the name alone does not.

    It is the checksum of the files of a path, or of the samples of a data set that this program added. It is empty for
    all other names.

    Raises:
        Refused: Files are missing or cannot be read.
    """
    return "+".join(filter(None, (_contents(part, data_dir) for part in parts(name, data_dir))))


def _contents(name: str, data_dir: Where) -> str:
    form, colon, path = name.partition(":")
    if colon and form in CONTENTS:
        found: str = load(CONTENTS[form])(_placed(_unquoted(path), data_dir), data_root(data_dir))
        return found
    return resolve(name)(data_root(data_dir)).checksum if DATASETS.is_added(name) else ""


CLASSES = {"folder": "clbench.data.folder:count_classes", "list": "clbench.data.sample_list:count_classes"}
"""Map forms whose files tell their classes without being read to the function that counts them."""


def classes_in_files(name: str, data_dir: Where = None) -> int | None:
    """Return the number of classes in the files of one name, if it can be counted without decoding; else ``None``.

    Raises:
        Refused: Files are missing or cannot be read.
    """
    form, _, path = name.partition(":")
    if form not in CLASSES:
        return None
    found: int | None = load(CLASSES[form])(_placed(_unquoted(path), data_dir), data_root(data_dir))
    return found


def _placed(path: str, data_dir: Where) -> str:
    """Return a path with its options, absolute if it is beside the benchmark file."""
    plain, mark, options = path.partition("?")
    return f"{placed(plain, data_dir)}{mark}{options}"


def resolve(name: str, data_dir: Where = None) -> Source:
    """Return the source of a name.

    Args:
        name: One name.
        data_dir: The directory of data sets, perhaps with a folder before it.

    Raises:
        Refused: The data set does not exist, or its plugin does not import.
    """
    return _source(name, _registered(name, data_dir))


def takes(name: str, setting: str) -> bool:
    """Return whether every source of a name has a setting; errors are as in :func:`resolve`."""
    found = map(_registered, parts(name))
    return all(not isinstance(obj, Dataset) and setting in inspect.signature(obj).parameters for obj in found)


def _registered(name: str, data_dir: Where = None) -> Any:
    """Return the registered object of one name, with its path filled in; arguments and errors are as in
    :func:`resolve`."""
    check_name(name)
    form, colon, path = name.partition(":")
    if colon:
        path = _unquoted(path)
        path = _placed(path, data_dir) if form in CONTENTS else path
        return partial(DATASETS.get(f"{form}:PATH"), path)
    if name in DATASETS:
        return DATASETS.get(name)
    from clbench.data.torchvision_source import from_torchvision

    return partial(from_torchvision, name)


def _source(name: str, obj: Any) -> Source:
    """Return the function of a registered object; it refuses settings that it does not support."""
    known: Mapping[str, Any] = {}
    read: Callable[..., Any]
    if isinstance(obj, Dataset):
        read = lambda _: obj  # noqa: E731
    elif callable(obj):
        known, read = inspect.signature(obj).parameters, obj
    else:
        raise Refused(f"data set {name!r} is a {type(obj).__name__}; register a Dataset or a function that makes one")

    def source(data_dir: Path, **settings: Any) -> Dataset:
        for setting in settings:
            if setting not in known:
                raise Refused(f"data set {name!r} has no setting {setting!r}; leave it out")
        made: Dataset = read(data_dir, **settings)
        return made

    return source
