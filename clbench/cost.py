"""What a run spent. Counts are exact and the same on every machine; seconds are not."""

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
        evaluation_rows: Rows that went forward at looks.
        looks: Number of looks.
        weights: P, trainable weights.
        memory_bytes: Kept rows and their side tensors, as raw rows.
        state_bytes: Extra weights and statistics that parts keep.
        train_seconds: Wall time outside looks.
        evaluation_seconds: Wall time inside looks.
        extra_seconds: Wall time of parts' side work, inside ``train_seconds``.
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

    def as_dict(self) -> dict[str, float]:
        return asdict(self)
