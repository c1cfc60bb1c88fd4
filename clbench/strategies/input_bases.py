"""Orthonormal bases of the inputs of layers, for methods that project gradients.

The gradient of a weight matrix W (out, I) lies in the span of the layer's inputs. If it is made orthogonal to the
inputs of finished tasks, W maps these inputs to the same values as before. Letters: n rows, I fan-in of a layer, r
directions of a basis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clbench.core.errors import Refused

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.learner import Learner

CHUNK = 16
"""Number of samples whose inputs are in memory at a time; a convolution reads thousands of patches of each."""


DRIFT = 1e-3
"""Relative change of what a layer computes from old inputs that is reported; rounding leaves about 1e-6."""


@dataclass(frozen=True)
class Matrix:
    """Locate the weight matrix of a linear or convolutional layer in the flat weights.

    Args:
        name: Name of the layer, as ``learner.inputs`` gives it.
        place: Its slice of ``learner.w`` and ``learner.g``.
        rows: Number of output units or filters.
    """

    name: str
    place: slice
    rows: int

    def of(self, vector: Tensor) -> Tensor:
        """Return the view (out, I) of a flat vector (P,)."""
        return vector[self.place].view(self.rows, -1)


def matrices(learner: Learner) -> list[Matrix]:
    """Return the weight matrices whose gradients are projected, in order of registration.

    These are the trained linear and convolutional layers. The last layer is left out if the stream reveals task labels
    and a task uses only some of the output units, because each task then has a head of its own.

    Args:
        learner: The learner.
    """
    import torch
    from torch import nn
    from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

    own = False
    if learner.classes.task_labels:
        competes = learner.classes.mask_of_tasks(torch.zeros(1, dtype=torch.int64, device=learner.device)).competes
        own = competes is not None and not bool(competes.all())
    head = getattr(learner.model, "head", None)
    found = []
    for name, layer in learner.model.named_modules():
        place = learner.slices.get(f"{name}.weight")
        kind = isinstance(layer, nn.Linear | _ConvNd) and not isinstance(layer, _ConvTransposeNd)
        if kind and place is not None and not (own and layer is head):
            found.append(Matrix(name, place, len(layer.weight)))
    return found


def condensed(rows: Tensor, earlier: Tensor | None = None) -> Tensor:
    """Return few rows with the same lengths in all directions as many: the same RᵀR, singular values and right vectors.

    Args:
        rows: R, (n, I).
        earlier: (m, I) rows that are joined with them; an earlier result continues it.

    Returns:
        (at most I, I), in double precision: the triangle of a QR decomposition if there are more rows.
    """
    import torch

    joined = rows.double() if earlier is None else torch.cat([earlier, rows.double()])
    return torch.linalg.qr(joined, mode="r").R if len(joined) > joined.shape[1] else joined


def input_rows(learner: Learner, index: Tensor, *, w: Tensor | None = None) -> dict[str, Tensor]:
    """Return the condensed inputs of each layer on the samples of an index matrix (5, N).

    Args:
        learner: The learner.
        index: The samples, a few of which are passed at a time.
        w: (P,) flat weights; the current ones by default.

    Returns:
        Name of a layer -> (at most I, I); see :func:`condensed`.
    """
    found: dict[str, Tensor] = {}
    for part in index.split(CHUNK, dim=1):
        for name, rows in learner.inputs(part, w=w).items():
            found[name] = condensed(rows, found.get(name))
    return found


def without(rows: Tensor, basis: Tensor | None) -> Tensor:
    """Return rows (n, I) less their projection on an orthonormal basis (I, r)."""
    return rows if basis is None else rows - (rows @ basis) @ basis.T


def directions(rows: Tensor, basis: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the principal directions of rows outside of a basis, the strongest first.

    Args:
        rows: R, (n, I).
        basis: M, (I, r) orthonormal; ``None`` for none.

    Returns:
        V (I, k) orthonormal and orthogonal to the basis, and the energies σ² (k,): the right singular vectors and
        squared singular values of R - R M Mᵀ. Directions whose energy is rounding error are left out.
    """
    import torch

    rest = without(rows, basis)
    _, values, right = torch.linalg.svd(rest, full_matrices=False)
    most = rows.norm() * max(rows.shape) * torch.finfo(rows.dtype).eps
    kept = int((values > most).sum())
    if basis is not None:
        kept = min(kept, basis.shape[0] - basis.shape[1])
    return right[:kept].T, values[:kept].square()


def leading(energies: Tensor, *, total: Tensor, covered: Tensor | float = 0.0, threshold: float) -> int:
    """Return how many directions a basis needs: the fewest with covered + Σ energies >= threshold · total.

    Args:
        energies: (k,) energies of the directions, in order.
        total: The energy of all rows, ‖R‖².
        covered: The energy that earlier directions cover.
        threshold: The share that the basis has to cover, in [0, 1].
    """
    reached = covered + energies.cumsum(0)
    if float(covered) >= threshold * float(total):
        return 0
    return min(int((reached < threshold * total).sum()) + 1, len(energies))


def extended(rows: Tensor, basis: Tensor | None, threshold: float, *, below: bool = False) -> Tensor | None:
    """Return a basis with the fewest new directions so that it covers a share of the energy of rows.

    Args:
        rows: R, (n, I).
        basis: M, (I, r) orthonormal; ``None`` for none.
        threshold: The share of ‖R‖² that the basis has to cover, in [0, 1].
        below: Whether to stop below the threshold, with one direction less.

    Returns:
        (I, r + new) orthonormal, in the precision of ``rows``; ``None`` if it has no direction.
    """
    import torch

    new, energies = directions(rows, basis)
    covered = rows.new_zeros(()) if basis is None else (rows @ basis).square().sum()
    count = leading(energies, total=rows.square().sum(), covered=covered, threshold=threshold)
    count = max(count - 1, 0) if below else count
    if not count:
        return basis
    return new[:, :count].contiguous() if basis is None else torch.cat([basis, new[:, :count]], 1)


def complement(basis: Tensor) -> Tensor:
    """Return an orthonormal basis (I, I - r) of what a basis (I, r) leaves free."""
    import torch

    whole: Tensor = torch.linalg.qr(basis.double(), mode="complete").Q
    return whole[:, basis.shape[1] :].to(basis.dtype).contiguous()


def project_out(gradient: Tensor, basis: Tensor, free: Tensor | None = None) -> None:
    """Subtract from a gradient its projection on a basis, in place: G <- G - (G M) Mᵀ.

    These are two products with the narrower of two matrices; a projector M Mᵀ (I, I) is never made.

    Args:
        gradient: G, (out, I).
        basis: M, (I, r) orthonormal, in the precision of the gradient.
        free: N, the :func:`complement` of a basis that is wider than it; then G <- (G N) Nᵀ, which is the same.
    """
    if free is None:
        gradient.addmm_(gradient @ basis, basis.T, alpha=-1)
    else:
        gradient.copy_((gradient @ free) @ free.T)


def check_thresholds(threshold: float | list[float], found: Sequence[Matrix], *, title: str) -> None:
    """Refuse a list of thresholds that has not one number for each layer.

    Args:
        threshold: One number for all layers, or a list.
        found: The layers that are projected.
        title: The name of the part, for the message.
    """
    if isinstance(threshold, list) and len(threshold) != len(found):
        raise Refused(
            f"{title}: threshold = {threshold} has {len(threshold)} numbers, but {len(found)} layers are "
            f"projected ({', '.join(each.name for each in found)}); give one number for each, or one for all",
            "threshold",
        )


def threshold_of(threshold: float | list[float], layer: int, growth: float) -> float:
    """Return the threshold of a layer, by its place among those that are projected, after it has grown; at most 1."""
    return min(1.0, (threshold[layer] if isinstance(threshold, list) else threshold) + growth)


def drift(now: Tensor, before: Tensor) -> float:
    """Return the relative change of what a layer computes from directions: products W M (out, r) now and before."""
    return float((now - before).norm() / before.norm().clamp(min=1e-30))


def doubts(largest: float, unread: Sequence[str]) -> list[str]:
    """Return what looks wrong about the projection of a run, for ``Part.self_checks``.

    Args:
        largest: The largest :func:`drift` of a layer in an experience.
        unread: Names of layers whose inputs could not be read.
    """
    found = []
    if largest > DRIFT:
        found.append(
            f"did not keep what layers compute from old inputs: it changed by {largest:.1%}; momentum, weight decay "
            "and adaptive optimisers leave the projected space, so train with plain SGD"
        )
    if unread:
        found.append(
            f"could not read the inputs of {', '.join(unread)}, whose gradients were not projected: a layer must "
            "be called as a module"
        )
    return found
