"""All classification data sets of torchvision by class name, from files on disk or downloaded on demand.

Importing this module imports neither torch nor torchvision.
"""

from __future__ import annotations

import inspect
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.types import Dataset
from clbench.data.arrays import assemble
from clbench.data.cache import cached
from clbench.data.drawn_split import split_off_test
from clbench.data.idx import check_idx
from clbench.data.images import decode_all
from clbench.data.labels import check_range
from clbench.data.roots import Missing, may_download

if TYPE_CHECKING:
    from PIL.Image import Image

Options = dict[str, Any]

_TRAIN_FLAG: tuple[Options, Options] = ({"train": True}, {"train": False})
_TRAIN_TEST: tuple[Options, Options] = ({"split": "train"}, {"split": "test"})
_TRAIN_VAL: tuple[Options, Options] = ({"split": "train"}, {"split": "val"})
_TRAINVAL_TEST: tuple[Options, Options] = ({"split": "trainval"}, {"split": "test"})
_BALANCED: tuple[Options, Options] = ({"split": "balanced", "train": True}, {"split": "balanced", "train": False})

SPLITS: dict[str, tuple[Options, Options] | None] = {
    **dict.fromkeys(("CIFAR10", "CIFAR100", "FashionMNIST", "KMNIST", "MNIST", "QMNIST", "USPS"), _TRAIN_FLAG),
    **dict.fromkeys(("Country211", "DTD", "FER2013", "Flowers102", "Food101", "GTSRB", "PCAM"), _TRAIN_TEST),
    **dict.fromkeys(("RenderedSST2", "STL10", "SVHN", "StanfordCars"), _TRAIN_TEST),
    **dict.fromkeys(("CLEVRClassification", "Imagenette"), _TRAIN_VAL),
    **dict.fromkeys(("FGVCAircraft", "OxfordIIITPet"), _TRAINVAL_TEST),
    **dict.fromkeys(("Caltech101", "Caltech256", "EuroSAT", "SEMEION", "SUN397"), None),
    "EMNIST": _BALANCED,
}
"""Class name -> arguments of its training and test splits; ``None`` for a class with one split, which is split
80/20."""


def from_torchvision(
    class_name: str,
    data_dir: Path,
    *,
    size: int | None = None,
    resize: Options | None = None,
    scale: float | None = None,
    background: str | None = None,
) -> Dataset:
    """Read a torchvision data set; its files may be in ``data_dir/<name>``, ``data_dir/<class name>`` or ``data_dir``.

    A folder ``data_dir/<name>`` with Parquet files is read as Parquet instead.

    Args:
        class_name: A key of :data:`SPLITS`.
        data_dir: The directory of data sets; missing files are downloaded to ``data_dir/<name>``.
        size: Side in pixels to which images are resized.
        resize: Shorter side, crop and interpolation instead; see :func:`clbench.data.resizing.resized`.
        scale: As in :func:`clbench.data.from_arrays`.
        background: Colour behind transparent pixels; see :func:`clbench.data.images.decode_all`.

    Raises:
        Refused: Files are missing and cannot be downloaded, are damaged, or contain images of different shapes.
    """
    name = ALIASES.get(class_name, class_name.lower())
    how = {"size": size, "resize": resize, "scale": scale, "background": background}
    own = [data_dir / name, data_dir / class_name]
    for folder in own:
        if any(folder.glob("*.parquet")) or any(folder.glob("*/*.parquet")):
            from clbench.data.parquet import read_parquet

            return read_parquet(name, folder, size=size, resize=resize, scale=scale, background=background)
    found = f"there are no files of it in {data_dir}"
    for root in (*own, data_dir):
        files = _files(root, class_name)
        if files:
            check_idx(files)
            try:
                return _cached(class_name, root, files, how)
            except _Absent as error:
                found = f"the files in {root} are not what it needs ({error})"
    return _downloaded(class_name, data_dir, how, found)


class _Absent(Exception):
    """Report that torchvision does not find its files, or that they are not as expected."""


def _cached(class_name: str, root: Path, files: list[Path], how: Options) -> Dataset:
    return cached(class_name, files, lambda: _decode(class_name, root, **how), **how)


def _files(root: Path, class_name: str) -> list[Path]:
    """Return what torchvision may read below ``root``: plain files, and folders whose names begin like the class's."""
    if not root.is_dir():
        return []
    files = []
    for entry in sorted(root.iterdir()):
        if entry.is_file():
            files.append(entry)
        elif re.sub("[^a-z0-9]", "", entry.name.lower()).startswith(class_name.lower()):
            files.extend(sorted(file for file in entry.rglob("*") if file.is_file()))
    return files


def _downloaded(class_name: str, data_dir: Path, how: Options, found: str) -> Dataset:
    root = data_dir / ALIASES.get(class_name, class_name.lower())
    reason = "downloads are switched off by CLBENCH_OFFLINE"
    if may_download():
        try:
            _download(class_name, root)
            return _cached(class_name, root, _files(root, class_name), how)
        except (_Absent, OSError, RuntimeError, ValueError) as error:
            if isinstance(error, Refused):
                raise
            told = str(error).strip().splitlines() or [""]  # torchvision lists all mirrors, one per line
            reason = f"the download failed ({type(error).__name__}: {told[-1]})"
    raise Missing(
        f"data set {class_name}: {found}, and {reason}; place torchvision's files in {root}, or name the folder of "
        f"data sets that has them with --data-dir or CLBENCH_DATA"
    )


def _download(class_name: str, root: Path) -> None:
    """Download the files of all splits; a new folder appears only when it is complete."""
    if root.exists():
        _open_splits(class_name, root, download=True)
        return
    with _made(root.parent), tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as temporary:
        fresh = Path(temporary) / root.name
        fresh.mkdir()
        _open_splits(class_name, fresh, download=True)
        if not root.exists():
            os.rename(fresh, root)


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder and its parents; those that are new and empty are removed if an error occurs."""
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # another process has put something there
            for each in new:
                each.rmdir()
        raise


def _open_splits(class_name: str, root: Path, *, download: bool) -> list[Any]:
    """Return the torchvision objects: training and test, or the only one."""
    from clbench.core.compat import import_torchvision

    cls = getattr(import_torchvision().datasets, class_name)
    # If the licence forbids downloads, torchvision's class has no such argument.
    fetch = {"download": download} if "download" in inspect.signature(cls).parameters or _passes_on(cls) else {}
    return [cls(str(root), **options, **fetch) for options in (SPLITS[class_name] or ({},))]


def _passes_on(cls: type) -> bool:
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in inspect.signature(cls).parameters.values())


def _decode(
    class_name: str,
    root: Path,
    size: int | None,
    resize: Options | None,
    scale: float | None,
    background: str | None,
) -> Dataset:
    where = f"{class_name} in {root}"
    try:
        splits = _open_splits(class_name, root, download=False)
        decoded = [_pixels_and_labels(split, where, size, background, resize) for split in splits]
    except Refused:
        raise
    except (RuntimeError, FileNotFoundError) as error:
        raise _Absent(str(error)) from error
    except (OSError, ValueError, EOFError, AssertionError, LookupError, TypeError) as error:
        raise Refused(
            f"{where} cannot be read ({type(error).__name__}: {error}); delete its files there and run again to "
            f"download them, or replace them by complete ones"
        ) from error
    names = _class_names(splits[0])
    for _, y in decoded:
        if names is not None:
            check_range(y, len(names), where)
    if len(decoded) == 1:
        decoded = split_off_test(*decoded[0], "data/torchvision", where=where)
    return assemble(class_name, decoded[0], decoded[1], where=where, class_names=names, scale=scale)


def _pixels_and_labels(
    split: Any, where: str, size: int | None, background: str | None, resize: Options | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return pixels and labels: directly from the object's arrays, or else image by image."""
    data = getattr(split, "data", None)
    labels = getattr(split, "targets", getattr(split, "labels", None))
    if size is None and resize is None and labels is not None and getattr(data, "ndim", 0) in (3, 4):
        x, y = np.asarray(data), np.asarray(labels)
        if x.dtype == np.uint8 and y.ndim == 1:
            return x, y
    targets: list[int] = []

    def open_image(i: int) -> Image:
        from PIL.Image import Image

        item = split[i]
        if not (isinstance(item[0], Image) and isinstance(item[1], int | np.integer)):
            raise Refused(f"{where}: item {i} is not an image with a class label; this data set cannot be classified")
        targets.append(int(item[1]))
        return item[0]

    x = decode_all(
        len(split),
        open_image,
        where=lambda i: f"{where}, image {i}",
        size=size,
        background=background,
        resize=resize,
        resume=False,  # labels come with the images
    )
    return x, np.array(targets, dtype=np.int64)


def _class_names(split: Any) -> list[str] | None:
    names = getattr(split, "classes", None) or getattr(split, "categories", None)
    usable = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    return [str(name) for name in names] if usable and names is not None else None


ALIASES = {
    "CIFAR10": "cifar10",
    "CIFAR100": "cifar100",
    "EMNIST": "emnist",
    "FashionMNIST": "fashion_mnist",
    "KMNIST": "kmnist",
    "MNIST": "mnist",
    "STL10": "stl10",
    "SVHN": "svhn",
    "USPS": "usps",
}
"""Class name -> the name in benchmark files and of the folder."""

Partial = Callable[..., Dataset]
cifar10: Partial = partial(from_torchvision, "CIFAR10")
cifar100: Partial = partial(from_torchvision, "CIFAR100")
emnist: Partial = partial(from_torchvision, "EMNIST")
fashion_mnist: Partial = partial(from_torchvision, "FashionMNIST")
kmnist: Partial = partial(from_torchvision, "KMNIST")
mnist: Partial = partial(from_torchvision, "MNIST")
stl10: Partial = partial(from_torchvision, "STL10")
svhn: Partial = partial(from_torchvision, "SVHN")
usps: Partial = partial(from_torchvision, "USPS")
