"""A figure that a notebook shows by itself: without pyplot, magics or a second copy."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

PIXELS = 80
"""Width of an inch in a notebook, in pixels of the page."""
SHARPNESS = 2
"""Pixels of the picture for each pixel of the page."""


class ShownFigure(Figure):
    """Extend matplotlib's figure by the picture that a notebook shows for the last value of a cell."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=PIXELS * SHARPNESS)
        width, height = (round(float(inches) * PIXELS) for inches in self.get_size_inches())
        return buffer.getvalue(), {"width": width, "height": height}
