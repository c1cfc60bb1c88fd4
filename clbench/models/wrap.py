"""Other people's modules made to return :class:`clbench.models.output.Output`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from clbench.models.output import Output
from clbench.parameters import Refused


class Wrapped(nn.Module):
    """A module that returns logits, made to return the input of its last linear layer as well.

    Args:
        module: From (B, *shape) to logits (B, C).
        head: Name of its last linear layer among ``module.named_modules()``.
    """

    def __init__(self, module: nn.Module, head: str) -> None:
        super().__init__()
        self.module = module
        self._head = head
        self._caught: list[Any] = []
        self.head.register_forward_pre_hook(self._catch)

    @property
    def head(self) -> nn.Linear:
        """The last linear layer."""
        layer = self.module.get_submodule(self._head)
        assert isinstance(layer, nn.Linear)
        return layer

    def _catch(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if self._caught:  # armed; a direct call of the head, outside of forward, leaves nothing behind
            self._caught[0] = inputs[0]

    def forward(self, x: Tensor) -> Output:
        self._caught.append(None)  # arms the hook
        try:
            return Output(self.module(x), self._caught[0])
        finally:
            self._caught.clear()


def wrap(module: nn.Module, n_outputs: int, *, shape: Sequence[int]) -> nn.Module:
    """A module whose forward returns ``Output``: the module itself where it does already, else wrapped.

    A row of zeros is passed through a copy of the module in evaluation mode; the module and torch's generators are left
    as they were.

    Args:
        module: From rows (B, *shape) float32 to logits (B, C) or to ``Output``.
        n_outputs: Number of output units C.
        shape: Shape of one row.

    Returns:
        A module with the same parameters. Wrapped ones have ``head``, the last linear layer that ran.

    Raises:
        Refused: The module fails on such rows, returns something else or another number of units, or has no linear
            layer with ``n_outputs`` units that its features could be read from.
    """
    kind = type(module).__name__
    output, ran = _dry_run(module, shape, kind)
    logits = output.logits if isinstance(output, Output) else output
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (1, n_outputs):
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise Refused(
            f"model {kind} returns {got} for one row of shape {tuple(shape)}; the stream asks for logits of shape "
            f"(1, {n_outputs}); give its last layer {n_outputs} outputs and return them alone"
        )
    if isinstance(output, Output):
        return module
    heads = [(name, size) for name, size, features in ran if features == n_outputs]
    if not heads or len(heads[-1][1]) != 2:
        raise Refused(
            f"model {kind} has no torch.nn.Linear with {n_outputs} outputs that reads features of shape (rows, H); end "
            "it with one, or return clbench.models.output.Output(logits, features) from its forward"
        )
    return Wrapped(module, heads[-1][0])


def _dry_run(module: nn.Module, shape: Sequence[int], kind: str) -> tuple[Any, list[tuple[str, torch.Size, int]]]:
    """Output for a row of zeros, and the linear layers in the order in which they ran: name, input shape, width."""
    if any(is_lazy(parameter) for parameter in module.parameters()):
        raise Refused(
            f"model {kind} has lazy layers of unknown size; call it once on a batch of rows before passing it on"
        )
    probe = copy.deepcopy(module).eval()
    ran: list[tuple[str, torch.Size, int]] = []
    for name, layer in probe.named_modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_pre_hook(
                lambda layer, inputs, name=name: ran.append((name, inputs[0].shape, layer.out_features))
            )
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), torch.no_grad():
        try:
            output = probe(torch.zeros(1, *shape, device=device))
        except Exception as error:
            first = (str(error).splitlines() or [""])[0]
            raise Refused(
                f"model {kind} does not take rows of shape {tuple(shape)} ({type(error).__name__}: {first}); choose "
                "settings or a model that fits, or resize the images"
            ) from error
    return output, ran
