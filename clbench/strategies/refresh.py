"""Refresh learning: unlearn slightly before every step by moving the weights uphill, then learn as before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from clbench.core.parameters import Count, Fraction, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import Part
from clbench.strategies.quadratic import pieces

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner

CODE_NOISE = 1e-3
"""Standard deviation of the noise in the released code, before ``strength``."""
TINY = 1e-20
DAMPING = {"paper": 1.0, "code": 1e-3}
UNIT = {"paper": "mean", "code": "one"}
IDLE = 0.99
"""Smallest D that counts as no preconditioner at all."""


@dataclass(kw_only=True)
class Refresh(Part):
    """Unlearn before every step of a strategy: J noisy moves uphill, preconditioned by the Fisher information.

    With D = 1 / (1 + damping · F / unit) and the diagonal Fisher information F of past experiences, each move is

        paper: w <- w + strength · D ∇L + sqrt(2 · strength · D) · noise · N(0, 1), with the whole loss L of the next
        step:
            rehearsed samples, further terms and penalties, but before projections;
        code:  p <- p + strength · D (|p| / |∇CE| · ∇CE + 0.001 · noise · N(0, 1)) for each tensor p of the weights,
        with
            the cross-entropy CE on the stream's samples of this batch.

    Args:
        strength: γ in the paper's form, for which we know no published value; δ in the code's, 1e-5 there. At least 0,
            where nothing moves.
        form: The ``paper``'s equation, or that of the authors' released ``code``.
        steps: J, number of moves before each step.
        noise: Factor of the form's own noise: 1 as published, 0 for none.
        damping: Factor of F in D, at least 0; 0 leaves F out. It equals (F + unit / damping)⁻¹ with another strength.
            ``None`` is 0.001 in the code's form, as there, and 1 in the paper's, which has F⁻¹ itself.
        unit: The unit of F: its own ``mean`` over the weights, or ``one``. ``None`` is the mean in the paper's form,
            since F of a network may have any scale (0.001 · F was below 0.0006 on digits, and D near 1 everywhere), and
            one in the code's.
        decay: τ in F <- τ · F + F_new at the end of every experience, in [0, 1]; the code's 1e-5 keeps little but the
            last experience.
        direction: ``up``; as controls, ``down`` (descent), or ``random`` with the same norm for each tensor.

    F_new is estimated on all samples of the experience, without augmentation and in evaluation mode: with labels drawn
    from the model in the paper's form, with true labels weighted by their probability in the code's. F is 0, and D is
    1, in the first experience and if boundaries are hidden. Momentum does not include the moves, and frozen weights
    stay.

    Expected:
        class: with the code's 1e-5 within seed noise of the strategy that it is combined with; alone it stays near
            naive. In the paper's form the noise has an effect long before the ascent and the Fisher information:
            compare with the controls.
        task: with the code's 1e-5 within seed noise of the strategy that it is combined with.
        domain: with the code's 1e-5 within seed noise of the strategy that it is combined with.
        recurring: with the code's 1e-5 within seed noise of the strategy that it is combined with.

    Source: Wang et al. 2024, arXiv 2403.13249, and its released code. Deviation from the code: F is not estimated in
    training mode one sample at a time, which fails with batch norm.
    """

    random_stream: ClassVar[str] = "Refresh"
    families: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})

    # published: 1e-5, in the form of the code (Wang et al. 2024)
    strength: Annotated[NonNegative, Search(1e-6, 0.01, log=True)]
    form: Literal["paper", "code"] = "paper"
    steps: Count = 1
    noise: NonNegative = 1.0
    damping: NonNegative | None = None
    unit: Literal["mean", "one"] | None = None
    decay: Fraction = 1e-5
    direction: Literal["up", "down", "random"] = "up"

    identity: ClassVar[Mapping[str, Any] | None] = {"strength": 0}

    def __post_init__(self) -> None:
        if self.form == "code":  # its Fisher information weighs labels by their probability
            self.__dict__["families"] = frozenset({"classification"})

    @classmethod
    def settled(cls, settings: dict[str, Any]) -> dict[str, Any]:
        form = settings["form"]
        damping, unit = settings["damping"], settings["unit"] or UNIT[form]
        settings = {**settings, "damping": DAMPING[form] if damping is None else damping, "unit": unit}
        if form == "code" and unit == "one":  # as in cells from before the choice existed
            del settings["unit"]
        return settings

    @property
    def factor(self) -> float:
        """Return the factor of F in D, before the unit is applied."""
        return DAMPING[self.form] if self.damping is None else self.damping

    def before_step(self, learner: Learner, batch: Batch) -> None:
        if not self.strength or (self.form == "code" and not len(batch.stream)):
            return
        learner.freeze_idle_heads(batch)  # weights that no sample of the batch may use must not drift here either
        frozen = learner.frozen
        for _ in range(self.steps):
            move = self._uphill(learner, batch)
            if self.noise:
                drawn = self._normal(move)
                for noise, slack in self._with_slack(drawn):
                    code = self.form == "code"
                    spread = CODE_NOISE * self.strength * slack if code else (2 * self.strength * slack).sqrt_()
                    noise.mul_(spread.mul_(self.noise))
                move += drawn
            learner.w.data.add_(move if frozen is None else move.masked_fill_(frozen, 0.0))

    def _with_slack(self, vector: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield chunks of a vector (P,), each with its chunk of D; a D of 1 has one element."""
        if "fisher" not in self.state:
            yield vector, vector.new_ones(1)
            return
        for piece, fisher in pieces(vector, self.state["fisher"]):
            yield piece, (self.state["factor"] * fisher).add_(1).reciprocal_()

    def _uphill(self, learner: Learner, batch: Batch) -> Tensor:
        """Return the move without its noise (P,), in the requested direction."""
        if self.form == "paper":
            move = learner.side_work.whole_gradient(batch)
        else:
            x, own = batch.x[batch.stream.span], learner.batch(batch.index[:, batch.stream.span])
            own.change(lambda _: x)  # the exact inputs of the step, with their augmentation
            move = learner.side_work.gradient(own)
            _rescale(learner, move, learner.w.detach())
        for piece, slack in self._with_slack(move):
            piece.mul_(slack.mul_(self.strength))
        if self.direction == "down":
            return move.neg_()
        if self.direction == "random":
            drawn = self._normal(move)
            _rescale(learner, drawn, move)
            return drawn
        return move

    def _normal(self, like: Tensor) -> Tensor:
        """Draw standard normal numbers on the device of a tensor, seeded by a word of the part's generator."""
        import torch

        seed = int(self.generator.words(1)[0] >> 1)
        return torch.empty_like(like).normal_(generator=torch.Generator(like.device).manual_seed(seed))

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        if not (self.strength and self.factor):
            return
        if self.form == "paper":
            new = learner.side_work.fisher(experience.index, estimator="sampled", generator=self.generator)
        else:
            new = weighted_fisher(learner, experience.index)
        old = self.state.get("fisher")
        if old is not None:  # it has preconditioned the moves of this experience
            least = 1 / (1 + self.state["factor"] * float(old.max()))
            self.state["least"] = min(least, self.state.get("least", 1.0))
        self.keep(new if old is None else self.decay * old + new)

    def keep(self, fisher: Tensor) -> None:
        """Precondition by a Fisher information (P,) from now on."""
        mean = float(fisher.mean()) if (self.unit or UNIT[self.form]) == "mean" else 1.0
        self.state["fisher"], self.state["factor"] = fisher, self.factor / mean if mean > 0 else 0.0

    def self_checks(self, learner: Learner) -> list[str]:
        if not (self.strength and self.factor):
            return []
        if "fisher" not in self.state:
            return ["never had a Fisher information to move by: no boundary of this stream is visible"]
        least = self.state.get("least", 0.0)  # a single experience is not checked
        if least < IDLE:
            return []
        return [
            f"left D above {IDLE} at every weight, as if there were no Fisher information; a larger damping or "
            "unit=mean makes it matter"
        ]


def weighted_fisher(learner: Learner, index: Tensor) -> Tensor:
    """Return (1/N) Σ_n p(y_n | x_n) (∇ log p(y_n | x_n))² with true labels, (P,): the squared gradient of 2 √p.

    Args:
        learner: The learner with the model.
        index: (5, N) samples; inputs are used without augmentation, in evaluation mode.
    """
    import torch

    from clbench.families.class_mask import ClassMask
    from clbench.training.batch import TASK, Y

    total = torch.zeros_like(learner.g)
    for label, task in torch.unique(index[[Y, TASK]], dim=1).T.tolist():  # samples with one label and the same mask
        own = index[:, (index[Y] == label) & (index[TASK] == task)]
        competes = learner.classes.mask(own[:, :1]).classes()  # (C,)

        def twice_root(logits: Tensor, label: int = label, competes: Tensor | None = competes) -> Tensor:
            return 2 * (ClassMask(competes).masked(logits).log_softmax(1)[:, label] / 2).exp()

        total += learner.side_work.per_row(own, twice_root, power="square") * (own.shape[1] / index.shape[1])
    return total


def _rescale(learner: Learner, vector: Tensor, like: Tensor) -> None:
    """Scale each tensor's chunk of ``vector`` (P,) to the norm that ``like`` has there."""
    for place in learner.slices.values():
        vector[place].mul_(like[place].norm() / (vector[place].norm() + TINY))
