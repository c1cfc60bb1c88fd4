"""The section ``training.first``: settings of training that differ in the first experience."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from clbench.benchmark import lr_schedules
from clbench.benchmark.section_base import Section


class First(Section):
    """Set what is different in the first experience, as toolboxes train the first task longer. What is not set is as
    in the other experiences.

    Args:
        epochs: Passes over the first experience.
        lr: Its learning rate, above 0.
        momentum: Its momentum of SGD, in [0, 1).
        weight_decay: Its weight decay, at least 0.
        lr_schedule: Its schedule, as in ``training.lr_schedule``.
    """

    epochs: Annotated[int, Field(ge=1)] | None = None
    lr: Annotated[float, Field(gt=0)] | None = None
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    lr_schedule: Annotated[str | dict[str, Any], AfterValidator(lr_schedules.canonical)] | None = None

    def changes(self, usual: Section) -> dict[str, Any]:
        """Return the settings that differ from those of all other experiences, by name.

        Args:
            usual: The section ``training``.
        """
        written = self.model_dump()
        return {name: value for name, value in written.items() if value not in (None, getattr(usual, name))}
