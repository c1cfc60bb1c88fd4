"""Weights & Biases: one run per record, sent after the matrix. The training loop and the evaluator do not depend on
it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from clbench.comparison.record_groups import distinct, is_finished
from clbench.core.errors import Refused
from clbench.core.measure import ACCURACY
from clbench.core.public_names import public
from clbench.core.record import Kind, Record, Trace
from clbench.metrics import board_names, compute, get

Mode = Literal["online", "offline", "disabled"]

PICTURE = "stability_gap"


def send(records: Iterable[Record], *, out: Path, mode: Mode, project: str = "clbench") -> list[str]:
    """Send records to Weights & Biases, one run each; a run's id is its cell's key, so sending again replaces it.

    A run belongs to the group of its benchmark. It holds the cell as config (with provenance under ``record``), a
    history row per evaluation on the axis ``iteration``, defined metrics and costs as summary, and undefined metrics
    and alarms in its notes. Every run of a benchmark gets the same plot, that of the benchmark.

    Args:
        records: Records of any benchmarks; of two with the same key the finished one counts, or else the later one.
        out: Runs are written to ``out/wandb``; offline ones stay there for ``wandb sync``.
        mode: ``online``, ``offline``, or ``disabled``, which does nothing.
        project: Name of their project.

    Returns:
        The faults, one sentence each; Weights & Biases never stops a matrix.

    Raises:
        Refused: The mode is another one.
    """
    if mode not in ("online", "offline", "disabled"):
        raise Refused(f"the Weights & Biases mode {mode!r} is not known; choose online, offline or disabled")
    cells = distinct(records) if mode != "disabled" else []
    if not cells:
        return []
    try:
        (out / "wandb").mkdir(parents=True, exist_ok=True)
        with _contained() as wandb, TemporaryDirectory() as folder:
            return _send_all(wandb, cells, out.resolve(), mode=mode, project=project, folder=Path(folder))
    except Exception as error:
        return [f"nothing more can be sent to Weights & Biases ({_words(error)}); {ADVICE}"]


ADVICE = "the records are safe, send them again later or with mode offline"


def _send_all(wandb: Any, cells: Sequence[Record], out: Path, *, mode: str, project: str, folder: Path) -> list[str]:
    pictures, problems = _pictures(cells, folder)
    for number, record in enumerate(cells):
        try:
            run = _start(wandb, record, out, mode=mode, project=project)
        except Exception as error:  # an account, a network or a disk that fails for one run fails for the others too
            problems.append(
                f"Weights & Biases starts no run ({_words(error)}): {number} of {len(cells)} runs were sent; {ADVICE}"
            )
            break
        try:
            try:
                _fill(wandb, run, record, pictures.get(record.benchmark))
            finally:
                run.finish(exit_code=int(record.status in ("failed", "diverged")))
        except Exception as error:
            problems.append(f"{record.label}, seed {record.seed} was not sent whole ({_words(error)}); {ADVICE}")
    return problems


def _start(wandb: Any, record: Record, out: Path, *, mode: str, project: str) -> Any:
    for earlier in (out / "wandb").glob(f"*run-*-{record.key}"):
        shutil.rmtree(earlier)
    return wandb.init(
        project=project,
        group=record.benchmark,
        name=f"{record.label} / seed {record.seed}",
        id=record.key,
        tags=[record.status],
        notes="\n".join(_notes(record)),
        config={**public(record.cell), "record": _provenance(record)},
        dir=str(out),
        mode=mode,
        reinit="create_new",  # a run that the program has open stays open
        settings=_settings(wandb),
    )


def _settings(wandb: Any) -> Any:
    """Return settings for a silent client that gives up soon, without facts about this process, which the config
    contains."""
    return wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        x_disable_stats=True,
        x_disable_meta=True,
        x_save_requirements=False,
        init_timeout=30,
    )


def _provenance(record: Record) -> dict[str, Any]:
    names = ("key", "label", "status", "reason", "fingerprint", "environment", "created")
    held: dict[str, Any] = public({**{name: getattr(record, name) for name in names}, "alarms": record.alarms})
    return held


def _notes(record: Record) -> list[str]:
    """Return notes for a reader, one per line: the status's reason, alarms, and why a metric has no value."""
    lines = [f"{record.status}: {public(record.reason)}"] if record.reason else []
    lines += [f"alarm: {public(alarm)}" for alarm in record.alarms]
    undefined = {name: value.reason for name, value in _metrics(record).items() if not value.defined}
    return lines + [f"{get(name).title} has no value: {reason}" for name, reason in undefined.items()]


def _metrics(record: Record) -> Mapping[str, Any]:
    return compute(record.trace, board_names()) if is_finished(record) and record.trace is not None else {}


def _fill(wandb: Any, run: Any, record: Record, picture: Path | None) -> None:
    run.define_metric("iteration", summary="none")
    for curves in ("accuracy/*", "score/*", "experience", "look"):
        run.define_metric(curves, step_metric="iteration", summary="none")
    for row in history(record.trace) if record.trace is not None else ():
        run.log(row)
    if picture is not None:
        run.log({PICTURE: wandb.Image(str(picture))})
    run.summary.update(
        {
            **{name: value.value for name, value in _metrics(record).items() if value.defined},
            **{f"cost/{name}": value for name, value in record.cost.items()},
            "status": record.status,
            "alarms": len(record.alarms),
        }
    )


def history(trace: Trace) -> Iterator[dict[str, Any]]:
    """Yield a row per evaluation: iteration, experience, kind of evaluation, and accuracies in [0, 1] on evaluated
    tasks.

    ``accuracy/I`` is that of task I, ``accuracy/seen`` the mean over the tasks met so far; ``score/I`` and
    ``score/seen`` if scores are not accuracies.
    """
    what = "accuracy" if trace.measure == ACCURACY else "score"
    for k, score in enumerate(trace.score):
        row = {
            "iteration": int(trace.step[k]),
            "experience": int(trace.experience[k]),
            "look": Kind(trace.kind[k]).name.lower(),
            **{f"{what}/{task}": float(score[task]) for task in np.flatnonzero(~np.isnan(score))},
        }
        seen = score[trace.seen[k]]
        if len(seen) and not np.isnan(seen).any():
            row[f"{what}/seen"] = float(seen.mean())
        yield row


def _pictures(cells: Sequence[Record], folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Return benchmark -> plot if a cell is done; plots are drawn once, since drawing takes longer than sending a
    run."""
    from clbench import plots

    pictures, problems = {}, []
    for number, benchmark in enumerate(sorted({record.benchmark for record in cells if is_finished(record)})):
        try:
            figure = plots.stability_gap(cells, benchmark=benchmark)
            pictures[benchmark] = plots.save(figure, folder / f"{number}.png")
        except Refused as error:
            problems.append(f"the runs of {benchmark} are sent without a picture: {error}")
    return pictures, problems


@contextmanager
def _contained() -> Iterator[Any]:
    """Yield the wandb module; afterwards undo its changes of the process, and end its service if we started it.

    Every run wraps ``sys.exit`` and ``sys.excepthook`` once more, permanently. After a few hundred runs, an exception
    would be printed a few hundred times.
    """
    hooks, started_before = (sys.exit, sys.excepthook), "WANDB_SERVICE" in os.environ
    import wandb

    try:
        if not started_before:
            wandb.setup(_settings(wandb))
        yield wandb
    finally:
        sys.exit, sys.excepthook = hooks
        if not started_before:
            wandb.teardown()


def _words(error: Exception) -> str:
    """Return an exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
