"""Make all checks of a submission that run something: drawn cells, fresh seeds, secret data."""

from __future__ import annotations

from dataclasses import dataclass

from clbench.core.errors import Refused
from clbench.running.executors.kept_workers import workers_kept
from clbench.submission.cell_runs import RunSettings
from clbench.submission.findings import Finding, Level
from clbench.submission.fresh_seeds import stated_power, try_fresh
from clbench.submission.rerun_results import RerunResult, failures
from clbench.submission.reruns import reproduce
from clbench.submission.secret_runs import try_secret_data
from clbench.submission.submitted import Submitted
from clbench.submission.submitted_rows import rows_of


@dataclass(frozen=True)
class RunChecks:
    """Hold what runs have shown about a submission.

    Args:
        results: One result for each drawn cell and, if fresh seeds were run, two for each row.
        done: The levels whose checks were made.
        remarks: How cells and seeds were drawn, and how often fresh seeds notice picked ones; for the report.
    """

    results: tuple[RerunResult, ...] = ()
    done: tuple[Level, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def findings(self) -> list[Finding]:
        """Return the findings among the results."""
        return failures(self.results)


def run_checks(
    submitted: Submitted,
    *,
    rerun: int = 0,
    fresh: int = 0,
    prefix: int | None = None,
    settings: RunSettings | None = None,
) -> RunChecks:
    """Run cells of a submission again, fresh seeds of its rows, and its rows on secret data.

    Args:
        submitted: The submission.
        rerun: Number of drawn cells that are run again; 0 for none.
        fresh: Number of fresh seeds of each row; 0 for none. Secret data is tried with them.
        prefix: Number of steps of each drawn cell; ``None`` for whole cells. Fresh seeds are always whole runs.
        settings: How cells are run.

    Raises:
        Refused: A number is not possible.
    """
    for name, number, least in (("rerun", rerun, 0), ("fresh", fresh, 0), ("prefix", prefix, 1)):
        if number is not None and number < least:
            raise Refused(f"{name} = {number} is not possible; give a whole number from {least}")
    how, results = settings or RunSettings(), list[RerunResult]()
    done, remarks = list[Level](), list[str]()
    drawn = f"drawn from the sha256 {submitted.digest}" + (f" and the text {how.salt!r}" if how.salt else "")
    with workers_kept():
        if rerun and (found := reproduce(submitted.records, submitted.digest, rerun, prefix=prefix, settings=how)):
            results += found
            done.append("reproduced")
            extent = "to their ends" if prefix is None else f"for {prefix} steps"
            remarks.append(f"{len(found)} cells, {drawn}, were run again {extent}")
        if fresh and (found := try_fresh(submitted.records, submitted.digest, fresh, settings=how)):
            results += found
            results += try_secret_data(submitted.records, settings=how)
            done.append("honest seeds")
            remarks.append(f"{fresh} fresh seeds of each row were {drawn}: {', '.join(map(str, found[0].seeds))}")
            kept = sorted({len(row.records) for row in rows_of(submitted.records)})
            remarks += [stated_power(count, fresh) for count in kept]
    return RunChecks(tuple(results), tuple(done), tuple(remarks))
