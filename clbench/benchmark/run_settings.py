"""Read the settings of a cell as typed sections, which whoever assembles a run hands on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clbench.benchmark.schema import Evaluation, MemoryBudget, Training
from clbench.benchmark.tuning_section import Tuning


@dataclass(frozen=True)
class ModelSettings:
    """Hold how a run makes its model.

    Args:
        network: Name and settings, as :func:`clbench.models.make` takes them.
        heads: Whether all tasks have a ``shared`` head, or ``separate`` ones, which stay fixed while only other tasks
            are learned.
    """

    network: Mapping[str, Any]
    heads: str = "shared"

    @property
    def has_weights(self) -> bool:
        """Return whether the model begins with pretrained weights."""
        return self.network.get("weights") is not None or self.network.get("name") == "pretrained"


@dataclass(frozen=True)
class RunSettings:
    """Hold the settings of a run, each section with its type.

    Args:
        training: How every strategy steps.
        memory: The samples that every strategy may keep, under the policy that the strategy requires.
        model: How the model is made.
        evaluation: When the evaluator acts, and on what.
        reveal: What the benchmark reveals to strategies beyond the stream: the ``length``.
        tuning: How the run chooses settings itself, if it does.
    """

    training: Training
    memory: MemoryBudget
    model: ModelSettings
    evaluation: Evaluation = field(default_factory=Evaluation)
    reveal: frozenset[str] = frozenset()
    tuning: Tuning | None = None

    @classmethod
    def of(cls, cell: Mapping[str, Any]) -> RunSettings:
        """Read the sections of a cell in canonical form."""
        network = {name: value for name, value in cell["model"].items() if name != "heads"}
        return cls(
            training=Training(**cell["training"]),
            # not validated: a strategy may require a policy that no file may write, such as herding
            memory=MemoryBudget.model_construct(**cell["memory"]),
            model=ModelSettings(network, cell["model"]["heads"]),
            evaluation=Evaluation(**cell["evaluation"]),
            reveal=frozenset(cell.get("reveal", ())),
            tuning=None if cell.get("tuning") is None else Tuning(**cell["tuning"]),
        )
