"""DualPrompt: prefixes for a frozen transformer, general ones for all experiences and one for each experience."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from clbench.core.parameters import Count, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.prompt_query import Prompts, held, output_of, queried

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

NAME = "dualprompt"
"""Name of the module that is added to the model."""


@dataclass(kw_only=True)
class DualPrompt(Prompts):
    """Give the first blocks of a frozen transformer a general prefix, and the next ones a prefix of the experience.

    A prefix is a number of further keys and as many values that all tokens of a block attend to. In training the
    prefix of the running experience is used. In evaluation a sample gets that of the experience whose key has the
    largest cosine with its query q: what the frozen transformer reads without prefixes, as in ``l2p``. The loss is the
    cross-entropy over the classes of the running experience, minus pull · cos(q, key of the running experience), in
    the mean over samples.

    Args:
        pool: Number of experiences that can have a prefix and a key, at least the length of the stream.
        g_length: Keys of the general prefix of a block, and as many values.
        e_length: Keys of an experience's prefix of a block, and as many values.
        g_blocks: Number of blocks with a general prefix, from the first.
        e_blocks: Number of blocks after them with a prefix of the experience. A transformer with fewer than g_blocks +
            e_blocks blocks gets both in the same ratio, at least one block with the second.
        pull: The weight of the term that moves the key of the running experience to the queries.

    Prefixes and keys of other experiences are frozen while one is learned, also under momentum and weight decay. Keys
    of experiences that have not begun are not chosen.

    Source: Wang et al. 2022, arXiv 2204.04799; details after the PyTorch version JH-LEE-KR/dualprompt-pytorch.

    Expected:
        class: far above naive fine-tuning of the same network, with a pretrained transformer; limited by how well keys
            tell the experience of a sample.
        task: as in the class setting, with less competition; the prefix is still chosen by keys.
        domain: above a frozen network with a trained head, if queries separate the domains.
        recurring: every experience gets a prefix of its own, also if its classes return.
    """

    random_stream: ClassVar[str] = "DualPrompt"

    # published: 10, the number of experiences of split CIFAR-100 and split ImageNet-R (Wang et al. 2022)
    pool: Count = 10
    # published: 5 (Wang et al. 2022)
    g_length: Annotated[Count, Search(1, 20)] = 5
    # published: 5 for CIFAR-100, 20 for ImageNet-R (Wang et al. 2022, authors' code)
    e_length: Annotated[Count, Search(1, 40)] = 5
    # published: 2, the blocks 1 and 2 (Wang et al. 2022)
    g_blocks: Count = 2
    # published: 3, the blocks 3 to 5 (Wang et al. 2022)
    e_blocks: Count = 3
    # published: 1 (Wang et al. 2022)
    pull: Annotated[NonNegative, Search(0.01, 10, log=True)] = 1.0

    needs: ClassVar[frozenset[str]] = frozenset({"transformer", "boundaries", "length"})

    def build(self, model: nn.Module, shape: tuple[int, ...], n_outputs: int) -> nn.Module:
        import torch
        from torch import nn

        width = held(model)
        if width is None:
            return model
        general, own = self.blocks(len(model.blocks))  # type: ignore[arg-type]
        prompts = nn.ParameterDict(
            {
                "prompt": nn.Parameter(2 * torch.rand(self.pool, own, 2, self.e_length, width) - 1),
                "key": nn.Parameter(2 * torch.rand(self.pool, width) - 1),  # (E, D)
            }
        )
        if general:
            prompts["general"] = nn.Parameter(2 * torch.rand(general, 2, self.g_length, width) - 1)  # (blocks, 2, n, D)
        model.add_module(NAME, prompts)
        return model

    def blocks(self, depth: int) -> tuple[int, int]:
        """Return the numbers of blocks with a general prefix and with one of the experience, in so many blocks."""
        wanted = self.g_blocks + self.e_blocks
        if depth >= wanted:
            return self.g_blocks, self.e_blocks
        general = min(depth - 1, round(depth * self.g_blocks / wanted))
        return general, depth - general

    def attach(self, learner: Learner) -> None:
        from clbench.core.errors import Refused

        if learner.length is not None and learner.length > self.pool:
            raise Refused(
                f"pool = {self.pool} of {self.title} is the largest number of experiences, and the stream has "
                f"{learner.length}; write dualprompt(pool={learner.length})"
            )

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        import torch

        super().begin_experience(learner, experience)
        running = learner.experience or 0
        self.state["slot"], self.state["begun"] = running, max(running + 1, self.state.get("begun", 0))
        frozen = torch.zeros_like(learner.w, dtype=torch.bool)
        for name in ("prompt", "key"):
            of_pool = frozen[learner.slices[f"{NAME}.{name}"]].view(self.pool, -1)  # (E, -1)
            of_pool[:running] = True
            of_pool[running + 1 :] = True
        learner.freeze(f"{NAME}/{self.twin}", frozen)

    def answer(self, learner: Learner, x: Tensor, task: Tensor | None) -> Output:
        from torch.nn import functional as F

        model = learner.model
        prompts, running = getattr(model, NAME), self.state.get("slot", 0)
        tokens, query = queried(model, x)
        key = prompts["key"][: self.state.get("begun", 1)]
        cosine = F.normalize(query, dim=1) @ F.normalize(key, dim=1).T  # (B, E begun)
        if model.training:
            own = prompts["prompt"][running][None]  # (1, blocks, 2, n, D)
            self.note(learner, x, cosine[:, running].mean())
        else:
            own = prompts["prompt"][cosine.argmax(1)]  # (B, blocks, 2, n, D)
        general = prompts.get("general", ())
        prefixes = {number: (keys[None], values[None]) for number, (keys, values) in enumerate(general)}
        for place in range(own.shape[1]):
            prefixes[len(general) + place] = own[:, place, 0], own[:, place, 1]
        return output_of(model, model.pool(model.encode(tokens, prefixes)))  # type: ignore[operator]

    def loss(self, learner: Learner, batch: Batch, output: Output) -> Tensor | None:
        return -self.pull * self.pulled(learner, batch) if self.pull else None
