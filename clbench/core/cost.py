"""The cost of a run. Counts are exact and equal on every machine; seconds and peak memory are not."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class Cost:
    """Hold the cost of one run.

    Attributes:
        steps: Optimiser steps, both in the training loop and in loops of a part's own.
        stream_rows: Samples of the stream that went through a forward and a backward pass.
        replay_rows: Samples of the replay buffer that went through both passes in the training loop.
        extra_forward_rows: Samples that parts passed forward outside the training loop, and held-out samples on which
            early stopping measured.
        extra_backward_rows: Samples that parts passed backward outside the training loop.
        evaluation_rows: Samples passed forward in evaluations. A sample of several tasks counts once per evaluation. An
            evaluation at a switch passes none if nothing has changed since the evaluation before it.
        looks: Number of evaluations.
        weights: Number of trainable weights (P).
        memory_bytes: Size of the replay buffer: its samples as raw values, and the tensors kept with them.
        state_bytes: Size of the further weights and statistics that parts keep.
        task_weights: Number of weights that the strategy keeps for each task, without those of the last layer;
            ``None`` if it keeps none. They are also in ``state_bytes``, once for each task.
        task_head_weights: Number of weights of the last layer that it keeps for each task, likewise.
        train_seconds: Wall-clock time outside evaluations.
        evaluation_seconds: Wall-clock time of evaluations.
        extra_seconds: Wall-clock time of the side work that parts request from the learner (gradients, forward passes,
            Fisher information, loops of their own). It is included in ``train_seconds``. It does not include what parts
            compute themselves in their hooks.
        train_flops: Floating-point operations for all samples outside evaluations; see ``clbench.models.flops``.
        evaluation_flops: Floating-point operations of evaluations.
        probe_rows: Samples that the probe passed backward; no other field counts them. ``None`` if the probe was off.
        probe_seconds: Wall-clock time of the probe; no other field counts it. On a GPU: only the time the host waited.
        peak_bytes: Peak memory; see ``clbench.core.peak_memory``. It depends on the machine, like seconds.
    """

    steps: int = 0
    stream_rows: int = 0
    replay_rows: int = 0
    extra_forward_rows: int = 0
    extra_backward_rows: int = 0
    evaluation_rows: int = 0
    looks: int = 0
    weights: int = 0
    memory_bytes: int = 0
    state_bytes: int = 0
    task_weights: int | None = None
    task_head_weights: int | None = None
    train_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    extra_seconds: float = 0.0
    train_flops: int | None = None
    evaluation_flops: int | None = None
    probe_rows: int | None = None
    probe_seconds: float | None = None
    peak_bytes: int | None = None

    def count_flops(self, forward: int, backward: int) -> None:
        """Set the number of floating-point operations from those of one sample."""
        both = self.stream_rows + self.replay_rows
        self.train_flops = (both + self.extra_forward_rows) * forward + (both + self.extra_backward_rows) * backward
        self.evaluation_flops = self.evaluation_rows * forward

    def as_dict(self) -> dict[str, float]:
        """Return the fields by name, without those that were not measured, as in older records."""
        return {name: value for name, value in asdict(self).items() if value is not None}
