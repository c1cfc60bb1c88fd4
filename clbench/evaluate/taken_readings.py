"""Take readings of a learner when their schedule says so, and keep what they return."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from clbench.benchmark import evaluation_schedules, reading_names
from clbench.benchmark.schema import Evaluation
from clbench.core.errors import Refused
from clbench.core.record import Kind, Reading
from clbench.core.types import Index
from clbench.evaluate.evaluation_samples import Panels
from clbench.evaluate.inspection import Inspection
from clbench.evaluate.subject import Subject
from clbench.models.blank import Blank


class TakenReadings:
    """Take readings at the start, at the ends of experiences, and after the steps of their schedule.

    A learner without a network of ours has no readings.

    Args:
        evaluation: Names the readings and their schedule.
        panels: The samples of evaluations.
        task_labels: Whether the stream reveals the tasks of samples.

    Raises:
        Refused: A reading or the schedule does not exist.
    """

    def __init__(self, evaluation: Evaluation, panels: Panels, *, task_labels: bool) -> None:
        self._functions = reading_names.functions(evaluation.readings)
        self._due = evaluation_schedules.due(evaluation.reading_schedule, evaluation.every)
        self._panels, self._task_labels = panels, task_labels
        self._steps: list[int] = []
        self._values: dict[str, list[Tensor]] = {name: [] for name in self._functions}
        self._memory: dict[str, dict[str, Any]] = {name: {} for name in self._functions}

    def due(self, learner: Subject, kind: Kind, step: int, since: int) -> bool:
        """Return whether readings are taken at a moment, ``since`` iterations after a switch."""
        if kind is Kind.SWITCH or isinstance(learner.modules[0], Blank):
            return False
        return kind is not Kind.STEP or self._due(step, since)

    def take(self, learner: Subject, kind: Kind, experience: int, step: int) -> None:
        """Take all readings. The learner is as before afterwards, but for its cost of evaluations.

        Raises:
            Refused: A reading returns something else than numbers, or another shape than before.
        """
        panel = self._panels.of_all_tasks(learner, experience)
        inside = Inspection(
            learner,
            panel,
            chosen={"current": self._panels.tasks_of(experience, seen=False),
                    "seen": self._panels.tasks_of(experience, seen=True)},
            family=self._panels.family,
            teachers=self._panels.teachers,
            task_labels=self._task_labels,
            experience=experience,
            step=step,
            at_end=kind is Kind.END,
        )  # fmt: skip
        learner.scratch.clear()
        with learner.undisturbed(training=False), torch.no_grad():
            for name, function in self._functions.items():
                inside.memory = self._memory[name]
                self._note(name, function(inside, panel))
        learner.scratch.clear()
        self._steps.append(step)

    def _note(self, name: str, found: Any) -> None:
        held = self._values[name]
        try:
            value = torch.from_numpy(np.array(_on_host(found), dtype=np.float32))
        except (TypeError, ValueError):
            raise Refused(
                f"the reading {name!r} returned a {type(found).__name__}; return a number or an array of numbers"
            ) from None
        if held and held[0].shape != value.shape:
            raise Refused(
                f"the reading {name!r} returned shape {tuple(value.shape)}, and {tuple(held[0].shape)} before; return "
                "the same shape each time, with NaN where there is no value"
            )
        held.append(value)

    # ------------------------------------------------------------------ results

    def readings(self) -> dict[str, Reading]:
        """Return what was read so far: name -> steps (J,) and values (J, ...) float32."""
        if not self._steps:
            return {}
        steps: Index = np.array(self._steps, dtype=np.int64)
        return {name: Reading(steps, torch.stack(values).numpy()) for name, values in self._values.items()}

    @property
    def state(self) -> dict[str, Any]:
        """Return what was read, and what the readings keep, for a checkpoint."""
        return {
            "steps": list(self._steps),
            "values": {name: list(values) for name, values in self._values.items()},
            "memory": {name: dict(kept) for name, kept in self._memory.items()},
        }

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._steps = list(state["steps"])
        self._values = {name: list(values) for name, values in state["values"].items()}
        self._memory = {name: dict(kept) for name, kept in state["memory"].items()}


def _on_host(found: Any) -> Any:
    """Return tensors, alone or in a list, as NumPy arrays."""
    if isinstance(found, Tensor):
        return found.detach().cpu().numpy()
    return [_on_host(each) for each in found] if isinstance(found, list | tuple) else found
