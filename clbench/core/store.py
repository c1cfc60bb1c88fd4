"""Records on disk: addressed by content, append-only and atomic. A record is complete or absent, whatever happens.

``DIR/records/KEY.json`` is the record and ``DIR/traces/KEY.npz`` its trace. The trace is written first, so an existing
record is complete.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import secrets
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from clbench.core.errors import Refused
from clbench.core.measure import ACCURACY, Measure
from clbench.core.notices import notice
from clbench.core.record import Predictions, Record, Trace
from clbench.core.trace_equality import trace_digest
from clbench.core.types import content_hash

FORMAT = 3
"""Version of the layout of a record file. Since version 2 a record holds checksums of itself and of its trace; since
version 3 it holds the digest of its trace, the digests of its code, its attempts and the origin of its settings."""


Scalar = str | int | FiniteFloat | bool | None


class Damaged(Refused):
    """Report a file of a record that differs from what was written. The message names the file and the fault."""


class RecordFile(BaseModel):
    """Describe the JSON of a record: the fields of :class:`clbench.core.record.Record` without the trace."""

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    key: str
    cell: dict[str, Any]
    label: str
    status: Literal["done", "skipped", "diverged", "failed"]
    reason: str
    fingerprint: str
    cost: dict[str, FiniteFloat]
    alarms: tuple[str, ...]
    environment: dict[str, Scalar]
    created: str
    data: str = ""
    traceback: str = ""
    """Only the files of failed cells have it."""
    trace_digest: str = ""
    code: dict[str, str] = {}
    attempts: tuple[dict[str, Scalar], ...] = ()
    tuning: dict[str, Any] = {}
    has_trace: bool
    sums: dict[str, str] = {}
    """Checksums of ``record`` (this file without its checksums) and of the file of its ``trace``; empty in older
    records."""


@dataclass(frozen=True)
class Keep:
    """Say which files are kept with the records of a result directory.

    Args:
        folder: The result directory.
        model: Whether to keep the model at the end of each run, ``models/KEY.pt``.
        ends: Whether to keep the model after each experience too, ``models/KEY/EXPERIENCE.pt``.
        predictions: Whether to keep predictions at the ends of experiences, ``predictions/KEY.parquet``.
    """

    folder: Path
    model: bool = False
    ends: bool = False
    predictions: bool = False

    def lacks(self, record: Record) -> bool:
        """Return whether a finished run did not keep one of these files."""
        if record.status != "done":
            return False
        path = model_path(record.key, self.folder)
        last = record.trace.n_experiences - 1 if record.trace is not None else 0
        return (
            (self.model and not path.exists())
            or (self.ends and not end_path(path, last).exists())
            or (self.predictions and not predictions_path(record.key, self.folder).exists())
        )


def save(record: Record, directory: Path) -> Path:
    """Write a record and return its path.

    Raises:
        OSError: The disk is full or not writable; no part of the record is left behind.
    """
    path = record_path(record.key, directory)
    fields = {k: v for k, v in vars(record).items() if k != "trace"}
    sums: dict[str, str] = {}
    if record.trace is not None:
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {name: np.asarray(getattr(record.trace, name)) for name in TRACE_FIELDS}
        extra = {name: getattr(record.trace, name) for name in OPTIONAL_FIELDS}
        arrays |= {name: array for name, array in extra.items() if array.size}
        arrays |= _of_measure(record.trace)
        np.savez_compressed(buffer, **arrays)
        write(directory / "traces" / f"{record.key}.npz", buffer.getvalue())
        sums["trace"] = _sum(buffer.getvalue())
    fields["trace_digest"] = "" if record.trace is None else trace_digest(record.trace)
    fields["cost"] = {name: value for name, value in record.cost.items() if math.isfinite(value)}
    held = RecordFile(**_encodable(fields), has_trace=record.trace is not None)
    absent = set() if record.traceback else {"traceback"}
    sums["record"] = _sum_of(json.loads(held.model_dump_json(exclude=absent)))
    write(path, held.model_copy(update={"sums": sums}).model_dump_json(indent=1, exclude=absent).encode())
    return path


def _of_measure(trace: Trace) -> dict[str, Any]:
    """Return the field of a file for the measure of a trace, unless that is accuracy."""
    return {} if trace.measure == ACCURACY else {MEASURE: np.array(json.dumps(asdict(trace.measure)))}


def _measure(written: str) -> Measure:
    fields = json.loads(written)
    return Measure(**{**fields, "columns": tuple(fields["columns"])})


def _encodable(obj: Any) -> Any:
    """Return the same data with escapes in place of characters that UTF-8 cannot encode, as in file names."""
    if isinstance(obj, str):
        return obj.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(obj, dict):
        return {_encodable(name): _encodable(value) for name, value in obj.items()}
    return type(obj)(map(_encodable, obj)) if isinstance(obj, list | tuple) else obj


TRACE_FIELDS = ("step", "kind", "experience", "score", "rows", "present", "every", "seconds")
OPTIONAL_FIELDS = (
    "population",
    "masked",
    "class_score",
    "probe_step",
    "probe",
    "units",
    "competing",
    "met",
    "counted",
    "spread",
    "further",
)
"""Fields of a trace that a file holds only if something was recorded; older files have none of them."""
MEASURE = "measure"
"""The field of a file for the measure of scores that are not accuracies."""


def _sum(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _sum_of(content: dict[str, Any]) -> str:
    """Return the checksum of a record file without its checksums, independent of order and layout of its text."""
    told = {name: value for name, value in content.items() if name != "sums"}
    return _sum(json.dumps(told, sort_keys=True).encode())


def _check(content: dict[str, Any], path: Path) -> None:
    """Check that a record is as it was written: its key belongs to its cell, and its numbers are unchanged.

    Raises:
        ValueError: It is not; the message gives the reason.
    """
    if content["key"] != path.stem:
        raise ValueError(f"it is the record of cell {content['key']}")
    if content["key"] != content_hash(content["cell"]):
        raise ValueError("its key does not belong to its cell")
    written = (content.get("sums") or {}).get("record")
    if written is None and content.get("format", 1) > 1:
        raise ValueError("it has no checksum")
    if written is not None and written != _sum_of(content):
        raise ValueError("it was changed after it was written")


def write(path: Path, content: bytes) -> None:
    """Write a file atomically: it appears complete under its name, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")  # machines may share a folder
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_or_refuse(path: Path, content: bytes) -> None:
    """Write a file that the user has asked for atomically.

    Raises:
        Refused: The file cannot be written.
    """
    try:
        write(path, content)
    except OSError as error:
        raise Refused(
            f"{path} cannot be written: {error.strerror or error}; make room or choose another place"
        ) from None


def load(path: Path) -> Record:
    """Read one record file.

    Raises:
        Damaged: The record or its trace is missing, or differs from what was written.
        Refused: A newer version of clbench wrote it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number, parse_float=_finite)
        if content.get("format", 0) > FORMAT:
            raise Refused(
                f"{path} was written by a newer clbench (format {content['format']}, here {FORMAT}); upgrade clbench"
            )
        fields = RecordFile.model_validate(content).model_dump(exclude={"format", "has_trace", "sums"})
        _check_cell(content["cell"])
        _check(content, path)
    except OSError as error:
        raise Damaged(
            f"the record {path} cannot be read ({error.strerror}); a record is DIR/records/KEY.json"
        ) from None
    except (AttributeError, TypeError, ValidationError, ValueError, KeyError, RecursionError) as error:
        if isinstance(error, Refused):
            raise
        what = str(error).split("\n")[0]
        raise Damaged(f"the record {path} is damaged ({what}); remove it and run its benchmark again") from None
    written = (content.get("sums") or {}).get("trace", "")
    folder = path.parent.parent
    trace = _load_trace(folder / "traces" / f"{path.stem}.npz", written) if content["has_trace"] else None
    if trace is not None and not trace.competing.size:
        stream = fields["cell"].get("stream") or {}
        settled = stream.get("output") == "all" or stream.get("setting") in ("task", "domain")
        trace = replace(trace, settled=settled)
    kept = predictions_path(path.stem, folder)
    if trace is not None and kept.exists():
        trace = replace(trace, predictions=Predictions(kept))
    return Record(**fields, trace=trace)


def _no_number(written: str) -> Any:
    raise ValueError(f"{written} is no number")


def _finite(written: str) -> float:
    number = float(written)
    return number if abs(number) < float("inf") else _no_number(written)


def _check_cell(cell: dict[str, Any]) -> None:
    """Check the fields of a cell that all readers rely on."""
    benchmark, items = cell["benchmark"], cell["strategy"]
    if not isinstance(benchmark["name"], str) or not isinstance(benchmark["version"], int | str):
        raise ValueError("its benchmark has no name and version")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError("its strategy is not a list of parts")
    if not isinstance(cell["seed"], int):
        raise ValueError("its seed is not an integer")


def _load_trace(path: Path, written: str) -> Trace:
    try:
        held = path.read_bytes()
        if written and _sum(held) != written:
            raise ValueError("it does not belong to this record")
        with np.load(io.BytesIO(held)) as arrays:  # given a path, np.load leaves a damaged file open
            fields: dict[str, Any] = {name: arrays[name] for name in TRACE_FIELDS}
            fields |= {name: arrays[name] for name in OPTIONAL_FIELDS if name in arrays}
            measure = _measure(str(arrays[MEASURE])) if MEASURE in arrays else ACCURACY
        return Trace(**{**fields, "every": int(fields["every"])}, measure=measure)
    except (
        OSError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError, TypeError, EOFError,
    ) as error:  # fmt: skip
        raise Damaged(
            f"the trace {path} is damaged or missing ({error}); remove it and its record and run the benchmark again"
        ) from None


def has(key: str, directory: Path) -> bool:
    """Return whether the record of a cell exists."""
    return record_path(key, directory).exists()


def record_path(key: str, directory: Path) -> Path:
    """Return the path of a cell's record."""
    return directory / "records" / f"{key}.json"


def predictions_path(key: str, directory: Path) -> Path:
    """Return the path of a cell's predictions, whether they were kept or not."""
    return directory / "predictions" / f"{key}.parquet"


def model_path(key: str, directory: Path) -> Path:
    """Return the path of a cell's model. A folder of that name holds the models after each experience."""
    return directory / "models" / f"{key}.pt"


def end_path(path: Path, experience: int) -> Path:
    """Return the path of the model after an experience, from the ``path`` of the model at the end of the run."""
    return path.with_suffix("") / f"{experience}.pt"


def load_all(*directories: Path) -> Iterator[Record]:
    """Load all records of some result directories, in a stable order. Unusable files are reported and left out.

    Raises:
        Refused: A directory holds no readable records.
    """
    for directory in directories:
        paths = sorted((directory / "records").glob("*.json"))
        foreign = [path.name for path in paths if path.name.startswith(".")]
        if foreign:
            names = ", ".join(foreign[:3]) + ", ..." * (len(foreign) > 3)
            notice(f"left out of {directory / 'records'}: {names}, which are no records")
        readable = False
        for path in paths:
            if path.name.startswith("."):
                continue
            try:
                record = load(path)
            except Refused as error:
                notice(f"left out: {error}")
                continue
            readable = True
            yield record
        if not readable:
            raise Refused(f"{directory} holds no records; give a directory that `clbench run --out DIR` has written")


def set_aside(path: Path) -> Path:
    """Move an unusable file or folder into ``damaged/`` next to it.

    Returns:
        The new path.

    Raises:
        OSError: The folder cannot be written.
    """
    folder = path.parent / "damaged"
    folder.mkdir(exist_ok=True)
    place, number = folder / path.name, 1
    while place.exists():
        number += 1
        place = folder / f"{path.name}.{number}"
    return path.rename(place)


def set_record_aside(key: str, directory: Path) -> None:
    """Move the record of a cell and its trace into ``damaged/``, whichever of them exist."""
    for path in (record_path(key, directory), directory / "traces" / f"{key}.npz"):
        if path.exists() or path.is_symlink():
            set_aside(path)
