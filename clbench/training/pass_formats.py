"""Formats in which a model computes: the precision of its passes and the memory format of its images.

Both act on every pass of the model, in steps, in evaluations and in what parts compute besides, so that training and
evaluation see one function. Weights, gradients, optimiser, outputs and losses stay float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from clbench.benchmark.schema import Training
from clbench.core.errors import Refused
from clbench.models.output import Output
from clbench.training.answered_model import Answer

PRECISIONS = {"bfloat16": torch.bfloat16}
"""The dtype of matrix products for each precision but float32."""


class Autocast:
    """Compute the passes of a module under ``torch.autocast``, as a pair of its hooks.

    Args:
        device: ``cpu`` or ``cuda``.
        dtype: The dtype of matrix products and convolutions.
    """

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._open: list[torch.autocast] = []

    def begin(self, _module: nn.Module, _inputs: tuple[Any, ...]) -> None:
        """Enter the context before a pass."""
        context = torch.autocast(self._device, dtype=self._dtype)
        context.__enter__()
        self._open.append(context)

    def end(self, _module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> Any:
        """Leave the context after a pass, also after a failed one, and return the output in float32."""
        self._open.pop().__exit__(None, None, None)
        return in_float32(output)

    def around(self, answer: Answer) -> Answer:
        """Return a part's answer, computed under autocast, with its output in float32."""

        @wraps(answer)
        def under(learner: Any, x: Tensor, task: Tensor | None) -> Output:
            with torch.autocast(self._device, dtype=self._dtype):
                output = answer(learner, x, task)
            found: Output = in_float32(output)
            return found

        return under


def in_float32(output: Any) -> Any:
    """Return an output with logits and features in float32; anything else as it is."""
    if not isinstance(output, Output):
        return output
    return output._replace(logits=output.logits.float(), features=output.features.float())


def images_channels_last(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the inputs of a module with its images (B, channels, height, width) stored channels last."""
    x, *others = inputs
    return x.contiguous(memory_format=torch.channels_last), *others


def set_formats(
    model: nn.Module, training: Training, *, shape: tuple[int, ...], device: str
) -> Callable[[Answer], Answer]:
    """Let a model compute in the formats of the settings, and return what does the same for a part's answer.

    Args:
        model: On its device; its passes change in place.
        training: Its ``precision`` and ``channels_last``.
        shape: Shape of a sample.
        device: ``cpu`` or ``cuda[:N]``.

    Raises:
        Refused: Samples are no images, and channels are to be last.
    """
    if training.channels_last:
        if len(shape) != 3:
            raise Refused(
                f"training.channels_last is for images (channels, height, width), and a sample has the shape {shape}; "
                "leave it out"
            )
        model.register_forward_pre_hook(images_channels_last)
    if training.precision == "float32":
        return lambda answer: answer
    cast = Autocast(device.partition(":")[0], PRECISIONS[training.precision])
    model.register_forward_pre_hook(cast.begin)
    model.register_forward_hook(cast.end, always_call=True)
    return cast.around
