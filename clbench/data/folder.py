"""Image folders: ``<class>/*``, or ``train/<class>/*`` and ``test/<class>/*`` (or ``val``, ``validation``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clbench.core.errors import Refused
from clbench.core.notices import notice
from clbench.core.types import Dataset, Index
from clbench.data import file_contents
from clbench.data.arrays import assemble
from clbench.data.cache import cached
from clbench.data.class_subset import positions
from clbench.data.drawn_split import draw_test, drawn, refuse_split
from clbench.data.images import decode_all
from clbench.data.roots import locate

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
LITTER = frozenset((".DS_Store", ".gitkeep", "Thumbs.db", "desktop.ini"))
"""Files that operating systems leave behind; they are not reported."""
HIDDEN = "hidden"
LOOSE = "in no folder of a class"
TEST_FOLDERS = ("test", "val", "validation", "valid")


Listing = dict[str, list[Path]]
"""Class name -> its image files in order."""


def from_folder(
    path: str,
    data_dir: Path,
    *,
    size: int | None = None,
    resize: Mapping[str, Any] | None = None,
    scale: float | None = None,
    background: str | None = None,
    split: str | Mapping[str, Any] | None = None,
    classes: list[int | str] | None = None,
) -> Dataset:
    """Read an image folder. The classes are the sub-folders of ``train``, or of the folder itself, in order of names.

    A :class:`clbench.core.notices.Notice` reports what is left out: hidden files and folders, images in deeper folders
    or in no class, and other files.

    Args:
        path: The folder, absolute or relative to the folder of the benchmark file or the data folder.
        data_dir: The directory of data sets.
        size: Side in pixels to which images are resized.
        resize: Shorter side, crop and interpolation instead; see :func:`clbench.data.resizing.resized`.
        scale: As in :func:`clbench.data.from_arrays`.
        background: Colour behind transparent pixels; see :func:`clbench.data.images.decode_all`.
        split: Without a folder of test images: ``{"test": 0.2, "seed": 0}``, the fraction of test samples and the seed
            of their draw.
        classes: The classes that are kept, by name or number, in this order; by default all, in order of names.

    Raises:
        Refused: Folders are missing, images are unreadable or of different shapes, or classes differ between the
            splits.
    """
    root = locate("folder", path, data_dir, folder=True)
    train, test, left_out = _listings(root)
    names = sorted(train)
    if classes is not None:
        names = [names[c] for c in positions(classes, names, str(root))]
        train = {name: train[name] for name in names}
        test = None if test is None else {name: test[name] for name in names}
    if left_out:
        notice(f"{root}: left out are {'; '.join(left_out)}")
    if test is None:
        if split is None and (root / "train").is_dir():
            notice(
                f"{root} has no folder of test images ({', '.join(TEST_FOLDERS)}), so a fifth of those in train/ "
                "become test samples; split: {test: 0.2, seed: 0} says the same"
            )
        files = _files(train)
        train, test = _drawn(train, split, str(root))
    else:
        refuse_split(split, str(root))
        files = _files(train, test)
    listings = (train, test)

    def decode() -> Dataset:
        splits = [_read(listing, names, size, background, resize) for listing in listings]
        name = f"folder:{path}"
        return assemble(name, *splits, where=str(root), class_names=names, scale=scale, layout="NCHW")

    how: dict[str, Any] = {"scale": scale, "background": background, "split": split, "resize": resize}
    identity = file_contents.checksum(files, root)
    return cached(f"folder-{root.name}", files, decode, size=size, identity=identity, **how, classes=classes)


def contents_of(path: str, data_dir: Path) -> str:
    """Return the checksum of the files that :func:`from_folder` reads."""
    root = locate("folder", path, data_dir, folder=True)
    train, test, _ = _listings(root)
    return file_contents.checksum(_files(train, test or {}), root)


def count_classes(path: str, data_dir: Path) -> int:
    """Return the number of classes of a folder; its pictures are not opened."""
    return len(_listings(locate("folder", path, data_dir, folder=True))[0])


def _files(*listings: Listing) -> list[Path]:
    return [file for listing in listings for name in sorted(listing) for file in listing[name]]


def _listings(root: Path) -> tuple[Listing, Listing | None, list[str]]:
    """Return the listings of training images and of test images, if they are apart, and what is left out, in words."""
    test_root = next((root / name for name in TEST_FOLDERS if (root / name).is_dir()), None)
    train_root = root / "train"
    left_out: list[str] = []
    if test_root is None and train_root.is_dir():
        beside = [entry.name for entry in _entries(root) if entry != train_root]
        left_out += [f"{', '.join(beside[:5])} beside train/"] if beside else []
        return _listing(train_root, left_out), None, left_out
    if test_root is None:
        return _listing(root, left_out), None, left_out
    if not train_root.is_dir():
        raise Refused(
            f"{root} has the folder {test_root.name}/ and no train/; it needs train/<class>/ beside it, or the folders "
            f"of the classes alone; found {', '.join(sorted(p.name for p in root.iterdir()))}"
        )
    others = {name: root / name for name in TEST_FOLDERS if (root / name).is_dir() and root / name != test_root}
    left_out += [f"{name}/ beside {test_root.name}/" for name in others]
    train, test = _listing(train_root, left_out), _listing(test_root, left_out)
    if sorted(test) != sorted(train):
        differing = sorted(set(train) ^ set(test))
        raise Refused(
            f"the classes {', '.join(differing[:5])} do not have images in both {train_root} and {test_root}; "
            f"add the missing ones or remove the folders"
        )
    return train, test, left_out


def _drawn(listing: Listing, split: str | Mapping[str, Any] | None, where: str) -> tuple[Listing, Listing]:
    """Return the listings of training and test images, drawn from the images of each class."""
    classes = sorted(listing)
    if len(classes) < 2:
        raise Refused(
            f"{where} holds images of one class ({classes[0]}); it needs a folder for each class, at least two, such "
            f"as {where}/CLASS/IMAGE"
        )
    names = np.repeat(classes, [len(listing[name]) for name in classes])
    held = draw_test(names, where=where, **drawn(split, where))
    halves: tuple[Listing, Listing] = ({name: [] for name in classes}, {name: [] for name in classes})
    for file, name, test in zip(_files(listing), names, held, strict=True):
        halves[int(test)][str(name)].append(file)
    return halves


def _listing(split: Path, left_out: list[str]) -> Listing:
    """Return the listing of one split without empty classes; add what is left out to a list."""
    listing: Listing = {}
    found: dict[str, list[Path]] = {}
    for entry in _entries(split):
        if _hidden(entry):
            found.setdefault(HIDDEN, []).append(entry)
        elif not entry.is_dir():
            found.setdefault(LOOSE, []).append(entry)
        else:
            files = _of_class(entry, found)
            if files:
                listing[entry.name] = files
    loose = sum(entry.suffix.lower() in SUFFIXES for entry in found.get(LOOSE, []))
    if not listing and loose:
        raise Refused(
            f"{split} holds images ({loose}), but none in the folder of a class; move each to {split}/<class>/, since "
            "the folder of an image is its label"
        )
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


def _read(
    listing: Listing,
    classes: list[str],
    size: int | None,
    background: str | None,
    resize: Mapping[str, Any] | None,
) -> tuple[Any, Index]:
    files = [file for name in classes for file in listing[name]]
    y = np.repeat(np.arange(len(classes)), [len(listing[name]) for name in classes])
    x = decode_all(
        len(files),
        lambda i: _open(files[i]),
        where=lambda i: str(files[i]),
        size=size,
        background=background,
        resize=resize,
    )
    return x, y


def _open(file: Path) -> Image:
    from PIL import Image

    with Image.open(file) as image:
        image.load()
    return image
