"""One ``.npz`` file: ``x`` and ``y``, or the Keras layout ``x_train``, ``y_train``, ``x_test``, ``y_test``."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile

from clbench.core.errors import Refused
from clbench.core.types import Dataset
from clbench.data import file_contents
from clbench.data.arrays import assemble
from clbench.data.cache import cached
from clbench.data.drawn_split import draw_test, drawn, groups_to_draw, refuse_split
from clbench.data.labels import label_array
from clbench.data.pixel_values import Layout
from clbench.data.roots import locate

ALONE = ("x", "y")
"""Names of the arrays of a file without test samples."""
KEYS = ("x_train", "y_train", "x_test", "y_test")


def from_npz(
    path: str,
    data_dir: Path,
    *,
    scale: float | None = None,
    layout: Layout | None = None,
    family: str | None = None,
    split: str | Mapping[str, Any] | None = None,
    group: str | None = None,
) -> Dataset:
    """Read an ``.npz`` file; :func:`clbench.data.from_arrays` describes the arrays.

    Args:
        path: The file, absolute or relative to the folder of the benchmark file or the data folder.
        data_dir: The directory of data sets.
        scale, layout, family: As in :func:`clbench.data.from_arrays`.
        split: With ``x`` and ``y`` alone: ``{"test": 0.2, "seed": 0}``, the fraction of test samples and the seed of
            their draw.
        group: Name of the array with the domain of each sample, (N,); beside ``x_train`` and ``x_test``, of the two
            arrays ``NAME_train`` and ``NAME_test``.

    Raises:
        Refused: The file is missing or damaged, arrays are missing, or contents cannot be used.
    """
    file = locate("npz", path, data_dir, folder=False)
    how: dict[str, Any] = {"scale": scale, "layout": layout, "family": family}
    read = partial(_decode, f"npz:{path}", file, split=split, group=group, **how)
    identity = file_contents.checksum([file])
    return cached(f"npz-{file.stem}", [file], read, identity=identity, split=split, group=group, **how)


def contents_of(path: str, data_dir: Path) -> str:
    """Return the checksum of the file's content; arguments and errors are as in :func:`from_npz`."""
    return file_contents.checksum([locate("npz", path, data_dir, folder=False)])


def _decode(
    name: str,
    file: Path,
    *,
    split: str | Mapping[str, Any] | None,
    group: str | None,
    scale: float | None,
    layout: Layout | None,
    family: str | None,
) -> Dataset:
    arrays = _arrays(file, group)
    if "x" in arrays:
        x, y, domain = arrays["x"], arrays["y"], None if group is None else arrays[group]
        train, test, domains = _divided(x, y, domain, split, family, str(file))
    else:
        refuse_split(split, str(file))
        train, test = (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
        domains = None if group is None else (arrays[f"{group}_train"], arrays[f"{group}_test"])
    return assemble(name, train, test, where=str(file), scale=scale, layout=layout, family=family, domains=domains)


def _arrays(file: Path, group: str | None) -> dict[str, Any]:
    """Return the arrays of one of the two layouts, by name."""
    try:
        with file.open("rb") as stream:  # numpy does not close a file that is no archive
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, NpzFile):
                raise Refused(f"{file} is a single array; save {', '.join(ALONE)} together with numpy.savez")
            alone = all(key in archive.files for key in ALONE) and not any(key in archive.files for key in KEYS)
            keys = [*(ALONE if alone else KEYS)]
            if group is not None:
                keys += [group] if alone else [f"{group}_train", f"{group}_test"]
            missing = [key for key in keys if key not in archive.files]
            if missing:
                layouts = "" if alone else f", or x and y alone{' with ' + group if group else ''}"
                raise Refused(
                    f"{file} has no {', '.join(missing)} (it has {', '.join(archive.files) or 'nothing'}); save all of "
                    f"{', '.join(keys)}{layouts}"
                )
            return {key: archive[key] for key in keys}
    except Refused:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise Refused(f"{file} cannot be read as .npz ({error}); save or download it again") from error


def _divided(x: Any, y: Any, domain: Any, split: Any, family: str | None, where: str) -> tuple[Any, Any, Any]:
    """Return training samples, test samples, and the domains of both."""
    groups = groups_to_draw(y, len(x), family, f"{where}: y")
    if domain is not None:
        domain = label_array(domain, len(x), f"{where}: domains")
    held = draw_test(groups, where=where, domains=domain, **drawn(split, where))
    domains = None if domain is None else (domain[~held], domain[held])
    return (x[~held], y[~held]), (x[held], y[held]), domains
