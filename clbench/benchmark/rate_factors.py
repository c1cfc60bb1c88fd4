"""Factors of the learning rate by kind of weights, as a benchmark file writes them. It imports no torch."""

from __future__ import annotations

import math
from typing import Any

from clbench.core.errors import Refused

BODY = "body"
"""All weights but those of the head."""


def canonical(written: Any) -> dict[str, float] | None:
    """Return factors by kind of weights, in order of kinds; ``None`` if every factor is 1.

    Raises:
        Refused: It is no such mapping, or a factor is not a finite number of at least 0.
    """
    if written is None:
        return None
    if not isinstance(written, dict) or not all(isinstance(kind, str) and kind.strip() for kind in written):
        raise Refused("lr_scale is a factor for each kind of weights, such as {body: 0.01}", "lr_scale")
    for kind, factor in written.items():
        number = isinstance(factor, (int, float)) and not isinstance(factor, bool)
        if not number or not math.isfinite(factor) or factor < 0:
            raise Refused(
                f"the factor {factor!r} of {kind} is not a number of at least 0 (0 leaves these weights as they are)",
                "lr_scale",
            )
    factors = {"+".join(kind.replace(",", "+").replace(" ", "").split("+")): float(f) for kind, f in written.items()}
    return dict(sorted(factors.items())) if any(factor != 1.0 for factor in factors.values()) else None
