"""The options of the size of a picture, the same for all commands that draw one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from clbench.plots.picture_format import Format

Width = Annotated[
    float | None, typer.Option(help="Width in inches; a column of a paper is about 3.3.", show_default=False)
]
Height = Annotated[float | None, typer.Option(help="Height in inches.", show_default="what the panels need")]
FontSize = Annotated[
    float | None, typer.Option(help="Size of the letters in points.", show_default="9.5; 7 or 8 if narrow")
]
Title = Annotated[bool, typer.Option("--title/--no-title", help="Whether to draw the title and caption.")]


def picture_format(
    file: Any, option: str, *, width: float | None, height: float | None, font_size: float | None, title: bool
) -> Format:
    """Return the format that the options describe.

    Args:
        file: The file of the picture, ``None`` if there is none.
        option: The option that names it, for the message.
        width, height: Size in inches.
        font_size: Size of the letters in points.
        title: Whether there is a title.

    Raises:
        Refused: There are such options and no file, or a number is outside of its range.
    """
    from clbench.core.errors import Refused
    from clbench.plots.picture_format import Format

    sizes: dict[str, Any] = {"width": width, "height": height, "font-size": font_size}
    given = [name for name, value in sizes.items() if value is not None] + ["no-title"] * (not title)
    if given and file is None:
        raise Refused(f"--{given[0]} is for pictures: add {option} FILE.png (or .svg, .pdf)")
    return Format(width=width, height=height, font_size=font_size, title=title)
