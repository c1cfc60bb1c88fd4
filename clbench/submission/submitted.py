"""The content of a submission as all checks see it: records that were read from untrusted files, and what was wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clbench.core.record import Record
from clbench.submission.manifest import Manifest


@dataclass(frozen=True)
class Submitted:
    """Hold what was read from a bundle or from result folders. Everything in it was written by others.

    Args:
        records: The records that can be read, ordered by benchmark, label, seed and key. Their traces have been decoded
            once, so asking for them raises nothing; they are decoded again when they are asked for.
        manifest: The manifest of a bundle; ``None`` if there is none, as in a result folder.
        sources: The program texts of the bundle: name below ``sources/`` -> text. They are never imported.
        digest: The sha256 of the bundle's bytes as 64 hex digits. For folders, the sha256 of the names and sha256 sums
            of all files that were read.
        problems: What is wrong with the files, one sentence each: damaged records, sums that differ from the manifest,
            files that it does not name. Checks turn each into a finding.
        path: The path as the user wrote it.
        files: The sha256 sum of each file that was read, by its name in the bundle or folder.
        formats: The version of the record format of each record, by key.
    """

    records: tuple[Record, ...]
    manifest: Manifest | None
    sources: Mapping[str, str]
    digest: str
    problems: tuple[str, ...]
    path: str
    files: Mapping[str, str] = field(default_factory=dict)
    formats: Mapping[str, int] = field(default_factory=dict)
