"""Lists of samples, ``list:FILE``: a table with a row for each sample, its label, its split and its experience.

The columns are ``path`` (of a picture) or ``row`` (of a named data set), ``label``, ``split`` (train or test),
``experience``, and ``task`` if a task is something else than an experience.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.types import Dataset, Index, Mask, Rows
from clbench.data import file_contents
from clbench.data.arrays import checksum
from clbench.data.cache import cached
from clbench.data.class_subset import subset
from clbench.data.labels import some
from clbench.data.pictures import Pictures, assembled
from clbench.data.roots import locate

if TYPE_CHECKING:
    from PIL.Image import Image

COLUMNS = ("path", "row", "label", "split", "experience", "task")
WHOLE = re.compile(r"\d+(\.0+)?")
"""A number of an experience; programs write 1.0 if a column has gaps."""
EVERYTHING = "all"
"""Name of the only task if test samples belong to no experience."""

Texts = NDArray[Any]


@dataclass(frozen=True, eq=False)
class SampleList:
    """Hold a checked list of N samples.

    Args:
        file: The file.
        what: (N,) path or row of each sample, as it is written.
        by_path: Whether these are paths.
        label: (N,) labels as text; ``None`` if the list has none.
        test: (N,) whether it is a test sample.
        place: (N, 2) experience of each sample, -1 for none, and its task.
        task_names: The name of each task, in the order in which they are first learned.
    """

    file: Path
    what: Texts
    by_path: bool
    label: Texts | None
    test: Mask
    place: Index
    task_names: tuple[str, ...]


def from_list(
    path: str,
    data_dir: Path,
    *,
    size: int | None = None,
    resize: Mapping[str, Any] | None = None,
    scale: float | None = None,
    background: str | None = None,
    classes: list[int | str] | None = None,
    of: str | None = None,
) -> Dataset:
    """Read the samples of a list, with the experience and the task of each.

    Args:
        path: A CSV or Parquet file, absolute or relative to the folder of the benchmark file or the data folder. Paths
            of pictures in it are relative to its own folder or to the data folder.
        data_dir: The directory of data sets.
        size: Side in pixels to which images are resized.
        resize: Shorter side, crop and interpolation instead; see :func:`clbench.data.resizing.resized`.
        scale: As in :func:`clbench.data.from_arrays`.
        background: Colour behind transparent pixels; see :func:`clbench.data.images.decode_all`.
        classes: The classes that are kept; see :func:`clbench.data.class_subset.positions`.
        of: Name of the data set whose samples the column ``row`` numbers, from 0 in each of its splits.

    Raises:
        Refused: The list is damaged or contradicts itself, a picture is missing, or a class has no test samples.
    """
    file = locate("list", path, data_dir, folder=False)
    listed, name = read_list(file), f"list:{path}"
    how: dict[str, Any] = {"size": size, "resize": resize, "background": background}
    if not listed.by_path:
        return _of_rows(name, listed, of, data_dir, {**how, "scale": scale, "classes": classes})
    if of is not None:
        raise Refused(f"{file} lists pictures by path, and of = {of!r} is set; leave it out", "of")
    files = _files(listed, data_dir)

    def decode() -> Dataset:
        parts = [_pictures(listed, files, held, str(file)) for held in (~listed.test, listed.test)]
        made = assembled(name, parts, where=str(file), classes=classes, scale=scale, **how)
        return replace(made, task_names=listed.task_names)

    settings = {"scale": scale, "background": background, "resize": resize, "classes": classes}
    identity = contents_of(path, data_dir)
    return cached(f"list-{file.stem}", [file, *files], decode, size=size, identity=identity, **settings)


def contents_of(path: str, data_dir: Path) -> str:
    """Return the checksum of a list and of its pictures; it is refused as in :func:`from_list`."""
    file = locate("list", path, data_dir, folder=False)
    listed = read_list(file)
    pictures = _files(listed, data_dir) if listed.by_path else []
    return file_contents.checksum([file, *pictures])


def count_classes(path: str, data_dir: Path) -> int | None:
    """Return the number of classes of a list of pictures; ``None`` if it lists rows of a data set."""
    listed = read_list(locate("list", path, data_dir, folder=False))
    return (
        len(np.unique(listed.label[~listed.test].astype(str))) if listed.by_path and listed.label is not None else None
    )


# --------------------------------------------------------------------------------------------------- the table


def read_list(file: Path) -> SampleList:
    """Read and check a list, without its pictures.

    Raises:
        Refused: A column is missing, a value is not allowed, a sample occurs twice, experiences are not numbered from 0
            without gaps, or tasks of training and test samples do not fit.
    """
    columns = _columns(file)
    by_path = "path" in columns
    if by_path == ("row" in columns):
        which = "both a column 'path' and a column 'row'" if by_path else "neither a column 'path' nor a column 'row'"
        raise Refused(f"{file} has {which}; give one, beside label, split and experience")
    needed = ("split", "experience", *(["label"] if by_path else []))
    lacking = [name for name in needed if name not in columns]
    if lacking:
        raise Refused(
            f"{file} has no column {lacking[0]!r}; it has {', '.join(columns)}, and needs {', '.join(needed)}"
        )
    split = columns["split"]
    wrong = np.flatnonzero(~np.isin(split, ("train", "test")))
    if len(wrong):
        raise Refused(f"{file}: split = {split[wrong[0]]!r} {_at(wrong[0])} is not allowed; write train or test")
    test, what = split == "test", columns["path" if by_path else "row"]
    for held, name in ((~test, "train"), (test, "test")):
        if not held.any():
            raise Refused(f"{file} has no rows of split {name}; a list needs both train and test")
    _check_once(what, test, by_path, file)
    if "label" in columns and by_path and len(empty := np.flatnonzero(columns["label"] == "")):
        raise Refused(f"{file} has no label {_at(empty[0])} ({len(empty)} in all); label every sample")
    experience = _experiences(columns["experience"], test, file)
    task, names = _tasks(columns.get("task"), experience, test, file)
    place = np.stack([experience, task], axis=1)
    return SampleList(file, what, by_path, columns.get("label"), test, place, names)


def _columns(file: Path) -> dict[str, Texts]:
    """Return the known columns of a file as texts, empty where a value is missing."""
    import pandas as pd

    try:
        if file.suffix.lower() == ".parquet":
            frame = pd.read_parquet(file)
        else:
            frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    except Exception as error:  # pandas and pyarrow raise many types
        first = (str(error).splitlines() or [""])[0]
        raise Refused(f"{file} cannot be read as CSV or Parquet ({first}); save it with a header") from error
    if not len(frame):
        raise Refused(f"{file} has no rows; a list has one for each sample")
    known = [name for name in frame.columns if name in COLUMNS]
    return {str(name): np.array([_text(value) for value in frame[name]], dtype=object) for name in known}


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    whole = isinstance(value, float) and value.is_integer()  # a column of whole numbers with gaps
    return str(int(value)) if whole else str(value).strip()


def _at(row: Any) -> str:
    return f"in row {int(row) + 1}"


def _check_once(what: Texts, test: Mask, by_path: bool, file: Path) -> None:
    """Refuse a sample that occurs twice; rows of a data set are numbered in each of its splits."""
    named = (
        what if by_path else np.array([f"{w} of {'test' if t else 'train'}" for w, t in zip(what, test, strict=True)])
    )
    kinds, first, counts = np.unique(named.astype(str), return_index=True, return_counts=True)
    twice = np.flatnonzero(counts > 1)
    if len(twice):
        raise Refused(
            f"{file}: {kinds[twice[0]]} occurs {counts[twice[0]]} times ({len(twice)} such samples), first "
            f"{_at(first[twice[0]])}; list every sample once, for training or for testing"
        )


def _experiences(written: Texts, test: Mask, file: Path) -> Index:
    """Return the experience of each sample, -1 for test samples of none."""
    numbers = np.full(len(written), -1, dtype=np.int64)
    for row, text in enumerate(written.tolist()):
        if text == "" and test[row]:
            continue
        if not WHOLE.fullmatch(text):
            told = "no experience" if text == "" else f"experience = {text!r}, which is no number from 0 on,"
            raise Refused(f"{file} has {told} {_at(row)}; number the experiences 0, 1, 2, ...")
        numbers[row] = int(text.partition(".")[0])
    found = np.unique(numbers[~test])
    if len(found) != found[-1] + 1:
        missing = np.setdiff1d(np.arange(found[-1] + 1), found)
        raise Refused(
            f"{file}: experiences go up to {found[-1]}, and {some(missing)} has no training samples; number them "
            "from 0 without gaps"
        )
    return numbers


def _tasks(written: Texts | None, experience: Index, test: Mask, file: Path) -> tuple[Index, tuple[str, ...]]:
    """Return the task of each sample, and the names of tasks in the order in which they are first learned."""
    own = np.array(["" if e < 0 else str(e) for e in experience], dtype=object)
    name = own if written is None else np.where(written == "", own, written)
    without = name[test] == ""
    if without.any():
        if not without.all():
            row = np.flatnonzero(test)[np.flatnonzero(without)[0]]
            raise Refused(
                f"{file}: some test samples have an experience or a task, and others have none, such as that "
                f"{_at(row)}; give it to all, or to none for one test set for all experiences"
            )
        if written is not None and (written[~test] != "").any():
            raise Refused(f"{file}: training samples name tasks, and test samples name none; give test samples theirs")
        return np.zeros(len(name), dtype=np.int64), (EVERYTHING,)
    order = np.argsort(experience[~test], kind="stable")
    names = tuple(dict.fromkeys(name[~test][order].tolist()))
    lacking = sorted(set(names) ^ set(name[test].tolist()))
    if lacking:
        what = "test" if lacking[0] in names else "training"
        raise Refused(
            f"{file}: task {lacking[0]!r} has no {what} samples; add some, or leave the column experience of all test "
            "samples empty for one test set for all experiences"
        )
    place = {each: t for t, each in enumerate(names)}
    return np.array([place[each] for each in name.tolist()], dtype=np.int64), names


# --------------------------------------------------------------------------------------------------- samples


def _files(listed: SampleList, data_dir: Path) -> list[Path]:
    """Return the pictures of a list, which lie in its own folder or in the data folder.

    Raises:
        Refused: Some do not exist; the message names the first and counts them.
    """
    beside, found, missing = listed.file.parent, [], []
    folders = (beside, data_dir)
    for written in listed.what.tolist():
        plain = Path(written).expanduser()
        file = next((each for folder in folders if (each := folder / plain).is_file()), None)
        if file is None:
            missing.append(written)
        found.append(file or plain)
    if missing:
        raise Refused(
            f"{listed.file} lists {len(missing)} of {len(found)} pictures that do not exist in {beside} or {data_dir}, "
            f"the first {missing[0]!r}; put them there, or correct their paths"
        )
    return found


def _labels(label: Texts) -> Texts:
    """Return labels as numbers if all are whole, so that they are ordered by value."""
    whole = all(text.isdigit() for text in label.tolist())
    return label.astype(np.int64) if whole else label.astype(str)


def _pictures(listed: SampleList, files: list[Path], held: Mask, origin: str) -> Pictures:
    assert listed.label is not None
    at = np.flatnonzero(held)

    def open_image(i: int) -> Image:
        from PIL import Image

        with Image.open(files[at[i]]) as image:
            image.load()
        return image

    y = _labels(listed.label)[held]
    return Pictures(y, None, None, open_image, lambda i: str(files[at[i]]), origin, listed=listed.place[held])


def _of_rows(name: str, listed: SampleList, of: str | None, data_dir: Path, settings: dict[str, Any]) -> Dataset:
    """Return the samples of a named data set that a list names by number."""
    from clbench import data

    if of is None or ":" in of:
        raise Refused(
            f"{listed.file} lists rows of a data set; name it, such as of: cifar10, in the data set (a name without a "
            "path; pictures in files are listed by path)",
            "of",
        )
    chosen = settings.pop("classes")
    base = data.read(of, data_dir, **settings)
    halves = []
    for rows, held, split in ((base.train, ~listed.test, "train"), (base.test, listed.test, "test")):
        halves.append(_taken(rows, listed, held, split, base))
    train, test = halves
    made = replace(
        base,
        name=name,
        train=train,
        test=test,
        checksum=checksum(train, test, base.scale),
        task_names=listed.task_names,
        origins=(),
    )
    if base.family != "classification":
        return made
    present = np.unique(train.y)
    lacking = np.setxor1d(present, test.y)
    if len(lacking):
        what = "test" if lacking[0] in present else "training"
        raise Refused(
            f"{listed.file}: class {base.class_names[lacking[0]]!r} of {of!r} has no {what} samples in the list; add "
            "some, or leave out all of its samples"
        )
    made = subset(made, present.tolist()) if len(present) < base.n_classes else made
    return made if chosen is None else subset(made, chosen)


def _taken(rows: Rows, listed: SampleList, held: Mask, split: str, base: Dataset) -> Rows:
    """Return the samples of one split of a data set that a list names."""
    at = np.flatnonzero(held)
    wrong = next((i for i in at if not listed.what[i].isdigit() or int(listed.what[i]) >= len(rows)), None)
    if wrong is not None:
        raise Refused(
            f"{listed.file}: row = {listed.what[wrong]!r} {_at(wrong)} is no {split} sample of {base.name!r}; they "
            f"have the numbers 0 to {len(rows) - 1}"
        )
    index = listed.what[at].astype(np.int64)
    if listed.label is not None and base.family == "classification":
        for i, y in zip(at, rows.y[index].tolist(), strict=True):
            if listed.label[i] not in ("", base.class_names[y], str(y)):
                raise Refused(
                    f"{listed.file}: label = {listed.label[i]!r} {_at(i)}, and {split} sample {listed.what[i]} of "
                    f"{base.name!r} is {base.class_names[y]!r}; correct the list, or leave the column label out"
                )
    target, domain = (None if each is None else each[index] for each in (rows.target, rows.domain))
    return Rows(np.asarray(rows.x)[index], np.asarray(rows.y)[index], target, domain, listed.place[at])
