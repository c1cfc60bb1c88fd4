"""Nearest class mean: one running mean per class, and nothing else; a row is of the class whose mean is closest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from clbench.strategies.part import ROWS, Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import Learner, Output

Features = Literal["pixels", "model"]


@dataclass(kw_only=True)
class Means(Part):
    """Keeps a mean per class, of pixels or of the features of a model that stays as it was made.

    Args:
        features: What means are taken of: the inputs as they are (``pixels``), flattened, or what the last layer of the
            benchmark's ``model`` reads, in evaluation mode; a pretrained one where it has weights, else a random one.
    """

    random_stream: ClassVar[str] = "Means"

    features: Features = "pixels"

    owns: ClassVar[frozenset[str]] = frozenset({"step", "answer"})
    allows: ClassVar[frozenset[str]] = ROWS

    def __post_init__(self) -> None:
        self.__dict__["uses_model"] = self.features == "model"  # of this instance, not of the class

    def see(self, learner: Learner, x: Tensor) -> Tensor:
        """What means are taken of, (B, H) float64, from inputs (B, ...)."""
        if self.features == "pixels":
            return x.flatten(1).double()
        import torch

        with learner.side_work.undisturbed(training=False), torch.no_grad():
            features: Tensor = learner.model(x).features.double()
            return features

    def meet(self, learner: Learner, z: Tensor) -> None:
        """Make room for means of vectors (B, H), at the first batch."""
        if "mean" not in self.state:
            self.state["mean"] = z.new_zeros(learner.n_outputs, z.shape[1])  # (C, H)
            self.state["count"] = z.new_zeros(learner.n_outputs)  # (C,) rows behind each

    def move(self, z: Tensor, y: Tensor) -> None:
        """Take rows (B, H) with labels (B,) into the means."""
        mean, count = self.state["mean"], self.state["count"]
        new = z.new_zeros(len(count)).index_add_(0, y, z.new_ones(len(y)))
        sums = z.new_zeros(mean.shape).index_add_(0, y, z)
        count += new
        mean += (sums - new[:, None] * mean) / count.clamp(min=1)[:, None]

    def told(self, learner: Learner, z: Tensor, scores: Tensor) -> Output:
        """Scores (B, C) of classes that have been seen, lower ones for all others."""
        from clbench.models.output import Output

        known = self.state["count"] > 0
        others = scores[:, known].min(1, keepdim=True).values - 1.0
        return Output(scores.where(known, others).float(), z.float())

    def observe(self, learner: Learner, batch: Batch) -> None:
        z = self.see(learner, batch.x)
        self.meet(learner, z)
        self.move(z, batch.y)

    def answer(self, learner: Learner, x: Tensor, task: Tensor | None) -> Output:
        from clbench.models.output import Output

        z = self.see(learner, x)
        if "mean" not in self.state:
            return Output(z.new_zeros(len(z), learner.n_outputs).float(), z.float())
        return self.read(learner, z)

    def read(self, learner: Learner, z: Tensor) -> Output:
        """The output for vectors (B, H): minus the squared distance to each mean, but for ‖z‖², the same for all."""
        mean = self.state["mean"]
        return self.told(learner, z, 2 * z @ mean.T - mean.square().sum(1))


def ncm(*, features: Features = "pixels") -> list[Part]:
    """Nearest class mean: the class c with the smallest ‖z - μ_c‖, μ_c being the mean of all its rows so far.

    Needs one pass, no gradient, no memory of rows and no boundary, and gives the same whatever the order of rows: it
    cannot forget. A baseline that any method with a frozen extractor has to beat.

    Args:
        features: ``pixels``, or the features of the benchmark's ``model`` as it was made, with weights if it has any;
            it is not trained.

    Source: Mensink et al. 2013, IEEE TPAMI 35(11), "Distance-based image classification"; Guerriero et al. 2018,
    "DeepNCM", for means that run along.

    Expected:
        class: the same as from all data at once, with no gap; far above naive, and below what trained features give.
        task: high, since only the task's classes compete; nothing is lost from task to task.
        domain: one mean per class over all domains: good where domains resemble each other, poor where they do not.
        recurring: unchanged by repetition, but for the weight that classes seen more often get in their own mean.
    """
    return [Means(features=features)]
