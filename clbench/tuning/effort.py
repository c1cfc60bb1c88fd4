"""Count the effort of a search: optimiser steps, as a multiple of those of one run of the benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clbench.benchmark.schema import Training
from clbench.core.types import Stream
from clbench.training.batch_splits import BatchSplit


def stream_steps(stream: Stream, config: Mapping[str, Any]) -> int:
    """Return the optimiser steps of one pass of a strategy over a stream.

    Args:
        stream: The stream.
        config: The cell, whose ``training`` says how the samples are cut into batches.
    """
    training = Training(**config["training"])
    if training.iterations is not None:
        return training.iterations * len(stream)
    split = BatchSplit(training.batch_size, training.drop_last)
    return sum(training.during(e).epochs * split.count(len(experience)) for e, experience in enumerate(stream))


def spent(steps: float, *, first: float, trial: int, run: int) -> float:
    """Return the effort of a search as a multiple of one run's, with two digits.

    A strategy may take further steps in loops of its own. So the steps of one run are estimated from those of a trial
    with the values without tuning: one run takes as many more as its stream is longer.

    Args:
        steps: Optimiser steps of all trials.
        first: Steps of one run of the trial without tuning; 0 if unknown.
        trial: Steps of the loop over the stream of a trial.
        run: Steps of the loop over the benchmark's stream.
    """
    one = (first or trial) * run / max(1, trial)
    return float(f"{steps / max(1.0, one):.2g}") if steps < 100 * one else float(round(steps / one))
