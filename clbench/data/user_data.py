"""Data sets that a program hands over: arrays, pairs, torch data sets, frames, bunches, mappings and names.

Data without test samples is split: a fifth of the samples, stratified, equal for every seed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from clbench.core.errors import Refused
from clbench.core.types import Dataset
from clbench.data import from_arrays, load, tables
from clbench.data.dataset_registry import FORMS
from clbench.data.drawn_split import split_off_test
from clbench.data.labels import as_array, label_array
from clbench.data.number_targets import REGRESSION, number_array, strata
from clbench.data.pixel_values import Layout

TAKES = (
    "a clbench.Dataset; a name, such as 'digits' or 'csv:FILE', or {'name': 'csv:FILE', 'label': 'COLUMN', ...}; "
    "(x_train, y_train, x_test, y_test), as it is, in two "
    "pairs or as a mapping of those names; a torch data set, a pandas frame with a column 'label', or a scikit-learn "
    "Bunch; or (train, test) of those"
)
WHERE = "dataset="
Split = tuple[Any, Any, list[str] | None]
"""Samples, labels, and names of the classes if they are known."""


def given(
    obj: Any,
    *,
    name: str = "arrays",
    data_dir: str | PathLike[str] | None = None,
    scale: float | None = None,
    layout: Layout | None = None,
    family: str | None = None,
) -> Dataset:
    """Convert the data set that a program hands over, in any of the forms of :data:`TAKES`.

    Args:
        obj: The data set. The label column of a frame may follow it: ``(frame, "species")``,
            ``(train, test, "species")``.
        name: Name of the data set in records, if it has none of its own.
        data_dir: The directory of data sets with names.
        scale, layout, family: As in :func:`clbench.data.from_arrays`; not for finished or named data sets.

    Raises:
        Refused: The form is another one, or contents cannot be used; the message says how to fix it.
    """
    if isinstance(obj, Dataset):
        return obj
    found = named(obj)
    if found is not None:
        return load(found[0], data_dir, **found[1])
    if _is_hub(obj):
        from clbench.data.huggingface import from_splits

        return from_splits(obj, name, scale=scale)
    train, test = _halves(obj, family)
    if family == REGRESSION:
        return from_arrays(name, *train[:2], *test[:2], scale=scale, layout=layout, family=family)
    names = train[2] if test[2] is None or train[2] == test[2] else None
    y = as_array(train[1], f"{WHERE}: y_train")
    fits = names is not None and y.dtype.kind in "iu" and y.size and y.min() >= 0 and y.max() < len(names)
    parts = (train[0], train[1], test[0], test[1])
    return from_arrays(name, *parts, class_names=names if fits else None, scale=scale, layout=layout)


def named(obj: Any) -> tuple[str, dict[str, Any]] | None:
    """Return name and settings of a named data set, such as ``{"name": "csv:a.csv", "label": "kind"}``; ``None`` for
    other objects."""
    if isinstance(obj, Mapping) and "name" in obj and not _is_bunch(obj):
        name = source_name(obj["name"])
        if name is None:
            raise Refused(f"{WHERE}: name is {_kind(obj['name'])}; write the name or the path of a data set")
        return name, {str(key): value for key, value in obj.items() if key != "name"}
    name = source_name(obj)
    return None if name is None else (name, {})


def source_name(obj: Any) -> str | None:
    """Return the name of a named data set: text unchanged, a path with its form; ``None`` for other objects."""
    if isinstance(obj, str):
        file = Path(obj).expanduser()
        if file.suffix.lower() not in FORMS or not file.is_file():
            return obj
        obj = file  # an existing file without its form
    if not isinstance(obj, Path):
        return None
    form = FORMS.get(obj.suffix.lower())
    if form is None and obj.is_dir():
        form = "parquet" if any(obj.rglob("*.parquet")) else "folder"
    if form is None:
        raise Refused(f"{WHERE}{obj} is no .npz, .csv or .parquet file and no folder; give one of them, or {TAKES}")
    return f"{form}:'{obj.absolute()}'" if "+" in str(obj) else f"{form}:{obj.absolute()}"


def _halves(obj: Any, family: str | None = None) -> tuple[Split, Split]:
    """Return training and test samples."""
    if isinstance(obj, Mapping) and not _is_bunch(obj):
        return _of_mapping(obj)
    if _is_split(obj):
        return _split_off_test(obj, family=family)
    if not isinstance(obj, tuple | list) or len(obj) not in (2, 3, 4):
        raise _unknown(obj)
    if len(obj) == 4:
        return _of_four(*obj)
    *parts, label = obj if isinstance(obj[-1], str) else (*obj, None)
    if label is not None and not all(map(_is_frame, parts)):
        raise Refused(f"{WHERE}: the label column {label!r} goes with pandas frames; this is {_kind(obj)}")
    if len(parts) == 1:
        return _split_off_test(parts[0], label, family)
    if len(parts) == 2 and all(_is_split(part) for part in parts) and not _is_x_and_y(*parts):
        if all(map(_is_frame, parts)):
            return _of_frames([_pandas(part) for part in parts], label, family)
        train, test = map(_split, parts)
        return train, test
    if len(parts) == 2 and not any(_is_split(part, arrays=False) or isinstance(part, Mapping) for part in parts):
        return _split_off_test((parts[0], parts[1]), family=family)
    raise _unknown(obj)


def _of_four(x_train: Any, second: Any, third: Any, y_test: Any) -> tuple[Split, Split]:
    """Sort four arrays in our order, or in that of scikit-learn's ``train_test_split``."""
    if _dimensions(second) > 1 and _dimensions(third) == 1 and _shape(second)[1:] == _shape(x_train)[1:]:
        second, third = third, second
    return (*_plain(x_train, second), None), (*_plain(third, y_test), None)


def _of_mapping(obj: Mapping[str, Any]) -> tuple[Split, Split]:
    known = {str(key).lower(): value for key, value in obj.items()}
    test = next((name for name in tables.TEST if name in known or f"x_{name}" in known), "test")
    if "train" in known and test in known:
        return _halves((known["train"], known[test]))
    missing = [key for key in ("x_train", "y_train", f"x_{test}", f"y_{test}") if key not in known]
    if missing:
        raise Refused(
            f"{WHERE} is a mapping without {', '.join(missing)} (it has {', '.join(map(str, obj)) or 'nothing'}); "
            f"{WHERE} takes {TAKES}"
        )
    train = _plain(known["x_train"], known["y_train"])
    return (*train, None), (*_plain(known[f"x_{test}"], known[f"y_{test}"]), None)


def _of_frames(frames: list[Any], label: str | None, family: str | None) -> tuple[Split, Split]:
    table = tables.read_frames(frames, tables.TableSettings(label=label, family=family), where=WHERE)
    return (*table.train, None), (*table.test, None)


def _split_off_test(obj: Any, label: str | None = None, family: str | None = None) -> tuple[Split, Split]:
    """Split data without a split, or by a column that contains it."""
    if _is_frame(obj):
        return _of_frames([_pandas(obj)], label, family)
    x, y, names = _split(obj)
    x = as_array(x, f"{WHERE}: x")
    if family == REGRESSION:
        target = number_array(y, len(x), f"{WHERE}: y")
        train, test = split_off_test(x, target, where=WHERE, groups=strata(target))
        return (*train, names), (*test, names)
    y = label_array(y, len(x), f"{WHERE}: y")
    train, test = split_off_test(x, y, where=WHERE)
    return (*train, names), (*test, names)


# --------------------------------------------------------------------------------------------------- one split


def _is_split(obj: Any, *, arrays: bool = True) -> bool:
    """Return whether an object holds samples with their labels."""
    if _is_torch(obj) or _is_frame(obj) or _is_bunch(obj):
        return True
    return arrays and isinstance(obj, tuple | list) and len(obj) == 2 and _is_x_and_y(*obj)


def _is_x_and_y(x: Any, y: Any) -> bool:
    """Return whether two objects are samples and their labels."""
    if any(_is_torch(each) or isinstance(each, Mapping | str) or hasattr(each, "target") for each in (x, y)):
        return False
    if isinstance(x, tuple) or (_is_frame(y) and len(y.columns) > 1):
        return False
    return _dimensions(x) >= 2 and 1 <= _dimensions(y) <= 2 and _shape(x)[0] == _shape(y)[0]


def _split(obj: Any) -> Split:
    if _is_torch(obj):
        return _of_torch(obj)
    if _is_frame(obj):
        frame = _pandas(obj)
        return (*tables.read_frames([frame, frame], tables.TableSettings(), where=WHERE).train, None)
    if _is_bunch(obj):
        names = obj.get("target_names")
        return (*_plain(obj["data"], obj["target"]), None if names is None else [str(name) for name in names])
    if isinstance(obj, tuple | list) and len(obj) == 2:
        return (*_plain(*obj), None)
    raise _unknown(obj)


def _plain(x: Any, y: Any) -> tuple[Any, Any]:
    """Return samples and labels, with pandas frames and series as arrays."""
    return tables.numbers(_pandas(x), WHERE) if _is_frame(x) else x, _pandas(y).to_numpy() if _is_frame(y) else y


def _of_torch(obj: Any) -> Split:
    """Read all samples of a torch data set, in order; for a loader, those of its data set."""
    from torch.utils.data import DataLoader, IterableDataset, TensorDataset

    from clbench.core.global_rng import preserved

    source: Any = obj.dataset if isinstance(obj, DataLoader) else obj
    names = getattr(source, "classes", None)
    names = [str(name) for name in names] if isinstance(names, Sequence) and not isinstance(names, str) else None
    if isinstance(source, TensorDataset):
        if len(source.tensors) < 2:
            raise Refused(
                f"{WHERE}: a TensorDataset holds samples and labels, and this one {len(source.tensors)} tensor"
            )
        return source.tensors[0], source.tensors[1], names
    counted = not isinstance(source, IterableDataset) and hasattr(source, "__len__")
    rows: Iterable[Any] = (source[i] for i in range(len(source))) if counted else source
    x, y = [], []
    with preserved():
        for number, item in enumerate(_items(rows, type(source).__name__)):
            if not isinstance(item, tuple | list) or len(item) < 2:
                raise Refused(
                    f"{WHERE}: item {number} of {type(source).__name__} is {_kind(item)}; it has to be (input, label)"
                )
            x.append(as_array(item[0], f"{WHERE}: the input of item {number} of {type(source).__name__}"))
            y.append(as_array(item[1], f"{WHERE}: the label of item {number} of {type(source).__name__}"))
            if x[-1].shape != x[0].shape or y[-1].shape != y[0].shape:
                raise Refused(
                    f"{WHERE}: item {number} of {type(source).__name__} has shape {x[-1].shape} and item 0 "
                    f"{x[0].shape}; bring all to one size (a transform that resizes)"
                )
    if not x:
        raise Refused(f"{WHERE}: {type(source).__name__} has no items")
    return np.stack(x), np.stack(y), names


def _items(rows: Iterable[Any], kind: str) -> Iterator[Any]:
    """Yield the items of a torch data set; an error names the item's number."""
    number = 0
    try:
        for item in rows:
            yield item
            number += 1
    except Exception as error:
        raise Refused(
            f"{WHERE}: item {number} of {kind} cannot be read ({type(error).__name__}: {error}); repair it or leave it "
            "out (torch.utils.data.Subset)"
        ) from error


# --------------------------------------------------------------------------------------------------- what it is


def _is_torch(obj: Any) -> bool:
    torch = sys.modules.get("torch.utils.data")  # a program that holds such a data set has imported it
    return torch is not None and isinstance(obj, torch.Dataset | torch.DataLoader)


def _is_frame(obj: Any) -> bool:
    return hasattr(obj, "columns") and (hasattr(obj, "iloc") or hasattr(obj, "to_pandas"))


def _pandas(obj: Any) -> Any:
    return obj if hasattr(obj, "iloc") else obj.to_pandas()


def _is_bunch(obj: Any) -> bool:
    return isinstance(obj, Mapping) and "data" in obj and "target" in obj


def _is_hub(obj: Any) -> bool:
    return isinstance(obj, Mapping) and bool(obj) and all(hasattr(split, "features") for split in obj.values())


def _shape(obj: Any) -> tuple[int, ...]:
    try:
        return tuple(obj.shape) if hasattr(obj, "shape") else np.shape(obj)
    except ValueError:  # samples of different lengths
        return (len(obj),)


def _dimensions(obj: Any) -> int:
    return len(_shape(obj))


def _unknown(obj: Any) -> Refused:
    return Refused(f"{WHERE} is {_kind(obj)}; it takes {TAKES}")


def _kind(obj: Any) -> str:
    if isinstance(obj, tuple | list):
        return f"a {type(obj).__name__} of {', '.join(type(each).__name__ for each in obj[:6]) or 'nothing'}"
    return f"a {type(obj).__name__}"
