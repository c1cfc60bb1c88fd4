"""The overlap of a student with its teachers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from clbench.metrics.binary_perceptron import typical_error
from clbench.readings.reading import Inspected, Samples

if TYPE_CHECKING:
    from torch import Tensor, nn


def overlap(learner: Inspected, _panel: Samples, /) -> list[list[float]]:
    """Return the overlap of the model's weights with the teacher of each task, and the error that theory predicts.

    The overlap is R = v · w / (‖v‖ ‖w‖) for the weights w of the teacher and v of the student. A model with two outputs
    has v = the weights of the second output minus those of the first one. Binary weights count as the signs of their
    fields.

    Returns:
        (2, T): overlaps from -1 to 1; and the generalisation error of a typical perceptron with binary weights that
        agrees with all training samples of the task, 0 to 0.5 (``clbench.metrics.binary_perceptron.typical_error``).
        NaN for tasks whose teacher is not known; overlaps are NaN for models other than a single layer without a bias.

    Source: Györgyi 1990, Physical Review A 41, 7097; Li et al. 2023, arXiv 2212.02846.
    """
    student = linear_weights(learner.model)
    found, predicted = [], []
    for teacher in learner.teachers:
        known = student is not None and teacher is not None and student.numel() == teacher.weights.size
        if known and student is not None and teacher is not None:
            w = student.new_tensor(teacher.weights.reshape(-1))
            length = float(student.norm() * w.norm())
            found.append(float(student @ w) / length if length > 0 else math.nan)
        else:
            found.append(math.nan)
        predicted.append(math.nan if teacher is None else typical_error(teacher.load))
    return [found, predicted]


def linear_weights(model: nn.Module) -> Tensor | None:
    """Return the weights (F,) float64 of the sum over the inputs whose sign is the predicted class of two.

    It is ``None`` for a model that has no such sum: one with several layers, a bias, or more than two outputs.
    """
    from torch import nn

    from clbench.models.binary_layers import BinaryLayer

    owners = [module for module in model.modules() if any(True for _ in module.parameters(recurse=False))]
    if len(owners) != 1 or not isinstance(owners[0], nn.Linear) or owners[0].bias is not None:
        return None
    layer = owners[0]
    weights = (layer.sign if isinstance(layer, BinaryLayer) else layer.weight).detach().double()  # (C, F) or (1, F)
    if len(weights) > 2:
        return None
    return weights[0] if len(weights) == 1 else weights[1] - weights[0]
