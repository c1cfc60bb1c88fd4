"""The manifest of a bundle: who submits which files, of which seeds, made by which code."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

FORMAT: Literal[1] = 1
"""Version of the layout of a bundle."""
NAME = "manifest.json"
"""The name of the manifest in a bundle."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(max_length=10_000)]


class Plugin(BaseModel):
    """Describe code of a cell that is not clbench's.

    Args:
        name: What the cell calls it, such as ``mine.py:Mine``.
        source: Its checksum in the cell.
        file: The file in the bundle with its text, such as ``sources/mine.py``; empty for an installed package and for
            objects that a program has added.
        modules: The program's modules that it imports: name -> file in the bundle.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text
    source: Text
    file: Text = ""
    modules: dict[Text, Text] = {}


class Manifest(BaseModel):
    """Describe a bundle.

    Args:
        format: Version of the layout.
        contact: Who answers questions: an e-mail address or a web address.
        licence: The SPDX identifier of the licence of the records, such as ``CC-BY-4.0``.
        created: Time of the newest record, ISO 8601, UTC, so that the same records make the same bundle.
        clbench: The version of clbench that wrote the bundle.
        files: The sha256 of each file in the bundle except this one.
        seeds: The reference seeds of each benchmark, by ``NAME@VERSION``.
        code: The digests of the code that made each row, by the content hash of its cells without their seeds
            (``Record.settings``); a row without digests is left out.
        plugins: Code that is not clbench's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = FORMAT
    contact: Annotated[str, StringConstraints(max_length=200)]
    licence: Annotated[str, StringConstraints(max_length=200)]
    created: Text
    clbench: Text
    files: Annotated[dict[Text, Sha256], Field(max_length=5_000)]
    seeds: dict[Text, tuple[int, ...]]
    code: dict[Text, dict[Text, Text]] = {}
    plugins: tuple[Plugin, ...] = ()

    def encoded(self) -> bytes:
        """Return the content of the file: JSON with sorted names."""
        return json.dumps(self.model_dump(), sort_keys=True, ensure_ascii=True, indent=1).encode() + b"\n"
