"""Accumulation of gradients: a batch passes the model in k chunks, and only one chunk's activations are held.

Every loss of the outputs gets its gradient, because the outputs of the whole batch are there when it is computed. Each
chunk passes the model once more in the backward pass, where its own gradient is added to the others.

Source: Chen et al. (2016), Training deep nets with sublinear memory cost (a pass that is repeated); Gao et al. (2021),
Scaling deep contrastive learning batch size under memory limited setup (chunks, for losses over the batch).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from clbench.core.errors import Refused
from clbench.models.output import Output
from clbench.models.side_effects import draws


class AccumulatedPass:
    """Compute the output of a batch in chunks whose activations are computed again in the backward pass.

    Args:
        model: The model.
        chunks: k, number of chunks, at least 2; a batch of fewer samples has fewer.

    Raises:
        Refused: The output of a sample depends on the other samples of its batch, or a second pass would differ.
    """

    def __init__(self, model: nn.Module, chunks: int) -> None:
        if any(isinstance(module, _BatchNorm) for module in model.modules()):
            raise Refused(
                f"training.accumulate = {chunks} would change the statistics of batch normalisation, which are those "
                "of a whole batch; choose a model without it (norm: group, or a transformer), or leave accumulate out"
            )
        if draws(model):
            raise Refused(
                "training.accumulate computes a pass twice, and this model draws from Python's or NumPy's global "
                "generator; draw from torch's generator, or leave accumulate out"
            )
        self._model, self._chunks = model, chunks

    def __call__(self, x: Tensor) -> Output:
        if not torch.is_grad_enabled():
            whole: Output = self._model(x)
            return whole
        made = [checkpoint(self._model, part, use_reentrant=False) for part in x.chunk(self._chunks)]
        return Output(torch.cat([each.logits for each in made]), torch.cat([each.features for each in made]))
