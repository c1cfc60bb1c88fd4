"""Classifiers of torchvision, adapted to any number of channels, image size and number of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clbench.core.compat import import_torchvision
from clbench.core.errors import Refused, did_you_mean
from clbench.core.user_files import found
from clbench.data.roots import may_download
from clbench.models.wrap import wrap

# These two have auxiliary classifiers, which would make them return a tuple in training.
AUXILIARY = ("googlenet", "inception_v3")


class Images(nn.Module):
    """Convert images to the input of an ImageNet classifier: three channels, and another size if requested."""

    def __init__(self, model: nn.Module, resize: int | None) -> None:
        super().__init__()
        self.model = model
        self.resize = resize

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        if self.resize is not None:
            x = F.interpolate(x, size=(self.resize, self.resize), mode="bilinear", align_corners=False)
        logits: Tensor = self.model(x)
        return logits


def build(
    shape: tuple[int, ...], n_outputs: int, *, architecture: str, weights: str | None, resize: int | None
) -> nn.Module:
    """Build a torchvision classifier; see :func:`clbench.models.builders.torchvision`."""
    models = import_torchvision().models
    _known(models, architecture)
    if shape[0] not in (1, 3):
        raise Refused(
            f"torchvision models take images of 1 or 3 channels, but samples have {shape[0]}; choose model 'cnn'"
        )
    model = load(models, architecture, weights)
    _replace_last_linear(model, architecture, n_outputs)
    return wrap(Images(model, resize), n_outputs, shape=shape)


def _known(models: Any, architecture: str) -> None:
    known = models.list_models(module=models)
    if architecture not in known:
        raise Refused(f"torchvision has no classifier {architecture!r}; {did_you_mean(architecture, known)}")


def load(models: Any, architecture: str, weights: str | None) -> nn.Module:
    """Load a classifier with 1000 classes.

    Args:
        models: The module ``torchvision.models``.
        architecture: Name of a classifier in it.
        weights: Name of published weights, the path of a file, or ``None`` for random weights.

    Raises:
        Refused: The architecture or weights do not exist, the weights belong to another architecture, or a necessary
            download fails.
    """
    _known(models, architecture)
    extra = {"aux_logits": False, "init_weights": weights is None} if architecture in AUXILIARY else {}
    if weights is None:
        random: nn.Module = models.get_model(architecture, weights=None, **extra)
        return random
    path = found(weights)
    if path.is_file():
        model: nn.Module = models.get_model(architecture, weights=None, **extra)
        state: Any = None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            model.load_state_dict(state)
        except Exception as error:
            why = _difference(model, state) or f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            raise Refused(
                f"{path} does not hold weights of torchvision's {architecture} ({why}); give a state dict saved from "
                "that model with its 1000 classes"
            ) from error
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise Refused(f"{path}: {name} holds values that are not finite; these weights cannot be used")
        return model
    model = _published(models, architecture, weights)
    if architecture in AUXILIARY:
        setattr(model, "aux_logits", False)  # noqa: B010 not declared for modules in general
        for name in ("AuxLogits", "aux1", "aux2"):
            setattr(model, name, None)
    return model


def _difference(model: nn.Module, state: Any) -> str:
    """Say in which layer weights differ from those of a model; the empty text if it is in none."""
    if not isinstance(state, dict):
        return ""
    wanted = model.state_dict()
    for name, tensor in wanted.items():
        if name not in state:
            return f"it lacks {name}"
        if getattr(state[name], "shape", None) != tensor.shape:
            return f"{name} has shape {tuple(getattr(state[name], 'shape', ()))} instead of {tuple(tensor.shape)}"
    return next((f"it has {name}, which this architecture lacks" for name in state if name not in wanted), "")


def published(models: Any, architecture: str, weights: str) -> Any:
    """Return torchvision's entry of published weights, with ``url`` and ``transforms``.

    Raises:
        Refused: The architecture or the weights do not exist.
    """
    _known(models, architecture)
    names = [str(weight).split(".")[-1] for weight in models.get_model_weights(architecture)]
    if weights != "DEFAULT" and weights not in names:
        raise Refused(
            f"weights = {weights!r} is neither a file nor published for {architecture}; known: "
            f"{', '.join(['DEFAULT', *names])}"
        )
    return models.get_model_weights(architecture)[weights]


def _published(models: Any, architecture: str, weights: str) -> nn.Module:
    """Load a classifier with published weights, which are downloaded if necessary."""
    url = str(published(models, architecture, weights).url)
    place = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    why = "downloads are switched off by CLBENCH_OFFLINE"
    if place.is_file() or may_download():
        try:
            model: nn.Module = models.get_model(architecture, weights=weights)
            return model
        except (OSError, RuntimeError) as error:
            why = f"the download failed ({type(error).__name__}: {error})"
    raise Refused(
        f"the weights {weights} of torchvision's {architecture} are not at {place}, and {why}; put the file there, or "
        f"give the path of a file as weights; it is published as {url}"
    )


def last_linear(model: nn.Module, architecture: str) -> str:
    """Return the name of the last linear layer of a classifier with 1000 classes.

    Raises:
        Refused: The last layer is not linear.
    """
    linear = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear or linear[-1][1].out_features != 1000:
        raise Refused(
            f"torchvision's {architecture} does not end in a linear layer, which a classifier of other classes needs; "
            "choose another architecture, such as resnet18"
        )
    return str(linear[-1][0])


def _replace_last_linear(model: nn.Module, architecture: str, n_outputs: int) -> None:
    name = last_linear(model, architecture)
    last = model.get_submodule(name)
    assert isinstance(last, nn.Linear)
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, nn.Linear(last.in_features, n_outputs))
