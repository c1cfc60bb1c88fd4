"""A head without negative weights, so that the norm of a class's weights says how large its logits are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from clbench.strategies.head_rows import HEAD_IS_GENERATED, head_matrix, write
from clbench.strategies.part import BENDS, Part

if TYPE_CHECKING:
    from clbench.training.batch import Batch
    from clbench.training.learner import Learner


@dataclass(kw_only=True)
class PositiveHead(Part):
    """Set the negative weights of the last layer to 0 after each step; its bias and frozen weights stay.

    Features that are never negative, as after a ReLU, then have logits that grow with the norm of a class's weights.

    Source: Zhao et al. 2020, arXiv 1911.07053, section 4.3.

    Raises:
        Refused: The model's last layer has no matrix with one row for each output unit.
    """

    random_stream: ClassVar[str] = "PositiveHead"

    gradient_order: ClassVar[int] = BENDS
    conflicts: ClassVar[dict[str, str]] = {"Hypernet": HEAD_IS_GENERATED}

    def attach(self, learner: Learner) -> None:
        self.__dict__["_place"] = head_matrix(learner, self.title)

    def after_step(self, learner: Learner, batch: Batch) -> None:
        place: slice = self.__dict__["_place"]
        write(learner, place, learner.w.data[place].clamp(min=0))
