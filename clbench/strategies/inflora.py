"""InfLoRA: low-rank terms whose inputs are directions that earlier experiences did not use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from clbench.core.parameters import Count, Fraction
from clbench.core.search_space import Search
from clbench.strategies.running_classes import RunningClasses

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clbench.models.low_rank import LowRank
    from clbench.training.learner import ExperienceView, Learner

LAYERS = ("key", "value")
CHUNK = 32
"""Samples whose inputs of all layers are in memory at a time."""
DAMPING = 3**-0.5
"""The length of the rows of A, in the authors' code."""
ROUNDING = 1e-12
"""Share of the size of moments below which a singular value is rounding, and its direction may be one of the memory."""


@dataclass(kw_only=True)
class InfLoRA(RunningClasses):
    """Add a low-rank term to keys and values of a frozen transformer for each experience, outside of earlier inputs.

    In experience t keys and values are W x + Σ Bᵢ Aᵢ x. Before it, the rows of Aₜ become the strongest directions of
    the inputs x of this block on the experience's samples, outside of a memory of directions of earlier inputs; they
    stay fixed. Bₜ begins at 0 and is trained, with the head. So Bₜ Aₜ maps directions of the memory to 0: what the
    network computes from earlier inputs stays. After it, the memory takes up directions of the new inputs until it
    covers a share of their energy, by DualGPM: above half of all directions, the complement is kept instead. The loss
    is the cross-entropy over the classes of the running experience.

    Args:
        rank: r, the rank of a term; at most the width of a token.
        terms: Number of experiences that can have a term, at least the length of the stream.
        epsilon: The share of the energy that the memory has to cover after the first experience; it grows linearly to 1
            over the stream.
        form: What the energy of a direction is.

            * ``paper``: the variance of inputs along it, an eigenvalue of their second moments, as in ``gpm``.
            * ``code``: its square, as in the authors' code: the same share needs far fewer directions.

    Two passes over the samples of an experience find the directions, before and after it.

    Source: Liang and Li 2024, arXiv 2404.00228; liangyanshuo/InfLoRA.

    Expected:
        class: above naive fine-tuning of the same network, with a pretrained transformer; the head forgets less too.
        task: as in the class setting, with less competition.
        domain: later domains have fewer free directions if inputs of domains are alike.
        recurring: every experience adds a term, also if its classes return.
    """

    random_stream: ClassVar[str] = "InfLoRA"

    # published: 10 (Liang and Li 2024)
    rank: Annotated[Count, Search(2, 32)] = 10
    # published: 10, the experiences of split CIFAR-100 (Liang and Li 2024)
    terms: Count = 10
    # published: 0.95 for CIFAR-100, 0.98 for ImageNet-R (Liang and Li 2024)
    epsilon: Annotated[Fraction, Search(0.8, 0.999)] = 0.95
    form: Literal["paper", "code"] = "paper"

    needs: ClassVar[frozenset[str]] = frozenset({"transformer", "boundaries", "length"})
    grows: ClassVar[str] = "directions of the inputs of each block, at most half of their number"
    conflicts: ClassVar[dict[str, str]] = {
        "SDLoRA": "both put terms beside the same layers",
        "L2M": "both add low-rank terms to the same layers",
        "Hypernet": "the first adds terms to blocks of the network, and the second generates the network",
        "Binary": "the first keeps the network frozen, and the second learns distributions of its weights",
    }

    def build(self, model: nn.Module, shape: tuple[int, ...], n_outputs: int) -> nn.Module:
        from clbench.models.low_rank import add_terms
        from clbench.models.trained_weights import train_only
        from clbench.models.transformer import is_transformer

        if not is_transformer(model):
            return model  # the cell is skipped
        train_only(model, "head")
        width = int(model.norm.weight.shape[0])  # type: ignore[union-attr, index]
        add_terms(model, LAYERS, min(self.rank, width), self.terms, given=True)
        return model

    def attach(self, learner: Learner) -> None:
        from clbench.core.errors import Refused

        if learner.length is not None and learner.length > self.terms:
            raise Refused(
                f"inflora has {self.terms} terms and the stream {learner.length} experiences; give at least "
                f"terms={learner.length}"
            )

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        import torch

        super().begin_experience(learner, experience)
        begun = self.state.setdefault("begun", 0)
        for number, moments in enumerate(self._moments(learner, experience)):
            held = self._memories.get(str(number))
            free = moments if held is None else self._outside(moments, held)
            found, rank = torch.linalg.svd(free), self._pairs(learner)[number][0].rank
            lasting = found.S[:rank] > ROUNDING * torch.linalg.matrix_norm(moments)
            directions = found.U[:, :rank] * lasting  # (D, r); 0 where no direction is left
            for layer in self._pairs(learner)[number]:
                if begun:
                    layer.finish(begun - 1, None)
                layer.down.copy_(DAMPING * directions.T)
        self.state["begun"] = begun + 1

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        assert learner.length is not None
        finished = self.state["begun"] - 1
        share = self.epsilon + (1 - self.epsilon) * finished / learner.length
        for number, moments in enumerate(self._moments(learner, experience)):
            held = self._memories.get(str(number))
            self._memories[str(number)] = self._extended(moments, held, share)

    # ------------------------------------------------------------------ the memory of directions

    @property
    def _memories(self) -> dict[str, dict[str, Tensor | bool]]:
        """Return, by the number of a block, its basis (D, k) and whether it spans the ``complement`` of the memory."""
        memories: dict[str, dict[str, Tensor | bool]] = self.state.setdefault("memories", {})
        return memories

    @staticmethod
    def _pairs(learner: Learner) -> list[list[LowRank]]:
        """Return the layers with terms of each block."""
        blocks: list[nn.Module] = list(learner.model.blocks)  # type: ignore[arg-type]
        return [[getattr(block.attention, name) for name in LAYERS] for block in blocks]

    def _moments(self, learner: Learner, experience: ExperienceView) -> list[Tensor]:
        """Return the mean of x xᵀ (D, D) over the tokens of an experience for each block, in double precision."""
        import torch

        names = [f"blocks.{number}.attention.{LAYERS[0]}.layer" for number in range(len(self._pairs(learner)))]
        sums: list[Tensor] = []
        count = 0
        for part in experience.index.split(CHUNK, dim=1):
            inputs = learner.inputs(part)
            rows = [inputs[name].double() for name in names]
            count += len(rows[0])
            products = [x.T @ x for x in rows]
            sums = products if not sums else [torch.add(a, b) for a, b in zip(sums, products, strict=True)]
        return [total / count for total in sums]

    @staticmethod
    def _outside(moments: Tensor, held: dict[str, Tensor | bool]) -> Tensor:
        """Return moments (D, D) less what the memory covers of them."""
        basis = held["basis"]
        covered: Tensor = basis @ (basis.T @ moments)  # type: ignore[operator, union-attr]
        return covered if held["complement"] else moments - covered

    def _extended(
        self, moments: Tensor, held: dict[str, Tensor | bool] | None, share: float
    ) -> dict[str, Tensor | bool]:
        """Return the memory with the strongest directions of moments (D, D) that a share of their energy needs."""
        import torch

        free = moments if held is None else self._outside(moments, held)
        values = torch.linalg.svdvals(moments)
        found = torch.linalg.svd(free)
        power = 1 if self.form == "paper" else 2
        total = values.pow(power).sum()
        new = found.S.pow(power)
        missing = (new.sum() - torch.cat([new.new_zeros(1), new.cumsum(0)])) / total  # (D + 1,) after k directions
        count = int((missing > 1 - share).sum())
        if held is None:
            count -= self.form == "code"  # which stops below the share here, and above it later
            return self._halved(found.U[:, : max(count, 1)])
        basis = held["basis"]
        assert isinstance(basis, torch.Tensor)
        if held["complement"]:
            count = min(count, basis.shape[1])
            rest = basis - found.U[:, :count] @ (found.U[:, :count].T @ basis)
            return {"basis": torch.linalg.svd(rest).U[:, : basis.shape[1] - count], "complement": True}
        return self._halved(torch.cat([basis, found.U[:, :count]], dim=1)[:, : len(basis)])

    @staticmethod
    def _halved(basis: Tensor) -> dict[str, Tensor | bool]:
        """Return the memory of a basis (D, k): itself, or a basis of its complement if this is smaller."""
        import torch

        if 2 * basis.shape[1] <= len(basis):
            return {"basis": basis, "complement": False}
        return {"basis": torch.linalg.svd(basis).U[:, basis.shape[1] :], "complement": True}
