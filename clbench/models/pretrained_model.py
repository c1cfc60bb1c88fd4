"""Models that begin with pretrained weights; see :func:`clbench.models.builders.pretrained`."""

from __future__ import annotations

from typing import Any

from torch import nn

from clbench.core.errors import Refused
from clbench.models import transformer
from clbench.models.image_input import ImageInput, WithInput
from clbench.models.pretrained import scheme_of
from clbench.models.pretrained.loaded import IMAGENET, UNIT, Loaded
from clbench.models.trained_weights import train_only
from clbench.models.transformer_names import translated
from clbench.models.wrap import wrap


def build(
    shape: tuple[int, ...], n_outputs: int, *, source: str, train: str, inputs: str, resize: int | None, **options: Any
) -> nn.Module:
    """Build a pretrained model with a new last layer; arguments and errors are as for the builder."""
    scheme, rest = scheme_of(source)
    loaded = scheme.load(rest, options)
    images = image_input(loaded, inputs, resize)
    if loaded.state is not None:
        known = {**loaded.form, "heads": options.get("attention_heads") or loaded.form.get("heads")}
        form, state = translated(loaded.state, what=loaded.what, **known)
        model: nn.Module = transformer.built(
            form, state, images, n_outputs, shape=shape, antialias=loaded.antialias, what=loaded.what
        )
    else:
        assert loaded.module is not None
        replace_last_linear(loaded.module, n_outputs, loaded.what)
        model = wrap(WithInput(images, loaded.module), n_outputs, shape=shape)
    train_only(model, train)
    return model


def image_input(loaded: Loaded, inputs: str, resize: int | None) -> ImageInput:
    """Return how images become the input of a pretrained network.

    Args:
        loaded: The network.
        inputs: ``own``, ``unit`` or ``imagenet``.
        resize: Height and width to which images are resized.
    """
    mean, std = {"unit": UNIT, "imagenet": IMAGENET}.get(inputs, (loaded.mean, loaded.std))
    return ImageInput(mean, std, resize)


def last_linear(model: nn.Module, what: str) -> str:
    """Return the name of the last linear layer of a network.

    Raises:
        Refused: It has none.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise Refused(
            f"{what} does not end in a linear layer, which a classifier of other classes needs; choose another network",
            "source",
        )
    return str(linear[-1])


def replace_last_linear(model: nn.Module, n_outputs: int, what: str) -> None:
    """Put a new linear layer of ``n_outputs`` units in place of the last one; errors are as in :func:`last_linear`."""
    name = last_linear(model, what)
    last = model.get_submodule(name)
    assert isinstance(last, nn.Linear)
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, nn.Linear(last.in_features, n_outputs))
