"""Dynamically expandable representation: a new backbone for each experience, and one head on the features of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from clbench.core.parameters import NonNegative
from clbench.core.search_space import Search
from clbench.strategies.align_norms import AlignNorms
from clbench.strategies.head_rows import HEAD_IS_GENERATED
from clbench.strategies.icarl import Exemplars
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clbench.models.expanded import Expanded
    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

LABEL = 1  # row of an index matrix, as in clbench.training.batch, which imports torch

IN_EACH = "the first makes several backbones of the network, and the second adds to one network"
Auxiliary = Annotated[NonNegative, Search(0.1, 10, log=True)]


@dataclass(kw_only=True)
class Expand(Part):
    """Train a new backbone in each experience, with one head on the features of all backbones so far.

    A backbone is the benchmark's model without its head. The first experience trains it as usual. Each later one begins
    a copy of the backbone before, and trains this copy and the head; earlier backbones are frozen, in evaluation mode.
    The head's weights for the features of a new backbone begin uniform in ±1 / √(number of features so far).

    From the second experience on the loss has the term

        auxiliary · mean over samples of cross-entropy(a(features of the new backbone), class),

    with a linear layer a over the new classes and one output for all others. It is drawn anew for each experience.

    All backbones are made before the first step, since the weights are one vector; backbones that are not begun take no
    part.

    Args:
        auxiliary: Factor of the term, at least 0.

    Source: Yan et al. 2021, arXiv 2103.16788, without pruning, as in PyCIL.

    Raises:
        Refused: The model's last layer is no linear layer.
    """

    random_stream: ClassVar[str] = "Expand"

    # published: 1 (Yan et al. 2021)
    auxiliary: Auxiliary = 1.0

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries", "length"})
    owns: ClassVar[frozenset[str]] = frozenset({"backbones"})
    conflicts: ClassVar[dict[str, str]] = {
        "Hypernet": HEAD_IS_GENERATED,
        "CLR": IN_EACH,
        "L2M": IN_EACH,
        "L2P": IN_EACH,
        "DualPrompt": IN_EACH,
        "CODAPrompt": IN_EACH,
        "SDLoRA": IN_EACH,
        "InfLoRA": IN_EACH,
        "Binary": "the first has a linear layer on the features of several networks, and the second has none",
    }

    # ------------------------------------------------------------------ the network

    def build(self, model: nn.Module, shape: tuple[int, ...], n_outputs: int) -> nn.Module:
        from clbench.models.expanded import Expanded

        return Expanded(model, self.stream_length or 1)

    def attach(self, learner: Learner) -> None:
        if "begun" in self.state:  # a run that is resumed, or a kept model
            self._enter(learner)
        else:
            expanded(learner).enter(1)

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        """Begin a backbone, freeze those before it, and note which classes are new."""
        import torch

        begun, net = self.state.get("begun", 0), expanded(learner)
        known = self.state.get("known", learner.classes.seen.new_zeros(learner.n_outputs))
        running = torch.zeros_like(known).index_fill_(0, experience.index[LABEL], True)
        others = known.new_ones(1)
        self.state.update(known=known | running, new=torch.cat([running & ~known, others]), begun=begun + 1)
        if begun:
            net.begin(begun)
            with torch.no_grad():
                self._draw(net.block(begun), (begun + 1) * net.width)
                self._draw(net.auxiliary.weight, net.width)
                self._draw(net.auxiliary.bias, net.width)
        self._enter(learner)

    def _draw(self, weights: Tensor, inputs: int) -> None:
        """Draw weights uniformly in ±1 / √inputs, as torch begins a linear layer."""
        import torch

        seed = int(self.generator.words(1)[0] >> 1)
        drawn = torch.rand(weights.shape, generator=torch.Generator().manual_seed(seed))
        weights.copy_((2 * drawn - 1) / inputs**0.5)

    def _enter(self, learner: Learner) -> None:
        """Use the backbones that are begun, and freeze all but the last of them."""
        import torch

        begun, net = self.state["begun"], expanded(learner)
        net.enter(begun)
        own = {id(p) for p in net.backbones[begun - 1].parameters()}
        every = {id(p) for p in net.backbones.parameters()}
        held = torch.zeros_like(learner.w, dtype=torch.bool)
        for name, parameter in learner.model.named_parameters():
            if name in learner.slices and id(parameter) in every - own:
                held[learner.slices[name]] = True
        learner.freeze("expand", held)

    # ------------------------------------------------------------------ steps

    def loss(self, learner: Learner, batch: Batch, output: Output) -> Tensor | None:
        if not self.auxiliary or self.state["begun"] == 1:
            return None
        from torch.nn.functional import cross_entropy

        from clbench.training.objective import over_sources

        net, new = expanded(learner), self.state["new"]  # (C + 1,) bool
        scores = net.auxiliary(net.own_features(output.features)).masked_fill(~new, float("-inf"))  # (B, C + 1)
        target = batch.y.where(new[batch.y], learner.n_outputs)
        return self.auxiliary * over_sources(cross_entropy(scores, target, reduction="none"), batch)


def expanded(learner: Learner) -> Expanded:
    """Return the network of several backbones, also in a model that another part has wrapped."""
    from clbench.models.expanded import Expanded

    (found,) = (module for module in learner.model.modules() if isinstance(module, Expanded))
    return found


def expand(*, auxiliary: Auxiliary = 1.0) -> list[Part]:
    """Learn each experience with a new backbone and herded exemplars, then align the norms of the head.

    This is DER, the dynamically expandable representation; ``der`` is dark experience replay. See :class:`Expand` for
    the network, :class:`clbench.strategies.icarl.Exemplars` for what is rehearsed, and
    :class:`clbench.strategies.align_norms.AlignNorms` for the end of an experience.

    Args:
        auxiliary: Factor of the auxiliary cross-entropy over new classes and one output for all others, at least 0.

    Source: Yan et al. 2021, arXiv 2103.16788, "DER: dynamically expandable representation for class incremental
    learning". Left out: channel masks and pruning.

    Expected:
        class: above replay of the same exemplars with one network, since old features do not change; weights and time
            of a prediction grow with the number of experiences.
        task: near replay or above; old features stay, but one head is shared.
        domain: above replay of one network if domains need other features; a backbone for each domain.
        recurring: every experience begins a backbone, also one whose classes were all seen before.
    """
    return [Exemplars(read_out="logits"), Expand(auxiliary=auxiliary), AlignNorms()]
