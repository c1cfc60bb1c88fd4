"""Learning to modulate: low-rank additions to a frozen network, chosen for each sample from a pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, cast

from clbench.core.parameters import Count, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import EVERY_FAMILY, Part

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clbench.strategies.modulation_pool import Pool
    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

NAME = "l2m"
"""Name of the module that is added to the model."""
SMALLEST = 1e-6
"""Added to the share of samples that a member of the pool has served, before it is inverted."""


@dataclass(kw_only=True)
class L2M(Part):
    """Add 2 · B_k A_k x to the output of linear layers, k = argmax_j cos(q(x), key_j), and train only keys, A, B, head.

    A member k of the pool is a key and a pair of matrices A_k (rank, inputs), B_k (outputs, rank) for each of the
    layers; B_k begins at 0. It is chosen for each sample alone, without a task label. The query q(x) is the mean of the
    embedded tokens in a transformer, and the input of the first of the layers in other networks. The loss has the term
    -pull · mean cos(q(x), key_k).

    A network without pretrained weights is trained as a whole in the first experience, and frozen afterwards. One with
    pretrained weights is frozen from the start.

    Args:
        pool: Number of members.
        rank: Rank of each product.
        pull: Weight of the term that moves chosen keys to their queries.
        where: The kinds of linear layers that are modulated, joined by +: query, key, value, output, up, gate, down,
            attention (the first four), mlp (the next three, and hidden layers of networks without attention), all.
        usage_penalty: Whether training prefers members that were chosen less in earlier experiences: (cos + 1) / 2 is
            multiplied by 1 / (share of samples + 1e-6), normalised to sum 1. The shares are renewed when an experience
            begins, and do not count in the first one or in evaluations.

    Source: Schmied et al. 2023, arXiv 2306.14884, with the supervised objective of the benchmark instead of that of a
    decision transformer; defaults of the authors' configuration of rank 8.

    Expected:
        class: near naive; the head is shared, and old classes lose against new ones in it.
        task: above naive if queries separate the tasks; the head of each task is its own.
        domain: less forgetting than naive if queries separate the domains, as on permutations with Adam; below naive if
            they do not, or with plain SGD, which hardly moves keys.
        recurring: as naive or below, because only additions to the network of the first experience are learned.
    """

    random_stream: ClassVar[str] = "L2M"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    # published: 30 (Schmied et al. 2023)
    pool: Annotated[Count, Search(5, 50)] = 30
    # published: 8 (Schmied et al. 2023)
    rank: Annotated[Count, Search(1, 16)] = 8
    # published: 0.5 (Schmied et al. 2023)
    pull: Annotated[NonNegative, Search(0.05, 5, log=True)] = 0.5
    where: str = "query+value+mlp"
    # published: true (Schmied et al. 2023)
    usage_penalty: bool = True

    owns: ClassVar[frozenset[str]] = frozenset({"modulation pool"})

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """Return what it needs: linear layers, and boundaries unless the weights are pretrained."""
        return frozenset({"linear_layers"} if "pretrained" in self.revealed else {"linear_layers", "boundaries"})

    def build(self, model: nn.Module, shape: tuple[int, ...], n_outputs: int) -> nn.Module:
        from clbench.strategies.modulation_pool import add_pool

        add_pool(model, NAME, size=self.pool, rank=self.rank, where=self.where, shape=shape)
        return model

    def attach(self, learner: Learner) -> None:
        if "pretrained" in self.revealed:
            self._freeze(learner)

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        served = self.state.get("served")  # (M,) samples
        if served is None:
            return
        self._freeze(learner)
        if self.usage_penalty:
            inverse = 1 / (served / served.sum() + SMALLEST)
            _pool(learner).penalty.copy_(inverse / inverse.sum())

    def loss(self, learner: Learner, batch: Batch, output: Output) -> Tensor | None:
        pool = _pool(learner)
        if pool.noted is None or pool.noted.x is not batch.x:  # another part has run the model since
            with learner.side_work.undisturbed(training=True):
                learner.run(batch)
        noted = pool.noted
        assert noted is not None
        pool.__dict__["noted"] = None
        batch.keep(self, member=noted.member)
        term: Tensor | None = -self.pull * noted.cosine.mean() if self.pull else None
        return term

    def after_step(self, learner: Learner, batch: Batch) -> None:
        member = batch.kept(self)["member"]
        served = member.new_zeros(self.pool).index_add_(0, member, member.new_ones(len(member)))
        self.state["served"] = self.state.get("served", 0) + served

    def _freeze(self, learner: Learner) -> None:
        """Freeze all weights but the pool's and the head's, and the running statistics of norm layers."""
        from clbench.models import weight_groups

        held = ~learner.head_mask
        for name, place in learner.slices.items():
            if f"{NAME}." in name:
                held[place] = False
        learner.freeze(NAME, held)
        for norm in weight_groups.norms(learner.model, weight_groups.layers(learner.model, learner.slices)):
            norm.training = False


def _pool(learner: Learner) -> Pool:
    """Return the pool, also in a model that another part has wrapped."""
    (found,) = (module for name, module in learner.model.named_modules() if name.rpartition(".")[2] == NAME)
    return cast("Pool", found)
