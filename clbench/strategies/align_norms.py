"""Weight alignment: at a boundary, the head's weights of new classes get the mean norm of those of old classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from clbench.strategies.head_rows import HEAD_IS_GENERATED, head_matrix, write
from clbench.strategies.part import MOVES, Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.learner import ExperienceView, Learner

LABEL = 1  # row of an index matrix, as in clbench.training.batch, which imports torch


@dataclass(kw_only=True)
class AlignNorms(Part):
    """Multiply the head's weights of new classes by mean |w_old| / mean |w_new| at the end of each experience.

    w_c are the weights of class c in the last layer, without its bias, and |w_c| their Euclidean norm. New are the
    classes of the experience that were not seen before it, old all others seen. Nothing happens where one of the two
    sets is empty, as in the first experience. Frozen weights stay.

    It adds to any strategy that trains one head: ``er + align_norms``. With a replay buffer, new classes are trained on
    more samples than old ones, so their weights grow longer, and their logits larger.

    Source: Zhao et al. 2020, arXiv 1911.07053, eqs. 8 to 10. The paper also keeps the head's weights at or above 0,
    as ``wa`` does; without it a norm does not say how large logits are.

    Raises:
        Refused: The model's last layer has no matrix with one row for each output unit.

    Expected:
        class: above the strategy that it is added to, if that one has a replay buffer and predicts new classes too
            often; without a replay buffer near naive.
        task: as the strategy that it is added to; classes of different experiences never compete.
        domain: as the strategy that it is added to, bit for bit; no class is new after the first experience.
        recurring: acts only in experiences that bring new classes.
    """

    random_stream: ClassVar[str] = "AlignNorms"

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries"})
    end_order: ClassVar[int] = MOVES
    conflicts: ClassVar[dict[str, str]] = {"Hypernet": HEAD_IS_GENERATED}

    def attach(self, learner: Learner) -> None:
        self.__dict__["_place"] = head_matrix(learner, self.title)

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        """Note which classes were seen before."""
        known = self.state.get("known")
        self.state["old"] = learner.classes.seen.new_zeros(learner.n_outputs) if known is None else known.clone()

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        old = self.state["old"]
        running = old.new_zeros(len(old)).index_fill_(0, experience.index[LABEL], True)
        new = running & ~old  # (C,) bool
        self.state["known"] = old | running
        if bool(old.any()) and bool(new.any()):
            place: slice = self.__dict__["_place"]
            head = learner.w.data[place].view(learner.n_outputs, -1)  # (C, H)
            write(learner, place, head.where(~new[:, None], head * ratio(head, old, new)))


def ratio(head: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """Return mean |w_old| / mean |w_new|, a scalar in the head's precision; 1 if all new weights are 0.

    Args:
        head: (C, H) weights.
        old, new: (C,) bool, not empty.
    """
    norms = head.double().norm(dim=1)
    longest = norms[new].mean()
    found = norms[old].mean() / longest
    scaled: Tensor = found.where(longest > 0, 1.0).to(head.dtype)
    return scaled
