"""Channel-wise lightweight reprogramming: a frozen network, with kernels for each channel and norm layers per task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from clbench.core.errors import Refused
from clbench.core.parameters import Count
from clbench.core.search_space import Search
from clbench.strategies.bank import Bank, norm_buffers, norm_weights, task_heads
from clbench.strategies.part import EVERY_FAMILY

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

# published: 1e-5 (authors' code)
PENALTY = 1e-5
"""Factor of the norms in the loss of the authors' code."""


@dataclass(kw_only=True)
class CLR(Bank):
    """Train, for each task, a kernel for each channel after every convolution of a frozen network, norm layers and a
    head.

    A convolution y = W * x becomes y_c <- K_c * (W * x)_c with a kernel K_c for each channel c, before the norm. K
    begins as the identity. A task has its own K, weights and statistics of norm layers, and head; an old task is
    predicted with these, so nothing is forgotten.

    A network with pretrained weights is frozen from the start. Otherwise the first experience trains the network
    itself, with K held at the identity, and it is frozen afterwards; the norm layers of a new task begin as this
    experience left them, its head with the initial weights.

    Args:
        kernel: Size of the kernels K in each direction, odd.
        where: The convolutions that are followed by K: ``wide``, those with a kernel larger than 1 x 1; ``all``.
        norm: ``per_task``, each task has its own weights and running statistics of norm layers; ``frozen``, all tasks
            have those of the frozen network.
        form: ``paper``, the loss of the stream; ``code``, with 1e-5 · Σ |v| over the tensors v of head, norm layers
            and K that are not zero, as the authors' code has it (the norm, not its square; it pulls K to 0, not to the
            identity). It begins when the network is frozen.

    Source: Ge et al. 2023, arXiv 2307.11386. Their networks are pretrained; training one in the first experience is our
    choice.

    Expected:
        class: not run; which kernels a sample needs is known from its task label alone.
        task: forgetting of exactly 0; accuracy on new tasks is limited by what the frozen network computes.
        domain: with revealed task labels as in the task setting; not run without them.
        recurring: a task that returns is trained further from where it stopped, others are unchanged.
    """

    random_stream: ClassVar[str] = "CLR"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY
    needs: ClassVar[frozenset[str]] = Bank.needs | {"convolutions"}

    # published: 3 (Ge et al. 2023)
    kernel: Annotated[Count, Search(choices=(3, 5))] = 3
    # published: wide (authors' code, reduced_v1)
    where: Literal["wide", "all"] = "wide"
    norm: Literal["per_task", "frozen"] = "per_task"
    form: Literal["paper", "code"] = "paper"

    def __post_init__(self) -> None:
        if self.kernel % 2 == 0:
            raise Refused(f"clr: kernel = {self.kernel} is even, so it has no middle; give an odd number")

    def build(self, model: nn.Module, shape: tuple[int, ...], n_outputs: int) -> nn.Module:
        from clbench.models.channelwise import add_channelwise

        self.__dict__["_added"] = add_channelwise(model, kernel=self.kernel, where=self.where)
        if not self.__dict__["_added"]:
            raise Refused(
                f"{self.title} adds kernels to convolutions, and the model has none with a kernel larger than 1 x 1; "
                "write where: all, or choose a model such as cnn or resnet"
            )
        return model

    # ------------------------------------------------------------------ what a task has for itself

    def private(self, learner: Learner, task: int) -> Tensor:
        return self._adapted(learner) | task_heads(learner, task)

    def private_buffers(self, learner: Learner) -> tuple[str, ...]:
        return norm_buffers(learner) if self.norm == "per_task" else ()

    def _adapted(self, learner: Learner) -> Tensor:
        """Return (P,) bool, kernels K and the norm layers that each task has for itself."""
        mask = self._kernels(learner)
        return mask | norm_weights(learner) if self.norm == "per_task" else mask

    def _kernels(self, learner: Learner) -> Tensor:
        """Return (P,) bool, the kernels K."""
        import torch

        mask = torch.zeros_like(learner.w, dtype=torch.bool)
        for name in self.__dict__["_added"]:
            mask[learner.slices[f"{name}.weight"]] = True
        return mask

    @property
    def _frozen(self) -> bool:
        """Return whether the network is frozen: its weights were given, or an experience has trained it."""
        return "pretrained" in self.revealed or self.state.get("trained", False)

    # ------------------------------------------------------------------ tasks

    def attach(self, learner: Learner) -> None:
        if "start" not in self.state:
            self.state["start"] = self._of_new_tasks(learner)

    def start_task(self, learner: Learner, task: int) -> None:
        start, mask = self.state["start"], self._adapted(learner) | learner.head_mask
        w = learner.w.detach().clone()
        w[mask] = start["w"]
        own = self.private(learner, task)
        learner.w.data[own] = w[own]
        buffers = dict(learner.model.named_buffers())
        for name, kept in start["buffers"].items():
            buffers[name].copy_(kept)

    def enter_task(self, learner: Learner, experience: ExperienceView, task: int) -> None:
        held = ~self.private(learner, task) if self._frozen else self._kernels(learner)
        learner.freeze(f"clr/{self.twin}", held)

    def leave_task(self, learner: Learner, task: int) -> None:
        if not self._frozen:  # the norm layers of new tasks begin here, their heads with the initial weights
            head, trained = learner.head_mask[self._adapted(learner) | learner.head_mask], self._of_new_tasks(learner)
            trained["w"][head] = self.state["start"]["w"][head]
            self.state.update(start=trained, trained=True)

    def _of_new_tasks(self, learner: Learner) -> dict[str, Any]:
        """Return the weights and buffers, as they are now, of all that a task has for itself."""
        buffers = dict(learner.model.named_buffers())
        own = {name: buffers[name].clone() for name in self.private_buffers(learner)}
        return {"w": learner.w.detach()[self._adapted(learner) | learner.head_mask], "buffers": own}

    # ------------------------------------------------------------------ steps

    def batch(self, learner: Learner, batch: Batch) -> None:
        if self.norm == "frozen" and self._frozen:  # at every step, since another part may have changed the modes
            from clbench.models.weight_groups import NORMS

            for module in learner.model.modules():
                if isinstance(module, NORMS):
                    module.training = False

    def loss(self, learner: Learner, batch: Batch, output: Output) -> Tensor | None:
        if self.form == "paper" or not self._frozen:
            return None
        own: dict[int, list[tuple[nn.Parameter, Tensor | None]]] = self.__dict__.setdefault("_penalised", {})
        task = self.state["task"]
        if task not in own:
            own[task] = self._tensors_of(learner, task)
        norms = [(p if places is None else p.reshape(-1)[places]).norm() for p, places in own[task]]
        term: Tensor = PENALTY * sum(norms[1:], norms[0])  # the gradient of a norm of 0 is 0
        return term

    def _tensors_of(self, learner: Learner, task: int) -> list[tuple[nn.Parameter, Tensor | None]]:
        """Return the parameters that a task has for itself, with the places of its own weights if it has only some."""
        mask, found = self.private(learner, task), []
        for name, parameter in learner.model.named_parameters():
            mine = mask[learner.slices[name]] if name in learner.slices else mask[:0]
            if bool(mine.any()):
                found.append((parameter, None if bool(mine.all()) else mine.nonzero()[:, 0]))
        return found
