"""Find content that was submitted twice: the same file of a trace, or the same trace under another strategy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from clbench.core.shown_text import shown
from clbench.core.trace_equality import trace_digest
from clbench.submission.findings import Finding
from clbench.submission.submitted import Submitted

CHECK = "repeated content"


def repeated_content(submissions: Sequence[Submitted]) -> list[tuple[Finding, ...]]:
    """Return the findings about content that an earlier submission holds too, for each submission.

    Two honest runs of one cell have equal traces, but not equal times. So equal files of traces are copies. Equal
    traces of different strategies on one benchmark are named too, whatever their times are.

    Args:
        submissions: The submissions, the earlier ones first.
    """
    files: dict[str, str] = {}
    traces: dict[tuple[str, str], tuple[str, str]] = {}
    found = []
    for submitted in submissions:
        found.append(tuple(_repeated(submitted, files, traces)))
        for name, digest in submitted.files.items():
            if name.endswith(".npz"):
                files.setdefault(digest, submitted.path)
        for record in submitted.records:
            if record.trace is not None:
                place = (record.benchmark, trace_digest(record.trace))
                traces.setdefault(place, (record.settings, f"{record.label} of {submitted.path}"))
    return found


def _repeated(
    submitted: Submitted, files: dict[str, str], traces: dict[tuple[str, str], tuple[str, str]]
) -> Iterator[Finding]:
    traced = ((name, digest) for name, digest in submitted.files.items() if name.endswith(".npz"))
    copies = {PurePosixPath(name).stem: files[digest] for name, digest in traced if digest in files}
    for record in submitted.records:
        if record.trace is None:
            continue
        named = shown(f"{record.label}, seed {record.seed} of {record.benchmark}", None)
        own = copies.get(record.key)
        settings, other = traces.get((record.benchmark, trace_digest(record.trace)), (record.settings, ""))
        if own is not None:
            sentence = f"the trace of {named} is a copy: {shown(own, None)} holds the same file, with the same times"
        elif settings != record.settings:
            sentence = f"the trace of {named} is that of another strategy: {shown(other, None)}"
        else:
            continue
        yield Finding(CHECK, "consistent", record.key, sentence)
