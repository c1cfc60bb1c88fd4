"""Read from the report of a verification which status it gives to a submission. This imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clbench.submission.findings import STATUSES, Status

TYPE = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:clbench:verification:v1"
"""The type of the predicate; the page on submissions describes its fields."""
LARGEST = 5_000_000
"""Largest size in bytes of a statement that is read."""


def read_status(path: str | Path, digest: str) -> Status:
    """Return the status that a report gives to a submission.

    Anybody may have written the file, so nothing in it raises an error. A report of other content counts for nothing.

    Args:
        path: The report.
        digest: The sha256 of the submission as it is now.

    Returns:
        The status; ``self-reported`` if there is no readable report of this digest.
    """
    lowest = STATUSES[0]
    try:
        place = Path(path)
        if place.stat().st_size > LARGEST:
            return lowest
        found: Any = json.loads(place.read_text(encoding="utf-8"))
        if found["_type"] != TYPE or found["predicateType"] != PREDICATE:
            return lowest
        if not any(subject["digest"]["sha256"] == digest for subject in found["subject"]):
            return lowest
        given = [each["status"] for each in found["predicate"]["submissions"] if each["sha256"] == digest]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return lowest
    known = [status for status in STATUSES if status in given]
    return known[0] if given and all(isinstance(each, str) and each in STATUSES for each in given) else lowest
