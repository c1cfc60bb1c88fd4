"""Classifiers of torchvision with published weights: ``torchvision:ARCHITECTURE``, or with ``/WEIGHTS`` behind it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clbench.data import file_contents
from clbench.models.pretrained.loaded import IMAGENET, Loaded


class _Torchvision:
    def identity(self, rest: str, options: Mapping[str, Any]) -> str:
        import torch

        from clbench.core.compat import import_torchvision

        architecture, weights = _split(rest)
        models = import_torchvision().models
        from clbench.models.torchvision_model import load, published

        entry = published(models, architecture, weights)
        place = Path(torch.hub.get_dir()) / "checkpoints" / str(entry.url).rpartition("/")[2]
        if not place.is_file():
            load(models, architecture, weights)  # downloads, or says why it cannot
        return file_contents.checksum([place])

    def load(self, rest: str, options: Mapping[str, Any]) -> Loaded:
        from clbench.core.compat import import_torchvision
        from clbench.models.torchvision_model import load, published

        architecture, weights = _split(rest)
        models = import_torchvision().models
        module = load(models, architecture, weights)
        preset = published(models, architecture, weights).transforms()
        mean, std = getattr(preset, "mean", IMAGENET[0]), getattr(preset, "std", IMAGENET[1])
        return of_classifier(module, f"torchvision:{rest}", mean=mean, std=std)


def of_classifier(module: Any, what: str, *, mean: Any = IMAGENET[0], std: Any = IMAGENET[1]) -> Loaded:
    """Return a classifier of torchvision as a source gives it: a vision transformer by its weights."""
    mean, std = tuple(map(float, mean)), tuple(map(float, std))
    if type(module).__name__ != "VisionTransformer":
        return Loaded(what, module=module, mean=mean, std=std)
    layer = module.encoder.layers[0]
    form = {"heads": layer.num_heads, "eps": layer.ln_1.eps}
    return Loaded(what, state=module.state_dict(), form=form, mean=mean, std=std, size=module.image_size)


def _split(rest: str) -> tuple[str, str]:
    architecture, _, weights = rest.partition("/")
    return architecture, weights or "DEFAULT"


SCHEME = _Torchvision()
