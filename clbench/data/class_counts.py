"""The number of classes of a data set by name, without reading it where that is known."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from clbench.data.dataset_registry import DATASETS, classes_in_files, parts
from clbench.data.torchvision_source import ALIASES

KNOWN = {
    "cifar10": 10,
    "cifar100": 100,
    "digits": 10,
    "emnist": 47,
    "fashion_mnist": 10,
    "kmnist": 10,
    "mnist": 10,
    "patterns": 2,
    "stl10": 10,
    "svhn": 10,
    "usps": 10,
}
"""Name of a data set that comes with the program -> its number of classes."""


def known_classes(name: str, options: Mapping[str, Any], data_dir: str | PathLike[str] | None = None) -> int | None:
    """Return the number of classes of a data set if its name and settings tell it; ``None`` otherwise.

    Args:
        name: One name or several, as in :func:`clbench.data.load`.
        options: Settings of the data set.
        data_dir: The directory of data sets.

    Raises:
        Refused: Files are missing or cannot be read.
    """
    if options.get("family") == "regression":
        return None
    if options.get("classes") is not None:
        return len(options["classes"])
    total = 0
    for part in parts(name, data_dir):
        of_files = classes_in_files(part, data_dir)
        if of_files is not None:
            total += of_files
            continue
        plain = ALIASES.get(part, part)
        if plain not in KNOWN or (plain in DATASETS and DATASETS.entry(plain).origin != "clbench"):
            return None
        total += KNOWN[plain]
    return total
