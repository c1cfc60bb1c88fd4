"""Make file names of pages: readable, unique, and safe whatever a record contains."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

LONGEST = 60
"""Largest number of letters of a file name before its checksum."""
DIGITS = 8
"""Number of hex digits of the checksum that tells similar names apart."""
RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(10))})
"""Names that Windows does not allow for files."""


def slugs(names: Iterable[str]) -> dict[str, str]:
    """Map names to file names of letters a to z, digits and hyphens.

    A name keeps its file name whatever other names there are, unless two would share one: then both get a checksum.

    Args:
        names: Distinct names.
    """
    bare = {name: _bare(name) for name in names}
    counts = Counter(bare.values())
    return {name: _told_apart(name, slug) if counts[slug] > 1 else slug for name, slug in bare.items()}


def _bare(name: str) -> str:
    """Return the file name of a name alone. One that is cut, empty or reserved has a checksum."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not slug or len(slug) > LONGEST or slug in RESERVED:
        return _told_apart(name, slug)
    return slug


def _told_apart(name: str, slug: str) -> str:
    checksum = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:DIGITS]
    return f"{slug[:LONGEST].rstrip('-') or 'x'}-{checksum}"
