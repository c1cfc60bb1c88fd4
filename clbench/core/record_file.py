"""The file of a record: its fields as JSON with checksums, and the checks of a file that is read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from pathlib import PurePath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from clbench.core.errors import Refused
from clbench.core.record import Record
from clbench.core.trace_equality import trace_digest
from clbench.core.types import content_hash

FORMAT = 3
"""Version of the layout of a record file. Since version 2 a record holds checksums of itself and of its trace; since
version 3 it holds the digest of its trace, the digests of its code, its attempts and the origin of its settings."""


Scalar = str | int | FiniteFloat | bool | None


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


def encoded(record: Record, trace: bytes | None) -> bytes:
    """Return the content of a record's file.

    Args:
        record: The record.
        trace: The content of its trace's file; ``None`` if it has no trace.
    """
    held_fields = (each.name for each in dataclasses.fields(record) if each.name != "trace")
    fields = {name: getattr(record, name) for name in held_fields}
    sums = {} if trace is None else {"trace": checksum(trace)}
    fields["trace_digest"] = "" if (own := record.trace) is None else trace_digest(own)
    fields["cost"] = {name: value for name, value in record.cost.items() if math.isfinite(value)}
    held = RecordFile(**_encodable(fields), has_trace=trace is not None)
    absent = set() if record.traceback else {"traceback"}
    sums["record"] = _sum_of(json.loads(held.model_dump_json(exclude=absent)))
    return held.model_copy(update={"sums": sums}).model_dump_json(indent=1, exclude=absent).encode()


def decoded(content: bytes, path: PurePath) -> RecordFile:
    """Return the fields in the content of a record's file.

    Args:
        content: The bytes of the file.
        path: The path of the file, whose name is the key of its cell.

    Raises:
        ValueError: The content is no record, or differs from what was written; the message gives the reason.
        Refused: A newer version of clbench wrote it.
    """
    try:
        held = json.loads(content.decode("utf-8"), parse_constant=_no_number, parse_float=_finite)
        if held.get("format", 0) > FORMAT:
            raise Refused(
                f"{path} was written by a newer clbench (format {held['format']}, here {FORMAT}); upgrade clbench"
            )
        try:
            fields = RecordFile.model_validate(held)
        except ValidationError as error:
            raise ValueError(_first_fault(error)) from None
        _check_cell(held["cell"])
        _check(held, path)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is cut off or edited: {error}") from None
    except KeyError as error:
        raise ValueError(f"its cell has no entry {error}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (AttributeError, TypeError):
        raise ValueError("it is no record") from None
    return fields


def _first_fault(error: ValidationError) -> str:
    """Return what is wrong with the entries of a file, in a few words."""
    faults = error.errors()
    missing = [str(fault["loc"][0]) for fault in faults if fault["type"] == "missing"]
    if "key" in missing and "cell" in missing:
        return "it is no record"
    if missing:
        return f"it has no entry {missing[0]!r}"
    place = ".".join(str(part) for part in faults[0]["loc"])
    if faults[0]["type"] == "extra_forbidden":
        return f"its entry {place!r} is not known"
    return f"its entry {place!r} is wrong: {faults[0]['msg'][0].lower()}{faults[0]['msg'][1:]}"


def checksum(content: bytes | memoryview) -> str:
    """Return the checksum of a file as 16 hex digits."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _encodable(obj: Any) -> Any:
    """Return the same data with escapes in place of characters that UTF-8 cannot encode, as in file names."""
    if isinstance(obj, str):
        return obj.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(obj, dict):
        return {_encodable(name): _encodable(value) for name, value in obj.items()}
    return type(obj)(map(_encodable, obj)) if isinstance(obj, list | tuple) else obj


def _sum_of(content: dict[str, Any]) -> str:
    """Return the checksum of a record file without its checksums, independent of order and layout of its text."""
    told = {name: value for name, value in content.items() if name != "sums"}
    return checksum(json.dumps(told, sort_keys=True).encode())


def _check(content: dict[str, Any], path: PurePath) -> None:
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
