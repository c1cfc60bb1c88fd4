"""PODNet: several proxies for each class, pooled outputs distillation, and tuning of the head on exemplars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from clbench.core.parameters import NonNegative
from clbench.core.search_space import Search
from clbench.strategies.head_rows import of_classes
from clbench.strategies.icarl import Exemplars
from clbench.strategies.part import MOVES, Part
from clbench.strategies.pooled_kd import Flat, PooledKD, Spatial

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clbench.core.rng import Generator
    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

LABEL = 1  # row of an index matrix, as in clbench.training.batch, which imports torch
LOWEST = -1e30
"""Score of a class that does not compete: finite, so that a sum of exponentials over no class has a gradient."""
ROUNDS = 20
"""Rounds of k-means for the first proxies of a class."""
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
"""Of the tuning. Source: authors' files of Douillard et al. 2020."""

# published: 10 (Douillard et al. 2020)
Proxies = Annotated[int, Field(ge=1)]
# published: 0.6 (Douillard et al. 2020)
Margin = Annotated[NonNegative, Search(0.1, 1)]
# published: 20 (Douillard et al. 2020)
Passes = Annotated[int, Field(ge=0)]
# published: 0.005 (PyCIL; 0.05 in the authors' files for CIFAR-100, Douillard et al. 2020)
TuneRate = Annotated[float, Field(gt=0), Search(1e-3, 0.1, log=True)]
Form = Literal["paper", "code"]


@dataclass(kw_only=True)
class ProxyClassifier(Part):
    """Train a head with several proxies for each class by an NCA loss, and tune it on the replay buffer at ends.

    The logits are η s_c with a trained η; see :class:`clbench.models.cosine_head.ProxyHead` for the similarity s_c. The
    objective is the mean over samples of class y of

        max(0, log Σ_{c ≠ y} exp(η s_c) - η (s_y - margin)),

    over the classes that compete. The product η · margin is a constant for the gradient. Otherwise η would fall below 0
    while similarities differ by less than the margin, as they do at first, and all predictions would turn round.

    When an experience begins that is not the first, the proxies of each class that was never seen become the centres of
    k-means on the features of its samples, as long as known proxies are in the mean. The proxies of old classes, those
    seen before that are not in the experience, do not move in its passes. At its end the head alone, with all classes
    seen, makes ``passes`` passes over the replay buffer.

    Args:
        proxies: K, at least 1.
        margin: The margin of the similarity, at least 0.
        form: ``paper``, as above; ``code``, the margin is subtracted from every similarity, so that it cancels, and the
            maximum with 0 is that of the mean over the batch.
        passes: Passes of the tuning, at least 0.
        tune_lr: Its learning rate, above 0.

    Source: Douillard et al. 2020, arXiv 2004.13513, section 3.2, and its code.
    """

    random_stream: ClassVar[str] = "ProxyClassifier"

    proxies: Proxies = 10
    margin: Margin = 0.6
    form: Form = "paper"
    passes: Passes = 20
    tune_lr: TuneRate = 0.005

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries", "memory"})
    owns: ClassVar[frozenset[str]] = frozenset({"head"})
    end_order: ClassVar[int] = MOVES
    conflicts: ClassVar[dict[str, str]] = {
        "Hypernet": "the first puts proxies on the network, and the second generates the network",
        "Binary": "the first puts proxies on a network, and the second learns distributions of its weights",
        "BiasCorrection": "the first has a head without constants, and the second adds one to scores by the head",
        "Expand": "the first has a head of proxies, and the second a linear one on several networks",
    }

    def build(self, model: nn.Module, shape: tuple[int, ...], n_outputs: int) -> nn.Module:
        from clbench.models.cosine_head import ProxyHead, with_cosine_head

        return with_cosine_head(model, lambda width, outputs: ProxyHead(width, outputs, self.proxies))

    # ------------------------------------------------------------------ the loss

    def objective(self, learner: Learner, batch: Batch, output: Output) -> Tensor:
        return self._nca(learner, batch, output, stream=False)

    def plasticity(self, learner: Learner, batch: Batch, output: Output) -> Tensor:
        """Return the objective on the stream's samples."""
        return self._nca(learner, batch, output, stream=True)

    def _nca(self, learner: Learner, batch: Batch, output: Output, *, stream: bool) -> Tensor:
        from clbench.training.objective import over_sources

        y, only = batch.y[:, None], batch.stream if stream else None
        own = output.logits.gather(1, y)[:, 0]  # (B,)
        others = batch.class_mask.masked(output.logits, LOWEST).scatter(1, y, LOWEST).logsumexp(1)  # (B,)
        if self.form == "code":
            return over_sources(others - own, batch, only=only).clamp(min=0)
        margin: Tensor = learner.model.head.scale.detach() * self.margin  # type: ignore[operator, union-attr]
        return over_sources((others - own + margin).clamp(min=0), batch, only=only)

    # ------------------------------------------------------------------ proxies

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        known = self.state.get("known")
        if known is None:
            return
        import torch

        running = torch.zeros_like(known).index_fill_(0, experience.index[LABEL], True)
        old, new = known & ~running, running & ~known  # (C,) bool
        learner.freeze("podnet", of_classes(learner, old) if bool(old.any()) else None)
        if bool(new.any()):
            self._imprint(learner, experience, known, new)

    def _imprint(self, learner: Learner, experience: ExperienceView, known: Tensor, new: Tensor) -> None:
        """Set the proxies of new classes to centres of their features, as long as those of known classes."""
        from torch.nn import functional as F

        index = experience.index
        rows = learner.w.data[learner.slices["head.weight"]].view(learner.n_outputs, self.proxies, -1)
        length = rows[known].norm(dim=2).mean()
        for c in new.nonzero()[:, 0].tolist():
            found = learner.side_work.features(index[:, index[LABEL] == c]).features
            centres = k_means(F.normalize(found, dim=1), self.proxies, self.generator)  # (K, H)
            rows[c] = length * F.normalize(centres, dim=1)

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        """Tune the head on the replay buffer, if there are classes of earlier experiences."""
        if "known" in self.state:
            self._tune(learner)
        self.state["known"] = learner.classes.seen.clone()

    def _tune(self, learner: Learner) -> None:
        from clbench.training.batch_splits import BatchSplit

        memory, work = learner.memory, learner.side_work
        if not self.passes or not len(memory):
            return
        learner.freeze("podnet", ~learner.head_mask | of_classes(learner, ~learner.classes.seen))
        split = BatchSplit(learner.batch_size, fewest=work.fewest_rows)
        work.fit(
            memory.draw(len(memory), generator=self.generator),
            steps=self.passes * split.count(len(memory)),
            lr=self.tune_lr,
            batch_size=learner.batch_size,
            generator=self.generator,
            momentum=MOMENTUM,
            weight_decay=WEIGHT_DECAY,
            loss=lambda batch: self.objective(learner, batch, learner.run(batch)),
        )
        learner.freeze("podnet", None)


def k_means(points: Tensor, k: int, generator: Generator) -> Tensor:
    """Return the centres (k, H) of points (n, H), after some rounds from points drawn at random.

    A centre without points stays where it is. With fewer than k points, they are repeated.

    Args:
        points: (n, H), at least one.
        k: Number of centres.
        generator: Draws the points to begin with.
    """
    import torch

    n = len(points)
    first = torch.from_numpy(generator.sample(n, min(k, n))).to(points.device)
    centres = points[first.repeat(-(-k // n))[:k]]
    for _ in range(ROUNDS):
        nearest = torch.cdist(points, centres).argmin(1)  # (n,)
        members = torch.nn.functional.one_hot(nearest, k).to(points).T  # (k, n)
        counts = members.sum(1, keepdim=True)
        centres = torch.where(counts > 0, members @ points / counts.clamp(min=1), centres)
    return centres


def podnet(
    *,
    proxies: Proxies = 10,
    margin: Margin = 0.6,
    spatial: Spatial = 5.0,
    flat: Flat = 1.0,
    passes: Passes = 20,
    tune_lr: TuneRate = 0.005,
    form: Form = "paper",
    read_out: Literal["nearest_mean", "logits"] = "logits",
) -> list[Part]:
    """Rehearse exemplars with several proxies for each class, keep the pooled maps of all stages, and tune the head.

    See :class:`ProxyClassifier` for the head, its loss and the tuning, and
    :class:`clbench.strategies.pooled_kd.PooledKD` for the distillation. Exemplars are herded, and are shuffled among
    the samples of the experience; see :class:`clbench.strategies.icarl.Exemplars`.

    Args:
        proxies: Proxies of each class.
        margin: The margin of the loss.
        spatial: Weight of the pooled maps.
        flat: Weight of the features.
        passes: Passes of the tuning over the replay buffer; 0 for none.
        tune_lr: Learning rate of the tuning.
        form: Of the loss; see :class:`ProxyClassifier`.
        read_out: Predict by the ``logits``, or by the ``nearest_mean`` of exemplars.

    Source: Douillard et al. 2020, arXiv 2004.13513, "PODNet: pooled outputs distillation for small-tasks incremental
    learning". Its setting for CIFAR-100: ResNet-32, 160 epochs, learning rate 0.1 with a cosine schedule, weight decay
    5e-4, batches of 128, 20 exemplars of each class. Left out: the last ReLU of each stage is not removed.

    Expected:
        class: above replay of the same exemplars with many passes, most in long streams of small experiences.
        task: near replay; only the task's classes compete.
        domain: replay of herded samples that keeps maps and features of the last domain; no class is ever new.
        recurring: classes that are absent keep their proxies until they return; the tuning balances all classes.
    """
    head = ProxyClassifier(proxies=proxies, margin=margin, form=form, passes=passes, tune_lr=tune_lr)
    return [head, PooledKD(spatial=spatial, flat=flat), Exemplars(read_out=read_out)]
