"""Measure how much of a difference between two strategies is due to the form of the loss, the learning rate, or the
idea."""

from __future__ import annotations

from clbench.ablation.run_ablation import ablate
from clbench.ablation.shares import Ablation, Effect

__all__ = ["Ablation", "Effect", "ablate"]
