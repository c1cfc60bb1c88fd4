"""Samples as tensors on the device, and how inputs are made of them: gather, scale, transform, augment, normalise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from clbench import families
from clbench.core.types import Dataset, Rows, Transform
from clbench.training.batch import ROW, VIEW, Y

Augment = Callable[[Tensor, torch.Generator], Tensor]
Change = Callable[[Tensor, Tensor], Tensor]


class Resident:
    """Hold one split of a data set on a device.

    Args:
        rows: The split; 8-bit values stay 8-bit until a batch is made, and tokens stay integers.
        dataset: Defines scale, mean and standard deviation.
        transform: How views show samples, if at all.
        augment: Random change of training inputs, if any.
        seed: Seed of the augmentation's own generator.
        device: Where the tensors are.
    """

    def __init__(
        self,
        rows: Rows,
        dataset: Dataset,
        *,
        transform: Transform | None = None,
        augment: Augment | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.x = torch.from_numpy(rows.x).to(device)  # (N, ...)
        self.family = families.of(dataset)
        held = self.family.targets(rows)
        self._target = None if held is None else torch.from_numpy(held).to(device)  # (N, ...)
        self.scale, self.tokens = dataset.scale, dataset.tokens
        self.transform = transform
        self.augment = augment
        self.generator = torch.Generator(device).manual_seed(seed)
        self._mean, self._std = self._statistics(dataset, device)

    def _statistics(self, dataset: Dataset, device: torch.device | str) -> tuple[Tensor | None, Tensor | None]:
        if not dataset.mean:
            return None, None
        shape = (1, -1, *(1 for _ in self.x.shape[2:]))
        mean, std = (
            torch.tensor(v, dtype=torch.float32, device=device).reshape(shape) for v in (dataset.mean, dataset.std)
        )
        return mean, std

    def go_on(self, state: Tensor) -> None:
        """Restore the augmentation's generator; if the state is from another kind of device, begin anew from its
        seed."""
        if state.shape == self.generator.get_state().shape:
            self.generator.set_state(state)
        else:
            self.generator.manual_seed(self.generator.initial_seed())

    @property
    def row_bytes(self) -> int:
        """Return the bytes of one raw sample."""
        return self.x.shape[1:].numel() * self.x.element_size()

    @property
    def targets(self) -> Callable[[Tensor], Tensor] | None:
        """Return a function from an index matrix (5, B) to targets (B, ...); ``None`` if labels are the targets."""
        return None if self._target is None else lambda index: self.target(index[ROW], index[Y])

    def target(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Return the targets (B, ...) of samples (B,) with labels (B,): the labels, in classification."""
        return labels if self._target is None else self._target.index_select(0, rows)

    def gather(self, index: Tensor, *changes: Change) -> Tensor:
        """Return the training inputs of an index matrix (5, B): float32, (B, ...); ``changes`` as in
        ``Batch.augment``."""
        if not changes:
            return self.present(index[ROW], index[VIEW], augment=self.augment)

        def augment(x: Tensor, generator: torch.Generator) -> Tensor:
            shown = x if self.augment is None else self.augment(x.clone(), generator)
            for change in changes:
                shown = change(x.clone(), shown)  # the next change gets raw inputs too, even if this one works in place
            return shown

        return self.present(index[ROW], index[VIEW], augment=augment)

    def present(
        self, rows: Tensor, view: Tensor, *, augment: Augment | None = None, room: Tensor | None = None
    ) -> Tensor:
        """Return the inputs of samples (B,) under their views (B,); float32, (B, ...), or int64 if they are tokens.

        Args:
            rows, view: The samples.
            augment: Random change of inputs.
            room: Where the stored values of at least B samples are gathered, of their type and no part of the result;
                by default they have memory of their own, which the allocator may not get back.
        """
        if room is None or self.x.dtype == torch.float32 or self.tokens:
            x = self.x.index_select(0, rows)
        else:
            x = torch.index_select(self.x, 0, rows, out=room[: len(rows)])
        if self.tokens:
            return x if self.transform is None else self.transform.apply(x, view, rows)
        if x.dtype != torch.float32 or self.scale != 1.0:
            x = x.to(torch.float32).mul_(self.scale)
        if self.transform is not None:
            x = self.transform.apply(x, view, rows)
        if augment is not None:
            x = augment(x, self.generator)
        return self.normalised(x)

    def normalised(self, x: Tensor) -> Tensor:
        """Subtract the data set's mean from scaled inputs (B, ...) and divide by its standard deviation, if it has
        them."""
        if self._mean is not None and self._std is not None:
            x = (x - self._mean).div_(self._std)
        return x
