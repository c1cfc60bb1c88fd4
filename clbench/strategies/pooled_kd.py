"""Pooled outputs distillation: keep the pooled maps of all stages, and the direction of features, near old ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from clbench.core.errors import Refused
from clbench.core.parameters import NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output
    from clbench.training.stage_maps import StageMaps

OTHER_PASS = "the first compares maps of the model's own pass, and the second answers in place of the model in training"
LABEL, TASK = 1, 2  # rows of an index matrix, as in clbench.training.batch, which imports torch

Spatial = Annotated[NonNegative, Search(0.5, 50, log=True)]
Flat = Annotated[NonNegative, Search(0.1, 10, log=True)]


@dataclass(kw_only=True)
class PooledKD(Part):
    """Add √(classes seen / classes of the experience) · (spatial · d + flat · (1 - cos(f, f*))) to the loss, from the
    second experience on.

    f* and the maps beside it are those of the model at the last boundary, in evaluation mode, on the same inputs. d is
    the mean over stages of the distance between pooled maps: squares, summed over width and over height, joined, of
    unit length. Both terms are means over all samples of a batch. See :mod:`clbench.training.stage_maps` for the
    stages.

    Args:
        spatial: Weight of the maps, at least 0.
        flat: Weight of the features, at least 0.

    Source: Douillard et al. 2020, arXiv 2004.13513, section 3.1, and its code.

    Raises:
        Refused: The model has no maps, or another pass than the model's own is trained.
    """

    random_stream: ClassVar[str] = "PooledKD"

    # published: 5 (authors' file for CIFAR-100 with nearest means, Douillard et al. 2020; 3 with answers of the head)
    spatial: Spatial = 5.0
    # published: 1 (authors' file for CIFAR-100, Douillard et al. 2020)
    flat: Flat = 1.0

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries", "convolutions"})
    conflicts: ClassVar[dict[str, str]] = {"TRGP": OTHER_PASS, "CUBER": OTHER_PASS}

    def attach(self, learner: Learner) -> None:
        from clbench.training.stage_maps import StageMaps

        watching: StageMaps | None = self.__dict__.pop("_watching", None)
        if watching is not None:
            watching.close()
        if self.spatial:
            self.__dict__["_watching"] = StageMaps(learner.model)

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        labels = experience.index[LABEL] if experience.host is None else experience.host[LABEL]
        running = len(set(labels.tolist()))
        self.state["factor"] = (int(learner.classes.seen.sum()) / running) ** 0.5
        if "previous" not in self.state and self.spatial:
            self._check(learner, experience)

    def loss(self, learner: Learner, batch: Batch, output: Output) -> Tensor | None:
        from torch.nn import functional as F

        from clbench.training.stage_maps import maps_of, pooled_distance

        maps = maps_of(output.features)
        if self.spatial and not maps:
            raise Refused(
                f"{self.title} compares the maps of a step with those of an earlier model, and another pass than the "
                "model's own is trained here; leave out training.accumulate, and parts that answer in training"
            )
        if "previous" not in self.state or not (self.spatial or self.flat):
            return None
        held = self._held(learner, batch.x, batch.revealed_task())
        total = output.features.new_zeros(())
        if self.spatial:
            total = total + self.spatial * pooled_distance(maps, maps_of(held.features))
        if self.flat:
            total = total + self.flat * (1 - F.cosine_similarity(output.features, held.features, dim=1)).mean()
        return float(self.state["factor"]) * total

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        self.state["previous"] = learner.side_work.copy()

    def _held(self, learner: Learner, x: Tensor, task: Tensor | None) -> Output:
        """Return the output of the model at the last boundary, or of the present one, whose features have maps."""
        previous = self.state.get("previous", {})
        if not self.spatial:
            return learner.side_work.forward(x, task=task, **previous)
        with self.__dict__["_watching"].without_graph():
            return learner.side_work.forward(x, task=task, **previous)

    def _check(self, learner: Learner, experience: ExperienceView) -> None:
        """Refuse a model without maps, before it is trained."""
        from clbench.training.stage_maps import maps_of

        first = experience.index[:, :1]
        task = first[TASK] if learner.classes.task_labels else None
        if not maps_of(self._held(learner, learner.raw(first), task).features):
            raise Refused(
                f"{self.title} compares the maps (channels, height, width) of a model's convolutions, and a pass of "
                "this model gives none; choose cnn or resnet, leave out parts that answer in place of the model, or "
                "set spatial=0"
            )
