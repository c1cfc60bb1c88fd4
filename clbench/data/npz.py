"""One ``.npz`` file in the Keras layout: ``x_train``, ``y_train``, ``x_test``, ``y_test``."""

from __future__ import annotations

import zipfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from clbench.core.errors import Refused
from clbench.core.types import Dataset
from clbench.data import file_contents
from clbench.data.arrays import assemble
from clbench.data.cache import cached
from clbench.data.pixel_values import Layout
from clbench.data.roots import locate

KEYS = ("x_train", "y_train", "x_test", "y_test")


def from_npz(
    path: str, data_dir: Path, *, scale: float | None = None, layout: Layout | None = None, family: str | None = None
) -> Dataset:
    """Read an ``.npz`` file; :func:`clbench.data.from_arrays` describes the arrays.

    Args:
        path: The file, absolute or relative to ``data_dir``.
        data_dir: The directory of data sets.
        scale, layout, family: As in :func:`clbench.data.from_arrays`.

    Raises:
        Refused: The file is missing or damaged, arrays are missing, or contents cannot be used.
    """
    file = locate("npz", path, data_dir, folder=False)
    read = partial(_decode, f"npz:{path}", file, scale=scale, layout=layout, family=family)
    identity = file_contents.checksum([file])
    return cached(f"npz-{file.stem}", [file], read, identity=identity, scale=scale, layout=layout, family=family)


def contents_of(path: str, data_dir: Path) -> str:
    """Return the checksum of the file's content; arguments and errors are as in :func:`from_npz`."""
    return file_contents.checksum([locate("npz", path, data_dir, folder=False)])


def _decode(name: str, file: Path, *, scale: float | None, layout: Layout | None, family: str | None) -> Dataset:
    try:
        with file.open("rb") as stream:  # numpy does not close a file that is no archive
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, NpzFile):
                raise Refused(f"{file} is a single array; save {', '.join(KEYS)} together with numpy.savez")
            missing = [key for key in KEYS if key not in archive.files]
            if missing:
                raise Refused(
                    f"{file} has no {', '.join(missing)} (it has {', '.join(archive.files) or 'nothing'}); save all of "
                    f"{', '.join(KEYS)}"
                )
            x_train, y_train, x_test, y_test = (archive[key] for key in KEYS)
    except Refused:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise Refused(f"{file} cannot be read as .npz ({error}); save or download it again") from error
    return assemble(
        name, (x_train, y_train), (x_test, y_test), where=str(file), scale=scale, layout=layout, family=family
    )
