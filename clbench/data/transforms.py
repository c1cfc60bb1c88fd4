"""Transforms of views: pixel permutations and rotations, for a whole batch in one operation.

torch is imported only when a transform is applied.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clbench.core import host_reads
from clbench.core.errors import Refused
from clbench.core.types import Index

if TYPE_CHECKING:
    from torch import Tensor, device


RUN = 32
"""Mean number of neighbouring samples of one view from which they are permuted together."""


@dataclass(frozen=True, eq=False)
class Permute:
    """Permute the values of samples with a permutation for each view; channels are shuffled along with pixels.

    Args:
        orders: (V, F) a permutation of 0..F-1 for each view: value ``orders[v, i]`` of a flattened sample moves to
            place i.

    Raises:
        ValueError: A row of ``orders`` is not a permutation.

    Source: Goodfellow et al. 2013, "An Empirical Investigation of Catastrophic Forgetting", permuted MNIST.
    """

    orders: Index
    _cache: dict[device, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.orders.ndim != 2 or (np.sort(self.orders, axis=1) != np.arange(self.orders.shape[1])).any():
            raise ValueError(
                f"orders of shape {self.orders.shape} must be (views, values), each row a permutation of 0..values-1"
            )

    def describe(self) -> dict[str, Any]:
        """Return kind, number of views and values, and a digest of the permutations."""
        orders = np.ascontiguousarray(self.orders, dtype="<i8")
        digest = hashlib.blake2b(orders.tobytes(), digest_size=16).hexdigest()
        return {"kind": "permute", "views": len(orders), "values": orders.shape[1], "digest": digest}

    def apply(self, x: Tensor, view: Tensor, rows: Tensor) -> Tensor:
        """Permute samples ``x`` (B, ...) by their view (B,); the shape stays.

        Raises:
            Refused: Samples and permutations differ in their number of values.
        """
        import torch

        flat = x.flatten(1)  # (B, F)
        if flat.shape[1] != self.orders.shape[1]:
            raise Refused(
                f"samples have {flat.shape[1]} values and the permutations {self.orders.shape[1]}; make the stream for "
                f"this data set"
            )
        orders = self._on(x.device)
        runs = _runs(view)
        if runs is None:
            return flat.gather(1, orders[view]).view_as(x)
        # One permutation for many samples is read once: three to eight times as fast as a (B, F) index.
        parts = zip(flat.split([n for _, n in runs]), runs, strict=True)
        done = [part.index_select(1, orders[each]) for part, (each, _) in parts]
        return (done[0] if len(done) == 1 else torch.cat(done)).view_as(x)

    def _on(self, where: device) -> Tensor:
        import torch

        if where not in self._cache:
            self._cache[where] = torch.tensor(self.orders, dtype=torch.int64, device=where)
        return self._cache[where]


@dataclass(frozen=True, eq=False)
class Rotate:
    """Rotate images by the angle of their view: bilinear, about the centre, with zeros outside.

    Args:
        degrees: (V,) counter-clockwise angles in degrees. Multiples of 360 leave images exactly unchanged.

    Source: Lopez-Paz & Ranzato 2017, "Gradient Episodic Memory", rotated MNIST.
    """

    degrees: NDArray[np.float64]
    _cache: dict[device, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.degrees.ndim != 1 or not np.isfinite(self.degrees).all():
            raise ValueError(f"degrees of shape {self.degrees.shape} must be (views,) and finite")

    def describe(self) -> dict[str, Any]:
        """Return kind and angles."""
        return {"kind": "rotate", "degrees": [float(angle) for angle in self.degrees]}

    def apply(self, x: Tensor, view: Tensor, rows: Tensor) -> Tensor:
        """Rotate images ``x`` (B, C, H, W) by the angle of their view (B,).

        Raises:
            Refused: Samples are not images.
        """
        import torch
        from torch.nn.functional import affine_grid, grid_sample

        if x.ndim != 4:
            raise Refused(f"samples of shape {tuple(x.shape[1:])} are not images (C, H, W), so they cannot be rotated")
        cosine, sine, still = (table[view] for table in self._on(x.device))  # (B,) each
        if host_reads.free(x.device) and bool(still.all()):
            return x
        height, width = x.shape[2:]
        nothing = torch.zeros_like(cosine)
        # The grid's axes run from -1 to 1 for any sides, hence the ratios.
        across = torch.stack((cosine, -sine * (height / width), nothing), dim=1)
        down = torch.stack((sine * (width / height), cosine, nothing), dim=1)
        theta = torch.stack((across, down), dim=1).to(x.dtype)  # (B, 2, 3)
        grid = affine_grid(theta, list(x.shape), align_corners=False)  # (B, H, W, 2)
        turned = grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return torch.where(still[:, None, None, None], x, turned)

    def _on(self, where: device) -> tuple[Tensor, Tensor, Tensor]:
        """Return cosine, sine and whether to leave the image unchanged for each view, (V,) each."""
        import torch

        if where not in self._cache:
            radians = np.deg2rad(self.degrees)
            waves = np.cos(radians).astype(np.float32), np.sin(radians).astype(np.float32)
            tables = (*waves, self.degrees % 360 == 0)
            cosine, sine, still = (torch.tensor(table, device=where) for table in tables)
            self._cache[where] = cosine, sine, still
        return self._cache[where]


def _runs(view: Tensor) -> list[tuple[int, int]] | None:
    """Return the views of neighbouring samples and how many share each, if these are long.

    ``None`` on an accelerator, where it would need a synchronisation.
    """
    if not host_reads.free(view.device) or len(view) == 0:
        return None
    views, counts = view.unique_consecutive(return_counts=True)
    return list(zip(views.tolist(), counts.tolist(), strict=True)) if len(views) * RUN <= len(view) + RUN else None
