"""Data sets of the Hugging Face hub by name, ``hf:owner/name``, read with the optional package ``datasets``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.types import Dataset
from clbench.data.arrays import assemble
from clbench.data.cache import cached
from clbench.data.images import decode_all
from clbench.data.labels import check_range
from clbench.data.parquet import LABELS, SPLITS, open_bytes
from clbench.data.roots import Missing, may_download

if TYPE_CHECKING:
    from PIL.Image import Image

NAME = re.compile(r"(?P<name>[^:@]+)(:(?P<config>[^@]+))?(@(?P<revision>.+))?")


def from_hub(
    path: str,
    data_dir: Path,  # noqa: ARG001 all sources have the same signature
    *,
    size: int | None = None,
    resize: Mapping[str, Any] | None = None,
    scale: float | None = None,
    background: str | None = None,
) -> Dataset:
    """Read a data set of the hub with a column of images and one of labels; it is cached after the first time.

    Args:
        path: ``owner/name``, with ``:config`` if it has several, and ``@revision`` for a fixed one.
        data_dir: Not used: ``datasets`` stores its downloads in ``HF_HOME``.
        size: Side in pixels to which images are resized.
        resize: Shorter side, crop and interpolation instead; see :func:`clbench.data.resizing.resized`.
        scale: As in :func:`clbench.data.from_arrays`.
        background: Colour behind transparent pixels; see :func:`clbench.data.images.decode_all`.

    Raises:
        Refused: The package is missing, the data set is not available, or it does not consist of images with labels.
    """
    found = NAME.fullmatch(path)
    if found is None:
        raise Refused(f"data set 'hf:{path}' cannot be read; write hf:owner/name, hf:owner/name:config or ...@revision")

    def decode() -> Dataset:
        splits = _loaded(path, **found.groupdict())
        return from_splits(splits, f"hf:{path}", size=size, resize=resize, scale=scale, background=background)

    identity = json.dumps(["hf", path])
    how = {"scale": scale, "background": background, "resize": resize}
    return cached(f"hf-{path}", [], decode, size=size, identity=identity, **how)


def from_splits(
    found: Any,
    name: str,
    *,
    size: int | None = None,
    resize: Mapping[str, Any] | None = None,
    scale: float | None = None,
    background: str | None = None,
) -> Dataset:
    """Read a data set as :func:`from_hub` does, from a mapping of splits of the package ``datasets``."""
    train, test = _splits(found, name)
    names = _class_names(train)
    pixels = [
        _read(split, f"{name}, split {what}", size, background, resize)
        for what, split in (("train", train), ("test", test))
    ]
    for _, y in pixels:
        if names is not None:
            check_range(y, len(names), name)
    return assemble(name, *pixels, where=name, class_names=names, scale=scale, layout="NCHW")


def _loaded(path: str, name: str, config: str | None, revision: str | None) -> Any:
    """Return split -> samples, as ``datasets`` loads them."""
    if not may_download():
        raise Missing(
            f"data set 'hf:{path}' has not been read on this machine yet, and downloads are switched off by "
            "CLBENCH_OFFLINE; allow them once, or place its parquet files in a folder and write parquet:FOLDER"
        )
    if find_spec("datasets") is None:
        raise Refused(
            f"data set 'hf:{path}' needs the package 'datasets', which is not installed; pip install 'clbench[hf]', or "
            "place its parquet files in a folder and write parquet:FOLDER"
        )
    import datasets

    try:
        return datasets.load_dataset(name, config, revision=revision)
    except Exception as error:  # the package and its dependencies raise dozens of types
        first = (str(error).splitlines() or [""])[0]
        raise Missing(
            f"data set 'hf:{path}' is not available ({type(error).__name__}: {first}); check its name, the network, "
            "and whether it needs a :config or a login"
        ) from error


def _splits(found: Any, name: str) -> tuple[Any, Any]:
    test = next((found[split] for split in SPLITS[1:] if split in found), None)
    if "train" not in found or test is None:
        raise Refused(
            f"data set {name!r} needs a split train and one of {', '.join(SPLITS[1:])}; it has {', '.join(found)}"
        )
    return found["train"], test


def _column(split: Any, kind: str, known: tuple[str, ...], where: str) -> str:
    """Return the column with a kind of feature, or else a column with a usual name."""
    columns = {name: type(feature).__name__ for name, feature in split.features.items()}
    named = [name for name in known if name in columns]
    typed = [name for name, feature in columns.items() if feature == kind]
    chosen = [name for name in named if name in typed] or typed or named
    if not chosen:
        told = ", ".join(f"{name} ({feature})" for name, feature in columns.items())
        raise Refused(f"{where} has no column of {kind} values, nor one of {', '.join(known)}; its columns are {told}")
    return chosen[0]


def _class_names(split: Any) -> list[str] | None:
    names = getattr(split.features[_column(split, "ClassLabel", LABELS, "it")], "names", None)
    return None if names is None else [str(name) for name in names]


def _read(
    split: Any, where: str, size: int | None, background: str | None, resize: Mapping[str, Any] | None
) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Read pixels (N, C, H, W) and raw labels (N,)."""
    image = _column(split, "Image", ("image", "img"), where)
    labels = split[_column(split, "ClassLabel", LABELS, where)]

    def open_image(i: int) -> Image:
        found = split[i][image]
        opened: Image = open_bytes(found["bytes"]) if isinstance(found, dict) else found  # not known to be images
        return opened

    x = decode_all(
        len(split),
        open_image,
        where=lambda i: f"{where}, row {i}",
        size=size,
        background=background,
        resize=resize,
    )
    return x, np.asarray(list(labels))
