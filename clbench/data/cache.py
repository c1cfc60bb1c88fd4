"""The cache of decoded data sets: arrays on disk that any number of processes map into memory and share.

A data set is decoded once. An entry is used only if its checksum is correct; otherwise the data set is decoded again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import uuid
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.notices import Notice, notice
from clbench.core.types import Dataset, Rows
from clbench.data.arrays import checksum
from clbench.data.roots import cache_root
from clbench.data.row_files import Desk, desk_for

CACHE_VERSION = 2
"""Version of the cache. It is raised if decoding changes its result, so that old entries are not used."""

FULL_CHECK_BYTES = 1 << 30
"""Size above which only file sizes are checked, since hashing would cost more time than it saves."""

ARRAYS = ("train_x", "train_y", "test_x", "test_y")
EXTRA = {
    "target": ("family", "target_names", "target_mean", "target_std"),
    "domain": ("domain_names",),
    "listed": ("task_names",),
}
"""Map the arrays that samples of some data sets have (numbers to predict, domains, places in a list) to the fields that
go with them; entries of other data sets have none."""

ATTEMPTS = 5


def cached(
    name: str,
    files: Sequence[Path],
    decode: Callable[[], Dataset],
    *,
    size: int | None = None,
    identity: str = "",
    **settings: Any,
) -> Dataset:
    """Return the data set that ``decode`` makes from ``files``, from the cache if it contains a complete entry.

    Args:
        name: Name of the entry for people who look into the cache directory.
        files: The files that ``decode`` reads. A changed path, length or modification time makes a new entry.
        decode: A function that makes the checked data set.
        size: The setting ``size``, part of the entry's identity.
        identity: Further text that identifies the entry.
        settings: Other settings for reading; ``None`` is the default.

    Returns:
        The data set with arrays mapped copy-on-write; if the cache cannot be written, in plain memory and with a
        warning.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    folder = _entry(name, files, size, identity + (json.dumps(given, sort_keys=True) if given else ""))
    found = _read(folder)
    if found is not None:
        dataset, told = found
        for sentence in told:
            notice(sentence)
        return dataset
    with desk_for(folder) as desk:
        fresh, told = _listened(decode)
        try:
            return _publish(fresh, folder, told, desk)
        except OSError as error:
            warnings.warn(
                f"the decoded data set {name!r} could not be written to {folder.parent} ({error}); it will be decoded "
                f"again every time until CLBENCH_CACHE names a folder with room",
                stacklevel=2,
            )
            return fresh


def _listened(decode: Callable[[], Dataset]) -> tuple[Dataset, list[str]]:
    """Return a decoded data set and the notices about it, which each later reading repeats."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = decode()
    for warning in caught:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return made, [str(each.message) for each in caught if issubclass(each.category, Notice)]


def _entry(name: str, files: Sequence[Path], size: int | None, more: str) -> Path:
    state = [(str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    identity = json.dumps([CACHE_VERSION, size, state, *([more] if more else [])])
    digest = hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()
    return cache_root() / "datasets" / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)[-60:]}-{digest}"


def _read(folder: Path) -> tuple[Dataset, list[str]] | None:
    """Return the data set of an entry and the notices about it; ``None`` if it is missing or damaged in any way."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        train_x, train_y, test_x, test_y = (_mapped(folder, name) for name in ARRAYS)
        train, test = Rows(train_x, train_y), Rows(test_x, test_y)
        fields = {name: _field(meta[name]) for name in ("input_names",) if name in meta}
        for array, names in EXTRA.items():
            if any(name in meta for name in names):
                train = replace(train, **{array: _mapped(folder, f"train_{array}")})
                test = replace(test, **{array: _mapped(folder, f"test_{array}")})
                fields |= {name: _field(meta[name]) for name in names}
        dataset = Dataset(
            str(meta["name"]),
            train,
            test,
            tuple(meta["class_names"]),
            float(meta["scale"]),
            str(meta["checksum"]),
            **fields,
        )
        told = [str(each) for each in meta.get("notices", ())]
        shapes = [list(array.shape) for array in (train_x, train_y, test_x, test_y)]
        whole = shapes == meta["shapes"]
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    if whole and train_x.nbytes + test_x.nbytes < FULL_CHECK_BYTES:
        whole = checksum(train, test, dataset.scale) == dataset.checksum
    return (dataset, told) if whole else None


def _mapped(folder: Path, name: str) -> NDArray[Any]:
    """Return an array of an entry, mapped copy-on-write: pages stay shared, and torch accepts it as writable."""
    return np.asarray(np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False))


def _field(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _publish(dataset: Dataset, folder: Path, told: Sequence[str], desk: Desk) -> Dataset:
    """Write the entry to a temporary folder, move it to its place in one step, and map it.

    Arrays that were written to files of a desk are moved.

    Raises:
        OSError: The disk is full, or permission is missing.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = _new_folder(folder.parent, "writing")
    try:
        arrays = (dataset.train.x, dataset.train.y, dataset.test.x, dataset.test.y)
        for name, array in zip(ARRAYS, arrays, strict=True):
            _save(array, temporary / f"{name}.npy", desk.file_of(array))
        meta = {
            "name": dataset.name,
            "class_names": dataset.class_names,
            "scale": dataset.scale,
            "checksum": dataset.checksum,
            "shapes": [array.shape for array in arrays],
        }
        for name, fields in EXTRA.items():
            pair = getattr(dataset.train, name), getattr(dataset.test, name)
            if pair[0] is not None and pair[1] is not None:
                np.save(temporary / f"train_{name}.npy", pair[0], allow_pickle=False)
                np.save(temporary / f"test_{name}.npy", pair[1], allow_pickle=False)
                meta |= {field: getattr(dataset, field) for field in fields}
        if dataset.input_names:
            meta["input_names"] = dataset.input_names
        if told:
            meta["notices"] = list(told)
        (temporary / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        _move(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    found = _read(folder)
    return dataset if found is None else found[0]


def _save(array: NDArray[Any], path: Path, written: Path | None) -> None:
    """Write an array to a file, or move the file that holds it already."""
    if written is not None:
        with contextlib.suppress(OSError):
            os.rename(written, path)
            return
    np.save(path, array, allow_pickle=False)


def _move(temporary: Path, folder: Path) -> None:
    """Move the new entry to its place, unless another process has just put a complete one there."""
    for _ in range(ATTEMPTS):
        with contextlib.suppress(OSError):
            os.rename(temporary, folder)
            return
        if _read(folder) is not None:
            return
        # A damaged entry blocks the place, and a non-empty folder cannot be replaced: move it aside. Another process
        # may do the same at this moment; the second one finds nothing to move and tries again.
        aside = _new_folder(folder.parent, "damaged")
        with contextlib.suppress(FileNotFoundError):
            os.rename(folder, aside / folder.name)
        shutil.rmtree(aside, ignore_errors=True)
    raise OSError(f"{folder} could not be replaced")


def _new_folder(parent: Path, purpose: str) -> Path:
    """Make a folder that, unlike those of ``tempfile``, is readable as the user's umask allows."""
    folder = parent / f".{purpose}-{uuid.uuid4().hex}"
    folder.mkdir()
    return folder
