"""Frozen batch normalisation: running statistics stay those of the first experience."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from clbench.strategies.part import EVERY_FAMILY, Part

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner


@dataclass(kw_only=True)
class FreezeNorm(Part):
    """Freeze the running statistics of batch normalisation layers, and use them for normalisation, after the first
    experience.

    Args:
        affine: Whether to freeze their weights and biases too.

    Layers without running statistics (group, layer normalisation) are unchanged. On a model that has only such layers,
    this part has no effect.

    Source: authors' code of Smith et al. 2023, arXiv 2203.17269, which trains later tasks in this way.

    Expected:
        class: near naive alone; it prevents drifting statistics from undoing distillation and penalties.
        task: often above naive, whose statistics follow the newest task and harm the old ones.
        domain: helps if experiences share their statistics, harms if inputs change much.
        recurring: the statistics stay those of the first experience, however short it was; naive, bit for bit, on a
            model without batch normalisation.
    """

    random_stream: ClassVar[str] = "FreezeNorm"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    affine: bool = False

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries"})

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        if "frozen" in self.state:
            self._hold(learner)
            if self.affine:
                learner.freeze("batch normalisation", _weights(learner))

    def batch(self, learner: Learner, batch: Batch) -> None:
        if "frozen" in self.state:  # at every step, since another part may have changed them
            self._hold(learner)

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        self.state["frozen"] = True

    def _hold(self, learner: Learner) -> None:
        for layer in _layers(learner):
            layer.training = False


def _layers(learner: Learner) -> list[nn.Module]:
    from torch.nn.modules.batchnorm import _BatchNorm

    return [module for module in learner.model.modules() if isinstance(module, _BatchNorm)]


def _weights(learner: Learner) -> Tensor:
    """Return a mask (P,) of weights and biases of the layers."""
    own = {id(p) for layer in _layers(learner) for p in layer.parameters()}
    mask = learner.classes.seen.new_zeros(learner.w.shape)
    for name, parameter in learner.model.named_parameters():
        if name in learner.slices:
            mask[learner.slices[name]] = id(parameter) in own
    return mask
