"""LUCIR: a cosine head, features that keep their direction, and a margin between old samples and new classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from clbench.core.parameters import Count, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.head_rows import of_classes
from clbench.strategies.icarl import Exemplars
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

LABEL = 1  # row of an index matrix, as in clbench.training.batch, which imports torch

# published: 5 (Hou et al. 2019)
Retention = Annotated[NonNegative, Search(0.5, 50, log=True)]
# published: 0.5 (Hou et al. 2019)
Margin = Annotated[NonNegative, Search(0.1, 1)]
# published: 1 (Hou et al. 2019)
Ranking = Annotated[NonNegative, Search(0.1, 10, log=True)]


@dataclass(kw_only=True)
class UnifiedClassifier(Part):
    """Train a cosine head and its body, keep the direction of features, and rank old classes above new ones.

    The logits are η cos(f, w_c) with a trained η. To the objective two terms are added in every experience that has
    old classes, those seen before that are not in it:

    * λ · mean over all samples of (1 - cos(f, f*)), with the features f* of the model at the last boundary and
      λ = retention · √(old classes / classes of the experience);
    * ranking · mean of max(0, margin - cos(f, w_y) + cos(f, w_k)) over the samples of old classes y and the
      ``hardest`` classes k of the experience with the highest cosines.

    When such an experience begins, w_c of each class that was never seen becomes the mean direction of the features of
    its samples, as long as the old w are in the mean. The w of old classes do not move.

    Args:
        retention: λ for as many old as new classes, at least 0.
        margin: The margin of the cosines, at least 0.
        ranking: Weight of the second term, at least 0.
        hardest: Classes that each old sample is ranked above.

    Source: Hou et al. 2019, CVPR, section 3; hshustc/CVPR19_Incremental_Learning.
    """

    random_stream: ClassVar[str] = "UnifiedClassifier"

    retention: Retention = 5.0
    margin: Margin = 0.5
    ranking: Ranking = 1.0
    # published: 2 (Hou et al. 2019)
    hardest: Count = 2

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries", "memory"})
    owns: ClassVar[frozenset[str]] = frozenset({"head"})
    conflicts: ClassVar[dict[str, str]] = {
        "Hypernet": "the first puts a cosine head on the network, and the second generates the network",
        "Binary": "the first puts a cosine head on a network, and the second learns distributions of its weights",
        "BiasCorrection": "the first has a head without constants, and the second adds one to scores by the head",
        "Expand": "the first has a cosine head, and the second a linear one on several networks",
    }

    def build(self, model: nn.Module, shape: tuple[int, ...], n_outputs: int) -> nn.Module:
        from clbench.models.cosine_head import with_cosine_head

        return with_cosine_head(model)

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        known = self.state.get("known")
        if known is None:
            return
        labels = experience.index[LABEL]
        running = known.new_zeros(len(known)).index_fill_(0, labels, True)
        old, new = known & ~running, running & ~known  # (C,) bool
        n = int(old.sum())
        self.state.update(old=old, running=running, count=n, classes=int(running.sum()))
        self.state["weight"] = self.retention * (n / self.state["classes"]) ** 0.5
        learner.freeze("lucir", of_classes(learner, old) if n else None)
        if n and bool(new.any()):
            self._imprint(learner, experience, old, new)

    def loss(self, learner: Learner, batch: Batch, output: Output) -> Tensor | None:
        from torch.nn import functional as F

        if not self.state.get("count"):
            return None
        weight, total = float(self.state["weight"]), output.features.new_zeros(())
        if weight:
            held = learner.side_work.forward(batch.x, task=batch.revealed_task(), **self.state["previous"]).features
            total = total + weight * (1 - F.cosine_similarity(output.features, held, dim=1)).mean()
        if self.ranking:
            total = total + self.ranking * self._ranked(learner, batch, output)
        return total

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        self.state["previous"] = learner.side_work.copy()
        self.state["known"] = learner.classes.seen.clone()

    # ------------------------------------------------------------------ terms and weights

    def _ranked(self, learner: Learner, batch: Batch, output: Output) -> Tensor:
        """Return the mean excess of the hardest new classes over the margin, on samples of old classes."""
        cosines = learner.model.head.cosines(output.features)  # type: ignore[operator, union-attr]
        old, running = self.state["old"], self.state["running"]
        own = cosines.gather(1, batch.y[:, None])  # (B, 1)
        k = min(self.hardest, self.state["classes"])
        others = cosines.masked_fill(~running, -2.0).topk(k, dim=1).values  # (B, k)
        excess = (self.margin - own + others).clamp(min=0).mean(1)
        counts = old[batch.y].to(excess)  # (B,) 1 for samples of old classes
        mean: Tensor = (excess * counts).sum() / counts.sum().clamp(min=1)
        return mean

    def _imprint(self, learner: Learner, experience: ExperienceView, old: Tensor, new: Tensor) -> None:
        """Set the weights of new classes to the mean direction of their features, as long as old ones are."""
        from torch.nn import functional as F

        index = experience.index
        features = F.normalize(learner.side_work.features(index).features, dim=1)  # (n, H)
        sums = features.new_zeros(learner.n_outputs, features.shape[1]).index_add_(0, index[LABEL], features)
        rows = learner.w.data[learner.slices["head.weight"]].view(learner.n_outputs, -1)
        length = rows[old].norm(dim=1).mean()
        rows.copy_(rows.where(~new[:, None], length * F.normalize(sums, dim=1)))


def lucir(
    *,
    retention: Retention = 5.0,
    margin: Margin = 0.5,
    ranking: Ranking = 1.0,
    # published: 2 (Hou et al. 2019)
    hardest: Count = 2,
) -> list[Part]:
    """Rehearse exemplars with a cosine head, keep the direction of features, and rank old classes above new ones.

    See :class:`UnifiedClassifier` for the head and the terms. Exemplars are herded, and are shuffled among the samples
    of the experience; see :class:`clbench.strategies.icarl.Exemplars`. Predictions are those of the cosine head.

    Args:
        retention: Weight of the term that keeps the direction of features.
        margin: The margin of cosines between an old class and new ones.
        ranking: Weight of the term with the margin.
        hardest: New classes that each old sample is ranked above.

    Source: Hou et al. 2019, CVPR, "Learning a unified classifier incrementally via rebalancing". Its setting for
    CIFAR-100: ResNet-32, 160 epochs, learning rate 0.1 with a tenth from 80 and 120 on, weight decay 5e-4, batches of
    128, 20 exemplars of each class. Left out: the last ReLU is not removed, and there is no balanced fine-tuning.

    Expected:
        class: above replay of the same exemplars with many passes; old and new classes have scores of one scale.
        task: near replay; only the task's classes compete.
        domain: replay of herded samples with a cosine head; no class is ever old, so no term acts.
        recurring: classes that are absent are old, and keep their directions until they return.
    """
    part = UnifiedClassifier(retention=retention, margin=margin, ranking=ranking, hardest=hardest)
    return [part, Exemplars(read_out="logits")]
