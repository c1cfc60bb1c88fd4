"""SD-LoRA: low-rank terms of finished experiences keep their directions, and their magnitudes go on being trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from clbench.core.parameters import Count, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.running_classes import RunningClasses

if TYPE_CHECKING:
    from torch import nn

    from clbench.training.learner import ExperienceView, Learner


@dataclass(kw_only=True)
class SDLoRA(RunningClasses):
    """Add a low-rank term to queries and values of a frozen transformer for each experience, with trained magnitudes.

    In experience t queries and values are W x + Σ αᵢ Bᵢ Aᵢ x / (|Bᵢ| |Aᵢ|) over finished experiences i, plus
    α Bₜ Aₜ x. Aₜ, Bₜ, all α and the head are trained; the directions of finished experiences are fixed. The loss is the
    cross-entropy over the classes of the running experience.

    Args:
        rank: r, the rank of a term.
        terms: Number of experiences that can have a term, at least the length of the stream.
        magnitude: α of a new term.
        form: What happens to α at a switch.

            * ``paper``: αᵢ is carried over, and takes the norms of Bᵢ and Aᵢ into itself, so that the function stays
              the same. Each layer has its own α.
            * ``code``: all α begin at ``magnitude`` again, as in the authors' code, so that the function jumps. All
              layers share α.

    Source: Wu et al. 2025, arXiv 2501.13198; WuYichen-97/SD-Lora-CL.

    Expected:
        class: above naive fine-tuning of the same network, with a pretrained transformer; learns a new experience in
            directions near those of earlier ones.
        task: as in the class setting, with less competition.
        domain: one set of terms for each domain, which all act together; near fine-tuning of few weights.
        recurring: every experience adds a term, also if its classes return.
    """

    random_stream: ClassVar[str] = "SDLoRA"

    # published: 10 (Wu et al. 2025)
    rank: Annotated[Count, Search(2, 32)] = 10
    # published: 10, the experiences of split CIFAR-100 (Wu et al. 2025)
    terms: Count = 10
    # published: 0.8 (Wu et al. 2025, authors' code)
    magnitude: Annotated[NonNegative, Search(0.1, 2)] = 0.8
    form: Literal["paper", "code"] = "paper"

    needs: ClassVar[frozenset[str]] = frozenset({"transformer", "boundaries", "length"})
    conflicts: ClassVar[dict[str, str]] = {
        "L2M": "both add low-rank terms to the same layers",
        "Binary": "the first keeps the network frozen, and the second learns distributions of its weights",
    }

    def build(self, model: nn.Module, shape: tuple[int, ...], n_outputs: int) -> nn.Module:
        from clbench.models.low_rank import add_terms, terms_of
        from clbench.models.trained_weights import train_only
        from clbench.models.transformer import is_transformer

        if not is_transformer(model):
            return model  # the cell is skipped
        train_only(model, "head")
        add_terms(model, ("query", "value"), self.rank, self.terms, scaled=True, shared=self.form == "code")
        for layer in terms_of(model):
            layer.magnitude.data.fill_(self.magnitude)  # type: ignore[union-attr]
        return model

    def attach(self, learner: Learner) -> None:
        from clbench.core.errors import Refused

        if learner.length is not None and learner.length > self.terms:
            raise Refused(
                f"sd_lora has {self.terms} terms and the stream {learner.length} experiences; give at least "
                f"terms={learner.length}"
            )

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        super().begin_experience(learner, experience)
        begun = self.state.get("begun", 0)
        if begun:
            self._finish(learner, begun - 1)
        self.state["begun"] = begun + 1

    def _finish(self, learner: Learner, place: int) -> None:
        """Fix the direction of the running term, and begin a new one."""
        import torch

        from clbench.models.low_rank import terms_of

        generator = torch.Generator().manual_seed(int(self.generator.words(1)[0] >> 1))
        with torch.no_grad():
            for layer in terms_of(learner.model):
                layer.finish(place, generator, normed=True)
                layer.magnitude.fill_(self.magnitude)  # type: ignore[union-attr]
                if self.form == "code":
                    layer.alpha.fill_(self.magnitude)  # type: ignore[union-attr]
