"""Data sets whose rows are the features of a frozen, pretrained model: computed once, then kept in the cache.

In a benchmark file: ``dataset: {name: cifar10, features: {architecture: resnet18, weights: DEFAULT, resize: 224}}``.
No torch is imported where the features are in the cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from clbench import data
from clbench.core.errors import Refused
from clbench.core.parameters import validate
from clbench.core.types import Dataset
from clbench.data.arrays import checksum
from clbench.data.cache import cached

VERSION = 1
"""Raised when features of the same model come out different, so that old ones are no longer found."""


def settings(
    *, architecture: str, weights: str, resize: Annotated[int, Field(ge=1)] | None = None, layer: str | None = None
) -> None:
    """What ``features`` of a data set may say.

    Args:
        architecture: A classifier in ``torchvision.models``, such as ``resnet18``.
        weights: Name of published weights (downloaded on first use), such as ``DEFAULT``, or the path of a file with a
            state dict of the 1000-class model.
        resize: Height and width that images are brought to first, bilinearly; by default they stay as they are.
        layer: Name of one of its modules; its output, averaged over places, is the feature. By default the feature is
            what its last linear layer reads.
    """


def canonical(written: Any) -> dict[str, Any]:
    """All settings written out; where weights come from a file, with the checksum of what is in it.

    Raises:
        Refused: An unknown setting, a wrong type, or a missing one.
    """
    if not isinstance(written, Mapping):
        raise Refused(
            f"dataset: features = {written!r} is not allowed; write {{architecture: resnet18, weights: DEFAULT}}",
            "features",
        )
    given = {key: value for key, value in written.items() if key != "checksum"}
    filled = validate(settings, given, where="features of a data set")
    file = Path(filled["weights"]).expanduser()
    return {**filled, "checksum": _checksum(file)} if file.is_file() else filled


def load(
    name: str, data_dir: str | PathLike[str] | None = None, *, features: Mapping[str, Any] | None = None, **options: Any
) -> Dataset:
    """Load a data set by name, as :func:`clbench.data.load` does, its rows replaced by features of a frozen model.

    Args:
        name: As there.
        data_dir: As there.
        features: Settings, see :func:`settings`; images as they are where ``None``.
        **options: Further settings of a data set, as there; ``size`` is that of the images.

    Returns:
        The data set, with rows (H,) float32.

    Raises:
        Refused: As there, rows that are not images, or a model or weights that cannot be had.
    """
    if features is None:
        return data.load(name, data_dir, **options)
    reading = {key: options.pop(key) for key in data.READING if key in options}
    return finish(data.read(name, data_dir, **reading), name, features=features, **options)


def finish(whole: Dataset, name: str, *, features: Mapping[str, Any] | None = None, **options: Any) -> Dataset:
    """What :func:`load` makes of a whole data set, its second half; arguments and mistakes as there."""
    if features is None:
        return data.finish(whole, name, **options)
    chosen = canonical(features)
    if features.get("checksum", chosen.get("checksum")) != chosen.get("checksum"):
        raise Refused(
            f"the weights {chosen['weights']} are not those that this cell was planned with; put the old file back, or "
            "plan anew"
        )
    return data.finish(_features(whole, name, chosen), name, **options)


def _features(images: Dataset, name: str, chosen: Mapping[str, Any]) -> Dataset:
    """The data set with features in place of images, from the cache where they are there."""
    if len(images.shape) != 3 or images.shape[0] not in (1, 3):
        raise Refused(
            f"data set {name!r} has rows of shape {images.shape}, and a pretrained model takes images of 1 or 3 "
            "channels; leave features out"
        )

    def compute() -> Dataset:
        from clbench.models.extractor import extract

        model = {key: value for key, value in chosen.items() if key != "checksum"}
        train, test = (
            replace(rows, x=extract(rows.x, images.scale, **model, what=f"{name}'s {split} rows"))
            for split, rows in (("training", images.train), ("test", images.test))
        )
        total = checksum(train, test, 1.0)
        return replace(
            images, name=name, train=train, test=test, scale=1.0, checksum=total, mean=(), std=(), origins=()
        )

    what = [VERSION, images.checksum, dict(chosen), None if "checksum" in chosen else version("torchvision")]
    found = cached(f"{images.name}-{chosen['architecture']}", [], compute, identity=json.dumps(what, sort_keys=True))
    return replace(found, name=name, origins=images.origins)


def _checksum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
