"""Properties about memory: samples only in the replay buffer, and state of bounded size."""

from __future__ import annotations

import numpy as np

from clbench.running.prepared_run import Run
from clbench.testing.compare_runs import size
from clbench.testing.hidden_buffers import HiddenBuffers
from clbench.testing.run_properties import SECOND_SCENARIO
from clbench.testing.trial_runs import Blind, Broken, Noting, Skipped, Trial
from clbench.training.batch import ROW, Y

SPREAD = 1.5
"""Largest ratio of two sizes of a state after different numbers of steps, if its size follows from what was learned."""


def memory(trial: Trial) -> None:
    """Check that the replay buffer keeps to its budget and holds correct samples, and parts keep no others."""
    run = trial.ready("training.epochs=2", "memory.admit=every_pass")
    if not run.learner.memory.size:
        raise Skipped("the benchmark has no replay buffer")
    stream, budget = run.stream, run.learner.memory.size
    unit, hidden = np.full(len(stream.dataset.train), -1), HiddenBuffers(run)

    def watch(step: int, _: float) -> None:
        kept = run.learner.memory
        own = stream[run.cursor.experience]
        unit[own.rows] = stream.labels(stream.dataset.train, own.rows, own.view)
        index = kept.all().index.cpu().numpy()
        if len(kept) > budget or kept.size != budget or any(len(side) > budget for side in kept.side.values()):
            held = max(len(kept), kept.size)
            raise Broken(f"after step {step} the replay buffer holds {held} samples of a budget of {budget}")
        if (unit[index[ROW]] != index[Y]).any():
            raise Broken(
                f"after step {step} the replay buffer holds a sample that the stream has not shown yet, or with "
                "another label; offer only samples of batch.stream or of the experience"
            )
        hidden.look()

    trial.train(run, watch, looks=Blind())
    if hidden.found:
        (title, place), most = max(hidden.found.items(), key=lambda item: item[1])
        raise Broken(
            f"{title} keeps {most} samples of the stream outside the replay buffer, in {place}; keep samples in it "
            "(side tensors through store), which is counted"
        )


def state(trial: Trial) -> str | None:
    """Check that the state of parts does not grow with steps, nor with experiences once every class is known."""
    trial.skip_online_learners(
        "keeps objects of its own, which are counted (state_bytes in its record) without a bound"
    )
    grows = [part.grows for part in trial.ready().chain.parts if part.grows]
    few, many = ([s for _, s in _sizes(trial, f"training.epochs={epochs}")] for epochs in (1, 3))
    if many[-1] > SPREAD * few[-1] if grows else few[-1] != many[-1]:
        raise Broken(
            f"state grows with steps: {few[-1]} bytes after one pass over each experience, {many[-1]} after three; "
            "give windows and sums a fixed size"
        )
    if grows:
        return f"it grows with experiences by design: it keeps {' and '.join(grows)}"
    try:
        later = _sizes(trial, *SECOND_SCENARIO, "stream.degrees=[0, 20, 40, 60, 80]", "stream.dataset.train_rows=40")
    except Skipped as reason:
        return f"tested on one stream only: {reason}"
    told = [s for _, s in later]
    if len(set(told[2:])) > 1:
        raise Broken(
            f"state grows with every experience although no class is new: {', '.join(map(str, told))} bytes; merge "
            "what is kept of old experiences, so that a long stream fits"
        )
    return None


def _sizes(trial: Trial, *changes: str) -> list[tuple[int, int]]:
    """Return the bytes of all parts' state at the end of each experience."""
    run: Run = trial.ready(*changes)
    found: list[tuple[int, int]] = []

    def note(experience: int) -> None:
        found.append((experience, sum(size(part.state) for part in run.chain.parts)))

    trial.train(run, looks=Noting(Blind(), note))
    return found
