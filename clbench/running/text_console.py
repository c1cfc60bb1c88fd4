"""A console for texts of records: they are printed as they are, but no terminal obeys a character in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from clbench.core.shown_text import pictured


class TextConsole(Console):
    """Print texts without markup and highlighting, and with pictures of control characters.

    Args:
        settings: Further settings of :class:`rich.console.Console`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return a text to print, with room for its pictures."""
        return super().render_str(pictured(text), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the pieces of something to print, of which only those of the console itself control the terminal."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else Segment(pictured(piece.text), piece.style)
