"""Compare the trace of a submission with that of a run here: look by look, from the first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clbench.comparison.record_difference import Difference, first_difference
from clbench.core.record import Kind, Trace

OF_THE_RUN = ("present", "met", "counted", "units", "probe_step", "probe", "readings")
"""Columns of a trace that are complete only at the end of a run."""


def parted(theirs: Trace, ours: Trace, *, whole: bool) -> Difference | None:
    """Return the first difference between a submitted trace and one that was made here.

    Args:
        theirs: The submitted trace.
        ours: The trace of the run here.
        whole: Whether the run here is complete. Otherwise only the evaluations count that it has made.

    Returns:
        The first evaluation that differs; ``None`` if all are equal. Evaluations at switches do not count if the
        submitted trace has none and several experiences: older versions made none.
    """
    if not np.any(theirs.kind == Kind.SWITCH):
        ours = ours.at(ours.kind != Kind.SWITCH)
    if not whole:
        if len(theirs.step) > len(ours.step):
            theirs = theirs.at(np.arange(len(ours.step)))
        theirs = replace(theirs, **{name: getattr(ours, name) for name in OF_THE_RUN})
    return first_difference(ours, theirs)
