"""When a learner is evaluated and what is recorded. This package knows no strategy, and does not change the learner."""

from __future__ import annotations

from clbench.evaluate.evaluation_samples import Panel, Panels
from clbench.evaluate.evaluator import Evaluator
from clbench.evaluate.subject import Subject
from clbench.training.loss_check import Diverged

__all__ = ["Diverged", "Evaluator", "Panel", "Panels", "Subject"]
