"""Nearest class mean: one running mean per class, and nothing else; a sample has the class with the closest mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from clbench.core.parameters import Option
from clbench.strategies.part import ROWS, Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import Learner, Output

Features = Literal["pixels", "model"]
Metric = Literal["euclidean", "cosine"]


@dataclass(kw_only=True)
class Means(Part):
    """Keep a mean per class, of pixels or of the features of a fixed model.

    Args:
        features: The vectors to average: flattened inputs (``pixels``), or the input of the last layer of the
            benchmark's ``model`` in evaluation mode. The model is pretrained if it has weights, else random.
    """

    random_stream: ClassVar[str] = "Means"

    features: Features = "pixels"

    owns: ClassVar[frozenset[str]] = frozenset({"step", "answer"})
    allows: ClassVar[frozenset[str]] = ROWS

    def __post_init__(self) -> None:
        self.__dict__["uses_model"] = self.features == "model"  # of this instance, not of the class

    def see(self, learner: Learner, x: Tensor) -> Tensor:
        """Return the vectors to average, (B, H) float64, for inputs (B, ...)."""
        if self.features == "pixels":
            return x.flatten(1).double()
        import torch

        with learner.side_work.undisturbed(training=False), torch.no_grad():
            features: Tensor = learner.model(x).features.double()
            return features

    def meet(self, learner: Learner, z: Tensor) -> None:
        """Allocate means of vectors (B, H), at the first batch."""
        if "mean" not in self.state:
            self.state["mean"] = z.new_zeros(learner.n_outputs, z.shape[1])  # (C, H)
            self.state["count"] = z.new_zeros(learner.n_outputs)  # (C,) samples of each class

    def move(self, z: Tensor, y: Tensor) -> None:
        """Add samples (B, H) with labels (B,) to the means."""
        mean, count = self.state["mean"], self.state["count"]
        new = z.new_zeros(len(count)).index_add_(0, y, z.new_ones(len(y)))
        sums = z.new_zeros(mean.shape).index_add_(0, y, z)
        count += new
        mean += (sums - new[:, None] * mean) / count.clamp(min=1)[:, None]

    def told(self, learner: Learner, z: Tensor, scores: Tensor) -> Output:
        """Return scores (B, C) of seen classes, and lower ones for all others."""
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
        if "count" not in self.state:
            return Output(z.new_zeros(len(z), learner.n_outputs).float(), z.float())
        return self.read(learner, z)

    def read(self, learner: Learner, z: Tensor) -> Output:
        """Return the output for vectors (B, H): minus the squared distance to each mean, without ‖z‖², which is equal
        for all."""
        mean = self.state["mean"]
        return self.told(learner, z, 2 * z @ mean.T - mean.square().sum(1))


@dataclass(kw_only=True)
class CosineMeans(Means):
    """Keep means as :class:`Means` does; the scores are cosines.

    A sample or a mean of zeros only has no direction: its cosine counts as -1, and an alarm says how many there were.
    """

    random_stream: ClassVar[str] = "CosineMeans"

    def observe(self, learner: Learner, batch: Batch) -> None:
        z = self.see(learner, batch.x)
        self.meet(learner, z)
        self.state["zeros"] = self.state.get("zeros", 0) + (~z.any(1)).sum()
        self.move(z, batch.y)

    def read(self, learner: Learner, z: Tensor) -> Output:
        """Return the output for vectors (B, H): the cosine of the angle to each mean."""
        mean = self.state["mean"]
        lengths = z.norm(dim=1)[:, None] * mean.norm(dim=1)
        cosine = (z @ mean.T / lengths).where(lengths > 0, -1.0)
        return self.told(learner, z, cosine)

    def self_checks(self, learner: Learner) -> list[str]:
        zeros = int(self.state.get("zeros", 0))
        if not zeros:
            return []
        return [
            f"{zeros} training samples have features of zeros only, whose cosine is undefined; such samples of a test "
            "set get the lowest score for all classes; choose larger images or metric=euclidean"
        ]


def ncm(*, features: Features = "pixels", metric: Annotated[Metric, Option()] = "euclidean") -> list[Part]:
    """Classify by the nearest class mean: the class c with the smallest ‖z - μ_c‖, with the mean μ_c of all its
    samples.

    It needs one pass, no gradient, no replay buffer and no boundary, and its result does not depend on the order of
    samples, so it cannot forget. It is a baseline that every method with a frozen feature extractor must beat.

    Args:
        features: ``pixels``, or the features of the benchmark's initial ``model``, with weights if it has any; it is
            not trained.
        metric: ``euclidean``, or ``cosine``: the class with the largest cosine of z and μ_c. On a pretrained network
            this is SimpleCIL.

    Source: Mensink et al. 2013, IEEE TPAMI 35(11), "Distance-based image classification"; Guerriero et al. 2018,
    "DeepNCM", for running means; Zhou et al. 2024, arXiv 2303.07338, for the cosine (SimpleCIL).

    Expected:
        class: the same as from all data at once, without a gap; far above naive, and below trained features.
        task: high, since only the task's classes compete; tasks do not affect each other.
        domain: one mean per class over all domains: good if domains are similar, poor otherwise.
        recurring: unchanged by repetition, except for the weight of frequent classes in their own mean.
    """
    return [CosineMeans(features=features) if metric == "cosine" else Means(features=features)]
