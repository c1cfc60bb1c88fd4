"""Training of a few modules: from an experience on, all other weights are frozen; a parameter-efficient control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from clbench.core.parameters import Count
from clbench.strategies.part import EVERY_FAMILY, Part

if TYPE_CHECKING:
    from clbench.models.weight_groups import Group
    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner


@dataclass(kw_only=True)
class Only(Part):
    """Train only some modules from an experience on: all other weights are frozen, and so are the running statistics of
    all other norms.

    Args:
        modules: Modules to train: kinds (``norm``, ``bias``, ``head``, ``conv``, ``fc``, ``attention``, ...), names
            (``conv2``) or ``all``, joined by +. ``bias`` is the biases of all layers that are not norms. A kind that
            the model lacks is ignored if it has another one.
        start_experience: The first experience in which only they are trained, from 1. The default trains the whole
            model on the first experience; 1 is for pretrained models.

    It is the control for methods that add a few weights per task: as few weights are trained, and they are shared. The
    share of the model's weights that is trained is stored as ``state["trainable"]``. Frozen weights keep their
    momentum and moments; weight decay does not change them.

    Source: Zimmer et al. 2023, arXiv 2312.15230 (PERP), which retrains norms, biases and head of pruned networks;
    continual learning and the first experience are our use of it.

    Expected:
        class: near naive; the head is trained, and old classes end near zero.
        task: above naive; the layers that tasks share change less.
        domain: lower learning accuracy than naive, and less forgetting.
        recurring: as accurate as its first features allow.
    """

    random_stream: ClassVar[str] = "Only"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    # published: norms, biases and head, and single ones of them (Zimmer et al. 2023)
    modules: str = "norm+bias+head"
    start_experience: Count = 2

    identity: ClassVar[Mapping[str, Any] | None] = {"modules": "all"}

    def __post_init__(self) -> None:
        if self.start_experience > 1:  # a need of this instance, not of the class
            self.__dict__["needs"] = frozenset({"boundaries"})

    def attach(self, learner: Learner) -> None:
        self._modules(learner)  # unknown names are refused before the first step

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        if "trainable" not in self.state and (experience.id or 0) + 1 >= self.start_experience:
            self._hold(learner)

    def batch(self, learner: Learner, batch: Batch) -> None:
        if learner.experience is None and "trainable" not in self.state:  # hidden boundaries: no experience begins
            self._hold(learner)

    def _modules(self, learner: Learner) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
        """Return the model's modules, and those that are trained."""
        from clbench.models import weight_groups

        found = weight_groups.groups(weight_groups.layers(learner.model, learner.slices))
        return found, weight_groups.select(found, self.modules)

    def _hold(self, learner: Learner) -> None:
        from clbench.models import weight_groups

        found, chosen = self._modules(learner)
        held = ~weight_groups.mask(chosen, learner.w)  # (P,)
        learner.freeze(f"only/{self.twin}", held if bool(held.any()) else None)
        self.state["trainable"] = 1.0 - float(held.double().mean())
        trained = {id(norm) for norm in weight_groups.norms(learner.model, chosen)}
        for norm in weight_groups.norms(learner.model, found):
            if id(norm) not in trained:
                norm.train(False)
