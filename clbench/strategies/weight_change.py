"""The change of each module of a model, between passes and between experiences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from clbench.strategies.part import EVERY_FAMILY, Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.learner import ExperienceView, Learner

FORMS = ("raw", "relative", "share")
"""The rows of the result of :func:`change`."""


@dataclass(kw_only=True)
class Sensitivity(Part):
    """Record the change of each module; training stays unchanged, bit for bit.

    With the weights θ_ℓ of module ℓ (see ``clbench.models.weight_groups``) after pass n of experience t:

    - pass level: ‖θ_ℓ(t, n) - θ_ℓ(t, n-1)‖₁ / |θ_ℓ|, where pass 0 is the beginning of the experience;
    - experience level: ‖θ_ℓ(t) - θ_ℓ(t-1)‖₁ / |θ_ℓ| at the ends of consecutive experiences.

    Means over all such intervals are stored in three forms: ``raw`` as above, ``relative`` to the mean |θ_ℓ| before the
    interval (raw values favour modules with large weights), and as a ``share`` of the sum over modules. Running
    statistics of norm layers are separate modules (``running2``), outside of that sum. ``state["sums"]`` is (2, 3,
    modules): levels (pass, experience), forms, modules, named in ``state["names"]``. ``state["counts"]`` are the
    numbers of intervals.

    Source: Zhao et al. 2023, arXiv 2304.04158, section on training dynamics; the other two forms are our addition.

    Expected:
        class: naive, bit for bit; it only measures.
        task: naive, bit for bit; it only measures.
        domain: naive, bit for bit; it only measures.
        recurring: naive, bit for bit; it only measures.
    """

    random_stream: ClassVar[str] = "Sensitivity"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries"})
    identity: ClassVar[Mapping[str, Any] | None] = {}

    def order(self, learner: Learner, experience: ExperienceView, epoch: int, order: Tensor) -> Tensor:
        state = self.state
        if not state:
            names = module_names(learner)
            state["names"], state["counts"] = names, [0, 0]
            state["sums"] = learner.w.new_zeros((2, len(FORMS), len(names)))
            state["experience"] = {}
        if epoch:
            self._add(learner, 0, state["pass"])
        state["pass"] = snapshot(learner)
        return order

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        self._add(learner, 0, self.state["pass"])
        if self.state["experience"]:
            self._add(learner, 1, self.state["experience"])
        self.state["experience"] = snapshot(learner)

    def _add(self, learner: Learner, level: int, before: Mapping[str, Tensor]) -> None:
        self.state["sums"][level] += change(learner, before)
        self.state["counts"][level] += 1


def module_names(learner: Learner) -> list[str]:
    """Return groups of weights, then running statistics of groups that have some."""
    from clbench.models import weight_groups

    found = weight_groups.groups(weight_groups.layers(learner.model, learner.slices))
    return [g.name for g in found] + [g.name.replace("norm", "running") for g in found if g.statistics]


def snapshot(learner: Learner) -> dict[str, Tensor]:
    """Return the flat weights ``w`` (P,), and all running statistics by name."""
    buffers = {name: b.clone() for name, b in learner.model.named_buffers() if ".running_" in name}
    return {"w": learner.w.detach().clone(), **buffers}


def change(learner: Learner, before: Mapping[str, Tensor]) -> Tensor:
    """Return the change of each module since a :func:`snapshot`, (3, modules), in the forms of :data:`FORMS`."""
    import torch

    from clbench.models import weight_groups

    found = weight_groups.groups(weight_groups.layers(learner.model, learner.slices))
    now, w = dict(learner.model.named_buffers()), learner.w.detach()
    pairs = [[(before["w"][p.start : p.stop], w[p.start : p.stop]) for p in group.places] for group in found]
    pairs += [[(before[name], now[name]) for name in group.statistics] for group in found if group.statistics]
    sizes = w.new_tensor([sum(a.numel() for a, _ in own) for own in pairs])
    moved = torch.stack([torch.stack([(b - a).abs().sum() for a, b in own]).sum() for own in pairs]) / sizes
    level = torch.stack([torch.stack([a.abs().sum() for a, _ in own]).sum() for own in pairs]) / sizes
    total = moved[: len(found)].sum()
    return torch.stack([moved, moved / level.clamp(min=1e-12), moved / total.clamp(min=1e-12)])
