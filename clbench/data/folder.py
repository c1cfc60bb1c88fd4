"""Image folders: ``train/<class>/*`` and ``test/<class>/*`` (or ``val``, ``validation``, ``valid``)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clbench.core.errors import Refused
from clbench.core.notices import notice
from clbench.core.types import Dataset, Index
from clbench.data import file_contents
from clbench.data.arrays import assemble
from clbench.data.cache import cached
from clbench.data.images import decode_all
from clbench.data.roots import locate

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
LITTER = frozenset((".DS_Store", ".gitkeep", "Thumbs.db", "desktop.ini"))
"""Files that operating systems leave behind; they are not reported."""
HIDDEN = "hidden"
TEST_FOLDERS = ("test", "val", "validation", "valid")


Listing = dict[str, list[Path]]
"""Class name -> its image files in order."""


def from_folder(
    path: str,
    data_dir: Path,
    *,
    size: int | None = None,
    scale: float | None = None,
    background: str | None = None,
) -> Dataset:
    """Read an image folder. The classes are the sub-folders of ``train``, in alphabetical order.

    A :class:`clbench.core.notices.Notice` reports what is left out: hidden files and folders, images in deeper folders
    or in no class, and other files.

    Args:
        path: The folder, absolute or relative to ``data_dir``.
        data_dir: The directory of data sets.
        size: Side in pixels to which images are resized.
        scale: As in :func:`clbench.data.from_arrays`.
        background: Colour behind transparent pixels; see :func:`clbench.data.images.decode_all`.

    Raises:
        Refused: Folders are missing, images are unreadable or of different shapes, or classes differ between the
            splits.
    """
    root = locate("folder", path, data_dir, folder=True)
    train, test, left_out = _listings(root)
    classes = sorted(train)
    if left_out:
        notice(f"{root}: left out are {'; '.join(left_out)}")

    def decode() -> Dataset:
        splits = [_read(listing, classes, size, background) for listing in (train, test)]
        name = f"folder:{path}"
        return assemble(name, *splits, where=str(root), class_names=classes, scale=scale, layout="NCHW")

    files = _files(train, test)
    identity, how = file_contents.checksum(files, root), {"scale": scale, "background": background}
    return cached(f"folder-{root.name}", files, decode, size=size, identity=identity, **how)


def contents_of(path: str, data_dir: Path) -> str:
    """Return the checksum of the files that :func:`from_folder` reads."""
    root = locate("folder", path, data_dir, folder=True)
    return file_contents.checksum(_files(*_listings(root)[:2]), root)


def _files(*listings: Listing) -> list[Path]:
    return [file for listing in listings for name in sorted(listing) for file in listing[name]]


def _listings(root: Path) -> tuple[Listing, Listing, list[str]]:
    """Return the listings of training and test images, and what is left out, in words."""
    test_root = next((root / name for name in TEST_FOLDERS if (root / name).is_dir()), None)
    if not (root / "train").is_dir() or test_root is None:
        raise Refused(
            f"{root} needs the folders train/<class>/ and one of {', '.join(TEST_FOLDERS)} with the same classes; "
            f"found {', '.join(sorted(p.name for p in root.iterdir())) or 'nothing'}"
        )
    others = {name: root / name for name in TEST_FOLDERS if (root / name).is_dir() and root / name != test_root}
    left_out = [f"{name}/ beside {test_root.name}/" for name in others]
    train, test = _listing(root / "train", left_out), _listing(test_root, left_out)
    classes = sorted(train)
    if sorted(test) != classes:
        differing = sorted(set(train) ^ set(test))
        raise Refused(
            f"the classes {', '.join(differing[:5])} do not have images in both {root / 'train'} and {test_root}; "
            f"add the missing ones or remove the folders"
        )
    return train, test, left_out


def _listing(split: Path, left_out: list[str]) -> Listing:
    """Return the listing of one split without empty classes; add what is left out to a list."""
    listing: Listing = {}
    found: dict[str, list[Path]] = {}
    for entry in _entries(split):
        if _hidden(entry):
            found.setdefault(HIDDEN, []).append(entry)
        elif not entry.is_dir():
            found.setdefault("in no folder of a class", []).append(entry)
        else:
            files = _of_class(entry, found)
            if files:
                listing[entry.name] = files
    if not listing:
        raise Refused(f"{split} holds no images; put them in {split}/<class>/ as {', '.join(sorted(SUFFIXES))}")
    left_out += [
        f"in {split.name}/ {len(files)} {what} ({_shown(files, split)})" for what, files in found.items() if files
    ]
    return listing


def _of_class(folder: Path, found: dict[str, list[Path]]) -> list[Path]:
    """Return the images directly in the folder of a class; note other entries."""
    files = []
    for entry in _entries(folder):
        if _hidden(entry):
            found.setdefault(HIDDEN, []).append(entry)
        elif entry.is_dir():
            deeper = sorted(file for file in entry.rglob("*") if file.suffix.lower() in SUFFIXES)
            found.setdefault("in folders inside that of a class", []).extend(deeper)
        elif entry.suffix.lower() in SUFFIXES:
            files.append(entry)
        else:
            found.setdefault("of a kind that is not read", []).append(entry)
    return files


def _entries(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.name not in LITTER)


def _hidden(entry: Path) -> bool:
    return entry.name.startswith((".", "__MACOSX"))


def _shown(files: list[Path], split: Path) -> str:
    names = [file.relative_to(split).as_posix() for file in files[:3]]
    return ", ".join(names) + (", ..." if len(files) > 3 else "")


def _read(listing: Listing, classes: list[str], size: int | None, background: str | None) -> tuple[Any, Index]:
    files = [file for name in classes for file in listing[name]]
    y = np.repeat(np.arange(len(classes)), [len(listing[name]) for name in classes])
    x = decode_all(
        len(files), lambda i: _open(files[i]), where=lambda i: str(files[i]), size=size, background=background
    )
    return x, y


def _open(file: Path) -> Image:
    from PIL import Image

    with Image.open(file) as image:
        image.load()
    return image
