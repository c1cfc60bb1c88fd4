"""CODA-Prompt: prefixes for a frozen transformer, each a sum of components with weights by the sample's query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from clbench.core.parameters import Count, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.prompt_query import Prompts, held, output_of, queried

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

NAME = "coda_prompt"
"""Name of the module that is added to the model."""
NAMES = ("prompt", "key", "attention")
"""Names of the parameters of a component."""


@dataclass(kw_only=True)
class CODAPrompt(Prompts):
    """Give the first blocks of a frozen transformer the prefix Σ α_k P_k, with α_k = cos(q ⊙ A_k, K_k).

    q is the query of a sample: what the frozen transformer reads without prefixes, as in ``l2p``. Each block has
    components of its own, k = 1 to ``pool``: P_k (``length`` tokens, the first half keys and the others values), a key
    K_k and an attention A_k. The components are shared out over the experiences of the stream. An experience trains its
    components, which begin orthonormal to each other and orthogonal to all earlier ones; earlier components are fixed
    and take part. The loss is the cross-entropy over the classes of the running experience, and a penalty that keeps
    components orthonormal.

    Args:
        pool: Number of components of a block; ``pool`` // number of experiences belong to each experience.
        length: Tokens of a component, an even number.
        blocks: Number of blocks with a prefix, from the first; all if the transformer has fewer.
        penalty: The weight of the sum over blocks and over B = P, K and A of L(B). B has the components so far as rows.
        form: Of L: ``paper``, ‖B Bᵀ - I‖², the sum of squares; or ``code``, 1e-6 times their mean.

    Source: Smith et al. 2023, arXiv 2211.13218; details after the authors' GT-RIPL/CODA-Prompt.

    Expected:
        class: far above naive fine-tuning of the same network, with a pretrained transformer; near naive with a random
            one.
        task: as in the class setting, with less competition; the weights are still by the query.
        domain: above a frozen network with a trained head, since later prefixes add to earlier ones.
        recurring: every experience adds components, also if its classes return.
    """

    random_stream: ClassVar[str] = "CODAPrompt"

    # published: 100 (Smith et al. 2023)
    pool: Count = 100
    # published: 8 (Smith et al. 2023)
    length: Count = 8
    # published: 5, the blocks 1 to 5 (Smith et al. 2023)
    blocks: Count = 5
    # published: 0.1 (Smith et al. 2023); the authors' code of today has 0
    penalty: Annotated[NonNegative, Search(1e-3, 10, log=True)] = 0.1
    form: Literal["paper", "code"] = "paper"

    needs: ClassVar[frozenset[str]] = frozenset({"transformer", "boundaries", "length"})

    def __post_init__(self) -> None:
        from clbench.core.errors import Refused

        if self.length % 2:
            raise Refused(
                f"length = {self.length} tokens cannot be halved into keys and values; give an even number such as "
                f"{self.length + 1}"
            )

    def build(self, model: nn.Module, shape: tuple[int, ...], n_outputs: int) -> nn.Module:
        import math

        import torch
        from torch import nn

        width = held(model)
        if width is None:
            return model
        blocks = min(self.blocks, len(model.blocks))  # type: ignore[arg-type]
        sizes = {"prompt": (self.length, width), "key": (width,), "attention": (width,)}
        components = nn.ParameterDict()
        for name in NAMES:
            size = sizes[name]
            drawn = torch.randn(blocks, self.pool, math.prod(size))
            rows = orthonormal(drawn, drawn[:, :0])
            components[name] = nn.Parameter(rows.transpose(0, 1).reshape(self.pool, blocks, *size).contiguous())
        model.add_module(NAME, components)
        return model

    def attach(self, learner: Learner) -> None:
        from clbench.core.errors import Refused

        if learner.length is None:  # a saved model, which has kept the number
            return
        if learner.length > self.pool:
            raise Refused(
                f"pool = {self.pool} components of {self.title} cannot be shared out over {learner.length} "
                f"experiences; write coda_prompt(pool={learner.length}) or more"
            )
        self.state["each"] = self.pool // learner.length

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        import torch

        super().begin_experience(learner, experience)
        running, each = learner.experience or 0, self.state["each"]
        first, last = running * each, (running + 1) * each
        self.state["first"], self.state["last"] = first, last
        frozen = torch.zeros_like(learner.w, dtype=torch.bool)
        draws = torch.Generator().manual_seed(int(self.generator.words(1)[0] >> 1))
        for name in NAMES:
            place = learner.slices[f"{NAME}.{name}"]
            of_pool = frozen[place].view(self.pool, -1)
            of_pool[:first] = True
            of_pool[last:] = True
            if running:  # those of the first experience are as they were built
                shape = getattr(learner.model, NAME)[name].shape  # (M, blocks, ...)
                rows = learner.w.data[place].view(self.pool, shape[1], -1).transpose(0, 1)  # (blocks, M, n)
                drawn = torch.randn(shape[1], each, rows.shape[2], generator=draws)
                rows[:, first:last] = orthonormal(drawn.to(rows.device), rows[:, :first])
        learner.freeze(f"{NAME}/{self.twin}", frozen)

    def answer(self, learner: Learner, x: Tensor, task: Tensor | None) -> Output:
        import torch

        model = learner.model
        components = getattr(model, NAME)
        first, last = self.state.get("first", 0), self.state.get("last", self.state["each"])
        tokens, query = queried(model, x)
        prefix = summed(query, *(components[name][first:last] for name in NAMES))  # (B, blocks, length, D)
        if first:
            with torch.no_grad():
                earlier = summed(query, *(components[name][:first] for name in NAMES))
            prefix = prefix + earlier
        keys, values = prefix.chunk(2, dim=2)
        prefixes = {number: (keys[:, number], values[:, number]) for number in range(prefix.shape[1])}
        self.note(learner, x, None)
        return output_of(model, model.pool(model.encode(tokens, prefixes)))  # type: ignore[operator]

    def loss(self, learner: Learner, batch: Batch, output: Output) -> Tensor | None:
        import torch

        self.__dict__.pop("noted", None)
        if not self.penalty:
            return None
        first, last = self.state["first"], self.state["last"]
        components = getattr(learner.model, NAME)
        terms = []
        for name in NAMES:
            own = components[name]
            rows = torch.cat([own[:first].detach(), own[first:last]]).flatten(2).transpose(0, 1)  # (blocks, M, n)
            apart = (rows @ rows.mT - torch.eye(last, device=rows.device)).square()
            terms.append(apart.sum() if self.form == "paper" else 1e-6 * apart.mean((1, 2)).sum())
        return self.penalty * torch.stack(terms).sum()


def summed(query: Tensor, prompt: Tensor, key: Tensor, attention: Tensor) -> Tensor:
    """Return Σ α_k P_k (B, blocks, n, D) with α_k = cos(q ⊙ A_k, K_k), for each block.

    Args:
        query: q (B, D).
        prompt: P (M, blocks, n, D).
        key: K (M, blocks, D).
        attention: A (M, blocks, D).
    """
    import torch
    from torch.nn import functional as F

    product = torch.einsum("bd,mld->bml", query, attention * F.normalize(key, dim=2))
    squares = torch.einsum("bd,mld->bml", query.square(), attention.square())  # the squared norm of q ⊙ A_k
    alpha = product / squares.clamp(min=1e-24).sqrt()
    return torch.einsum("bml,mlnd->blnd", alpha, prompt)


def orthonormal(drawn: Tensor, earlier: Tensor) -> Tensor:
    """Make rows orthonormal to each other and orthogonal to earlier rows, by Gram-Schmidt, in double precision.

    In n dimensions only n - (number of earlier rows) new rows can be so. Further rows have unit length and the
    direction that was drawn.

    Args:
        drawn: New rows (blocks, m, n), in general position.
        earlier: Earlier rows (blocks, s, n), of any length.

    Returns:
        (blocks, m, n), with the type of ``drawn``.
    """
    import torch
    from torch.nn import functional as F

    free = max(0, min(drawn.shape[1], drawn.shape[2] - earlier.shape[1]))
    rows = F.normalize(drawn.double(), dim=2)
    if free:
        new = rows[:, :free]
        if earlier.shape[1]:
            basis = torch.linalg.qr(earlier.double().mT).Q  # (blocks, n, s)
            for _ in range(2):  # the second time removes what rounding has left
                new = new - new @ basis @ basis.mT
        rows = torch.cat([torch.linalg.qr(new.mT).Q.mT, rows[:, free:]], dim=1)
    return rows.to(drawn.dtype)
