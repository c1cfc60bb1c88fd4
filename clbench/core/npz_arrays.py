"""Read the arrays of a NumPy archive that may be hostile: headers are checked first, and nothing is unpickled."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from clbench.core.zip_members import Member, ZipLimits, zip_members

MOST_ARRAYS = 64
_EXTRA = 20
"""Bytes of the extra field in the header of each member that NumPy writes."""
_LONGEST_HEADER = 10_000
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class Column:
    """Say which arrays may have a name.

    Args:
        kinds: The kinds of their types, such as ``"iu"``; ``"V"`` is a table of floating-point columns.
        dimensions: Number of dimensions.
    """

    kinds: str
    dimensions: int


def npz_arrays(content: bytes | memoryview, columns: Mapping[str, Column], most: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of an archive by name. Arrays of other names are left out.

    Args:
        content: The bytes of an ``.npz`` file.
        columns: Name -> which arrays may have it.
        most: The most bytes of all arrays together.

    Raises:
        ValueError: The content is damaged, or no such archive; the message gives the reason.
    """
    members = zip_members(content, ZipLimits(files=MOST_ARRAYS, size=most, extra=_EXTRA))
    found = {}
    for name, column in columns.items():
        member = members.get(f"{name}.npy")
        if member is not None:
            found[name] = _array(name, member, column)
    return found


def _array(name: str, member: Member, column: Column) -> NDArray[Any]:
    content = member.content()
    file = io.BytesIO(content)
    try:
        shape, in_columns, dtype = _HEADERS[npy.read_magic(file)](file, max_header_size=_LONGEST_HEADER)
    except Exception:  # the header is Python's notation of a mapping, which may be anything
        raise ValueError(f"the array {name!r} has no header that can be read") from None
    if not _allowed(dtype, column.kinds) or len(shape) != column.dimensions:
        raise ValueError(f"the array {name!r} has type {str(dtype)[:40]} and {len(shape)} dimensions")
    begin = file.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content) - begin:
        raise ValueError(f"the array {name!r} is not as large as its header says")
    flat = np.frombuffer(content, dtype, offset=begin)
    return flat.reshape(shape, order="F" if in_columns else "C").copy(order="K")


def _allowed(dtype: np.dtype[Any], kinds: str) -> bool:
    """Return whether an array may have a type: plain numbers, texts, or a table of plain numbers."""
    if dtype.kind not in kinds or dtype.hasobject or dtype.subdtype is not None or not dtype.itemsize:
        return False
    if dtype.kind == "V":
        columns = [field[0] for field in (dtype.fields or {}).values()]
        return bool(columns) and all(_allowed(each, "f") for each in columns)
    return dtype.kind == "U" or dtype.itemsize <= 8
