"""How a pass over the samples of an experience is cut into batches, and which cuts are refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clbench.core.errors import Refused

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm

REASON = "batch normalisation has no statistics in a batch of one sample"
OTHER_NORM = "use a model with another norm (norm: group)"


@dataclass(frozen=True)
class BatchSplit:
    """Cut a pass into batches of ``size`` samples; the remainder is the last batch.

    Args:
        size: Samples of a batch, at least 1.
        drop_last: Whether an incomplete last batch is left out.
        fewest: Fewest samples that a step can learn from. A last batch with fewer joins the one before it.
    """

    size: int
    drop_last: bool = False
    fewest: int = 1

    def count(self, rows: int) -> int:
        """Return the number of batches of a pass over a number of samples."""
        whole, left = divmod(rows, self.size)
        if self.drop_last or not left or (whole and left < self.fewest):
            return whole
        return whole + 1

    def spans(self, rows: int) -> list[tuple[int, int]]:
        """Return (start, stop) of each batch of a pass over a number of samples, in order."""
        count = self.count(rows)
        ends = [self.size * (i + 1) for i in range(count)]
        if ends and not self.drop_last:
            ends[-1] = rows
        return [(self.size * i, end) for i, end in enumerate(ends)]

    def check(self, sizes: Iterable[int]) -> None:
        """Refuse experiences, given by their numbers of samples, from which nothing could be learned.

        Raises:
            Refused: Names the first of them and what to change.
        """
        if not self.drop_last and self.fewest == 1:
            return
        if self.size < self.fewest:
            raise Refused(
                f"training.batch_size = {self.size} is not possible with this model: {REASON}; set it to "
                f"{self.fewest} or more, or {OTHER_NORM}"
            )
        known = {number: rows for number, rows in enumerate(sizes) if rows}
        least = min(known, key=known.__getitem__, default=None)
        if least is None:
            return
        rows = known[least]
        if self.drop_last and rows < self.size:
            raise Refused(
                f"experience {least} has {_samples(rows)} and a batch {self.size}, so training.drop_last leaves out "
                f"all of it; set training.batch_size to {rows} or less, or training.drop_last: false"
            )
        if rows < self.fewest:
            raise Refused(
                f"experience {least} has {_samples(rows)}, too few for this model: {REASON}; make experiences "
                f"larger, or {OTHER_NORM}"
            )


def fewest_rows(
    model: nn.Module, shape: tuple[int, ...], device: torch.device | str = "cpu", *, tokens: bool = False
) -> int:
    """Return the fewest samples of a training step: 2 if a layer would compute statistics of a single value, else 1.

    Such layers are of batch normalisation in training mode and see one value per channel and sample, as after a linear
    layer, or after a convolution that leaves a single pixel. Only a model with such layers is run, on two samples of
    zeros in evaluation mode; modes, buffers and generators are restored afterwards.

    Args:
        model: On its device.
        shape: Shape of one sample.
        device: The model's.
        tokens: Whether samples are int64 tokens.
    """
    from torch.nn.modules.batchnorm import _BatchNorm

    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    return 2 if layers and _single_values(model, layers, shape, device, tokens) else 1


def _single_values(
    model: nn.Module, layers: list[_BatchNorm], shape: tuple[int, ...], device: torch.device | str, tokens: bool
) -> bool:
    """Tell whether a layer in training mode gets as many values per channel as there are samples."""
    import torch

    from clbench.core.global_rng import preserved
    from clbench.models.module_modes import preserved_modes

    rows, single = 2, []

    def note(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        single.append(inputs[0].numel() <= rows * inputs[0].shape[1])

    modules = list(model.modules())
    with preserved_modes(modules):
        model.train()  # some keep layers in evaluation mode even then
        hooks = [layer.register_forward_pre_hook(note) for layer in layers if layer.training]
        try:
            with preserved(device), torch.no_grad():
                for module in modules:
                    module.__dict__["training"] = False
                model(torch.zeros(rows, *shape, device=device, dtype=torch.int64 if tokens else None))
        finally:
            for hook in hooks:
                hook.remove()
    return any(single)


def _samples(number: int) -> str:
    return "1 sample" if number == 1 else f"{number} samples"
