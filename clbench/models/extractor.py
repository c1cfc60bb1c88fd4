"""Feature extraction from images by a frozen network."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clbench.core.compat import import_torchvision
from clbench.core.errors import Refused, did_you_mean
from clbench.data.row_files import RowFile
from clbench.models import pretrained_model
from clbench.models.torchvision_model import Images, last_linear, load
from clbench.models.transformer import is_transformer

ROWS = 64
"""Number of images in a forward pass. It is constant, since it may change the last bits of a sum."""

QUIET_SECONDS = 10.0
"""Seconds between two reports of the progress of an extraction."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's colours in [0, 1], with which torchvision's classifiers normalise
inputs."""


class Extractor(nn.Module):
    """Map images in [0, 1] to feature vectors with frozen weights.

    Args:
        architecture: Name in ``torchvision.models``.
        weights: Name of published weights, or the path of a file with a state dict of the 1000-class model.
        resize: Height and width to which images are resized, bilinearly.
        layer: Name of a module (``named_modules``) whose output is the feature, averaged over positions; by default the
            feature is the input of the last linear layer.

    Raises:
        Refused: The architecture, layer or weights are unknown.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: str, weights: str, *, resize: int | None, layer: str | None) -> None:
        super().__init__()
        model = load(import_torchvision().models, architecture, weights)
        self._caught: Tensor | None = None
        self._layer = layer
        if layer is None:
            name = last_linear(model, architecture)
            parent, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(parent), attribute, nn.Identity())
        else:
            known = [name for name, _ in model.named_modules() if name]
            if layer not in known:
                raise Refused(f"torchvision's {architecture} has no module {layer!r}; {did_you_mean(layer, known)}")
            model.get_submodule(layer).register_forward_hook(self._catch)
        self.images = Images(model, resize)
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).reshape(1, 3, 1, 1))
        self.eval()

    def _catch(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        self._caught = output if isinstance(output, Tensor) else None

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, H) of images (B, 1 or 3, height, width) in [0, 1]."""
        out: Tensor | None = self.images((x.expand(-1, 3, -1, -1) - self.mean) / self.std)
        if self._layer is not None:
            out = self._caught
        if not isinstance(out, Tensor) or out.dim() < 2:
            raise Refused(f"the module {self._layer!r} returns no tensor with one row per image; choose another layer")
        if out.dim() == 4:
            out = out.mean(dim=(2, 3))  # (B, channels, height, width)
        return out.mean(dim=1) if out.dim() == 3 else out.flatten(1)  # tokens (B, positions, H)


class SourceExtractor(nn.Module):
    """Map images in [0, 1] to features of a pretrained network of any source.

    Args:
        shape: (channels, height, width) of one image.
        settings: As :func:`clbench.models.frozen_features.source_settings` declares them.

    Raises:
        Refused: As for :func:`clbench.models.builders.pretrained`; or the layer is unknown.
    """

    def __init__(self, shape: tuple[int, ...], settings: Mapping[str, Any]) -> None:
        super().__init__()
        options = {key: settings[key] for key in ("source", "resize", "architecture", "attention_heads")}
        self.model = pretrained_model.build(shape, 1, train="none", inputs=settings["input"], **options)
        self._caught: Tensor | None = None
        self._tokens = is_transformer(self.model) and self.model.class_token is not None
        self._layer = settings["layer"]
        if self._layer is not None:
            network = self.model if is_transformer(self.model) else self.model.module.model  # type: ignore[union-attr]
            assert isinstance(network, nn.Module)
            known = [name for name, _ in network.named_modules() if name]
            if self._layer not in known:
                near = did_you_mean(self._layer, known)
                raise Refused(f"{settings['source']} has no module {self._layer!r}; {near}", "layer")
            network.get_submodule(self._layer).register_forward_hook(self._catch)
        self.eval()

    def _catch(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        self._caught = output if isinstance(output, Tensor) else None

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, H) of images (B, 1 or 3, height, width) in [0, 1]."""
        features: Tensor = self.model(x).features
        if self._layer is None:
            return features
        out = self._caught
        if not isinstance(out, Tensor) or out.dim() < 2:
            raise Refused(f"the module {self._layer!r} returns no tensor with one row per image; choose another layer")
        if out.dim() == 4:
            return out.mean(dim=(2, 3))
        if out.dim() == 3:
            return out[:, int(self._tokens) :].mean(dim=1)  # the patches, without the class token
        return out.flatten(1)


def extract(x: NDArray[Any], scale: float, *, settings: Mapping[str, Any], what: str) -> NDArray[np.float32]:
    """Compute features (N, H) float32 of images (N, C, height, width), on a GPU if there is one.

    Args:
        x: Images as stored.
        scale: Factor that brings them to [0, 1].
        settings: Those of :class:`Extractor`, or with a ``source`` those of :class:`SourceExtractor`.
        what: Name of the samples in progress messages.

    Raises:
        Refused: As for the extractors; or the network does not accept the images, or features are not finite.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = str(settings.get("source") or settings["architecture"])
    model = SourceExtractor(tuple(x.shape[1:]), settings) if "source" in settings else Extractor(**settings)
    model = model.to(device)
    found, began, told = RowFile(len(x)), perf_counter(), perf_counter()
    earlier = found.done  # images of an extraction that was killed: whole forward passes
    with torch.inference_mode():
        for start in range(earlier, len(x), ROWS):
            images = torch.from_numpy(np.ascontiguousarray(x[start : start + ROWS])).to(device).float() * scale
            try:
                made = model(images).float().cpu().numpy()
            except (RuntimeError, AssertionError, ValueError) as error:
                if isinstance(error, Refused):
                    raise
                whose = "" if "source" in settings else "torchvision's "
                raise Refused(
                    f"{whose}{name} does not take images of shape {x.shape[1:]} "
                    f"({str(error).splitlines()[0]}); set resize to a size that it takes, such as 224"
                ) from error
            if not np.isfinite(made).all():
                raise Refused(f"the features of {what} by {name} are not finite; these weights cannot be used")
            found.append(made)
            now, done = perf_counter(), start + len(images)
            if now - told > QUIET_SECONDS and done < len(x):
                told, left = now, (now - began) * (len(x) - done) / (done - earlier)
                print(
                    f"features of {what} by {name}: {done} of {len(x)} images, about {left:.0f} s left "
                    "(computed once, then kept in the cache)",
                    file=sys.stderr,
                    flush=True,
                )
    return found.finish()
