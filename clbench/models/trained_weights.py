"""Which weights of a model are trained; the others are no part of the flat weights, of gradients and of snapshots."""

from __future__ import annotations

from types import MethodType

from torch import nn

from clbench.core.errors import Refused
from clbench.models import weight_groups

ALL, NONE = "all", "none"


def train_only(model: nn.Module, what: str) -> None:
    """Leave only some weights of a model to training, in place.

    The other parameters do not require gradients. A module all of whose parameters are held stays in evaluation mode
    while the model trains: its running statistics do not move, and its dropout draws nothing.

    Args:
        model: Any model with a ``head``, before its weights become one vector.
        what: ``all``, ``none``, or modules as :func:`clbench.models.weight_groups.select` takes them: ``head``,
            ``norm+bias+head``, ``attention``, ...

    Raises:
        Refused: The model has no modules of this kind.
    """
    if what == ALL:
        return
    named = dict(model.named_parameters())
    trained: set[str] = set()
    if what != NONE:
        slices, start = {}, 0
        for name, parameter in named.items():
            slices[name] = slice(start, start + parameter.numel())
            start += parameter.numel()
        try:
            chosen = weight_groups.select(weight_groups.groups(weight_groups.layers(model, slices)), what)
        except Refused as error:
            raise Refused(f"train = {error}", "train") from None
        trained = {place.parameter for group in chosen for place in group.places}
    for name, parameter in named.items():
        parameter.requires_grad_(name in trained and parameter.requires_grad)
    _hold(model)


def _hold(module: nn.Module) -> None:
    """Keep the largest modules without trained parameters in evaluation mode."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        module.__dict__["train"] = MethodType(_stay_in_evaluation, module)
        module.eval()
        return
    for child in module.children():
        _hold(child)


def _stay_in_evaluation(module: nn.Module, mode: bool = True) -> nn.Module:  # noqa: ARG001 as nn.Module.train
    for each in module.modules():
        each.training = False
    return module
