"""Folders of images: ``train/<class>/*`` and ``test/<class>/*`` (or ``val``, ``validation``, ``valid``)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clbench.data import contents
from clbench.data.arrays import assemble
from clbench.data.cache import cached
from clbench.data.images import decode_all
from clbench.data.roots import locate
from clbench.parameters import Refused
from clbench.types import Dataset, Index

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
TEST_FOLDERS = ("test", "val", "validation", "valid")


def from_folder(path: str, data_dir: Path, *, size: int | None = None) -> Dataset:
    """Read an image folder; classes are the sub-folders of ``train``, in alphabetical order.

    Args:
        path: The folder, absolute or relative to ``data_dir``.
        data_dir: Folder of data sets.
        size: Side in pixels to which images are resized.

    Raises:
        Refused: Missing folders, unreadable or unequal images, or classes that differ between the splits.
    """
    root = locate("folder", path, data_dir, folder=True)
    train, test = _listings(root)
    classes = sorted(train)

    def decode() -> Dataset:
        splits = [_read(listing, classes, size) for listing in (train, test)]
        return assemble(f"folder:{path}", splits[0], splits[1], where=str(root), class_names=classes)

    files = _files(train, test)
    return cached(f"folder-{root.name}", files, decode, size=size, identity=contents.checksum(files, root))


def contents_of(path: str, data_dir: Path) -> str:
    """The checksum of what is in the files that :func:`from_folder` reads."""
    root = locate("folder", path, data_dir, folder=True)
    return contents.checksum(_files(*_listings(root)), root)


def _files(*listings: dict[str, list[Path]]) -> list[Path]:
    return [file for listing in listings for name in sorted(listing) for file in listing[name]]


def _listings(root: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Class name -> image files, of the training and of the test rows."""
    test_root = next((root / name for name in TEST_FOLDERS if (root / name).is_dir()), None)
    if not (root / "train").is_dir() or test_root is None:
        raise Refused(
            f"{root} needs the folders train/<class>/ and one of {', '.join(TEST_FOLDERS)} with the same classes; "
            f"found {', '.join(sorted(p.name for p in root.iterdir())) or 'nothing'}"
        )
    train, test = _listing(root / "train"), _listing(test_root)
    classes = sorted(train)
    if sorted(test) != classes:
        differing = sorted(set(train) ^ set(test))
        raise Refused(
            f"the classes {', '.join(differing[:5])} do not have images in both {root / 'train'} and {test_root}; "
            f"add the missing ones or remove the folders"
        )
    return train, test


def _listing(split: Path) -> dict[str, list[Path]]:
    """Class name -> its image files in order; classes without images are left out."""
    found = {
        folder.name: sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
        for folder in split.iterdir()
        if folder.is_dir()
    }
    listing = {name: files for name, files in found.items() if files}
    if not listing:
        raise Refused(f"{split} holds no images; put them in {split}/<class>/ as {', '.join(sorted(SUFFIXES))}")
    return listing


def _read(listing: dict[str, list[Path]], classes: list[str], size: int | None) -> tuple[Any, Index]:
    files = [file for name in classes for file in listing[name]]
    y = np.repeat(np.arange(len(classes)), [len(listing[name]) for name in classes])
    return decode_all(len(files), lambda i: _open(files[i]), where=lambda i: str(files[i]), size=size), y


def _open(file: Path) -> Image:
    from PIL import Image

    with Image.open(file) as image:
        image.load()
    return image
