"""Classification: a class per sample, cross-entropy over the classes that compete, accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from clbench.core.measure import ACCURACY, Measure
from clbench.families.family import Family

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from clbench.core.rng import Generator
    from clbench.core.types import Dataset, Rows
    from clbench.families.class_mask import ClassMask


class Classification(Family):
    """Predict the class of each sample; a target is an output unit, int64 (B,)."""

    name: ClassVar[str] = "classification"
    measure: ClassVar[Measure] = ACCURACY
    has_classes: ClassVar[bool] = True

    def n_outputs(self, dataset: Dataset) -> int:
        return dataset.n_classes

    def targets(self, rows: Rows) -> NDArray[Any] | None:
        return None

    def loss(self, outputs: Tensor, target: Tensor, class_mask: ClassMask) -> Tensor:
        from torch.nn.functional import cross_entropy

        return cross_entropy(class_mask.masked(outputs), target, reduction="none")

    def mean_loss(self, outputs: Tensor, target: Tensor, class_mask: ClassMask) -> Tensor:
        from torch.nn.functional import cross_entropy

        return cross_entropy(class_mask.masked(outputs), target)

    def answer(self, outputs: Tensor, class_mask: ClassMask) -> Tensor:
        return class_mask.masked(outputs).argmax(1)

    def score(self, answer: Tensor, target: Tensor) -> Tensor:
        return answer == target

    def log_likelihood(self, outputs: Tensor, target: Tensor, class_mask: ClassMask) -> Tensor:
        return class_mask.masked(outputs).log_softmax(1).gather(1, target[:, None])[:, 0]

    def outcomes(self, outputs: Tensor, class_mask: ClassMask) -> Iterator[tuple[Tensor, Tensor]]:
        import torch

        p = class_mask.masked(outputs).softmax(1)  # (B, C)
        for c in range(p.shape[1]):
            yield torch.full((len(p),), c, dtype=torch.int64, device=p.device), p[:, c]

    def draw(self, outputs: Tensor, class_mask: ClassMask, generator: Generator) -> Tensor:
        import torch

        p = class_mask.masked(outputs).softmax(1)  # (B, C)
        u = torch.from_numpy(generator.uniform(len(p))).to(p)
        return (p.cumsum(1) < u[:, None]).sum(1).clamp(max=p.shape[1] - 1)
