"""Models: networks by name. Importing this package, listing models and checking their settings import no torch.

A function ``name(shape, n_outputs, *, settings) -> torch.nn.Module`` builds a model. Its keyword parameters are its
settings. A class or function of the user's, ``FILE.py:NAME``, may also ask by name for what it needs; see
:mod:`clbench.models.user_signature`.

Every model returns :class:`clbench.models.output.Output`: logits and the features of the last layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clbench.core.errors import Refused
from clbench.core.parameters import validate, without_options
from clbench.core.public_names import public
from clbench.core.registry import Registry
from clbench.core.user_files import found
from clbench.data import file_contents
from clbench.models import pretrained, user_signature

MODELS = Registry(
    "model",
    "clbench.models",
    {
        "mlp": ("clbench.models.builders:mlp", "fully connected layers of any widths; linear without hidden layers"),
        "cnn": ("clbench.models.builders:cnn", "four convolutions with group, batch or no norm, sized for CPUs"),
        "perceptron": (
            "clbench.models.builders:perceptron",
            "one linear unit whose sign is the class; the student of scenario teacher",
        ),
        "resnet": ("clbench.models.builders:resnet", "slim ResNet-18 for small images, group or batch norm"),
        "resnet_cifar": (
            "clbench.models.builders:resnet_cifar",
            "ResNet-32 and other depths of He et al. for CIFAR, batch or group norm",
        ),
        "vit": ("clbench.models.builders:vit", "small vision transformer, sized for CPUs"),
        "pretrained": ("clbench.models.builders:pretrained", "a network with pretrained weights of any source"),
        "torchvision": ("clbench.models.builders:torchvision", "any torchvision classifier: torchvision:resnet18"),
    },
)

PRETRAINED = "pretrained"
"""The model whose weights have a ``source``."""
FILE = "weights_checksum"
"""Key of a model's configuration for the checksum of its weight file."""


def canonical(config: Mapping[str, Any]) -> dict[str, Any]:
    """Check the configuration of a model and write out its settings; this builds nothing and imports no torch.

    Args:
        config: ``name`` and settings by name; settings that are not given keep their defaults. ``name:
            torchvision:resnet18`` is short for ``name: torchvision, architecture: resnet18``.

    Returns:
        ``name`` and all settings of that model, without each :class:`~clbench.core.parameters.Option` at its default;
        if ``weights`` is a file, also the checksum of its content.

    Raises:
        Refused: The name is missing or unknown, a setting is unknown, or a value has a wrong type.
    """
    checked = completed(config)
    return checked if MODELS.source(checked["name"]) else without_options(MODELS.get(checked["name"]), checked)


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Check the configuration of a model and write out all settings, options at their default too.

    Arguments and errors are as in :func:`canonical`.
    """
    if not isinstance(config.get("name"), str):
        names = ", ".join(entry.name for entry in MODELS)
        raise Refused(f"a model needs name: NAME, got {config.get('name')!r}; known: {names}")
    source = MODELS.source(config["name"])
    own = {"name", FILE} if config["name"] == PRETRAINED else {"name", FILE, "source"}  # that of code, or of weights
    settings = {key: value for key, value in config.items() if key not in own}
    name, _, architecture = (config["name"], "", "") if source else config["name"].partition(":")
    if architecture and (name != "torchvision" or settings.setdefault("architecture", architecture) != architecture):
        raise Refused(
            f"model {config['name']!r} with settings {settings} is not possible; only torchvision:ARCHITECTURE has two "
            "parts, and then architecture is not given a second time"
        )
    if source:
        checked = {
            "name": name,
            **user_signature.canonical(MODELS.get(name), settings, where=f"model {public(name)!r}"),
        }
    else:
        checked = {"name": name, **validate(MODELS.get(name), settings, where=f"model {name!r}")}
    weights = checked.get("weights")
    if isinstance(weights, str) and (file := found(weights)).is_file():
        checked[FILE] = file_contents.checksum([file])
    if name == PRETRAINED:
        weights = checked["source"]
        checked[FILE] = pretrained.identity(weights, checked)
    if config.get(FILE, checked.get(FILE)) != checked.get(FILE):
        raise Refused(
            f"the weights {weights} are not those that this cell was planned with; put the old file back, or plan again"
        )
    return {**checked, "source": source} if source else checked


def make(config: Mapping[str, Any], shape: tuple[int, ...], n_outputs: int) -> Any:
    """Build a model. Initial weights come from torch's global generator, which the caller seeds.

    Args:
        config: ``name`` and settings by name, such as ``{"name": "mlp", "hidden": [400, 400]}``.
        shape: Shape of one sample: (channels, height, width) or (features,).
        n_outputs: Number of output units C.

    Returns:
        A ``torch.nn.Module`` from (B, *shape) float32 to ``Output(logits (B, C), features (B, H))``. Its ``head`` is
        the last ``torch.nn.Linear``.

    Raises:
        Refused: A setting is unknown, has a wrong type, or is impossible for this shape.
    """
    from clbench.models.user_models import construct
    from clbench.models.wrap import wrap

    settings = completed(config)
    settings.pop(FILE, None)
    name = settings.pop("name")
    if MODELS.source(name):
        settings.pop("source")
        module = construct(MODELS.get(name), shape, n_outputs, settings, where=f"model {public(name)}")
        return wrap(module, n_outputs, shape=shape)
    return wrap(MODELS.get(name)(shape, n_outputs, **settings), n_outputs, shape=shape)
