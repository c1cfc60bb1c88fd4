"""When to look at a learner and what to write down. Knows no strategy, and leaves no trace in what it looks at."""

from __future__ import annotations

from clbench.evaluate.evaluator import Evaluator
from clbench.evaluate.panels import Panel, Panels
from clbench.evaluate.subject import Subject
from clbench.training.loss_check import Diverged

__all__ = ["Diverged", "Evaluator", "Panel", "Panels", "Subject"]
