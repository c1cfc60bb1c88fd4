"""Which data sets there are, and from a name to the function that reads one. Imports nothing heavy.

A source is a function ``(data_dir, *, size=None) -> Dataset``; a plugin's may leave ``size`` out, and
``DATASETS.add`` also takes a finished :class:`~clbench.types.Dataset`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from clbench.data.torchvision_source import SPLITS
from clbench.parameters import Refused, did_you_mean
from clbench.registry import Registry
from clbench.types import Dataset


class Source(Protocol):
    """Loads a data set from below a folder, with at most ``size`` pixels a side where it is not ``None``."""

    def __call__(self, data_dir: Path, *, size: int | None) -> Dataset: ...


_TV = "clbench.data.torchvision_source"

DATASETS = Registry(
    "data set",
    "clbench.datasets",
    {
        "digits": ("clbench.data.digits:digits", "scikit-learn's digits: 1797 images 1x8x8, 10 classes, no download"),
        "mnist": (f"{_TV}:mnist", "MNIST: 70000 images 1x28x28, 10 classes"),
        "fashion_mnist": (f"{_TV}:fashion_mnist", "Fashion-MNIST: 70000 images 1x28x28, 10 classes"),
        "kmnist": (f"{_TV}:kmnist", "Kuzushiji-MNIST: 70000 images 1x28x28, 10 classes"),
        "emnist": (f"{_TV}:emnist", "EMNIST balanced: 131600 images 1x28x28, 47 classes"),
        "usps": (f"{_TV}:usps", "USPS: 9298 images 1x16x16, 10 classes"),
        "svhn": (f"{_TV}:svhn", "Street View House Numbers: 99289 images 3x32x32, 10 classes"),
        "stl10": (f"{_TV}:stl10", "STL-10, labelled part: 13000 images 3x96x96, 10 classes"),
        "cifar10": (f"{_TV}:cifar10", "CIFAR-10: 60000 images 3x32x32, 10 classes"),
        "cifar100": (f"{_TV}:cifar100", "CIFAR-100: 60000 images 3x32x32, 100 classes"),
        "folder:PATH": ("clbench.data.folder:from_folder", "images in train/<class>/* and test/<class>/* (or val)"),
        "npz:PATH": ("clbench.data.npz:from_npz", ".npz file with x_train, y_train, x_test, y_test"),
        "hf:PATH": ("clbench.data.hub:from_hub", "owner/name on the Hugging Face hub, through the package datasets"),
        "parquet:PATH": ("clbench.data.parquet:from_parquet", "parquet files as on public hubs: train-*, test-*"),
    },
)


def parts(name: str) -> list[str]:
    """The data sets that a name joins: ``mnist+usps`` are two; a ``+`` inside a path belongs to the path."""
    if name in DATASETS:
        return [name]
    found: list[str] = []
    for piece in name.split("+"):
        if found and ":" in found[-1] and not _begins_a_name(piece):
            found[-1] += f"+{piece}"
        else:
            found.append(piece)
    return found


def _begins_a_name(piece: str) -> bool:
    return piece in DATASETS or piece in SPLITS or f"{piece.partition(':')[0]}:PATH" in DATASETS


def check_name(name: str) -> None:
    """Refuse a name that stands for no data set, or joins one that is none, without loading anything heavy.

    Raises:
        Refused: With the nearest known name.
    """
    joined = parts(name)
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
        raise Refused(f"there is no data set called {name!r}; {did_you_mean(name, known)}")


def source(name: str) -> str:
    """What identifies the code of the plugins behind a name, for the hash of a cell; empty where there is none."""
    forms = [f"{form}:PATH" if colon else form for form, colon, _ in (part.partition(":") for part in parts(name))]
    return "+".join(filter(None, (DATASETS.source(form) for form in forms if not DATASETS.is_added(form))))


CONTENTS = {"npz": "clbench.data.npz", "folder": "clbench.data.folder", "parquet": "clbench.data.parquet"}
"""Forms whose files are the user's own -> the module that knows which files those are."""


def contents(name: str, data_dir: Path) -> str:
    """What identifies the rows behind a name where the name alone does not: the checksum of the files that a path
    stands for, and of the rows of a data set that this program has added; empty for all others.

    Raises:
        Refused: Files are missing or cannot be read.
    """
    return "+".join(filter(None, (_contents(part, data_dir) for part in parts(name))))


def _contents(name: str, data_dir: Path) -> str:
    form, colon, path = name.partition(":")
    if colon and form in CONTENTS:
        found: str = import_module(CONTENTS[form]).contents_of(path, data_dir)
        return found
    return resolve(name)(data_dir, size=None).checksum if DATASETS.is_added(name) else ""


def resolve(name: str) -> Source:
    """The source behind a name.

    Raises:
        Refused: No such data set, or its plugin does not import.
    """
    check_name(name)
    form, colon, path = name.partition(":")
    if colon:
        return partial(DATASETS.get(f"{form}:PATH"), path)
    if name in DATASETS:
        return _source(name, DATASETS.get(name))
    from clbench.data.torchvision_source import from_torchvision

    return partial(from_torchvision, name)


def _source(name: str, thing: Any) -> Source:
    if isinstance(thing, Dataset):
        return _without_size(name, lambda _: thing)
    if not callable(thing):
        raise Refused(f"data set {name!r} is a {type(thing).__name__}; register a Dataset or a function that makes one")
    return thing if "size" in inspect.signature(thing).parameters else _without_size(name, thing)


def _without_size(name: str, read: Callable[[Path], Dataset]) -> Source:
    def source(data_dir: Path, *, size: int | None) -> Dataset:
        if size is not None:
            raise Refused(f"data set {name!r} has no setting 'size'; leave it out, its rows come as they are")
        return read(data_dir)

    return source
