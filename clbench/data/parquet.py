"""Parquet files as on public hubs: ``data/train-*.parquet``, ``data/test-*.parquet``, with images as bytes."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.types import Dataset
from clbench.data import file_contents
from clbench.data.arrays import assemble
from clbench.data.cache import cached
from clbench.data.images import decode_all
from clbench.data.labels import check_range
from clbench.data.roots import locate

if TYPE_CHECKING:
    from PIL.Image import Image

LABELS = ("label", "labels", "fine_label", "fine_labels", "target", "class")
SPLITS = ("train", "test", "validation", "valid", "val")


def from_parquet(
    path: str,
    data_dir: Path,
    *,
    size: int | None = None,
    scale: float | None = None,
    background: str | None = None,
    family: str | None = None,
) -> Dataset:
    """Read a folder of Parquet files with a column of encoded images and one of labels.

    Args:
        path: The folder, absolute or relative to ``data_dir``. Files are found at any depth; their name or that of a
            folder contains the split.
        data_dir: The directory of data sets.
        size: Side in pixels to which images are resized.
        scale: As in :func:`clbench.data.from_arrays`.
        background: What shows through transparent pixels; see :func:`clbench.data.images.decode_all`.
        family: ``regression`` if the labels are numbers to predict.

    Raises:
        Refused: Splits or columns are missing, files are damaged, images are unreadable, or labels are out of range.
    """
    root = locate("parquet", path, data_dir, folder=True)
    return read_parquet(f"parquet:{path}", root, size=size, scale=scale, background=background, family=family)


def contents_of(path: str, data_dir: Path) -> str:
    """Return the checksum of the files that :func:`from_parquet` reads."""
    root = locate("parquet", path, data_dir, folder=True)
    return file_contents.checksum([file for split in _splits(root) for file in split], root)


def _splits(root: Path) -> tuple[list[Path], list[Path]]:
    """Return the files of the training and the test split."""
    splits = _split_files(root)
    test = next((splits[split] for split in SPLITS[1:] if split in splits), None)
    if "train" not in splits or test is None:
        raise Refused(
            f"{root} needs files such as data/train-00000-of-00001.parquet and data/test-00000-of-00001.parquet (or "
            f"validation-); found splits: {', '.join(splits) or 'none'}"
        )
    return splits["train"], test


def read_parquet(
    name: str,
    root: Path,
    *,
    size: int | None = None,
    scale: float | None = None,
    background: str | None = None,
    family: str | None = None,
) -> Dataset:
    """Read an existing folder as :func:`from_parquet` does, for a data set called ``name``."""
    train, test = _splits(root)

    def decode() -> Dataset:
        (x_train, y_train, names), (x_test, y_test, _) = (_read(files, size, background) for files in (train, test))
        if names is not None:
            check_range(y_train, len(names), str(train[0]))
            check_range(y_test, len(names), str(test[0]))
        splits = (x_train, y_train), (x_test, y_test)
        return assemble(name, *splits, where=str(root), class_names=names, scale=scale, layout="NCHW", family=family)

    files = [*train, *test]
    identity, how = file_contents.checksum(files, root), {"scale": scale, "background": background, "family": family}
    return cached(f"parquet-{root.name}", files, decode, size=size, identity=identity, **how)


def _split_files(root: Path) -> dict[str, list[Path]]:
    """Return split -> its files in order."""
    found: dict[str, list[Path]] = {}
    for file in sorted(root.rglob("*.parquet")):
        words = re.split(r"[^a-z]+", file.relative_to(root).as_posix().lower())
        split = next((word for word in reversed(words) if word in SPLITS), None)
        if split is not None:
            found.setdefault(split, []).append(file)
    return found


def _read(
    files: Sequence[Path], size: int | None, background: str | None
) -> tuple[NDArray[np.uint8], NDArray[Any], list[str] | None]:
    """Read pixels (N, C, H, W), raw labels (N,), and class names if the schema contains them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    encoded: list[bytes | None] = []
    labels: list[NDArray[Any]] = []
    names: list[str] | None = None
    for file in files:
        try:
            table = pq.ParquetFile(file).read()
        except (pa.ArrowException, OSError) as error:
            raise Refused(f"{file} cannot be read as parquet ({error}); download it again") from error
        image, label = _image_column(table.schema, file), _label_column(table.schema, file)
        for chunk in table.column(image).chunks:
            encoded.extend((chunk.field("bytes") if pa.types.is_struct(chunk.type) else chunk).to_pylist())
        if table.column(label).null_count:
            raise Refused(f"{file}: column {label!r} has rows without a label; remove them or use a labelled split")
        labels.append(table.column(label).to_numpy())
        names = names or _class_names(table.schema, label)
    if not encoded:
        raise Refused(f"{files[0]} has no rows; download it again")
    y = np.concatenate(labels)
    ends = np.cumsum([len(part) for part in labels])

    def where(i: int) -> str:
        k = int(np.searchsorted(ends, i, side="right"))
        return f"{files[k]}, row {i - int(ends[k]) + len(labels[k])}"

    x = decode_all(len(encoded), lambda i: open_bytes(encoded[i]), where=where, size=size, background=background)
    return x, y, names


def open_bytes(data: bytes | None) -> Image:
    """Decode the image in some bytes."""
    from PIL import Image

    if data is None:
        raise ValueError("its bytes are missing; only images stored in the file itself are read")
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def _image_column(schema: Any, file: Path) -> str:
    """Return the column of encoded images, found by its type."""
    import pyarrow as pa

    for field in schema:
        if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return str(field.name)
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            return str(field.name)
    raise Refused(
        f"{file} has no column of images (a struct with 'bytes', or binary); its columns are {', '.join(schema.names)}"
    )


def _label_column(schema: Any, file: Path) -> str:
    name = next((name for name in LABELS if name in schema.names), None)
    if name is None:
        raise Refused(
            f"{file} has no column of labels (one of {', '.join(LABELS)}); its columns are {', '.join(schema.names)}"
        )
    return name


def _class_names(schema: Any, label: str) -> list[str] | None:
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[label]["names"]]
    except (KeyError, TypeError, ValueError):  # optional metadata: without it, classes are named by their numbers
        return None
