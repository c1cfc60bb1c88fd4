"""The section ``tuning`` of a benchmark file: settings that a run chooses itself while it learns.

This module imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from clbench.benchmark.section_base import Section
from clbench.core.errors import Refused, did_you_mean

PROTOCOLS = ("chf",)
"""The protocols by which a run chooses settings itself."""
WHOLE_RUNS = ("first", "other", "end")
"""The protocols of ``clbench tune``, which compare whole runs."""


def _known(name: str) -> str:
    if name in PROTOCOLS:
        return name
    if name.partition(":")[0] in WHOLE_RUNS:
        raise ValueError(f"{name} compares whole runs; use clbench tune --protocol {name}, or write chf here")
    raise ValueError(f"there is no such protocol; {did_you_mean(name, [*PROTOCOLS, *WHOLE_RUNS])}")


class Tuning(Section):
    """Set how a run chooses settings of its strategy in each experience, with the samples of this experience alone.

    Args:
        protocol: ``chf``, the continual hyperparameter framework: the best accuracy A* is found with the parts at their
            declared identity; then each experience is tried with the settings from their high end, which decay until
            the accuracy is at least (1 - ``drop``) A*.
        drop: The share of A* that may be lost, in [0, 1].
        decay: The factor of the distance from the identity after each try, in (0, 1).
        tries: The most tries in an experience; the last one stands, whatever its accuracy.
        held_out: The share of the samples of each experience that measures the accuracy and is not trained on.
        learning_rates: The learning rates among which the search for A* chooses; empty for the benchmark's alone.
        knobs: The settings to choose, such as ``[ewc.strength]``, or with the value to begin with: ``{ewc.strength:
            400}``. ``None`` chooses all settings that have a search range and an identity.

    Source: De Lange et al. 2021, arXiv 1909.08383, section 4 (drop 0.2, decay 0.5); their code has at most 10
    tries, and continues from the values of the last experience, where this begins anew at the high end.
    """

    options: ClassVar[frozenset[str]] = frozenset({"learning_rates"})

    protocol: Annotated[str, AfterValidator(_known)]
    drop: Annotated[float, Field(ge=0, le=1)] = 0.2
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.5
    tries: Annotated[int, Field(ge=1)] = 7
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    learning_rates: list[Annotated[float, Field(gt=0)]] = Field(default_factory=list)
    knobs: dict[str, float] | list[str] | None = None


def check_tuning(cell: Mapping[str, Any]) -> None:
    """Check the sections of a cell that chooses settings itself; those without ``tuning`` pass.

    Raises:
        Refused: The stream hides its boundaries, or has no accuracy.
    """
    if cell.get("tuning") is None:
        return
    stream = cell["stream"]
    dataset = stream.get("dataset")
    family = dataset.get("family", "classification") if isinstance(dataset, Mapping) else "classification"
    if stream.get("boundaries") is False:
        raise Refused(
            "tuning.protocol = chf chooses settings in each experience, and this stream hides its boundaries; leave "
            "tuning out, or set stream.boundaries = true",
            "protocol",
        )
    if cell["tuning"].get("learning_rates") and (cell.get("training") or {}).get("first") is not None:
        raise Refused(
            "tuning.learning_rates chooses the learning rate of each experience, and training.first sets the first one "
            "apart; leave one of them out",
            "learning_rates",
        )
    if family != "classification":
        raise Refused(
            f"tuning.protocol = chf compares accuracies, and samples of the family {family} have no classes; leave "
            "tuning out, or use clbench tune --protocol first:1",
            "protocol",
        )
