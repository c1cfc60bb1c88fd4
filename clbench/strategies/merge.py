"""Merged models: the answer is the initial model plus a merger of the changes that experiences made to the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from clbench.core.parameters import Fraction, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.models.output import Output
    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner


@dataclass(kw_only=True)
class Merge(Part):
    """Answer with w₀ + scale · τ, where τ merges the changes τₜ = wₜ - w₀ of all experiences t.

    w₀ are the weights before the first step and wₜ those at the end of experience t; training goes on from the last
    weights and notices nothing of the merger. While an experience is learned, its weights so far count as wₜ.

    Args:
        rule: How the changes are merged, for each weight alone:

            * ``max``: the change of the largest size.
            * ``mean``: the mean of all changes.
            * ``ties``: of each experience, only the share ``keep`` of the largest changes counts. The sign of their sum
              is elected, and τ is the mean of the changes of this sign.
        scale: The factor of τ.
        keep: The share of changes that counts in ``ties``.

    The memory is O(P) for every rule. Biases and the last layer are merged too; the source has a last layer that is not
    trained. Running statistics are those of the last weights, so a model without batch normalisation fits better.

    Source: Marczak et al. 2024, arXiv 2407.06322 (MagMax); for ``ties`` Yadav et al. 2023, arXiv 2306.01708.

    Expected:
        class: above naive with a pretrained model, which stays near its beginning; else near naive.
        task: above naive with a pretrained model.
        domain: above naive with a pretrained model, since domains share the last layer.
        recurring: as in the domain setting; what returns is merged once more.
    """

    random_stream: ClassVar[str] = "Merge"
    families: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})

    # published: max (Marczak et al. 2024)
    rule: Literal["max", "mean", "ties"] = "max"
    # published: 0.5 (Marczak et al. 2024)
    scale: Annotated[NonNegative, Search(0.1, 1)] = 0.5
    # published: 0.2 (Yadav et al. 2023)
    keep: Annotated[Fraction, Search(0.05, 1)] = 0.2

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries"})

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        if "start" not in self.state:
            w = learner.w.detach()
            self.state["start"], self.state["count"] = w.clone(), 0
            sums = ("up", "down", "ups", "downs") if self.rule == "ties" else ("sum" if self.rule == "mean" else "max",)
            self.state.update({name: w.new_zeros(w.shape) for name in sums})  # (P,) each
        self.state["moved"] = False

    def after_step(self, learner: Learner, batch: Batch) -> None:
        self.state["moved"] = True

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        self.state.update(self._with(learner))
        self.state["moved"] = False

    def answer(self, learner: Learner, x: Tensor, task: Tensor | None) -> Output:
        from torch.func import functional_call

        output: Output
        if "start" not in self.state or not (self.state["count"] or self.state["moved"]):
            output = learner.model(x)
            return output
        key = f"merge/{self.twin}"
        if key not in learner.scratch:  # once per evaluation
            w = self.state["start"] + self.scale * self.tau(learner)
            shapes = {name: p.shape for name, p in learner.model.named_parameters() if name in learner.slices}
            learner.scratch[key] = {name: w[learner.slices[name]].view(shape) for name, shape in shapes.items()}
        output = functional_call(learner.model, learner.scratch[key], (x,))
        return output

    def tau(self, learner: Learner) -> Tensor:
        """Return τ (P,) of all experiences, with the running one if it has moved weights."""
        import torch

        kept = self._with(learner) if self.state["moved"] else self.state
        if self.rule == "max":
            largest: Tensor = kept["max"]
            return largest
        if self.rule == "mean":
            mean: Tensor = kept["sum"] / kept["count"]
            return mean
        up, down = kept["up"], kept["down"]
        return torch.where(up + down >= 0, up / kept["ups"].clamp(min=1), down / kept["downs"].clamp(min=1))

    def _with(self, learner: Learner) -> dict[str, Any]:
        """Return what is kept of all changes, with that of the weights as they are now."""
        import torch

        change, state = learner.w.detach() - self.state["start"], self.state
        count = state["count"] + 1
        if self.rule == "max":
            return {"count": count, "max": torch.where(change.abs() > state["max"].abs(), change, state["max"])}
        if self.rule == "mean":
            return {"count": count, "sum": state["sum"] + change}
        large = torch.zeros_like(change)
        places = change.abs().topk(round(self.keep * len(change)), sorted=False).indices
        large[places] = change[places]
        up, down = large.clamp(min=0), large.clamp(max=0)
        return {
            "count": count,
            "up": state["up"] + up,
            "down": state["down"] + down,
            "ups": state["ups"] + (up > 0),
            "downs": state["downs"] + (down < 0),
        }
