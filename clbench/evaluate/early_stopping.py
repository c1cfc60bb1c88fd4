"""Early stopping: an experience ends when more passes no longer help on samples that were held out of training.

Letters: n samples that are measured, u inputs that go through the model for them, P weights.
"""

from __future__ import annotations

import math
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from clbench.benchmark.schema import Evaluation, Stop
from clbench.core.record import Kind
from clbench.core.types import Stream
from clbench.evaluate.evaluation_samples import Panel, Panels
from clbench.training.experience_passes import Cursor
from clbench.training.learner_readout import Readout
from clbench.training.trainer import Trainer

CHUNK = 512
"""Inputs that go through the model at a time."""


class EarlyStopping:
    """End an experience after some passes without improvement on held-out samples, by default with the best weights.

    After each pass over an experience, the learner is measured on held-out samples of those tasks of which the
    experience holds samples, in evaluation mode and with the read-out of the strategy. The samples count in the cost,
    as ``extra_forward_rows``. Restored are weights and buffers; optimiser, replay buffer and parts stay as they are.

    Args:
        stop: The settings.
        held_out: The stream that the strategy learns, with held-out samples in place of test samples.
        device: Where the samples are.

    Source: Prechelt 1998, *Early stopping - but when?*. Restoring the best weights is the rule of avalanche-lib's
    ``EarlyStoppingPlugin`` and of FACIL (Masana et al. 2020, arXiv 2010.15277).
    """

    def __init__(self, stop: Stop, held_out: Stream, *, device: str = "cpu") -> None:
        self._stop, self._stream = stop, held_out
        samples = Evaluation(every=0, tasks="current")
        self._panels = Panels(held_out, samples, seed=0, device=device, presence=held_out)
        self._begin()

    def _begin(self) -> None:
        """Forget the experience that has ended."""
        self._best, self._waited = math.inf, 0
        self._weights: Tensor | None = None
        self._buffers: list[Tensor] = []

    def goes_on(self, trainer: Trainer, at: Cursor) -> bool:
        """Measure after a pass, and return whether another pass may follow."""
        value = self.measure(trainer, at.experience)
        if value < self._best - self._stop.min_delta or self._weights is None:
            self._best, self._waited = value if math.isfinite(value) else math.inf, 0
            self._weights = trainer.learner.w.detach().clone()
            self._buffers = [buffer.clone() for buffer in trainer.learner.model.buffers()]
        else:
            self._waited += 1
        return self._waited < self._stop.patience

    def finish(self, trainer: Trainer) -> None:
        """Restore the best weights at the end of the passes over an experience, if this is set."""
        if self._stop.restore and self._weights is not None:
            trainer.learner.w.data.copy_(self._weights)
            for buffer, best in zip(trainer.learner.model.buffers(), self._buffers, strict=True):
                buffer.copy_(best)
        self._begin()

    def measure(self, trainer: Trainer, experience: int) -> float:
        """Return the loss on the held-out samples of an experience, or minus the score: less is better."""
        began, readout = perf_counter(), trainer.readout
        panel = self._panels.panel(readout, Kind.STEP, experience)
        with torch.inference_mode(), readout.undisturbed(training=False):
            scores = self._scores(readout, panel)  # (n, C)
            family = self._panels.family
            if self._stop.monitor == "loss":
                found = family.loss(scores, panel.target, panel.class_mask)
            else:
                found = -family.score(family.answer(scores, panel.class_mask), panel.target).double()
            value = float(found.double().mean())
        readout.scratch.clear()
        readout.cost.extra_forward_rows += len(panel.x)
        readout.cost.extra_seconds += perf_counter() - began
        return value

    def _scores(self, readout: Readout, panel: Panel) -> Tensor:
        found = []
        readout.scratch.clear()
        for start in range(0, len(panel.x), CHUNK):
            task = panel.task[start : start + CHUNK] if self._stream.task_labels else None
            output = readout.output(panel.x[start : start + CHUNK].clone(), task)
            found.append(readout.predict(output, task).float())
        scores = torch.cat(found)
        return scores if panel.index is None else scores[panel.index]

    # ------------------------------------------------------------------ checkpoints

    @property
    def state(self) -> dict[str, Any]:
        """Return what was measured in the running experience, to resume bit for bit."""
        weights = None if self._weights is None else self._weights.cpu()
        return {
            "best": self._best,
            "waited": self._waited,
            "weights": weights,
            "buffers": [buffer.cpu() for buffer in self._buffers],
        }

    def restore(self, state: dict[str, Any], device: Any) -> None:
        """Return to a state, on a device."""
        self._best, self._waited = state["best"], state["waited"]
        self._weights = None if state["weights"] is None else state["weights"].to(device).clone()
        self._buffers = [buffer.to(device).clone() for buffer in state["buffers"]]
