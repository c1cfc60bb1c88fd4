"""FeCAM: nearest class mean with a Mahalanobis distance of its own for each class, on fixed features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from clbench.core.parameters import Count, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.ncm import Features, Means
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

Power = Annotated[float, Field(gt=0, le=1), Search(0.25, 1)]
Form = Literal["class", "shared"]


@dataclass(kw_only=True)
class Covariances(Means):
    """Keep a mean and a scatter matrix for each class, or for all samples of an experience.

    The vectors are u = v^power of v = z / ‖z‖, by element; values below 0, where a power is undefined, become 0 if
    power is not 1.

    Args:
        features: As in :class:`clbench.strategies.ncm.Means`.
        shrink: (α1, α2): Σ + α1 v I + α2 c (1 - I), with the mean variance v and the mean c of the other entries of Σ.
        times: How often Σ is shrunk.
        power: The exponent of Tukey's transform, in (0, 1].
        form: A covariance for each ``class``, or one ``shared`` by all.
    """

    random_stream: ClassVar[str] = "Covariances"

    shrink: tuple[NonNegative, NonNegative] = (1.0, 0.0)
    times: Count = 1
    power: Power = 1.0
    form: Form = "class"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form == "shared":
            self.__dict__["needs"] = frozenset({"boundaries"})  # of this instance, not of the class

    def vectors(self, z: Tensor) -> Tensor:
        """Return the vectors (B, H) that are compared, of features (B, H)."""
        import torch

        u = torch.nn.functional.normalize(z, dim=1)
        return u if self.power == 1 else u.clamp(min=0).pow(self.power)

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        if self.form == "shared":
            known = self.state["count"] > 0 if "count" in self.state else None
            self.state["known"] = 0 if known is None else int(known.sum())
            self.state["running"] = None

    def observe(self, learner: Learner, batch: Batch) -> None:
        import torch

        u, y = self.vectors(self.see(learner, batch.x)), batch.y
        self.meet(learner, u)
        if self.form == "shared":
            self._join_running(u)
        else:
            if "scatter" not in self.state:
                self.state["scatter"] = {}
            for label in torch.unique(y).tolist():
                own = u[y == label]
                count, mean = self.state["count"][label], self.state["mean"][label]
                self.state["scatter"][label] = _joined(self.state["scatter"].get(label), count, mean, own)
        self.move(u, y)

    def _join_running(self, u: Tensor) -> None:
        """Add vectors (B, H) to the mean and scatter matrix of the running experience."""
        if self.state["running"] is None:
            self.state["running"] = [u.new_zeros(()), u.new_zeros(u.shape[1]), None]
        count, mean, scatter = self.state["running"]
        scatter = _joined(scatter, count, mean, u)
        total = count + len(u)
        self.state["running"] = [total, mean + (u.sum(0) - len(u) * mean) / total, scatter]

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        if self.form == "shared":
            self.state["shared"] = self._mixed()
            self.state["running"] = None
            self.state["known"] = int((self.state["count"] > 0).sum())

    def _mixed(self) -> Tensor:
        """Return the covariance (H, H) that all classes share: that of earlier experiences and of the running one, by
        their numbers of new classes."""
        shared: Tensor | None = self.state.get("shared")
        running, known = self.state["running"], self.state["known"]
        if running is None:
            assert shared is not None
            return shared
        own = self.shrunk(running[2] / (running[0] - 1).clamp(min=1))
        total = int((self.state["count"] > 0).sum())
        return own if shared is None else (known * shared + (total - known) * own) / total

    def shrunk(self, covariance: Tensor) -> Tensor:
        """Return a covariance (H, H) after shrinkage."""
        import torch

        found = covariance.clone()
        width = len(found)
        for _ in range(self.times):
            variance = found.diagonal().mean()
            others = (found.sum() - found.diagonal().sum()) / max(1, width * (width - 1))
            spread = torch.full_like(found, float(self.shrink[1] * others))
            spread.diagonal().fill_(float(self.shrink[0] * variance))
            found = found + spread
        return found

    def precision(self, label: int) -> Tensor:
        """Return the inverse (H, H) of the correlation matrix of a class, after shrinkage; computed anew only after
        further samples of it."""
        import torch

        count = float(self.state["count"][label])
        known: dict[int, tuple[float, Tensor]] = self.__dict__.setdefault("_precisions", {})
        if label not in known or known[label][0] != count:
            covariance = self.shrunk(self.state["scatter"][label] / max(1.0, count - 1))
            spread = covariance.diagonal().clamp(min=1e-24).sqrt()
            correlation = covariance / torch.outer(spread, spread)
            correlation.diagonal().fill_(1.0)
            known[label] = count, _inverse(correlation)
        return known[label][1]

    def read(self, learner: Learner, z: Tensor) -> Output:
        import torch

        u, mean = self.vectors(z), self.state["mean"]
        scores = u.new_full((len(u), learner.n_outputs), -torch.inf)
        if self.form == "shared" and "fecam" not in learner.scratch:
            learner.scratch["fecam"] = _inverse(self._mixed())
        for label in torch.nonzero(self.state["count"])[:, 0].tolist():
            apart = u - mean[label]
            inverse = learner.scratch["fecam"] if self.form == "shared" else self.precision(label)
            scores[:, label] = -((apart @ inverse) * apart).sum(1)
        return self.told(learner, z, scores)


def _joined(scatter: Tensor | None, count: Tensor, mean: Tensor, new: Tensor) -> Tensor:
    """Return the scatter matrix (H, H) of ``count`` vectors with a mean (H,), joined with further vectors (n, H)."""
    import torch

    centre = new.mean(0)
    apart = new - centre
    if scatter is None:
        return apart.T @ apart
    between = (centre - mean) * (count * len(new) / (count + len(new))).sqrt()
    rows = torch.cat([apart, between[None]])
    return scatter.addmm_(rows.T, rows)


def _inverse(matrix: Tensor) -> Tensor:
    """Return the inverse of a positive definite matrix; the pseudo-inverse if it is singular."""
    import torch

    root, failed = torch.linalg.cholesky_ex(matrix)
    if int(failed) or float(root.diagonal().min()) < 1e-7 * float(root.diagonal().max()):
        inverse: Tensor = torch.linalg.pinv(matrix, hermitian=True)
        return inverse
    return torch.cholesky_inverse(root)


def fecam(
    *,
    features: Features = "model",
    # published: 1 and 0 for a vision transformer, 1 and 1 twice for a ResNet (Goswami et al. 2023)
    shrink: tuple[NonNegative, NonNegative] = (1.0, 0.0),
    times: Count = 1,
    # published: 1 for a vision transformer, 0.5 for a ResNet (Goswami et al. 2023)
    power: Power = 1.0,
    form: Form = "class",
) -> list[Part]:
    """Classify by the smallest Mahalanobis distance (u - μ_c)ᵀ R_c⁻¹ (u - μ_c), with a matrix R_c for each class.

    u = z / ‖z‖ are normalised features of a fixed network, μ_c their mean in class c, and R_c their correlation matrix
    there after shrinkage: Σ_c + α1 v I + α2 c (1 - I), with the mean variance v and the mean c of the other entries,
    divided by the deviations. It needs one pass, no gradient, no replay buffer and no boundary. It stores a matrix
    H x H for each class. All arithmetic is in float64.

    Args:
        features: z, the features of the benchmark's initial ``model``, with weights if it has any; it is not trained.
            Or ``pixels``.
        shrink: (α1, α2), each at least 0.
        times: How often shrinkage is applied.
        power: The exponent of Tukey's transform of normalised features, in (0, 1]; 0.5 for features that are not
            negative, such as those of a ResNet.
        form: ``class``; or ``shared``: one covariance for all classes, the mean over experiences by their numbers of
            new classes, without division by deviations. It needs boundaries.

    For a ResNet the authors train the network on the first task, and have ``fecam(shrink=[1, 1], times=2, power=0.5)``.
    Their covariances are then those of features that are not normalised, and means are transformed after averaging.

    Source: Goswami et al. 2023, arXiv 2309.14062, equations 4 to 9, and the authors' code.

    Expected:
        class: the same as from all data at once, without a gap; above ncm if classes have enough samples.
        task: high, since only the task's classes compete; tasks do not affect each other.
        domain: one mean and covariance per class over all domains; good if domains are similar.
        recurring: hardly changed by repetition.
    """
    return [Covariances(features=features, shrink=shrink, times=times, power=power, form=form)]
