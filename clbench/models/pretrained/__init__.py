"""Pretrained networks by source: ``torchvision:resnet50``, ``timm:NAME``, ``file:PATH``, ``FILE.py:NAME`` and others.

A *scheme* is what stands before the colon. It is an object with two functions, as :class:`Scheme` describes. This
module imports no torch; what a scheme needs is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from clbench.core.errors import Refused
from clbench.core.registry import Registry

if TYPE_CHECKING:
    from clbench.models.pretrained.loaded import Loaded


class Scheme(Protocol):
    """Find and load the weights of one kind of source."""

    def identity(self, rest: str, options: Mapping[str, Any]) -> str:
        """Return the checksum of the weights; they are downloaded first if that is allowed and necessary.

        Raises:
            Refused: The name is unknown, an extra is missing, or the weights are not there; the message says what
                to do.
        """

    def load(self, rest: str, options: Mapping[str, Any]) -> Loaded:
        """Load the weights; errors are as for :meth:`identity`, or the weights fit no architecture."""


SCHEMES = Registry(
    "source of pretrained weights",
    "clbench.pretrained",
    {
        "torchvision": (
            "clbench.models.pretrained.from_torchvision:SCHEME",
            "classifiers of torchvision: torchvision:resnet50",
        ),
        "timm": (
            "clbench.models.pretrained.from_timm:SCHEME",
            "models of timm: timm:vit_base_patch16_224 (extra timm)",
        ),
        "open_clip": (
            "clbench.models.pretrained.from_open_clip:SCHEME",
            "image towers of CLIP: open_clip:ViT-B-16/openai (extra open_clip)",
        ),
        "package": (
            "clbench.models.pretrained.from_package:SCHEME",
            "weights inside an installed package: package:efficientnet-lite0 (extra pretrained)",
        ),
        "file": (
            "clbench.models.pretrained.from_weight_file:SCHEME",
            "a state dict of a vision transformer or a classifier",
        ),
    },
)
"""Schemes by name, each a :class:`Scheme`; ``FILE.py:NAME`` is a function of the user's that returns a module."""


def scheme_of(source: str) -> tuple[Scheme, str]:
    """Return the scheme of a source, and the rest of its name.

    Raises:
        Refused: There is no such scheme.
    """
    name, colon, rest = source.partition(":")
    if name.endswith(".py") and rest:
        from clbench.models.pretrained.from_function import SCHEME

        return SCHEME, source
    if not colon or not rest or name not in SCHEMES:
        known = ", ".join(f"{entry.name}:..." for entry in SCHEMES)
        raise Refused(f"source = {source!r} is not of a known form; write one of {known}, or FILE.py:NAME", "source")
    scheme: Scheme = SCHEMES.get(name)
    return scheme, rest


def identity(source: str, options: Mapping[str, Any]) -> str:
    """Return the checksum of the weights of a source; see :meth:`Scheme.identity`."""
    scheme, rest = scheme_of(source)
    return scheme.identity(rest, options)
