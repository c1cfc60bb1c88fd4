"""Find traces that were submitted twice: the same file, with the same times, in two bundles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from clbench.core.shown_text import shown
from clbench.submission.findings import Finding
from clbench.submission.submitted import Submitted

CHECK = "submitted twice"


def copied_traces(submitted: Submitted, held: dict[str, str]) -> Iterator[Finding]:
    """Yield a finding for each record whose trace is a file that an earlier bundle holds.

    Two honest runs of one cell have equal scores, but not equal times, so they are no copies. Neither are equal scores
    of two strategies, such as a part that does nothing on a benchmark.

    Args:
        submitted: A bundle.
        held: The sha256 of files of traces -> the name of the bundle that holds it first. Those of this bundle are
            added.
    """
    files = {name: digest for name, digest in submitted.files.items() if name.endswith(".npz")}
    copies = {PurePosixPath(name).stem: held[digest] for name, digest in files.items() if digest in held}
    for record in submitted.records:
        if record.key in copies:
            named = f"the trace of {record.label}, seed {record.seed} ({record.key}) is a copy"
            sentence = f"{named}: {copies[record.key]} holds the same file, with the same times of training"
            yield Finding(CHECK, "consistent", record.key, shown(sentence, None))
    for digest in files.values():
        held.setdefault(digest, submitted.path)
