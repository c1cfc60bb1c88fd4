"""Task-conditioned hypernetworks: a network generates the weights for each task, and keeps what it generated before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from clbench.core.parameters import Count, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.bank import Bank
from clbench.strategies.part import EVERY_FAMILY

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clbench.models.hypernetwork import Hypernetwork
    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

HIDDEN = {"chunks": (25, 25), "rnn": (96,)}
"""The hidden layers of each form if none are given."""


@dataclass(kw_only=True)
class Hypernet(Bank):
    """Generate the weights of the model with a hypernetwork h(e_t, θ), and add to the gradient of θ that of strength /
    n · Σ_j ‖h(e_j, θ*) - h(e_j, θ + Δθ)‖² over the n other tasks j.

    e_t is the embedding of task t: learned with the loss of its task alone, and kept when its experience ends. θ* are
    the weights of the hypernetwork when the experience begins, Δθ is the step that the optimiser would make without
    the regulariser. The weights of the model are split into chunks, and each is generated from e_t and the embedding of
    the chunk, which is a part of θ.

    Args:
        form: ``chunks`` generates each chunk by itself, by fully connected layers with ELU; ``rnn`` generates all with
            one LSTM that runs over the embeddings of the chunks.
        embedding: Size of the embedding of a task, and of a chunk.
        chunk: Weights in a chunk. ``None`` is the largest number with which the hypernetwork has no more weights than
            it generates.
        hidden: Widths of the hidden layers of ``chunks``, none for a linear hypernetwork; one width, that of the LSTM,
            for ``rnn``. ``None`` is (25, 25) and (96,).
        strength: The weight of the regulariser, β in the paper, at least 0.
        lookahead: Whether the regulariser is taken at θ + Δθ; otherwise at θ, where it is zero at the first step of an
            experience.

    ``state["versions"]`` maps each task to its embedding and running statistics. ``state["targets"]`` holds what the
    last layer generated for the other tasks at θ*, ``state["weighs"]`` the squared factors from these values to
    weights.

    Source: von Oswald et al. 2020, arXiv 1906.00695, equations 1 and 2 and section 2.2, and the authors' code
    (chrhenning/hypercl); the LSTM: Chandra et al. 2023, arXiv 2209.07712; the spread of generated weights: the rule of
    Chang et al. 2020 (ICLR, hyperfan-in), with the spread of the model's own initial weights.

    Expected:
        class: skipped, because it needs task labels.
        task: far above naive, with forgetting near zero at a sufficient strength; slower to learn.
        domain: skipped without task labels; with them far above naive, as each task has its own weights.
        recurring: a task that returns continues from its embedding.
    """

    random_stream: ClassVar[str] = "Hypernet"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY
    answers_in_training: ClassVar[bool] = True
    conflicts: ClassVar[dict[str, str]] = {
        **Bank.conflicts,
        "FPF": "the first generates the head and the norms of the model, and the second trains them",
    }

    form: Literal["chunks", "rnn"] = "chunks"
    # published: 8 (handler of the authors' code, te_dim)
    embedding: Count = 8
    chunk: Count | None = None
    # published: 25 and 25 (permuted MNIST in the authors' code); 96 for the LSTM (code of Chandra et al. 2023)
    hidden: tuple[Count, ...] | None = None
    # published: 0.01 (von Oswald et al. 2020, split MNIST)
    strength: Annotated[NonNegative, Search(1e-4, 10, log=True)] = 0.01
    lookahead: bool = True

    def __post_init__(self) -> None:
        from clbench.core.errors import Refused

        if self.form == "rnn" and len(self.widths) != 1:
            raise Refused(
                f"hidden = {list(self.widths)} has {len(self.widths)} widths, and the LSTM of form=rnn has one layer; "
                "write hidden=[96]"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Return the widths of the hidden layers."""
        return HIDDEN[self.form] if self.hidden is None else tuple(self.hidden)

    # ------------------------------------------------------------------ the network

    def build(self, model: nn.Module, shape: tuple[int, ...], n_outputs: int) -> nn.Module:
        from clbench.models.hypernetwork import Hypernetwork

        made = Hypernetwork(model, form=self.form, embedding=self.embedding, chunk=self.chunk, hidden=self.widths)
        self.__dict__["_net"] = made
        return made

    @property
    def net(self) -> Hypernetwork:
        """Return the hypernetwork with the network whose weights it generates."""
        net: Hypernetwork = self.__dict__["_net"]
        return net

    def private(self, learner: Learner, task: int) -> Tensor:
        import torch

        mask = torch.zeros_like(learner.w, dtype=torch.bool)
        mask[learner.slices[self._embedding_name(learner)]] = True
        return mask

    def start_task(self, learner: Learner, task: int) -> None:
        import torch

        if not self.state["versions"]:
            return  # the first task has the embedding with which the hypernetwork was made
        seed = int(self.generator.words(1)[0] >> 1)
        drawn = torch.randn(self.embedding, generator=torch.Generator().manual_seed(seed))
        self.net.embedding.data.copy_(drawn)
        for module in self.net.target.modules():
            if getattr(module, "track_running_stats", False):
                module.reset_running_stats()  # type: ignore[operator]

    def _predict(self, learner: Learner, x: Tensor, task: int) -> Output:
        from torch.func import functional_call

        output: Output
        version = self.state.get("versions", {}).get(task)
        if task == self.state.get("task") or version is None:
            output = learner.model(x)
            return output
        buffers = version["buffers"]
        if learner.model.training:  # replayed samples leave the statistics of their task as they were
            buffers = {name: kept.clone() for name, kept in buffers.items()}
        own = {self._embedding_name(learner): version["w"], **buffers}
        output = functional_call(learner.model, own, (x,))
        return output

    def _embedding_name(self, learner: Learner) -> str:
        if "_embedding" not in self.__dict__:
            self.__dict__["_embedding"] = _names(learner, self.net)["embedding"]
        name: str = self.__dict__["_embedding"]
        return name

    # ------------------------------------------------------------------ the regulariser

    def enter_task(self, learner: Learner, experience: ExperienceView, task: int) -> None:
        import torch

        others = [each for each in self.state["versions"] if each != task]
        for name in ("embeddings", "targets", "weighs"):
            self.state.pop(name, None)
        if not others or not self.strength:
            return
        embeddings = torch.stack([self.state["versions"][each]["w"] for each in others])  # (n, E)
        with torch.no_grad():
            targets = self.net.generator(embeddings)  # (n, D) values; as weights they are multiplied by their scales
        weighs = self.net.generator.scales().square()[None]  # (1, D)
        competes = learner.classes.mask_of_tasks(torch.tensor(others, device=learner.device)).competes
        if competes is not None:  # rows of the head that no sample of a task may use are not kept for it
            units = competes.expand(len(others), competes.shape[-1])  # (n, C)
            weighs = weighs * torch.stack([self.net.serving(own) for own in units])  # (n, D)
        self.state.update(embeddings=embeddings, targets=targets, weighs=weighs)

    def gradient(self, learner: Learner, batch: Batch) -> None:
        if "targets" in self.state:
            place, term = self._regulariser(learner, learner.would_be_step() if self.lookahead else None)
            learner.g[place].add_(term)

    def _regulariser(self, learner: Learner, step: Tensor | None) -> tuple[slice, Tensor]:
        """Return the place of θ in the flat weights and the gradient of the regulariser there, (number of θ,)."""
        import torch
        from torch.func import functional_call

        generator = self.net.generator
        if "_theta_places" not in self.__dict__:
            names = _names(learner, generator)
            self.__dict__["_theta_places"] = {own: learner.slices[full] for own, full in names.items()}
        places: dict[str, slice] = self.__dict__["_theta_places"]
        place = slice(min(p.start for p in places.values()), max(p.stop for p in places.values()))
        theta = learner.w.detach()[place] if step is None else (learner.w.detach() + step)[place]
        theta.requires_grad_()
        weights = {
            name: theta[places[name].start - place.start : places[name].stop - place.start].view(p.shape)
            for name, p in generator.named_parameters()
        }
        values = functional_call(generator, weights, (self.state["embeddings"],))  # (n, D)
        slope = (values.detach() - self.state["targets"]).mul_(self.state["weighs"])  # half of that of Σ ‖·‖²
        (gradient,) = torch.autograd.grad(values, theta, slope)
        return place, gradient.mul_(2 * self.strength / len(values))


def _names(learner: Learner, module: nn.Module) -> dict[str, str]:
    """Return the names of a module's trained parameters -> their names in the learner's model."""
    full = {id(p): name for name, p in learner.model.named_parameters()}
    return {name: full[id(p)] for name, p in module.named_parameters() if p.requires_grad}
