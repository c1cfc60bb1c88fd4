"""The accuracy of a learner on training samples that were held out of an experience.

Letters: n samples that are measured, C classes.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from clbench.core.types import Experience, Stream
from clbench.training.batch import TASK, Y
from clbench.training.trainer import Trainer

CHUNK = 512
"""Samples that go through the model at a time."""


def held_out_accuracy(trainer: Trainer, stream: Stream, held_out: Experience) -> float:
    """Return the share of samples that are predicted right, in evaluation mode and with the read-out of the strategy;
    NaN if an output is not finite.

    The classes that compete are those of an evaluation at this moment. The samples count in the cost, as
    ``extra_forward_rows``. Nothing of the run is changed.

    Args:
        trainer: Holds the learner.
        stream: The stream that holds the samples.
        held_out: The samples to measure.
    """
    began, readout, learner = perf_counter(), trainer.readout, trainer.learner
    n = len(held_out)
    labels = stream.labels(stream.dataset.train, held_out.rows, held_out.view)
    columns = [held_out.rows, labels, held_out.task, held_out.view, held_out.id]
    index = torch.from_numpy(np.stack([np.broadcast_to(np.asarray(c, dtype=np.int64), n) for c in columns]))  # (5, n)
    index = index.to(learner.device)
    y, task = index[Y], index[TASK]
    correct: list[Tensor] = []
    total = torch.zeros((), device=learner.device)
    readout.scratch.clear()
    with torch.inference_mode(), readout.undisturbed(training=False):
        for start in range(0, n, CHUNK):
            span = slice(start, start + CHUNK)
            told = task[span] if stream.task_labels else None
            output = readout.output(learner.raw(index[:, span]), told)
            total += output.logits.sum()
            answer = learner.family.answer(readout.predict(output, told).float(), readout.class_mask(task[span]))
            correct.append(learner.family.score(answer, y[span]))
    readout.scratch.clear()
    readout.cost.extra_forward_rows += n
    readout.cost.extra_seconds += perf_counter() - began
    return float(torch.cat(correct).double().mean()) if n and bool(total.isfinite()) else float("nan")
