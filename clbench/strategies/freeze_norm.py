"""Batch normalisation held still: running statistics are those of the first experience from then on."""

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
    """From the second experience on, batch normalisation layers normalise with their running statistics and no longer
    update them.

    Args:
        affine: Whether their weights and biases are frozen too.

    Layers without running statistics (group, layer normalisation) are left alone; on a model that has none of the
    others this does nothing.

    Source: authors' code of Smith et al. 2023, arXiv 2203.17269, which trains later tasks in this way.

    Expected:
        class: alone still near naive; it keeps distillation and penalties from being undone by drifting statistics.
        task: often above naive, whose statistics follow the newest task and spoil the old ones.
        domain: helps where experiences share their statistics, harms where inputs change much.
        recurring: the statistics stay those of the first experience, however little of the stream it held; naive, bit
            for bit, on a model without batch normalisation.
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
        if "frozen" in self.state:  # at every step: whatever another part has made of them since
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
    """(P,) bool, weights and biases of the layers."""
    own = {id(p) for layer in _layers(learner) for p in layer.parameters()}
    mask = learner.classes.seen.new_zeros(learner.w.shape)
    for name, parameter in learner.model.named_parameters():
        if name in learner.slices:
            mask[learner.slices[name]] = id(parameter) in own
    return mask
