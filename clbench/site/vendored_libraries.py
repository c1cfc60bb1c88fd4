"""The JavaScript libraries that come with the package, with their licences, versions and checksums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Library:
    """Describe a library in the folder ``vendored``.

    Args:
        folder: Its folder, also below ``lib`` of a site.
        name: Its name.
        version: Its version.
        licence: Its licence; the text is in ``LICENSE.txt``.
        home: Where its sources are.
        files: File -> SHA-256, as published.
    """

    folder: str
    name: str
    version: str
    licence: str
    home: str
    files: dict[str, str]


LIBRARIES = (
    Library(
        "datatables",
        "DataTables",
        "3.1.5",
        "MIT",
        "https://github.com/DataTables/DataTablesSrc",
        {
            "LICENSE.txt": "62b5fdd54371b4f6bd07a60dbc78b38814f49a8028213f540dc2733cad605382",
            "dataTables.min.js": "38017a5586acd9c6eb6bbfe8b6938e1a25bdc717c5acfcb07e0c9d663282c59d",
        },
    ),
    Library(
        "uplot",
        "uPlot",
        "1.6.32",
        "MIT",
        "https://github.com/leeoniya/uPlot",
        {
            "LICENSE.txt": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
            "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
            "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
        },
    ),
)


def library_files() -> Iterator[tuple[str, bytes]]:
    """Yield the files of all libraries, as pairs of a path below the folder of a site and the content."""
    for library in LIBRARIES:
        for name in library.files:
            yield f"lib/{library.folder}/{name}", read(library.folder, name)


def read(folder: str, name: str) -> bytes:
    """Return a file of a library."""
    return resources.files("clbench.site").joinpath("vendored", folder, name).read_bytes()
