"""First-session adaptation: a network is adapted to the first experience alone; then class means classify."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar

from clbench.core.parameters import Count, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.align import Passes
from clbench.strategies.ncm import CosineMeans, Features

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clbench.training.learner import ExperienceView, Learner

ADAPTER = "adapter"
WIDTH, SCALE = 64, 0.1
"""Of adapters, as in :class:`clbench.strategies.adapters.Adapters`."""
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
"""Of the adaptation's SGD."""


@dataclass(kw_only=True)
class FirstTask(CosineMeans):
    """Adapt a network to the first experience; afterwards keep a mean of its features per class, and take cosines.

    When the first experience begins, a part of the network and a cosine head with a trained scale learn its samples by
    cross-entropy, in a loop of their own: SGD with a learning rate that falls to 0 along a cosine. Then the network is
    fixed. Each sample counts once in the mean of its class, of the features [f before, f after the adaptation]; the
    score of a class is the cosine with its mean.

    Args:
        what: What learns in the first experience: ``adapter``, a small network in each block of a transformer, or
            groups of weights joined by ``+`` as ``train`` of a pretrained model takes them: ``all``, ``norm+bias``.
        epochs: Passes over the first experience. 0 leaves the network as it is.
        lr: Learning rate.
        batch_size: Samples in a batch.
        concatenate: Whether features before and after the adaptation stand side by side; otherwise only those after
            it. The second is the phase 1 of RanPAC.

    Source: Zhou et al. 2023, arXiv 2303.07338 (APER, earlier ADAM); settings of PILOT for CIFAR-100.

    Expected:
        class: above ncm with cosines from a pretrained network, if the first experience is like the later ones; no
            forgetting.
        task: high, since only the task's classes compete.
        domain: above ncm with cosines if the first domain is like the later ones; means mix domains.
        recurring: hardly changed by repetition, except for the weight of frequent samples.
    """

    random_stream: ClassVar[str] = "FirstTask"

    what: str = ADAPTER
    # published: 20 for adapters on CIFAR-100 (Zhou et al. 2023, PILOT)
    epochs: Annotated[Passes, Search(1, 50)] = 20
    # published: 0.01 for adapters on CIFAR-100 (Zhou et al. 2023, PILOT)
    lr: Annotated[NonNegative, Search(0.001, 0.1, log=True)] = 0.01
    # published: 48 for adapters on CIFAR-100 (Zhou et al. 2023, PILOT)
    batch_size: Count = 48
    # published: true (Zhou et al. 2023)
    concatenate: bool = True

    features: Features = field(default="model", init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        kind = {"transformer"} if self.what == ADAPTER else set()
        self.__dict__["needs"] = frozenset({"boundaries", *kind})  # of this instance, not of the class

    def build(self, model: nn.Module, shape: tuple[int, ...], n_outputs: int) -> nn.Module:
        from clbench.models.adapter import add_adapters
        from clbench.models.cosine_head import with_cosine_head
        from clbench.models.trained_weights import ALL, train_only
        from clbench.models.transformer import is_transformer

        if self.what != ADAPTER:
            train_only(model, ALL if self.what == ALL else f"{self.what}+head")
        elif is_transformer(model):  # otherwise the cell is skipped
            train_only(model, "head")
            add_adapters(model, WIDTH, SCALE)
        return with_cosine_head(model)

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        if "before" in self.state:
            return
        self.state["before"] = learner.side_work.copy()
        if self.epochs:
            self._adapt(learner, experience)

    def _adapt(self, learner: Learner, experience: ExperienceView) -> None:
        """Learn the first experience."""
        import math

        import torch

        from clbench.training.batch_splits import BatchSplit
        from clbench.training.replay_buffer import Draw

        n = len(experience)
        per_pass = BatchSplit(self.batch_size, fewest=learner.side_work.fewest_rows).count(n)
        learner.side_work.fit(
            Draw(torch.arange(n, device=learner.device), experience.index),
            steps=self.epochs * per_pass,
            lr=self.lr,
            batch_size=self.batch_size,
            generator=self.generator,
            momentum=MOMENTUM,
            weight_decay=WEIGHT_DECAY,
            rate=lambda step: 0.5 * (1 + math.cos(math.pi * (step // per_pass) / self.epochs)),
        )

    def see(self, learner: Learner, x: Tensor) -> Tensor:
        import torch

        after = super().see(learner, x)
        if not self.concatenate or "before" not in self.state:
            return after
        before = learner.side_work.forward(x, **self.state["before"]).features.double()
        return torch.cat([before, after], dim=1)
