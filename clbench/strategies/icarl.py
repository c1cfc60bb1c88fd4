"""iCaRL: distilled sigmoid outputs, exemplars chosen by herding, and classification by the nearest mean of
exemplars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from clbench.core.errors import Refused
from clbench.core.search_space import Search
from clbench.strategies.part import CLOSES, Part
from clbench.strategies.pred_kd import PredKD

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.learner import ExperienceView, Learner, Output

OverClasses = Annotated[Literal["sum", "mean"], Search(choices=("sum", "mean"))]
"""The paper's equation is a sum; its learning rate of 2.0 belongs to a mean."""


@dataclass(kw_only=True)
class Exemplars(Part):
    """Choose exemplars of every class by herding at ends of experiences, and learn them together with later
    experiences.

    With M samples in the replay buffer and s classes, each class has M / s exemplars; the first classes take the
    remainder. A class that is not in the experience keeps the first of its exemplars. A class that recurs is herded
    again from its old exemplars and its new samples.

    Args:
        read_out: Predict the class whose ``nearest_mean`` of exemplars is closest, with features and means of unit
            length; or read the ``logits``.

    Means are computed at every evaluation. A class of the running experience without exemplars is represented by as
    many of its first samples as it will have exemplars. A class that was never seen ranks after all others, by its
    logit.

    Source: Rebuffi et al. 2017, arXiv 1611.07725, algorithms 1, 4 and 5.

    Raises:
        Refused: The replay buffer has fewer samples than there are classes.
    """

    random_stream: ClassVar[str] = "Exemplars"

    read_out: Literal["nearest_mean", "logits"] = "nearest_mean"

    needs: ClassVar[frozenset[str]] = frozenset({"memory", "boundaries"})
    memory_policy: ClassVar[str | None] = "herding"
    end_order: ClassVar[int] = CLOSES  # parts that train on the replay buffer at a boundary find the new exemplars

    # ------------------------------------------------------------------ learning

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        """Note the samples that represent classes until they have exemplars."""
        import torch

        from clbench.training.batch import Y

        known = set(learner.memory.all().index[Y].tolist())
        stand_in = experience.index.new_zeros((5, learner.memory.size))  # of a fixed size for every stream
        first = [
            experience.index[:, experience.index[Y] == c][:, :n] for c, n in quotas(learner).items() if c not in known
        ]
        rows = torch.cat([stand_in[:, :0], *first], dim=1)
        stand_in[:, : rows.shape[1]] = rows
        self.state["stand_in"], self.state["stand_ins"] = stand_in, rows.shape[1]

    def merge(self, learner: Learner, experience: ExperienceView) -> Tensor | None:
        kept = len(learner.memory)
        return learner.memory.draw(kept, generator=self.generator).index if kept else None

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        choose_exemplars(learner, experience)
        self.state["stand_ins"] = 0

    # ------------------------------------------------------------------ reading out

    def predict(self, learner: Learner, output: Output, task: Tensor | None, scores: Tensor) -> Tensor:
        import torch
        from torch.nn import functional as F

        if self.read_out == "logits":
            return scores
        if "exemplar means" not in learner.scratch:  # once per evaluation
            learner.scratch["exemplar means"] = self._means(learner)
        means = learner.scratch["exemplar means"]
        if means is None:
            return scores
        # on the unit sphere the nearest mean has the largest cosine, which is at least -1
        nearness = F.normalize(output.features) @ means.T  # (B, C)
        return torch.where(means.any(1), nearness, scores.sigmoid() - 3)

    def _means(self, learner: Learner) -> Tensor | None:
        """Return the mean feature of unit length (C, H) for each class that has representatives, else 0."""
        import torch
        from torch.nn import functional as F

        from clbench.training.batch import Y

        stand_in = self.state["stand_in"][:, : self.state["stand_ins"]] if "stand_in" in self.state else None
        exemplars = learner.memory.all().index
        rows = exemplars if stand_in is None else torch.cat([exemplars, stand_in], dim=1)
        if not rows.shape[1]:
            return None
        features = F.normalize(learner.side_work.features(rows).features)  # (n, H)
        # the sum of unit features has the direction of their mean, and its length is set to 1 below
        sums = features.new_zeros(learner.n_outputs, features.shape[1]).index_add_(0, rows[Y], features)
        return F.normalize(sums)


def icarl(
    *,
    read_out: Literal["nearest_mean", "logits"] = "nearest_mean",
    over_classes: OverClasses = "mean",
) -> list[Part]:
    """Learn with binary cross-entropy and distillation of old outputs, herded exemplars, nearest mean of exemplars.

    The target of an output is 1 for the sample's class and 0 for the others. For old classes, which were seen before
    and are not in the running experience, it is the sigmoid output of the model at the last boundary, for all samples.
    See :class:`clbench.strategies.pred_kd.PredKD` for the loss and :class:`Exemplars` for the rest. Images are not
    flipped.

    Args:
        read_out: ``nearest_mean`` of exemplars, or the ``logits``.
        over_classes: ``mean`` of the terms of the classes that compete, for learning rates such as the paper's 2.0, or
            their ``sum``, as in its equation. Both are averaged over samples.

    Expected:
        class: far above er if the replay buffer is small or training short, near it if both are large; forgets little.
        task: at or above er; means compete only among the task's classes.
        domain: near er or below it; no class is ever old, so nothing is distilled, and domains share exemplars.
        recurring: recurring classes have labels and new exemplars; the others are distilled.

    Source: Rebuffi et al. 2017, arXiv 1611.07725. Its settings for CIFAR-100: 2000 exemplars, 70 epochs, learning rate
    2.0, weight decay 1e-5.
    """
    return [PredKD(over_classes=over_classes), Exemplars(read_out=read_out)]


def choose_exemplars(learner: Learner, experience: ExperienceView) -> None:
    """Keep fewer exemplars of absent classes, and herd the present ones."""
    from clbench.training.herding import of_quotas

    kept = learner.memory.all().index
    chosen = of_quotas(experience.index, kept, quotas(learner), lambda rows: learner.side_work.features(rows).features)
    learner.memory.replace(chosen)


def quotas(learner: Learner) -> dict[int, int]:
    """Return the number of exemplars of each class seen so far: equal shares, and one more for the first classes.

    The share of a class never grows while classes are added, so stored exemplars only need to be shortened.

    Raises:
        Refused: A class would have none.
    """
    classes, size = learner.classes.seen.nonzero()[:, 0].tolist(), learner.memory.size
    each, more = divmod(size, len(classes))
    if not each:
        raise Refused(
            f"memory.size {size} leaves no exemplar for each of the {len(classes)} classes seen so far; icarl needs at "
            "least one sample per class"
        )
    return {c: each + (rank < more) for rank, c in enumerate(classes)}
