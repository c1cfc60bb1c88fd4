"""What a run spent. Counts are exact and the same on every machine; seconds and peak memory are not."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class Cost:
    """The account of one run.

    Attributes:
        steps: Optimiser steps, in the main loop and in parts' own loops.
        stream_rows: Rows of the stream that went forward and backward.
        replay_rows: Rows of memory that went forward and backward in the main loop.
        extra_forward_rows: Rows that parts sent forward outside the main loop.
        extra_backward_rows: Rows that parts sent backward outside the main loop.
        evaluation_rows: Rows that went forward at looks; one that several tasks share counts once per look. A look at a
            switch that shows what the look before it showed sends none.
        looks: Number of looks.
        weights: P, trainable weights.
        memory_bytes: Kept rows and their side tensors, as raw rows.
        state_bytes: Extra weights and statistics that parts keep.
        train_seconds: Wall time outside looks.
        evaluation_seconds: Wall time inside looks.
        extra_seconds: Wall time of the side work that parts ask of the learner (gradients, forward passes, Fisher
            information, own loops), inside ``train_seconds``; what they compute themselves in their hooks is not in it.
        train_flops: Floating-point operations of all rows but those of looks; see ``clbench.models.flops``.
        evaluation_flops: Those of looks.
        probe_rows: Rows that the probe sent backward; in no other entry. ``None`` where nothing was probed.
        probe_seconds: Wall time of the probe, in no other entry; on a GPU only what the host waited for.
        peak_bytes: Most memory held at a time; see ``clbench.core.peak_memory``. Depends on the machine, like seconds.
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
    train_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    extra_seconds: float = 0.0
    train_flops: int | None = None
    evaluation_flops: int | None = None
    probe_rows: int | None = None
    probe_seconds: float | None = None
    peak_bytes: int | None = None

    def count_flops(self, forward: int, backward: int) -> None:
        """Fill in operations from those of one row."""
        both = self.stream_rows + self.replay_rows
        self.train_flops = (both + self.extra_forward_rows) * forward + (both + self.extra_backward_rows) * backward
        self.evaluation_flops = self.evaluation_rows * forward

    def as_dict(self) -> dict[str, float]:
        """By name; what was not taken is left out, as in records from before it existed."""
        return {name: value for name, value in asdict(self).items() if value is not None}
