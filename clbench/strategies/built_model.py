"""The model with what a part adds to it: the part's ``build`` hook, under a random generator of its own, checked."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clbench.core.errors import Refused
from clbench.core.global_rng import preserved, seed_others
from clbench.core.registry import a
from clbench.models.module_modes import preserved_modes
from clbench.models.output import Output
from clbench.strategies.part import Part


def built_by(
    part: Part, model: nn.Module, shape: tuple[int, ...], n_outputs: int, *, seed: int, tokens: bool = False
) -> nn.Module:
    """Return what a part's ``build`` hook makes of a model, on the CPU.

    Global random number generators are as before afterwards.

    Args:
        part: It has the hook.
        model: Returns ``Output``.
        shape: The shape of one sample.
        n_outputs: C, output units.
        seed: Seeds torch's generator, and those of Python and NumPy, for the part.
        tokens: Whether samples are int64 tokens.

    Raises:
        Refused: The result is no module, or not one from such samples to ``Output`` with C logits and with a ``head``.
    """
    with preserved():
        seed_others(seed, "build")
        torch.manual_seed(seed)
        made = part.build(model, shape, n_outputs)
        if not isinstance(made, nn.Module):
            raise Refused(
                f"build of {part.title} returned {a(made)}; it returns the model, with what the part adds to it"
            )
        _check(part.title, made, torch.zeros(1, *shape, dtype=torch.int64 if tokens else None), n_outputs)
    return made


def _check(title: str, made: nn.Module, x: Tensor, n_outputs: int) -> None:
    with preserved_modes(tuple(made.modules())), torch.no_grad():
        output = made.eval()(x)
    logits = output.logits if isinstance(output, Output) else None
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (1, n_outputs):
        got = a(output) if logits is None else f"logits of shape {tuple(getattr(logits, 'shape', ()))}"
        raise Refused(
            f"build of {title} made a model that returns {got} for one sample; it has to return clbench.Output with "
            f"logits of shape (1, {n_outputs}), as the model does that it was given"
        )
    if not isinstance(getattr(made, "head", None), nn.Module):
        raise Refused(
            f"build of {title} made a model without an attribute 'head'; give it one, the module of its last layer"
        )
