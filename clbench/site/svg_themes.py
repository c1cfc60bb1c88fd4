"""The colours of pictures for light and dark pages. Pictures are files, to which the page's style sheet does not
apply, so each is written in both."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """Hold the colours of one theme.

    Args:
        name: ``light`` or ``dark``, the end of a picture's name.
        ink, muted, line, ground: Colours of text, of labels, of grids, and of the page.
        accent, pale: Colours of what matters and of everything else.
    """

    name: str
    ink: str
    muted: str
    line: str
    ground: str
    accent: str
    pale: str


LIGHT = Theme("light", "#1f2430", "#5d6575", "#e1e4ea", "#ffffff", "#0b62a8", "#aab2c0")
DARK = Theme("dark", "#e8ebf1", "#a2abba", "#313744", "#14171d", "#7cbdf0", "#5f6979")


def themed() -> tuple[Theme, Theme]:
    """Return the themes in which every picture is written."""
    return LIGHT, DARK
