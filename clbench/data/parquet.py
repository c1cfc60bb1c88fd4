"""Parquet files by name, ``parquet:PATH``: images as on public hubs (``train-*``, ``test-*``), or tables."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused, did_you_mean
from clbench.core.types import Dataset
from clbench.data import file_contents
from clbench.data.cache import cached
from clbench.data.class_subset import subset
from clbench.data.drawn_split import refuse_split
from clbench.data.pictures import Pictures, assembled
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
    resize: Mapping[str, Any] | None = None,
    scale: float | None = None,
    background: str | None = None,
    family: str | None = None,
    label: str | list[str] | None = None,
    group: str | None = None,
    split: str | Mapping[str, Any] | None = None,
    categories: str | None = None,
    missing: str | None = None,
    ignore: list[str] | None = None,
    classes: list[int | str] | None = None,
) -> Dataset:
    """Read Parquet files: of a table, or with a column of encoded images and one of labels.

    Args:
        path: A file or a folder, absolute or relative to the folder of the benchmark file or the data folder. Files of
            a folder are found at any depth; their name or that of a folder contains the split, or they have none.
        data_dir: The directory of data sets.
        size: Side in pixels to which images are resized.
        resize: Shorter side, crop and interpolation instead; see :func:`clbench.data.resizing.resized`.
        scale: As in :func:`clbench.data.from_arrays`.
        background: What shows through transparent pixels; see :func:`clbench.data.images.decode_all`.
        family: ``regression`` if the labels are numbers to predict.
        label, group, split, categories, missing, ignore: As in :class:`clbench.data.tables.TableSettings`. Those of
            inputs (``categories``, ``missing``, ``ignore``) go with tables alone.
        classes: The classes that are kept; see :func:`clbench.data.class_subset.positions`.

    Raises:
        Refused: Splits or columns are missing, files are damaged, images are unreadable, labels are out of range, or a
            setting does not go with the files.
    """
    root = locate("parquet", path, data_dir, folder=None)
    files, name = _files(root), f"parquet:{path}"
    table: dict[str, Any] = {"categories": categories, "missing": missing, "ignore": ignore}
    how: dict[str, Any] = {"scale": scale, "family": family, "label": label, "group": group, "split": split}
    if not has_images(files[0]):
        for setting, value in (("size", size), ("resize", resize), ("background", background)):
            if value is not None:
                raise Refused(f"{files[0]} holds a table without images, and {setting} is set; leave it out", setting)
        from clbench.data.parquet_table import read_table

        whole = read_table(name, root, **how, **table)
        return whole if classes is None else subset(whole, classes)
    for setting, given in table.items():
        if given is not None:
            raise Refused(f"{files[0]} holds images, and {setting} goes with columns of a table; leave it out", setting)
    return read_parquet(name, root, size=size, resize=resize, background=background, classes=classes, **how)


def contents_of(path: str, data_dir: Path) -> str:
    """Return the checksum of the files that :func:`from_parquet` reads."""
    root = locate("parquet", path, data_dir, folder=None)
    return file_contents.checksum(_files(root), root if root.is_dir() else None)


def _files(root: Path) -> list[Path]:
    train, test = parts(root, divided=True)
    return [*train, *test]


def parts(root: Path, *, divided: bool = False) -> tuple[list[Path], list[Path]]:
    """Return the files of the training and the test split; the latter is empty if files are of one part.

    Args:
        root: The file or folder.
        divided: Whether the files of a single split, such as ``test-*`` alone, are one part, which is divided later.

    Raises:
        Refused: There are no files, or one of the two splits is missing.
    """
    if root.is_file():
        return [root], []
    splits = _split_files(root)
    test = next((splits[split] for split in SPLITS[1:] if split in splits), None)
    if not splits and (files := sorted(root.rglob("*.parquet"))):
        return files, []
    if divided and len(splits) == 1:
        return next(iter(splits.values())), []
    if "train" not in splits or test is None:
        raise Refused(
            f"{root} needs files such as data/train-00000-of-00001.parquet and data/test-00000-of-00001.parquet (or "
            f"validation-), or files without these words, or one split with split: {{test: 0.2, seed: 0}}; found "
            f"splits: {', '.join(splits) or 'none'}"
        )
    return splits["train"], test


def has_images(file: Path) -> bool:
    """Return whether a file has a column of encoded images.

    Raises:
        Refused: The file is damaged.
    """
    return _image_column(read_schema(file)) is not None


def read_schema(file: Path) -> Any:
    """Return the columns of a file with their types; errors are as in :func:`has_images`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise Refused(f"{file} cannot be read as parquet ({error}); download it again") from error


def read_parquet(
    name: str,
    root: Path,
    *,
    size: int | None = None,
    resize: Mapping[str, Any] | None = None,
    scale: float | None = None,
    background: str | None = None,
    family: str | None = None,
    label: str | list[str] | None = None,
    group: str | None = None,
    split: str | Mapping[str, Any] | None = None,
    classes: list[int | str] | None = None,
) -> Dataset:
    """Read images as :func:`from_parquet` does, for a data set called ``name``."""
    train, test = parts(root, divided=split is not None)
    if test:
        refuse_split(split, str(root))
    if label is not None and not isinstance(label, str):
        raise Refused(f"{root} holds images, and label names {len(label)} columns; name one", "label")

    def decode() -> Dataset:
        pictures = [_read(files, label, group) for files in (train, test) if files]
        how: dict[str, Any] = {"size": size, "resize": resize, "background": background}
        chosen: dict[str, Any] = {"split": split, "classes": classes, "family": family}
        return assembled(name, pictures, where=str(root), scale=scale, **chosen, **how)

    files, base = [*train, *test], root if root.is_dir() else None
    how: dict[str, Any] = {"scale": scale, "background": background, "family": family, "label": label}
    how |= {"group": group, "split": split, "resize": resize, "classes": classes}
    return cached(f"parquet-{root.stem}", files, decode, size=size, identity=file_contents.checksum(files, base), **how)


def _split_files(root: Path) -> dict[str, list[Path]]:
    """Return split -> its files in order."""
    found: dict[str, list[Path]] = {}
    for file in sorted(root.rglob("*.parquet")):
        words = re.split(r"[^a-z]+", file.relative_to(root).as_posix().lower())
        split = next((word for word in reversed(words) if word in SPLITS), None)
        if split is not None:
            found.setdefault(split, []).append(file)
    return found


class _Encoded:
    """Read encoded images of files by their number; the images of one row group are in memory at a time.

    Args:
        files: The files.
        columns: The column of images in each.
    """

    def __init__(self, files: Sequence[Path], columns: Sequence[str]) -> None:
        import pyarrow.parquet as pq

        self._files, self._columns = files, columns
        metadata = [pq.read_metadata(file) for file in files]
        self._groups = [(k, g) for k, each in enumerate(metadata) for g in range(each.num_row_groups)]
        sizes = [metadata[k].row_group(g).num_rows for k, g in self._groups]
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self._held: tuple[int, list[bytes | None]] = (-1, [])

    def __getitem__(self, i: int) -> bytes | None:
        number = int(np.searchsorted(self._starts, i, side="right")) - 1
        if self._held[0] != number:
            self._held = (-1, [])  # the memory of one group at a time
            self._held = (number, self._group(*self._groups[number]))
        return self._held[1][i - int(self._starts[number])]

    def _group(self, k: int, group: int) -> list[bytes | None]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self._files[k]) as file:
                column = file.read_row_group(group, columns=[self._columns[k]]).column(self._columns[k])
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self._files[k], error) from error
        found: list[bytes | None] = []
        for chunk in column.chunks:
            found.extend((chunk.field("bytes") if pa.types.is_struct(chunk.type) else chunk).to_pylist())
        return found


def _damaged(file: Path, error: Exception) -> Refused:
    return Refused(f"{file} cannot be read as parquet ({error}); download it again")


def _read(files: Sequence[Path], label: str | None, group: str | None) -> Pictures:
    import pyarrow as pa
    import pyarrow.parquet as pq

    images: list[str] = []
    columns: dict[str, list[NDArray[Any]]] = {}
    names: list[str] | None = None
    for file in files:
        try:
            with pq.ParquetFile(file) as opened:
                schema = opened.schema_arrow
                image = _image_column(schema)
                wanted = [] if image is None else [_label_column(schema, file, label), *([group] if group else [])]
                table = opened.read(columns=[name for name in wanted if name in schema.names])
        except (pa.ArrowException, OSError) as error:
            raise _damaged(file, error) from error
        if image is None:
            raise Refused(
                f"{file} has no column of images (a struct with 'bytes', or binary); its columns are "
                f"{', '.join(schema.names)}"
            )
        images.append(image)
        for what, column in zip(("label", "group"), wanted, strict=False):
            columns.setdefault(what, []).append(_values(table, column, what, file, schema.names))
        names = names or _class_names(schema, wanted[0])
    y, domain = (np.concatenate(columns[what]) if what in columns else None for what in ("label", "group"))
    assert y is not None
    if not len(y):
        raise Refused(f"{files[0]} has no rows; download it again")
    ends = np.cumsum([len(part) for part in columns["label"]])
    encoded = _Encoded(files, images)

    def where(i: int) -> str:
        k = int(np.searchsorted(ends, i, side="right"))
        return f"{files[k]}, row {i - int(ends[k]) + len(columns['label'][k])}"

    return Pictures(y, domain, names, lambda i: open_bytes(encoded[i]), where, str(files[0]))


def _values(table: Any, column: str, what: str, file: Path, known: list[str]) -> NDArray[Any]:
    """Return the values (N,) of a column of labels or domains, in a file with some columns."""
    if column not in known:
        raise Refused(f"{file} has no column {column!r}; {did_you_mean(column, known)}", what)
    if table.column(column).null_count:
        raise Refused(
            f"{file}: column {column!r} has rows without a {what}; remove them or use a "
            f"{'labelled split' if what == 'label' else 'complete file'}"
        )
    values: NDArray[Any] = table.column(column).to_numpy()
    return values


def open_bytes(data: bytes | None) -> Image:
    """Decode the image in some bytes."""
    from PIL import Image

    if data is None:
        raise ValueError("its bytes are missing; only images stored in the file itself are read")
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def _image_column(schema: Any) -> str | None:
    """Return the column of encoded images, found by its type; ``None`` if there is none."""
    import pyarrow as pa

    for field in schema:
        if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return str(field.name)
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            return str(field.name)
    return None


def _label_column(schema: Any, file: Path, label: str | None) -> str:
    if label is not None:
        return label  # one that does not exist is refused with its values
    name = next((name for name in LABELS if name in schema.names), None)
    if name is None:
        raise Refused(
            f"{file} has no column of labels (one of {', '.join(LABELS)}); its columns are {', '.join(schema.names)}; "
            "name it with label: COLUMN"
        )
    return name


def _class_names(schema: Any, label: str) -> list[str] | None:
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[label]["names"]]
    except (KeyError, TypeError, ValueError):  # optional metadata: without it, classes are named by their numbers
        return None
