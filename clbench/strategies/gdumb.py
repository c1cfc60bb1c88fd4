"""GDumb: fill the replay buffer greedily, and train from scratch on it alone; the control that replay must beat."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from clbench.core.errors import Refused
from clbench.core.parameters import Count, Fraction, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import MOVES, Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.core.rng import Generator
    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner

Positive = Annotated[float, Field(gt=0)]


@dataclass(kw_only=True)
class GDumb(Part):
    """Fill the replay buffer, learn nothing from the stream, then train the initial model on the replay buffer alone.

    The buffer is filled greedily with equal shares of the classes seen. At the end of each experience weights and
    buffers are reset to the initial ones, and trained for ``passes`` over the replay buffer: SGD with learning rate lr
    / 10 in the first pass, then cosine cycles of 1, 2, 4, 8, ... passes, each from ``lr`` down to ``min_lr``.

    Args:
        passes: Passes over the replay buffer, required as in the authors' code (128 or 256 there); 2^k ends with a
            complete cycle.
        when: Whether to train at the end of each of the ``experiences``, or only at the end of the ``stream``, as
            always with hidden boundaries.
        lr, min_lr: Highest and lowest learning rate, the highest above 0.
        batch_size: Samples per step.
        momentum, weight_decay: Settings of SGD.
        clip_norm: Largest norm of the gradient, above 0.
        cutmix: Probability that a batch is mixed by CutMix, in [0, 1]; only for images, 0 for vectors.
        cutmix_alpha: Both parameters of the Beta distribution of the first image's share, above 0.

    Between two ends the model is that of the last end, so evaluations after steps repeat that end; before the first end
    it is untrained. Steps on the replay buffer count in the cost of the run, and are many.

    Source: Prabhu et al. 2020, ECCV, "GDumb: a simple approach that questions our progress in continual learning", and
    its code, which trains once, after all classes; in half precision; and without CutMix on MNIST.

    Expected:
        class: depends on the size of the replay buffer and on passes, not on the stream; above joint if joint takes few
            steps.
        task: depends on the size of the replay buffer and on passes; features of all other samples are never learned.
        domain: near frozen: balance is over labels, so the first domains fill the buffer and later ones hardly enter.
        recurring: unchanged by repetition, so that other methods overtake it on streams with much of it.
    """

    random_stream: ClassVar[str] = "GDumb"

    passes: Count
    when: Literal["experiences", "stream"] = "experiences"
    # published: 0.05 (Prabhu et al. 2020)
    lr: Annotated[Positive, Search(1e-3, 0.5, log=True)] = 0.05
    min_lr: NonNegative = 0.0005
    batch_size: Count = 16
    momentum: Fraction = 0.9
    weight_decay: NonNegative = 1e-6
    clip_norm: Positive = 10.0
    cutmix: Fraction = 0.5
    cutmix_alpha: Positive = 1.0

    needs: ClassVar[frozenset[str]] = frozenset({"memory"})
    owns: ClassVar[frozenset[str]] = frozenset({"objective", "stream coefficient"})
    memory_policy: ClassVar[str | None] = "greedy_balanced"
    memory_admit: ClassVar[str | None] = "first_pass"
    end_order: ClassVar[int] = MOVES

    def batch(self, learner: Learner, batch: Batch) -> None:
        if "w" not in self.state:
            self.state.update(learner.side_work.copy())
        batch.skip = True

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        if self.when == "experiences":
            self._train(learner)

    def end_stream(self, learner: Learner) -> None:
        if self.when == "stream" or learner.experience is None:
            self._train(learner)

    def _train(self, learner: Learner) -> None:
        from clbench.training.batch_splits import BatchSplit

        learner.w.data.copy_(self.state["w"])
        for name, buffer in learner.model.named_buffers():
            buffer.copy_(self.state["buffers"][name])
        memory = learner.memory
        per_pass = BatchSplit(self.batch_size, fewest=learner.side_work.fewest_rows).count(len(memory))
        learner.side_work.fit(
            memory.draw(len(memory), generator=self.generator),
            steps=self.passes * per_pass,
            lr=self.lr,
            batch_size=self.batch_size,
            generator=self.generator,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            rate=lambda step: warm_restarts(step // per_pass, self.min_lr / self.lr),
            loss=lambda batch: self._loss(learner, batch),
        )

    def _loss(self, learner: Learner, batch: Batch) -> Tensor:
        from clbench.training.objective import task_loss

        if not self.cutmix or self.generator.uniform(1)[0] >= self.cutmix:
            return task_loss(learner.run(batch).logits, batch)
        return cutmix_loss(learner.model, batch, self.cutmix_alpha, self.generator)


def warm_restarts(number: int, low: float) -> float:
    """Return the learning rate of a pass, from 0, as a fraction of the highest.

    It is 0.1 in the first pass, then follows cosine cycles of 1, 2, 4, 8, ... passes from 1 to ``low``. Source:
    Loshchilov and Hutter 2017, T_0 = 1 and T_mult = 2, with the warm start of GDumb's code.
    """
    if number == 0:
        return 0.1
    length = 1 << (number.bit_length() - 1)
    return low + (1.0 - low) * 0.5 * (1.0 + math.cos(math.pi * (number - length) / length))


def cutmix_loss(model: Any, batch: Batch, alpha: float, generator: Generator) -> Tensor:
    """Return the cross-entropy of images with a pasted box of another image of the batch, with labels weighted by area.

    Source: Yun et al. 2019, arXiv 1905.04899: the box has the side √(1 - λ), λ ~ Beta(alpha, alpha), and a uniform
    centre, and is cut at the border. If each sample has its own class mask, the classes of both images compete.

    Raises:
        Refused: Samples are not images.
    """
    import torch
    from scipy.special import betaincinv
    from torch.nn.functional import cross_entropy

    from clbench.families.class_mask import ClassMask

    x = batch.x
    if x.ndim != 4:
        raise Refused(
            f"gdumb: samples of shape {tuple(x.shape[1:])} are not images, so CutMix cannot mix them; set cutmix=0"
        )
    share, *centre = generator.uniform(3)
    side = math.sqrt(1.0 - float(betaincinv(alpha, alpha, share)))
    spans = []
    for size, u in zip(x.shape[2:], centre, strict=True):
        half, middle = int(size * side) // 2, int(u * size)
        spans.append(slice(max(0, middle - half), min(size, middle + half)))
    other = torch.from_numpy(generator.permutation(len(x))).to(x.device)
    mixed = x.clone()
    mixed[:, :, spans[0], spans[1]] = x[other][:, :, spans[0], spans[1]]
    area = mixed[0, 0, spans[0], spans[1]].numel() / (x.shape[2] * x.shape[3])
    mask = batch.class_mask
    if mask.per_row and mask.competes is not None:
        mask = ClassMask(mask.competes | mask.competes[other])
    logits = mask.masked(model(mixed).logits)
    return (1.0 - area) * cross_entropy(logits, batch.y) + area * cross_entropy(logits, batch.y[other])
