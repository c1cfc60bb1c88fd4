"""Wrappers that make a user's module return :class:`clbench.models.output.Output`, with its last layer as ``head``."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from clbench.core.errors import Refused
from clbench.models.output import Output
from clbench.models.side_effects import Layer, Manners, observe, protect


class Headed(nn.Module):
    """Wrap a module that returns ``Output``, and whose last linear layer is not named ``head``.

    Args:
        module: A module from (B, *shape) to ``Output``.
        head: Name of its last linear layer among ``module.named_modules()``.
    """

    def __init__(self, module: nn.Module, head: str) -> None:
        super().__init__()
        self.module = module
        self._head = head

    @property
    def head(self) -> nn.Linear:
        """Return the last linear layer."""
        layer = self.module.get_submodule(self._head)
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, x: Tensor) -> Output:
        output: Output = self.module(x)
        return output


class Wrapped(Headed):
    """Wrap a module that returns logits, so that it also returns the input of its last linear layer.

    Args:
        module: A module from (B, *shape) to logits (B, C).
        head: Name of its last linear layer among ``module.named_modules()``.
    """

    def __init__(self, module: nn.Module, head: str) -> None:
        super().__init__(module, head)
        self._caught: list[Any] = []
        self.head.register_forward_pre_hook(self._catch)

    def _catch(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if self._caught:  # armed; a direct call of the head, outside of forward, stores nothing
            self._caught[0] = inputs[0]

    def forward(self, x: Tensor) -> Output:
        self._caught.append(None)  # arms the hook
        try:
            return Output(self.module(x), self._caught[0])
        finally:
            self._caught.clear()


def wrap(module: nn.Module, n_outputs: int, *, shape: Sequence[int], tokens: bool = False) -> nn.Module:
    """Return a module whose forward returns ``Output`` and whose ``head`` is its last layer.

    It is the module itself if it has this form already, otherwise a wrapper. A few samples are passed through a copy of
    the module; the module and all global generators stay unchanged. A module that changes its input in place receives
    copies from then on.

    Args:
        module: A module from samples (B, *shape) float32 to logits (B, C) or to ``Output``.
        n_outputs: Number of output units C.
        shape: Shape of one sample.
        tokens: Whether samples are int64 tokens, not float32 values.

    Returns:
        A module with the same parameters. ``head`` is the last linear layer on which the logits depend, with any name.
        If a module returns ``Output`` and has no such layer, it is its own ``head``.

    Raises:
        Refused: The module fails on such samples, returns something else or a wrong number of units, or has no layer on
            which the logits depend.
    """
    kind = type(module).__name__
    seen = _observe(module, shape, kind, tokens)
    output = seen.output
    logits = output.logits if isinstance(output, Output) else output
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (1, n_outputs):
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise Refused(
            f"model {kind} returns {got} for one sample of shape {tuple(shape)}; the stream needs logits of shape "
            f"(1, {n_outputs}); give its last layer {n_outputs} outputs and return them alone"
        )
    trained = seen.training.logits if isinstance(seen.training, Output) else seen.training
    if trained is not None and (not isinstance(trained, Tensor) or tuple(trained.shape) != (2, n_outputs)):
        got = f"shape {tuple(trained.shape)}" if isinstance(trained, Tensor) else f"a {type(trained).__name__}"
        raise Refused(
            f"model {kind} returns {got} for two samples in training mode, and logits alone in evaluation mode; return "
            f"logits of shape (2, {n_outputs}) in both (leave out auxiliary outputs, such as aux_logits=False)"
        )
    head = _head(module, logits, seen, shape, tokens)
    made = _returns_both(module, output, head, n_outputs, kind) if isinstance(output, Output) else None
    if made is None:
        if head is None:
            raise Refused(
                f"model {kind} has no torch.nn.Linear with {n_outputs} outputs that reads features of shape (samples, "
                "H) and that its logits come from; end it with one, or return clbench.models.output.Output(logits, "
                "features) from its forward"
            )
        made = Wrapped(module, head)
    if seen.changes_input:
        protect(made)
    made.__dict__["_draws"] = seen.draws
    return made


def _returns_both(module: nn.Module, output: Output, head: str | None, n_outputs: int, kind: str) -> nn.Module:
    features, own = output.features, getattr(module, "head", None)
    if not isinstance(features, Tensor) or features.dim() != 2 or len(features) != 1:
        got = f"shape {tuple(features.shape)}" if isinstance(features, Tensor) else f"a {type(features).__name__}"
        raise Refused(f"model {kind} returns features of {got} for one sample; return Output(logits, features) with "
                      "features of shape (samples, H)")  # fmt: skip
    if head is not None:
        return module if own is module.get_submodule(head) else Headed(module, head)
    weights = list(own.parameters()) if isinstance(own, nn.Module) else []
    if not weights or any(not w.dim() or len(w) not in (1, n_outputs) for w in weights):
        raise Refused(
            f"model {kind} has no layer that makes its logits: neither a torch.nn.Linear with {n_outputs} outputs that "
            f"they come from, nor a `head` whose parameters have {n_outputs} rows, one for each class, or a single one "
            "for all; end it with one"
        )
    return module


def _head(module: nn.Module, logits: Tensor, seen: Manners, shape: Sequence[int], tokens: bool) -> str | None:
    """Return the name of the last linear layer, on features (1, H), that the logits depend on; ``None`` if there is
    none.

    The name is empty if the module is that layer itself. Of several layers as wide as the logits, such as an auxiliary
    output, it is the one with the logits as output, or else the last one on which they depend.
    """
    fitting = [layer for layer in seen.layers if layer.output.shape == logits.shape and layer.input.dim() == 2]
    comparisons: tuple[Callable[[Tensor], bool], ...] = (lambda a: a is logits, lambda a: torch.equal(a, logits))
    for same in comparisons:
        found = [layer.name for layer in fitting if same(layer.output)]
        if found:
            return found[-1]
    names = {layer.name for layer in fitting}
    return next((name for name in _sources(module, seen, shape, tokens) if name in names), None) if names else None


def _sources(module: nn.Module, before: Manners, shape: Sequence[int], tokens: bool) -> list[str]:
    """Return the names of the linear layers on which the logits depend, in reverse order; all layers if it cannot be
    determined."""
    try:
        seen = observe(copy.deepcopy(module), shape, gradients=True, tokens=tokens)
        output = seen.output.logits if isinstance(seen.output, Output) else seen.output
        weighed = (output * torch.arange(1.0, output.numel() + 1, device=output.device)).square().sum()
        ran: list[Layer] = [layer for layer in seen.layers if layer.output.requires_grad]
        parts = torch.autograd.grad(weighed, [layer.output for layer in ran], allow_unused=True)
    except Exception:
        return [layer.name for layer in reversed(before.layers)]
    return [layer.name for layer, part in reversed(list(zip(ran, parts, strict=True))) if part is not None]


def _observe(module: nn.Module, shape: Sequence[int], kind: str, tokens: bool) -> Manners:
    if any(is_lazy(parameter) for parameter in module.parameters()):
        raise Refused(
            f"model {kind} has lazy layers of unknown size; call it once on a batch of samples before passing it on"
        )
    try:
        copied = copy.deepcopy(module)
    except Exception as error:
        raise Refused(
            f"model {kind} cannot be copied ({type(error).__name__}: {_first(error)}); keep open files, locks and "
            "results of computations that hold a graph out of its attributes"
        ) from error
    try:
        return observe(copied, shape, tokens=tokens)
    except Exception as error:
        raise Refused(
            f"model {kind} does not accept samples of shape {tuple(shape)}{' of int64 tokens' * tokens} "
            f"({type(error).__name__}: {_first(error)}); "
            "choose settings or a model that fits, or resize the images"
        ) from error


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
