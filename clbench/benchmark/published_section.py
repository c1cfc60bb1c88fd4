"""The section ``published`` of a benchmark file: numbers that others report on it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from clbench.benchmark.section_base import Section
from clbench.core.errors import Refused


class Published(Section):
    """Hold one number that a paper or its code reports. It is shown beside results, has no rank, and enters no cell.

    Args:
        strategy: The method, as readers know it.
        metric: A metric of clbench that means what the source reports, such as ``aia_seen`` for A-bar.
        value: The number in the unit of the metric: a fraction for an accuracy.
        source: The paper or repository, with its table and weights.
    """

    strategy: Annotated[str, Field(min_length=1)]
    metric: str
    value: float
    source: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _value_is_in_range(self) -> Published:
        from clbench.metrics import get

        metric = get(self.metric)
        if not metric.low <= self.value <= metric.high:
            percent = 100 * metric.low <= self.value <= 100 * metric.high
            cure = f"; percent are written as fractions, {self.value / 100:.6g}" if percent else ""
            raise Refused(
                f"published: value = {self.value:g} of {self.strategy!r} is outside the range of {self.metric}, "
                f"{metric.low:g} to {metric.high:g}{cure}"
            )
        return self
