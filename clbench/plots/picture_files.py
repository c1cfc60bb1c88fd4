"""Pictures as files: PNG, SVG and PDF."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clbench.core.errors import Refused

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
FINE, USUAL, SMALL = 300, 160, 7.0
"""Dots per inch of a PNG narrower than ``SMALL`` inches, and of others."""
FONTS: Any = {"svg.hashsalt": "clbench", "svg.fonttype": "none", "pdf.fonttype": 42, "ps.fonttype": 42}
"""Words of an SVG stay words; fonts in a PDF are embedded as TrueType (type 42), which publishers ask for."""


def check_suffix(path: str | Path) -> None:
    """Check that a picture can be written in the format of a path's suffix.

    Raises:
        Refused: The suffix is another one.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise Refused(f"cannot write a picture as {Path(path).name!r}; end its name in {', '.join(SUFFIXES)}")


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as ``.png``, ``.svg`` or ``.pdf``, by the suffix; equal figures give equal bytes.

    Raises:
        Refused: The suffix is another one.
    """
    path = Path(path).expanduser()
    check_suffix(path)
    _write(figure, path, path.suffix.lower())
    return path


def svg(figure: Figure) -> str:
    """Return a figure as SVG text for embedding in a page; its words stay text."""
    out = io.BytesIO()
    _write(figure, out, ".svg")
    return out.getvalue().decode()


def _write(figure: Figure, target: Any, suffix: str) -> None:
    from matplotlib import rc_context

    undated: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}
    dpi = FINE if figure.get_figwidth() < SMALL else USUAL
    with rc_context(FONTS):
        figure.savefig(target, format=suffix[1:], dpi=dpi, metadata=undated[suffix])
