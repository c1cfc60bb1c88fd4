"""Compare a manifest with the records of its bundle: it may say neither more nor less."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from clbench.core.record import Record
from clbench.submission.manifest import Manifest

LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*(?: (?:WITH|OR|AND) [A-Za-z0-9][A-Za-z0-9.+-]*)*")
"""The shape of an SPDX expression, such as ``CC-BY-4.0`` or ``Apache-2.0 OR MIT``."""
RESULTS = ("done", "diverged")
"""Statuses of records that have a result."""
CONTACT = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+|https://[^\s/]+\.[^\s]+")
"""The shape of an e-mail address or a web address."""


def manifest_problems(records: Sequence[Record], manifest: Manifest) -> Iterator[str]:
    """Yield where a manifest and the records of its bundle contradict each other.

    Args:
        records: The records that can be read.
        manifest: The manifest.
    """
    yield from contact_problems(manifest.contact, manifest.licence)
    rows: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        rows[record.settings].append(record)
    found = {record.benchmark for record in records}
    for benchmark in sorted(set(manifest.seeds) - found):
        yield f"the manifest names seeds of {benchmark}, of which the bundle holds no record"
    for benchmark in sorted(found - set(manifest.seeds)):
        yield f"the bundle holds records of {benchmark}, of which the manifest names no seeds"
    for settings, row in sorted(rows.items()):
        yield from _wrong_row(row, manifest, manifest.code.get(settings, {}))
    for settings in sorted(set(manifest.code) - set(rows)):
        yield f"the manifest names code of a row {settings}, of which the bundle holds no record"


def contact_problems(contact: str, licence: str) -> Iterator[str]:
    """Yield what is wrong with the contact and the licence of a bundle."""
    if not CONTACT.fullmatch(contact):
        yield f"the contact {contact!r} is no e-mail address and no web address that begins with https://"
    if not LICENCE.fullmatch(licence):
        yield f"the licence {licence!r} is no SPDX identifier, such as CC-BY-4.0 or MIT"


def _wrong_row(row: Sequence[Record], manifest: Manifest, code: dict[str, str]) -> Iterator[str]:
    first = row[0]
    if all(each.status == "skipped" for each in row):
        return
    results = [each for each in row if each.status in RESULTS]
    missing = sorted(set(manifest.seeds.get(first.benchmark, ())) - {each.seed for each in results})
    if missing:
        seeds = ", ".join(map(str, missing))
        yield f"{first.label} has no result for seed {seeds} of {first.benchmark}, which the manifest names"
    others = [each.key for each in results if each.code != code]
    if others:
        yield f"the code of {first.label} in the manifest is not that of its record {min(others)}"
