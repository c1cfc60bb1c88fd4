"""Data sets of features from a frozen, pretrained model; features are computed once and cached.

In a benchmark file: ``dataset: {name: cifar10, features: {architecture: resnet18, weights: DEFAULT, resize: 224}}``. If
the features are in the cache, no torch is imported.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from clbench import data
from clbench.core.errors import Refused
from clbench.core.parameters import validate
from clbench.core.types import Dataset
from clbench.core.user_files import found
from clbench.data.arrays import checksum
from clbench.data.cache import cached
from clbench.models import pretrained

VERSION = 1
"""Version of the features. It is raised if features of a model change, so that cached ones are not used."""

CHOICE = ("validation", "train_rows", "test_rows", "evaluate_on")
"""Settings of a data set that choose its samples."""


def settings(
    *, architecture: str, weights: str, resize: Annotated[int, Field(ge=1)] | None = None, layer: str | None = None
) -> None:
    """Declare the settings of ``features`` of a data set.

    Args:
        architecture: A classifier in ``torchvision.models``, such as ``resnet18``.
        weights: Name of published weights (downloaded on first use), such as ``DEFAULT``, or the path of a file with a
            state dict of the 1000-class model.
        resize: Height and width to which images are resized, bilinearly; by default images keep their size.
        layer: Name of a module; its output, averaged over positions, is the feature. By default the feature is the
            input of the last linear layer.
    """


def source_settings(
    *,
    source: str,
    input: Literal["own", "unit", "imagenet"] = "own",
    resize: Annotated[int, Field(ge=1)] | None = None,
    layer: str | None = None,
    architecture: str | None = None,
    attention_heads: Annotated[int, Field(ge=1)] | None = None,
) -> None:
    """Declare the settings of ``features`` with a ``source``; see :func:`clbench.models.builders.pretrained`.

    Args:
        source: Where the weights come from, such as ``package:efficientnet-lite0``.
        input: How images in [0, 1] are normalised.
        resize: Height and width to which images are resized, bilinearly; by default images keep their size.
        layer: Name of a module; its output, averaged over positions or patches, is the feature. By default the feature
            is the input of the last linear layer.
        architecture: The classifier of torchvision to which the weights of a file belong.
        attention_heads: The heads of a vision transformer in a file.
    """


def canonical(written: Any) -> dict[str, Any]:
    """Return all settings, with the checksum of the weights if they come from a file or a ``source``.

    Raises:
        Refused: A setting is unknown or missing, or a value has a wrong type.
    """
    if not isinstance(written, Mapping):
        raise Refused(
            f"dataset: features = {written!r} is not allowed; write {{source: torchvision:resnet18}}, or "
            "{architecture: resnet18, weights: DEFAULT}",
            "features",
        )
    given = {key: value for key, value in written.items() if key != "checksum"}
    if "source" in given:
        checked = validate(source_settings, given, where="features of a data set")
        return {**checked, "checksum": pretrained.identity(checked["source"], checked)}
    filled = validate(settings, given, where="features of a data set")
    file = found(filled["weights"])
    return {**filled, "checksum": _checksum(file)} if file.is_file() else filled


def load(
    name: str, data_dir: str | PathLike[str] | None = None, *, features: Mapping[str, Any] | None = None, **options: Any
) -> Dataset:
    """Load a data set by name, as :func:`clbench.data.load` does, with features of a frozen model as samples.

    Args:
        name: As for :func:`clbench.data.load`.
        data_dir: As for :func:`clbench.data.load`.
        features: Settings, see :func:`settings`; ``None`` leaves images unchanged.
        **options: Further settings of a data set, as for :func:`clbench.data.load`; ``size`` is that of the images.

    Returns:
        The data set, with samples (H,) float32.

    Raises:
        Refused: As for :func:`clbench.data.load`; or samples are not images, or the model or weights are not available.
    """
    if features is None:
        return data.load(name, data_dir, **options)
    reading = {key: options.pop(key) for key in data.READING if key in options}
    return finish(data.read(name, data_dir, **reading), name, features=features, **options)


def finish(whole: Dataset, name: str, *, features: Mapping[str, Any] | None = None, **options: Any) -> Dataset:
    """Prepare a whole data set as :func:`load` does; arguments and errors are as there."""
    if features is None:
        return data.finish(whole, name, **options)
    chosen = canonical(features)
    if features.get("checksum", chosen.get("checksum")) != chosen.get("checksum"):
        raise Refused(
            f"the weights {chosen.get('weights') or chosen['source']} have changed since this cell was planned; put "
            "the old file back, or plan again"
        )
    if options.get("normalize", "none") != "none" and options.get("statistics") is None:
        options["statistics"] = "all"  # features have one scale
    if "source" in chosen and {"train_rows", "test_rows"} & {
        key for key, value in options.items() if value is not None
    }:
        # the features of a subset are computed alone; without one, each later choice of samples finds those of all
        choice = {key: options.pop(key) for key in CHOICE if key in options}
        whole = data.finish(whole, name, **choice)
    return data.finish(_features(whole, name, chosen), name, **options)


def _features(images: Dataset, name: str, chosen: Mapping[str, Any]) -> Dataset:
    """Return the data set with features instead of images, from the cache if they are there."""
    if len(images.shape) != 3 or images.shape[0] not in (1, 3):
        raise Refused(
            f"data set {name!r} has samples of shape {images.shape}, and a pretrained model takes images of 1 or 3 "
            "channels; leave features out"
        )

    def compute() -> Dataset:
        from clbench.models.extractor import extract

        model = {key: value for key, value in chosen.items() if key != "checksum"}
        train, test = (
            replace(rows, x=extract(rows.x, images.scale, settings=model, what=f"{name}'s {split} samples"))
            for split, rows in (("training", images.train), ("test", images.test))
        )
        total = checksum(train, test, 1.0)
        return replace(
            images, name=name, train=train, test=test, scale=1.0, checksum=total, mean=(), std=(), origins=()
        )

    what = [VERSION, images.checksum, dict(chosen), None if "checksum" in chosen else version("torchvision")]
    network = chosen["architecture"] if "source" not in chosen else chosen["source"]
    found = cached(f"{images.name}-{network}", [], compute, identity=json.dumps(what, sort_keys=True))
    return replace(found, name=name, origins=images.origins)


def _checksum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
