"""How a site draws the lines of strategies: in the colours and dashes of the plots, lighter on a dark ground."""

from __future__ import annotations

from clbench.plots.strategy_styles import Style
from clbench.site.svg_themes import Theme

LIGHTER = 0.4
"""Share of white in the colours of a dark page; without it the darkest ones cannot be seen."""


def colour_on(theme: Theme, colour: str) -> str:
    """Return a colour ``#rrggbb`` as it is drawn on the pages of a theme."""
    if theme.name != "dark":
        return colour
    parts = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return "#" + "".join(f"{round(part + LIGHTER * (255 - part)):02x}" for part in parts)


def dashes(style: Style, width: float = 1.75) -> list[float]:
    """Return lengths in pixels of the drawn and empty parts of a strategy's line; none for a solid line.

    Args:
        style: How plots draw the strategy. Its lengths are in widths of the line.
        width: Width of the line, in pixels.
    """
    return [] if style.dash == "-" else [round(width * length, 1) for length in style.dash[1]]
