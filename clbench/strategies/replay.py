"""Experience replay: rehearse samples from the replay buffer together with the stream's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from clbench.core.parameters import Count, Fraction
from clbench.core.search_space import Search
from clbench.strategies.part import EVERY_FAMILY, Part

if TYPE_CHECKING:
    from clbench.training.batch import Batch
    from clbench.training.learner import Learner
    from clbench.training.replay_buffer import Draw

Start = Literal["earlier", "any"]
LossForm = Literal["concat", "weighted", "sum"]


def rehearse(batch: Batch, draw: Draw, form: LossForm, new_weight: float = 0.5) -> None:
    """Append a draw from the replay buffer, and weight the stream's samples and the draw's.

    Args:
        batch: The stream's batch; the caller owns its coefficient.
        draw: The samples to rehearse.
        form: As ``loss_form`` of :class:`Replay`.
        new_weight: The stream's weight if ``form`` is ``weighted``.
    """
    if form == "concat":
        batch.append(draw.index, side=draw.side)
        return
    new, old = (1.0, 1.0) if form == "sum" else (new_weight, 1.0 - new_weight)
    batch.stream.coefficient = new
    batch.append(draw.index, coefficient=old, side=draw.side)


@dataclass(kw_only=True)
class Replay(Part):
    """Append a draw from the replay buffer to every batch of the stream.

    Args:
        rows: Samples drawn per step; ``None`` draws as many as the batch has.
        loss_form: ``concat`` takes one mean over all samples (Chaudhry et al. 2019); ``weighted`` takes ``new_weight``
            · mean(stream) + (1 - ``new_weight``) · mean(replay) (De Lange et al. 2023); ``sum`` adds the two means
            (Caccia et al. 2022).
        new_weight: The stream's weight, in [0, 1], if ``loss_form`` is ``weighted``; ``1/k`` in experience k, counted
            from 1 (van de Ven et al. 2022; needs visible boundaries). Without a draw it has no effect.
        start: Start as soon as the replay buffer holds a sample of an ``earlier`` experience, or ``any`` sample. If
            boundaries are hidden, both are the same.
    """

    random_stream: ClassVar[str] = "Replay"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    rows: Count | None = None
    loss_form: LossForm = "concat"
    new_weight: Fraction | Literal["1/k"] = 0.5
    start: Start = "earlier"

    needs: ClassVar[frozenset[str]] = frozenset({"memory"})
    owns: ClassVar[frozenset[str]] = frozenset({"stream coefficient"})

    def __post_init__(self) -> None:
        if self.new_weight == "1/k":  # a need of this instance, not of the class
            self.__dict__["needs"] = self.needs | {"boundaries"}

    def batch(self, learner: Learner, batch: Batch) -> None:
        memory = learner.memory
        if not (len(memory) if self.start == "any" else memory.has_earlier(learner.experience)):
            return
        draw = memory.draw(self.rows or batch.size, generator=self.generator)
        weight = 1 / (1 + (learner.experience or 0)) if isinstance(self.new_weight, str) else self.new_weight
        rehearse(batch, draw, self.loss_form, weight)


def er(
    *,
    rows: Count | None = None,
    loss: LossForm = "concat",
    # published: 0.1 to 0.9 as a grid (De Lange et al. 2023)
    new_weight: Annotated[Fraction | Literal["1/k"], Search(0.1, 0.9, when=("loss", "weighted"))] = 0.5,
    start: Start = "earlier",
) -> list[Part]:
    """Replay samples: those drawn from the replay buffer are learned together with the stream's.

    Settings are as in :class:`Replay`; ``loss`` is its ``loss_form``.

    Source: Chaudhry et al. 2019, arXiv 1902.10486; Rolnick et al. 2019, arXiv 1811.11682.

    Expected:
        class: far above naive, and the more so the larger the replay buffer; old classes are mistaken for the newest
            ones.
        task: near joint with a few samples per class; larger replay buffers add little.
        domain: well above naive with small replay buffers; a dip after each switch remains.
        recurring: the more often classes recur, the smaller its lead over naive.
        drift: may end below naive: it rehearses labels that are no longer true.
    """
    return [Replay(rows=rows, loss_form=loss, new_weight=new_weight, start=start)]
