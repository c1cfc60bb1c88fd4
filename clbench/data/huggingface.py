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

from clbench.core.errors import Refused, did_you_mean
from clbench.core.types import Dataset
from clbench.data.cache import cached
from clbench.data.drawn_split import refuse_split
from clbench.data.parquet import LABELS, SPLITS, open_bytes
from clbench.data.pictures import Pictures, assembled
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
    label: str | None = None,
    group: str | None = None,
    split: str | Mapping[str, Any] | None = None,
    classes: list[int | str] | None = None,
) -> Dataset:
    """Read a data set of the hub with a column of images and one of labels; it is cached after the first time.

    Args:
        path: ``owner/name``, with ``:config`` if it has several, and ``@revision`` for a fixed one.
        data_dir: Not used: ``datasets`` stores its downloads in ``HF_HOME``.
        size: Side in pixels to which images are resized.
        resize: Shorter side, crop and interpolation instead; see :func:`clbench.data.resizing.resized`.
        scale: As in :func:`clbench.data.from_arrays`.
        background: Colour behind transparent pixels; see :func:`clbench.data.images.decode_all`.
        label: The column of labels, numbers or texts; by default the one of class labels.
        group: The column with the domain of each picture.
        split: ``{"test": 0.2, "seed": 0}`` if the data set has one split alone, of whatever name.
        classes: The classes that are kept; see :func:`clbench.data.class_subset.positions`.

    Raises:
        Refused: The package is missing, the data set is not available, or it does not consist of images with labels.
    """
    found = NAME.fullmatch(path)
    if found is None:
        raise Refused(f"data set 'hf:{path}' cannot be read; write hf:owner/name, hf:owner/name:config or ...@revision")

    if label is not None and not isinstance(label, str):
        raise Refused(f"hf:{path} holds images, and label names {len(label)} columns; name one", "label")
    how: dict[str, Any] = {"scale": scale, "background": background, "resize": resize, "label": label}
    how |= {"group": group, "split": split, "classes": classes}

    def decode() -> Dataset:
        splits = _loaded(path, **found.groupdict())
        return from_splits(splits, f"hf:{path}", size=size, **how)

    identity = json.dumps(["hf", path])
    return cached(f"hf-{path}", [], decode, size=size, identity=identity, **how)


def from_splits(
    found: Any,
    name: str,
    *,
    size: int | None = None,
    resize: Mapping[str, Any] | None = None,
    scale: float | None = None,
    background: str | None = None,
    label: str | None = None,
    group: str | None = None,
    split: str | Mapping[str, Any] | None = None,
    classes: list[int | str] | None = None,
) -> Dataset:
    """Read a data set as :func:`from_hub` does, from a mapping of splits of the package ``datasets``."""
    pictures = [
        _read(part, f"{name}, split {what}", label, group) for what, part in _splits(found, name, split).items()
    ]
    how: dict[str, Any] = {"size": size, "resize": resize, "background": background}
    return assembled(name, pictures, where=name, split=split, classes=classes, scale=scale, **how)


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


def _splits(found: Any, name: str, split: Any) -> dict[str, Any]:
    """Return the training and the test split by name, or the only one if it is to be divided."""
    test = next((each for each in SPLITS[1:] if each in found), None)
    if "train" in found and test is not None:
        refuse_split(split, name)
        return {"train": found["train"], test: found[test]}
    if split is not None and len(found) == 1:
        return dict(found)
    cure = "; for one split alone set split: {test: 0.2, seed: 0}" if len(found) == 1 else ""
    raise Refused(
        f"data set {name!r} needs a split train and one of {', '.join(SPLITS[1:])}; it has {', '.join(found)}{cure}"
    )


def _column(split: Any, kind: str, known: tuple[str, ...], where: str) -> str:
    """Return the column with a kind of feature, or else a column with a usual name."""
    columns = {name: type(feature).__name__ for name, feature in split.features.items()}
    named = [name for name in known if name in columns]
    typed = [name for name, feature in columns.items() if feature == kind]
    chosen = [name for name in named if name in typed] or typed or named
    if not chosen:
        told = ", ".join(f"{name} ({feature})" for name, feature in columns.items())
        cure = "; name one with label: COLUMN" if kind == "ClassLabel" else ""
        raise Refused(
            f"{where} has no column of {kind} values, nor one of {', '.join(known)}; its columns are {told}{cure}"
        )
    return chosen[0]


def _named(split: Any, column: str, what: str, where: str) -> str:
    """Return a column that the user names, if it exists."""
    if column not in split.features:
        raise Refused(f"{where} has no column {column!r}; {did_you_mean(column, list(split.features))}", what)
    return column


def _values(split: Any, column: str, what: str, where: str) -> NDArray[Any]:
    """Return the values (N,) of a column of labels or domains; each class label with a name as its number."""
    held = list(split[column])
    if any(value is None for value in held):
        raise Refused(f"{where}: column {column!r} has rows without a {what}; remove them or name another column", what)
    return np.asarray(held)


def _read(split: Any, where: str, label: str | None, group: str | None) -> Pictures:
    """Return the pictures of a split with their labels and domains."""
    label = _column(split, "ClassLabel", LABELS, where) if label is None else _named(split, label, "label", where)
    image = _column(split, "Image", ("image", "img"), where)
    names = getattr(split.features[label], "names", None)
    domain = None if group is None else _domains(split, _named(split, group, "group", where), where)

    def open_image(i: int) -> Image:
        found = split[i][image]
        opened: Image = open_bytes(found["bytes"]) if isinstance(found, dict) else found  # not known to be images
        return opened

    return Pictures(
        _values(split, label, "label", where),
        domain,
        None if names is None else [str(name) for name in names],
        open_image,
        lambda i: f"{where}, row {i}",
        where,
    )


def _domains(split: Any, column: str, where: str) -> NDArray[Any]:
    """Return the domain of each row, by name if the column has names."""
    values, names = _values(split, column, "group", where), getattr(split.features[column], "names", None)
    return values if names is None else np.asarray([str(name) for name in names])[values]
