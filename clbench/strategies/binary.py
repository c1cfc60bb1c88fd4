"""Variational binary weights: learn a field for each weight of ±1, and stay near the distribution of old tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from clbench.core.errors import Refused
from clbench.core.parameters import NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import ADDS, Part

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clbench.models.binary_layers import BinaryLayer
    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

# published: 10 (Li et al. 2023)
Beta = Annotated[float, Field(gt=0), Search(1, 30, log=True)]
Strength = Annotated[NonNegative, Search(0.01, 100, log=True)]
Anneal = Literal["tanh", "constant"]
Anchor = Literal["task", "step"]
FIRST, RISE = 0.1, 2.0
"""β is β_max · tanh(FIRST + RISE · the share of the stream's steps that is done)."""
FIRST_DRAW = -(2**40)
"""Where the draws of an evaluation begin, far from those of training."""
SETTLED = 0.99
"""A weight counts as settled if |μ| is above this."""


@dataclass(kw_only=True)
class Binary(Part):
    """Replace the layers of the model by layers with binary weights, and add the gradient of the KL divergence.

    Args:
        beta: As for :func:`binary`.
        anneal: As for :func:`binary`.
        strength: As for :func:`binary`.
        anchor: As for :func:`binary`.

    The share of weights with |μ| above 0.99 at the last visible end of an experience is stored as ``state["settled"]``.
    """

    random_stream: ClassVar[str] = "Binary"
    conflicts: ClassVar[dict[str, str]] = {
        "Hypernet": "the first learns a distribution for each weight, and the second generates the weights"
    }
    gradient_order: ClassVar[int] = ADDS

    beta: Beta = 10.0
    anneal: Anneal = "tanh"
    strength: Strength = 1.0
    anchor: Anchor = "task"

    def __post_init__(self) -> None:
        needed = {"tanh": {"length"}, "constant": set[str]()}[self.anneal]
        self.__dict__["needs"] = frozenset(needed | ({"boundaries"} if self.anchor == "task" else set()))

    def build(self, model: nn.Module, shape: tuple[int, ...], n_outputs: int) -> nn.Module:
        from clbench.models.binary_layers import with_binary_weights

        if not with_binary_weights(model):
            raise Refused(
                f"{self.title} found no layer that can have binary weights; use a model with torch.nn.Linear or "
                "torch.nn.Conv2d layers, such as mlp or cnn"
            )
        return model

    def attach(self, learner: Learner) -> None:
        from clbench.models.binary_layers import binary_layers

        found = dict(binary_layers(learner.model))
        self.__dict__["_layers"] = tuple(found.values())
        self.__dict__["_places"] = joined([learner.slices[f"{name}.weight"] for name in found])
        if "seeds" not in self.state:
            self.state["seeds"] = (self.generator.words(len(found)) >> 1).tolist()
        for layer, seed in zip(found.values(), self.state["seeds"], strict=True):
            layer.seed = seed
        self._set_beta(learner)

    def _set_beta(self, learner: Learner) -> None:
        """Give all layers the β of the next step."""
        beta = self.beta
        if self.anneal == "tanh":
            done = self.state.get("steps", 0) / max(1, learner.total_steps or 1)
            beta *= math.tanh(FIRST + RISE * min(1.0, done))
        self.__dict__["_now"] = beta
        layers: tuple[BinaryLayer, ...] = self.__dict__["_layers"]
        for layer in layers:
            layer.beta.fill_(beta)

    def _fields(self, vector: Tensor) -> list[Tensor]:
        """Return the pieces of a vector (P,) that belong to the fields; they share its memory."""
        return [vector[place] for place in self.__dict__["_places"]]

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        if self.anchor == "task":
            self.state["samples"] = len(experience)

    def gradient(self, learner: Learner, batch: Batch) -> None:
        fields = self._fields(learner.w.detach())
        if self.anchor == "step":
            batch.keep(self, before=[field.clone() for field in fields])
        if "anchor" not in self.state or not self.strength:
            return
        beta = self.__dict__["_now"]
        samples = self.state["samples"] if self.anchor == "task" else len(batch.stream or batch)
        factor = self.strength * beta**2 / samples
        pieces = zip(fields, self.state["anchor"], self._fields(learner.g), strict=True)
        for field, anchor, gradient in pieces:
            variance = (beta * field).tanh_().square_().neg_().add_(1)  # σ²
            gradient.addcmul_(variance, field - anchor, value=factor)

    def after_step(self, learner: Learner, batch: Batch) -> None:
        if self.anchor == "step":
            self.state["anchor"] = batch.kept(self)["before"]
        self.state["steps"] = self.state.get("steps", 0) + 1
        if self.anneal == "tanh":
            self._set_beta(learner)

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        fields = self._fields(learner.w.detach())
        if self.anchor == "task":
            self.state["anchor"] = [field.clone() for field in fields]
        least = math.atanh(SETTLED) / self.__dict__["_now"]
        count = sum(int((field.abs() > least).sum()) for field in fields)
        self.state["settled"] = count / sum(len(field) for field in fields)


@dataclass(kw_only=True)
class BinaryReadOut(Part):
    """Evaluate a network with binary weights by the signs of the fields, or with sums drawn as in training.

    Args:
        how: ``sign`` or ``sample``. Every evaluation draws the same numbers.
    """

    random_stream: ClassVar[str] = "BinaryReadOut"

    how: Literal["sign", "sample"]

    def answer(self, learner: Learner, x: Tensor, task: Tensor | None) -> Output:
        from clbench.models.binary_layers import binary_layers

        layers = [layer for _, layer in binary_layers(learner.model)]
        for layer in layers:
            layer.read_out = self.how
            if self.how == "sample" and "binary" not in learner.scratch:  # once per evaluation, which restores buffers
                layer.draws.fill_(FIRST_DRAW)
        learner.scratch["binary"] = True
        try:
            output: Output = learner.model(x)
        finally:
            for layer in layers:
                layer.read_out = "mean"
        return output


def binary(
    *,
    beta: Beta = 10.0,
    anneal: Anneal = "tanh",
    strength: Strength = 1.0,
    anchor: Anchor = "task",
    read_out: Literal["mean", "sign", "sample"] = "mean",
) -> list[Part]:
    """Learn the distribution of weights w = ±1, p(w) = e^(βθw) / (2 cosh βθ), by its fields θ (variational binary
    weights).

    With mean μ = tanh βθ and variance σ² = 1 - μ² of each weight, a unit with N inputs a has the sum z = Σ μ a / √N +
    ε (Σ σ² a² / N)^½, and ε ~ N(0, 1) is drawn for each unit and sample. Gradients go through μ and σ². The gradient of
    the KL divergence to the distribution at the end of the last experience, β² σ² (θ - θ_old), is added. A weight with
    a small variance hardly moves: what old tasks need becomes certain, and the rest stays free.

    All linear layers and convolutions of the model are replaced, and lose their biases. Fields begin as N(0, 1);
    pretrained weights are not used.

    Args:
        beta: The largest β, above 0.
        anneal: ``tanh``: β rises with the stream as beta · tanh(0.1 + 2 · share of its steps that are done), which
            needs the number of its steps. ``constant``: β is ``beta`` throughout.
        strength: γ, the factor of the KL divergence, at least 0.
        anchor: The reference of the KL divergence. ``task``: θ at the end of the last experience; the first one has
            none. ``step``: θ before the last step, as in the authors' code of deep networks.
        read_out: The weights in evaluations: their ``mean`` μ, the ``sign`` of θ, or sums drawn as in training
            (``sample``), as in the authors' code.

    The paper's loss is a sum over samples, and here it is a mean, so the gradient of the KL divergence is divided by
    their number: with ``anchor=task`` by the samples of the experience, because a pass over them contains the
    divergence once; with ``anchor=step`` by the stream's samples in the batch, because the authors' code adds it to
    the sum over a batch. In the authors' code β changes with each pass over the data; here it changes with each step,
    and is the same at the end of a pass.

    Source: Li et al. 2023, Physical Review E 108, 014309 (arXiv 2212.02846), and its released code.

    Expected:
        class: near naive, that is near 1 / experiences: zero accuracy on old classes is expected.
        task: below naive with real weights at first; forgets less once weights are settled.
        domain: near binary weights without distributions; a strong KL divergence leaves little room for later tasks.
        recurring: learns ever less, because β rises and weights settle; ``anneal=constant`` stays plastic longer.
    """
    parts: list[Part] = [Binary(beta=beta, anneal=anneal, strength=strength, anchor=anchor)]
    return parts if read_out == "mean" else [*parts, BinaryReadOut(how=read_out)]


def joined(places: list[slice]) -> list[slice]:
    """Return slices with adjacent ones joined, in ascending order."""
    made: list[slice] = []
    for place in sorted(places, key=lambda place: place.start):
        if made and made[-1].stop == place.start:
            made[-1] = slice(made[-1].start, place.stop)
        else:
            made.append(place)
    return made
