"""Models that a program hands over: the allowed kinds, and how a run gets a module from them."""

from __future__ import annotations

import copy
import inspect
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from clbench.core.errors import Refused
from clbench.models.user_signature import arguments
from clbench.models.wrap import wrap

ALLOWED = (
    "allowed are a torch.nn.Module, a class of them or a function, called as model(shape, n_outputs) or by the names "
    "of its parameters"
)


def build(model: Any, shape: tuple[int, ...], n_outputs: int, *, tokens: bool = False) -> nn.Module:
    """Make a new module from a given model, as :func:`clbench.models.wrap.wrap` does; this draws from global
    generators.

    Args:
        model: A module, which is copied with its weights, or a callable that makes one: a function, a class, a partial,
            a callable object. It is called as :mod:`clbench.models.user_signature` describes.
        shape: Shape of one sample.
        n_outputs: Number of output units C.
        tokens: Whether rows are int64 tokens, not float32 values.

    Raises:
        Refused: It is neither, cannot be called, fails, returns no module, or returns one that violates the contract of
            models.
    """
    if isinstance(model, nn.Module):
        return wrap(_copied(model), n_outputs, shape=shape, tokens=tokens)
    name = getattr(model, "__qualname__", None) or getattr(getattr(model, "func", None), "__qualname__", "")
    name = name or type(model).__qualname__
    if isinstance(model, Mapping) and any(isinstance(value, Tensor) for value in model.values()):
        raise Refused(f"model= is the state of a model, and model= takes a module; load_state_dict it there; {ALLOWED}")
    if isinstance(model, str | Mapping):
        raise Refused(
            f"model={model!r} is a name, and model= takes a module or what makes one; name models in the benchmark: "
            f"overrides={{'model': {dict(model) if isinstance(model, Mapping) else {'name': model}}}}"
        )
    if not callable(model):
        raise Refused(f"model= is a {type(model).__name__}; {ALLOWED}")
    return wrap(construct(model, shape, n_outputs, {}, where=f"model={name}"), n_outputs, shape=shape, tokens=tokens)


def construct(
    model: Callable[..., Any], shape: tuple[int, ...], n_outputs: int, settings: Mapping[str, Any], *, where: str
) -> nn.Module:
    """Call a user's class or function as :mod:`clbench.models.user_signature` describes, and return the module.

    Args:
        model: The class or function.
        shape: Shape of one sample.
        n_outputs: Number of output units C.
        settings: Settings by name.
        where: Name of the model in messages.

    Raises:
        Refused: It cannot be called so, fails, or returns no module.
    """
    try:
        positional, named = arguments(model, shape, n_outputs, settings)
    except Refused as error:
        raise Refused(f"{where}{_parameters(model)}: {error}") from None
    try:
        made = model(*positional, **named)
    except Refused:
        raise
    except Exception as error:
        first = " ".join(str(error).split())
        told = ", ".join([*map(str, positional), *(f"{name}={value!r}" for name, value in named.items())])
        raise Refused(
            f"{where} raised {type(error).__name__}: {first}{_place(error)} when it was called with ({told})"
        ) from error
    if not isinstance(made, nn.Module):
        hint = "; end it with return" if made is None else ""
        raise Refused(f"{where} returns a {type(made).__name__}, not a torch.nn.Module{hint}")
    return made


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise Refused(
            f"model {type(model).__name__} cannot be copied ({type(error).__name__}: {first}), and every run begins "
            "with a copy; give a function (shape, n_outputs) that makes it"
        ) from error


def _parameters(model: Any) -> str:
    try:
        return str(inspect.signature(model))
    except (TypeError, ValueError):
        return "(...)"


def _place(error: Exception) -> str:
    """Return `` (FILE, line N)`` of the innermost code that raised the error, without this file."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
