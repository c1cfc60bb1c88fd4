"""The pass of a step as ``torch.compile`` makes it. Evaluations, importances and answers of parts call the model as it
is.

Compiled kernels sum in another order, so weights differ from those of other runs by rounding. Compilation takes some
seconds to minutes at the first step, and again for a batch of another size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clbench.models.output import Output


class CompiledPass:
    """Compute the output of a batch by compiled code.

    Hooks of the model itself stay outside of that code, since some of them enter a context, as for the precision.

    Args:
        model: The model. It computes its other passes as before.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._compiled: Any = torch.compile(model.forward)

    def __call__(self, x: Tensor) -> Output:
        self._model.__dict__["forward"] = self._compiled
        try:
            output: Output = self._model(x)
            return output
        finally:
            del self._model.__dict__["forward"]
