"""Weights in a file, ``file:PATH``: a state dict of a vision transformer, or of a classifier of torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clbench.core.errors import Refused
from clbench.core.user_files import found
from clbench.data import file_contents
from clbench.models.pretrained.loaded import Loaded


class _WeightFile:
    def identity(self, rest: str, options: Mapping[str, Any]) -> str:
        return file_contents.checksum([_file(rest)])

    def load(self, rest: str, options: Mapping[str, Any]) -> Loaded:
        from clbench.models.transformer_names import looks_like_a_transformer

        state, what = _state(_file(rest)), f"file:{Path(rest).name}"
        architecture = options.get("architecture")
        if architecture is None:
            if not looks_like_a_transformer(state):
                first = ", ".join(list(state)[:3])
                raise Refused(
                    f"{what} does not have the names of a vision transformer (its first are {first}); say of which "
                    "architecture it is a state dict, such as architecture: resnet18 of torchvision",
                    "architecture",
                )
            return Loaded(what, state=state)
        from clbench.core.compat import import_torchvision
        from clbench.models.pretrained.from_torchvision import of_classifier
        from clbench.models.torchvision_model import load

        return of_classifier(load(import_torchvision().models, architecture, str(found(rest))), what)


def _file(path: str) -> Path:
    file = found(path)
    if not file.is_file():
        raise Refused(f"source file:{path} is not there; give the path of a state dict, absolute or relative to the "
                      "folder of the benchmark file or of data", "source")  # fmt: skip
    return file


def _state(file: Path) -> dict[str, Any]:
    import torch

    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            read: Any = load_file(str(file))
        else:
            read = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise Refused(f"{file} is not a readable state dict ({type(error).__name__}: {first}); save one with "
                      "torch.save(model.state_dict(), FILE)", "source") from error  # fmt: skip
    for key in ("state_dict", "model", "teacher"):
        if isinstance(read, dict) and isinstance(read.get(key), dict):
            read = read[key]
    named = isinstance(read, dict) and all(isinstance(name, str) for name in read)
    if not named or not all(isinstance(tensor, torch.Tensor) for tensor in read.values()):
        raise Refused(f"{file} does not hold a state dict of names and tensors; save one with "
                      "torch.save(model.state_dict(), FILE)", "source")  # fmt: skip
    return {name.removeprefix("module."): tensor for name, tensor in read.items()}


SCHEME = _WeightFile()
