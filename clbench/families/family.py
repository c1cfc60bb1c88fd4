"""The protocol of a family of tasks. Letters: N samples of a split, B samples of a batch, C outputs of a model.

A :class:`clbench.families.class_mask.ClassMask` says which classes compete on each sample. Families without classes
ignore it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from clbench.core.errors import Refused
from clbench.core.measure import Measure

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from clbench.core.rng import Generator
    from clbench.core.types import Dataset, Rows, Stream
    from clbench.families.class_mask import ClassMask


class Family:
    """Define what a target is, and how outputs are compared with it.

    A subclass defines :attr:`name`, :attr:`measure`, :meth:`loss` and :meth:`score`, and :meth:`n_outputs` and
    :meth:`targets` if outputs are not classes. The other methods have defaults.

    Args:
        dataset: The data set to be learned; ``None`` if a family is used without one.

    Attributes:
        name: Name in ``Dataset.family`` and ``Stream.family``.
        measure: What its scores mean.
        has_classes: Whether outputs stand for classes: then a class mask says which of them compete, a target is a
            label, and predictions can be kept.
    """

    name: ClassVar[str]
    measure: ClassVar[Measure]
    has_classes: ClassVar[bool] = False

    def __init__(self, dataset: Dataset | None = None) -> None:
        self.dataset = dataset

    # ------------------------------------------------------------------ targets

    def n_outputs(self, dataset: Dataset) -> int:
        """Return the number of outputs C of a model for a data set."""
        return len(dataset.target_names)

    def n_labels(self, stream: Stream) -> int:
        """Return the number of labels that samples of a stream may have: its outputs if they are classes, otherwise the
        groups of the data set."""
        return stream.n_outputs if self.has_classes else stream.dataset.n_classes

    def targets(self, rows: Rows) -> NDArray[Any] | None:
        """Return the targets of a split, (N, ...), as losses and scores take them.

        It is ``None`` if the target of a sample is its label, which a view may change.
        """
        return rows.target

    # ------------------------------------------------------------------ learning

    def loss(self, outputs: Tensor, target: Tensor, class_mask: ClassMask) -> Tensor:
        """Return the loss of each sample, (B,).

        Args:
            outputs: (B, C) outputs of the model.
            target: (B, ...) targets.
            class_mask: The classes that compete.
        """
        raise NotImplementedError

    def mean_loss(self, outputs: Tensor, target: Tensor, class_mask: ClassMask) -> Tensor:
        """Return the mean loss over samples, a scalar; a family may compute it faster than sample by sample."""
        return self.loss(outputs, target, class_mask).mean()

    # ------------------------------------------------------------------ evaluation

    def answer(self, outputs: Tensor, class_mask: ClassMask) -> Tensor:
        """Return what is predicted for each sample, (B, ...): the outputs themselves by default."""
        return outputs

    def score(self, answer: Tensor, target: Tensor) -> Tensor:
        """Return the score of each sample, (B,), floating or bool; higher is better.

        Args:
            answer: (B, ...) results of :meth:`answer`.
            target: (B, ...) targets.
        """
        raise NotImplementedError

    def further(self, answer: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return further quantities of each sample that are recorded as means per task: name -> (B,)."""
        return {}

    def readable(self, answer: NDArray[Any]) -> NDArray[Any]:
        """Return answers (B, ...) in the units of the data set, for people; as they are by default."""
        return answer

    # ------------------------------------------------------------------ likelihood, for Fisher information

    def log_likelihood(self, outputs: Tensor, target: Tensor, class_mask: ClassMask) -> Tensor:
        """Return log p(target | sample) under the model's distribution, (B,), up to a constant."""
        raise Refused(f"family {self.name!r} defines no log_likelihood, which Fisher information needs; define it")

    def outcomes(self, outputs: Tensor, class_mask: ClassMask) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield targets (B, ...) with weights (B,) whose weighted sum of squared gradients of the log-likelihood is its
        expectation under the model's distribution.

        Args:
            outputs: (B, C), without a graph.
            class_mask: The classes that compete.
        """
        raise Refused(f"family {self.name!r} cannot enumerate outcomes; choose another estimator, such as empirical")

    def draw(self, outputs: Tensor, class_mask: ClassMask, generator: Generator) -> Tensor:
        """Draw a target of each sample, (B, ...), from the model's distribution.

        Args:
            outputs: (B, C), without a graph.
            class_mask: The classes that compete.
            generator: Source of random numbers.
        """
        raise Refused(f"family {self.name!r} cannot draw targets; choose another estimator, such as empirical")
