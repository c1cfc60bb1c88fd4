"""The format of a picture: its size in inches, the size of its letters, and whether it has a title.

One format holds for everything that is drawn inside :func:`formatted`. Kinds of plots lay out their panels in *layout
inches*: inches of a picture with letters of the usual size. A picture with smaller letters has more of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from clbench.core.errors import Refused

USUAL = 9.5
"""Size of the letters of a legend, in points, for which sizes in the code of plots are stated."""
DEFAULTS = ((4.5, 7.0), (7.0, 8.0))
"""Widths in inches below which letters are smaller by default, with their sizes in points."""
NARROW = 7.0
"""Width below which legends are below the axes and panels below each other, in layout inches."""
PER_PANEL = 6
"""Largest number of strategies in one panel by default."""
WIDTHS, HEIGHTS, SIZES = (1.0, 60.0), (0.8, 200.0), (3.0, 40.0)


@dataclass(frozen=True)
class Format:
    """Describe the format of a picture.

    Args:
        width: Width in inches, 1 to 60; by default the usual one of the kind.
        height: Height in inches, 0.8 to 200; by default what the panels need.
        font_size: Size of the letters in points, 3 to 40: of legends and captions; other texts are in proportion. By
            default 9.5, 8 in pictures narrower than 7 inches, and 7 in those narrower than 4.5 inches.
        title: Whether the picture has a title and a caption below it.
        per_panel: Largest number of strategies in one panel, at least 1.
        names: Label of a strategy, or title of a benchmark -> the name to draw.

    Raises:
        Refused: A number is outside of its range.
    """

    width: float | None = None
    height: float | None = None
    font_size: float | None = None
    title: bool = True
    per_panel: int = PER_PANEL
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sizes = (
            ("width", self.width, WIDTHS, "inches"),
            ("height", self.height, HEIGHTS, "inches"),
            ("font size", self.font_size, SIZES, "points"),
        )
        for name, value, (low, high), unit in sizes:
            if value is not None and not low <= value <= high:
                raise Refused(f"a picture's {name} cannot be {value:g} {unit}; choose {low:g} to {high:g}")
        if self.per_panel < 1:
            raise Refused(f"a panel cannot hold {self.per_panel} strategies; choose 1 or more")

    @property
    def letters(self) -> float:
        """Return the size of letters in points."""
        if self.font_size is not None:
            return self.font_size
        width = math.inf if self.width is None else self.width
        return next((size for limit, size in DEFAULTS if width < limit), USUAL)

    @property
    def scale(self) -> float:
        """Return the factor from layout inches to inches, and from the usual size of a text to its size."""
        return self.letters / USUAL


_USUAL_FORMAT = Format()
_current: ContextVar[Format] = ContextVar("format", default=_USUAL_FORMAT)


def current() -> Format:
    """Return the format that holds now."""
    return _current.get()


@contextmanager
def formatted(form: Format) -> Iterator[None]:
    """Draw everything inside this context in a format."""
    from matplotlib import rc_context

    token = _current.set(form)
    try:
        with rc_context({"font.size": 10 * form.scale, "hatch.linewidth": form.scale}):
            yield
    finally:
        _current.reset(token)


def points(size: float) -> float:
    """Return the size of a text, a line or a mark in points, given its usual size."""
    return size * current().scale


def room(usual: float) -> float:
    """Return the width of the picture in layout inches, given the usual one."""
    form = current()
    return usual if form.width is None else form.width / form.scale


def is_narrow(width: float) -> bool:
    """Return whether a width in layout inches has no room for a legend beside the axes."""
    return width < NARROW


def groups(labels: Sequence[str]) -> list[list[str]]:
    """Divide strategies, in their order, into as few panels as the format allows, of nearly equal sizes."""
    count = math.ceil(len(labels) / current().per_panel)
    size, larger = divmod(len(labels), count)
    made, begin = [], 0
    for place in range(count):
        end = begin + size + (place < larger)
        made.append(list(labels[begin:end]))
        begin = end
    return made
