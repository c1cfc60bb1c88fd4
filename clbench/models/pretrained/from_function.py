"""Networks of the user's: ``FILE.py:NAME``, a function without arguments that returns a module with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clbench.core.errors import Refused
from clbench.models.pretrained.loaded import UNIT, Loaded, weights_checksum


class _Function:
    def identity(self, rest: str, options: Mapping[str, Any]) -> str:
        return weights_checksum(_module(rest).state_dict())

    def load(self, rest: str, options: Mapping[str, Any]) -> Loaded:
        return Loaded(rest, module=_module(rest), mean=UNIT[0], std=UNIT[1])


def _module(source: str) -> Any:
    from torch import nn

    from clbench.models.pretrained import SCHEMES

    made = SCHEMES.get(source)
    made = made() if callable(made) and not isinstance(made, nn.Module) else made
    if not isinstance(made, nn.Module):
        raise Refused(
            f"source {source} returns a {type(made).__name__}; return a torch.nn.Module with its weights", "source"
        )
    return made


SCHEME = _Function()
