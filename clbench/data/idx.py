"""The idx format of the MNIST family, parsed only to find damaged files before torchvision fails on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from clbench.core.errors import Refused

ITEM_BYTES = {8: 1, 9: 1, 11: 2, 12: 4, 13: 4, 14: 8}
"""Third byte of an idx file -> bytes per value."""


def check_idx(files: Sequence[Path]) -> None:
    """Compare the size of every uncompressed idx file with its header.

    Raises:
        Refused: A file is too short or too long, or has no such header.
    """
    for file in files:
        if file.name.endswith("-ubyte"):
            _check(file)


def _check(file: Path) -> None:
    with file.open("rb") as stream:
        magic = stream.read(4)
        dimensions = magic[3] if len(magic) == 4 else 0
        header = stream.read(4 * dimensions)
    size = file.stat().st_size
    cure = "delete it and run again to download it, or replace it by a complete one"
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in ITEM_BYTES or len(header) < 4 * dimensions:
        raise Refused(f"{file} is damaged: it does not begin like an idx file ({size} bytes); {cure}")
    shape = [int.from_bytes(header[4 * i : 4 * i + 4], "big") for i in range(dimensions)]
    expected = 4 + 4 * dimensions + ITEM_BYTES[magic[2]] * math.prod(shape)
    if size != expected:
        raise Refused(f"{file} is damaged: it has {size} bytes, and its header announces {expected}; {cure}")
