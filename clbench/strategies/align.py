"""Classifier alignment: at each boundary a copy of the head is trained on features drawn from a Gaussian of each class.

Letters: n samples, C classes, H features, L logits of the head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from clbench.core.parameters import Count, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clbench.training.learner import ExperienceView, Learner, Output

DIAGONAL = 1e-4
"""What is added to the variances, so that the covariance of few samples has an inverse."""
SHRINK = 0.1
"""How much shorter the mean of the oldest class can become."""
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
"""Of the alignment's SGD."""

Passes = Annotated[int, Field(ge=0)]
Temperature = Annotated[float, Field(gt=0)]


@dataclass(kw_only=True)
class Align(Part):
    """Train a copy of the head on drawn features of all classes at the end of each experience but the first.

    At the end of an experience mean μ_c and covariance Σ_c of the features of its classes are kept. Then, in each
    epoch, ``rows`` features of every class seen are drawn from N(m μ_c, Σ_c), with m = 0.9 + 0.1 (t_c + 1) / (t + 1)
    for a class last met in experience t_c and the running experience t, both from 0. The head's logits are divided by
    ``temperature`` and by the mean over experiences of the norm of the logits of the classes that were new there. The
    loss is the cross-entropy over all classes seen; SGD has a learning rate that falls to 0 along a cosine.

    The aligned copy answers until the next experience begins. Training then goes on from the head that was not aligned,
    which also answers within experiences.

    Args:
        epochs: Epochs of the alignment. 0 changes nothing.
        rows: Features that are drawn of each class in an epoch, and features in a batch.
        temperature: What logits of norm 1 are divided by.
        lr: Learning rate of the alignment.

    It adds to any strategy that trains a head on features: ``er + align``. Statistics take C (H² + H) numbers. A class
    that returns has those of all its samples together.

    Source: Zhang et al. 2023, arXiv 2303.05118 (SLCA), section 3.3; GengDavid/SLCA.

    Expected:
        class: above the strategy that it is added to, most where features hardly move, as from pretrained weights.
        task: near the strategy that it is added to; classes of different experiences never compete.
        domain: above the strategy that it is added to if features stay good; no class is new.
        recurring: as in the class setting; a class that returns is counted anew.
    """

    random_stream: ClassVar[str] = "Align"

    # published: 5 (Zhang et al. 2023, authors' code)
    epochs: Annotated[Passes, Search(1, 20)] = 5
    # published: 256 (Zhang et al. 2023, authors' code)
    rows: Count = 256
    # published: 0.1 (Zhang et al. 2023)
    temperature: Annotated[Temperature, Search(0.02, 1, log=True)] = 0.1
    # published: 0.01 (Zhang et al. 2023)
    lr: Annotated[NonNegative, Search(0.001, 0.1, log=True)] = 0.01

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries"})
    identity: ClassVar[Mapping[str, Any] | None] = {"epochs": 0}
    conflicts: ClassVar[dict[str, str]] = {
        "Hypernet": "the first trains a copy of the head, and the second generates the head",
    }

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        self.state.pop("aligned", None)

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        if not self.epochs:
            return
        number = self.state.get("finished", 0)
        self._note(learner, experience, number)
        self.state["finished"] = number + 1
        if number:
            self.state["aligned"] = self._aligned(learner, number)

    def predict(self, learner: Learner, output: Output, task: Tensor | None, scores: Tensor) -> Tensor:
        from torch.func import functional_call

        if "aligned" not in self.state:
            return scores
        aligned: Tensor = functional_call(_head(learner), self.state["aligned"], (output.features,))
        return aligned

    # ------------------------------------------------------------------ statistics and draws

    def _note(self, learner: Learner, experience: ExperienceView, number: int) -> None:
        """Add the features of an experience's samples to the statistics of its classes."""
        from clbench.training.batch import Y

        features = learner.side_work.features(experience.index).features.double()
        y, classes = experience.index[Y], self.state.setdefault("classes", {})
        for c in y.unique().tolist():
            own = features[y == c]
            known = classes.setdefault(
                str(c), {"first": number, "count": 0, "mean": own.new_zeros(own.shape[1]), "scatter": 0.0}
            )
            before, n = known["count"], len(own)
            mean, gap = own.mean(0), own.mean(0) - known["mean"]
            scatter = (own - mean).T @ (own - mean) + before * n / (before + n) * gap.outer(gap)
            known["mean"] = known["mean"] + n / (before + n) * gap
            known["scatter"] = known["scatter"] + scatter  # (H, H) sum of outer products around the mean
            known["count"], known["last"] = before + n, number

    def _roots(self, number: int) -> dict[int, tuple[Tensor, Tensor]]:
        """Return mean (H,) and root of the covariance (H, H) of the Gaussian of each class, at the end of an
        experience."""
        import torch

        found = {}
        for c, known in self.state["classes"].items():
            covariance = known["scatter"] / max(known["count"] - 1, 1)
            covariance.diagonal().add_(DIAGONAL)
            share = 1 - SHRINK + SHRINK * (known["last"] + 1) / (number + 1)
            found[int(c)] = share * known["mean"], torch.linalg.cholesky(covariance)
        return found

    def _aligned(self, learner: Learner, number: int) -> dict[str, Tensor]:
        """Return the weights of a head that is trained on drawn features."""
        import copy
        import math

        import torch

        head = copy.deepcopy(_head(learner))
        weights = [p.requires_grad_() for p in head.parameters()]
        optimizer = torch.optim.SGD(weights, lr=self.lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
        generator = torch.Generator().manual_seed(int(self.generator.words(1)[0] >> 1))
        roots, groups = self._roots(number), self._groups()
        device, dtype = learner.device, weights[0].dtype
        label = torch.tensor(list(roots), device=device).repeat_interleave(self.rows)
        seen = torch.tensor(sorted(roots), device=device)
        place = torch.zeros(learner.n_outputs, dtype=torch.int64, device=device)
        place[seen] = torch.arange(len(seen), device=device)
        with torch.enable_grad():
            for epoch in range(self.epochs):
                optimizer.param_groups[0]["lr"] = self.lr * (1 + math.cos(math.pi * epoch / self.epochs)) / 2
                drawn = torch.cat([drawn_from(*each, self.rows, generator) for each in roots.values()]).to(dtype)
                order = torch.randperm(len(drawn), generator=generator).to(device)
                for batch in order.split(self.rows):
                    logits = head(drawn[batch])
                    norms = torch.stack([logits[:, group].norm(dim=1) for group in groups]).mean(0) + 1e-7
                    scores = logits[:, seen] / (self.temperature * norms[:, None])
                    optimizer.zero_grad()
                    torch.nn.functional.cross_entropy(scores, place[label[batch]]).backward()
                    optimizer.step()
        return {name: p.detach() for name, p in head.named_parameters()}

    def _groups(self) -> list[list[int]]:
        """Return the classes that were new in each experience, if there were some."""
        groups: dict[int, list[int]] = {}
        for c, known in self.state["classes"].items():
            groups.setdefault(known["first"], []).append(int(c))
        return [sorted(group) for _, group in sorted(groups.items())]


def drawn_from(mean: Tensor, root: Tensor, n: int, generator: Any) -> Tensor:
    """Return n samples (n, H) of the Gaussian with a mean (H,) and a covariance root @ rootᵀ (H, H)."""
    import torch

    noise = torch.randn(n, len(mean), generator=generator, dtype=torch.float64).to(mean)
    return mean + noise @ root.T


def _head(learner: Learner) -> nn.Module:
    head: nn.Module = learner.model.head  # type: ignore[assignment]
    return head
