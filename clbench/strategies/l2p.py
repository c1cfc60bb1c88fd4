"""Learning to prompt: a frozen transformer with prompts from a pool, chosen for each sample by the nearest keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from clbench.core.parameters import Count, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.prompt_query import Prompts, held, output_of, queried

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clbench.training.batch import Batch
    from clbench.training.learner import Learner, Output

NAME = "prompt_pool"
"""Name of the module that is added to the model."""


@dataclass(kw_only=True)
class L2P(Prompts):
    """Put the prompts of the ``top`` nearest keys before the tokens of a frozen transformer; train prompts, keys, head.

    The query q of a sample is what the frozen transformer reads without prompts: its class token after the last norm,
    or the mean of its tokens if it has none. The ``top`` prompts of ``length`` tokens with the largest cos(q, key) are
    put before the sample's tokens. Features are the mean of the outputs at the places of the prompts. The loss is the
    cross-entropy over the classes of the running experience, minus pull · Σ cos(q, key) over the chosen keys, in the
    mean over samples.

    Args:
        pool: M, number of prompts.
        length: Tokens of a prompt.
        top: Number of prompts that are chosen for a sample, at most ``pool``.
        pull: The weight of the term that moves chosen keys to their queries.

    Prompts are chosen for each sample alone. The authors' code has one choice for a whole batch by default, by
    majority, in evaluations too: in test batches of one task this tells the task. It is not offered.

    Source: Wang et al. 2022, arXiv 2112.08654; details after the PyTorch version JH-LEE-KR/l2p-pytorch.

    Expected:
        class: far above naive fine-tuning of the same network, with a pretrained transformer; near naive with a random
            one.
        task: as in the class setting, with less competition; all tasks share the pool.
        domain: little above a frozen network with a trained head, if queries separate the domains.
        recurring: improves with repetition, since prompts and head go on learning.
    """

    random_stream: ClassVar[str] = "L2P"

    # published: 10 (Wang et al. 2022)
    pool: Annotated[Count, Search(5, 30)] = 10
    # published: 5 (Wang et al. 2022)
    length: Annotated[Count, Search(1, 20)] = 5
    # published: 5 (Wang et al. 2022)
    top: Count = 5
    # published: 0.1 for CIFAR-100, 0.5 for 5-datasets (Wang et al. 2022, authors' code)
    pull: Annotated[NonNegative, Search(0.01, 1, log=True)] = 0.1

    def __post_init__(self) -> None:
        from clbench.core.errors import Refused

        if self.top > self.pool:
            raise Refused(
                f"top = {self.top} prompts cannot be chosen from a pool of {self.pool}; give at most {self.pool}"
            )

    def build(self, model: nn.Module, shape: tuple[int, ...], n_outputs: int) -> nn.Module:
        import torch
        from torch import nn

        width = held(model)
        if width is None:
            return model
        prompts = nn.ParameterDict(
            {
                "prompt": nn.Parameter(torch.rand(self.pool, self.length, width)),  # (M, n, D)
                "key": nn.Parameter(torch.rand(self.pool, width)),  # (M, D)
            }
        )
        model.add_module(NAME, prompts)
        return model

    def answer(self, learner: Learner, x: Tensor, task: Tensor | None) -> Output:
        import torch
        from torch.nn import functional as F

        model = learner.model
        pool = getattr(model, NAME)
        tokens, query = queried(model, x)
        cosine = F.normalize(query, dim=1) @ F.normalize(pool["key"], dim=1).T  # (B, M)
        chosen = cosine.topk(self.top, dim=1)
        prompts = pool["prompt"][chosen.indices].flatten(1, 2)  # (B, top n, D)
        encoded = model.encode(torch.cat([prompts, tokens], dim=1))  # type: ignore[operator]
        features = encoded[:, : prompts.shape[1]].mean(1)
        projection = getattr(model, "projection", None)
        self.note(learner, x, chosen.values.sum(1).mean())
        return output_of(model, features if projection is None else projection(features))

    def loss(self, learner: Learner, batch: Batch, output: Output) -> Tensor | None:
        return -self.pull * self.pulled(learner, batch) if self.pull else None
