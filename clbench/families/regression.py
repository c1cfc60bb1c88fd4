"""Regression: numbers to be predicted, mean squared error, R². Letters: B samples of a batch, D columns of the target.

Targets are standardised for training: column by column, by mean and standard deviation of the training samples. So the
loss of every data set begins near 1, and columns of different units have equal weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from clbench.core.errors import Refused
from clbench.core.measure import Measure
from clbench.families.family import Family

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from clbench.core.rng import Generator
    from clbench.core.types import Dataset, Rows
    from clbench.families.class_mask import ClassMask

R2 = Measure(
    name="R²",
    short="R²",
    high=1.0,
    chance=0.0,
    decimals=4,
    legend="R² and its changes as numbers: 1 is perfect, 0 is predicting the mean of all test targets",
    columns=("mse",),
)


class Regression(Family):
    """Predict D numbers for each sample; a target is (B, D) float32, standardised.

    The loss of a sample is its squared error, mean over columns, in standardised units. Its score is

        1 - mean over columns d of (prediction - target)² / variance of column d over all evaluation samples,

    so the mean score of a task with all evaluation samples is R² (mean over columns), and so is the mean over tasks
    that divide these samples among them, weighted by samples.

    The likelihood, for Fisher information, is Gaussian with unit variance in standardised units:
    log p = -½ Σ_d (prediction - target)², up to a constant.
    """

    name: ClassVar[str] = "regression"
    measure: ClassVar[Measure] = R2

    def __init__(self, dataset: Dataset | None = None) -> None:
        super().__init__(dataset)
        self.mean, self.std = (
            np.array(() if dataset is None else values, dtype=np.float64)
            for values in (dataset and dataset.target_mean, dataset and dataset.target_std)
        )
        self._scales: tuple[Tensor, Tensor] | None = None

    def targets(self, rows: Rows) -> NDArray[Any] | None:
        if rows.target is None:
            raise Refused(
                "this data set is of the family 'regression' and its samples have no targets; make it with "
                "clbench.data.from_arrays(..., family='regression')"
            )
        return np.ascontiguousarray((rows.target - self.mean) / self.std, dtype=np.float32)

    # ------------------------------------------------------------------ learning

    def loss(self, outputs: Tensor, target: Tensor, class_mask: ClassMask) -> Tensor:
        return (outputs - target).square().mean(1)

    def mean_loss(self, outputs: Tensor, target: Tensor, class_mask: ClassMask) -> Tensor:
        from torch.nn.functional import mse_loss

        return mse_loss(outputs, target)

    # ------------------------------------------------------------------ evaluation

    def score(self, answer: Tensor, target: Tensor) -> Tensor:
        share, _ = self._scale(answer)
        return 1.0 - ((answer - target).double().square() * share).mean(1)

    def further(self, answer: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the squared error of each sample, mean over columns, in the units of the targets."""
        _, variance = self._scale(answer)
        return {"mse": ((answer - target).double().square() * variance).mean(1)}

    def readable(self, answer: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(answer * self.std + self.mean)

    def _scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return (D,) float64: variance of the training targets over that of all evaluation targets, and the former."""
        if self._scales is None:
            import torch

            if self.dataset is None or self.dataset.test.target is None:
                raise Refused("R² needs the evaluation targets of a data set; make the family by families.of(dataset)")
            spread = self.dataset.test.target.var(axis=0, dtype=np.float64)
            if not (spread > 0).all():
                raise Refused(
                    f"column {self.dataset.target_names[int(spread.argmin())]!r} of the evaluation targets of "
                    f"{self.dataset.name!r} has one value in every sample, so R² is undefined; use others"
                )
            variance = np.square(self.std)
            made = (torch.from_numpy(values).to(like.device) for values in (variance / spread, variance))
            self._scales = (next(made), next(made))
        return self._scales

    # ------------------------------------------------------------------ likelihood

    def log_likelihood(self, outputs: Tensor, target: Tensor, class_mask: ClassMask) -> Tensor:
        return -0.5 * (outputs - target).square().sum(1)

    def outcomes(self, outputs: Tensor, class_mask: ClassMask) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield one target per column, a standard deviation from the prediction.

        The gradients of their log-likelihoods are those of the columns, whose squares add up to the Fisher information.
        """
        weight = outputs.new_ones(len(outputs))
        for column in range(outputs.shape[1]):
            target = outputs.clone()
            target[:, column] += 1.0
            yield target, weight

    def draw(self, outputs: Tensor, class_mask: ClassMask, generator: Generator) -> Tensor:
        import torch
        from scipy.special import ndtri

        noise = ndtri(generator.uniform(outputs.numel()) + 2.0**-54)  # the uniform numbers may contain 0
        return outputs + torch.from_numpy(noise).to(outputs).view_as(outputs)
