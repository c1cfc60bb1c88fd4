"""Fill the templates of the site's pages, in which all text is escaped."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from clbench.core.shown_text import pictured, shown
from clbench.leaderboard.board_rows import coverage
from clbench.site.site_content import Site

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:"
"""The content security policy of every page: scripts, styles and pictures are files of the folder. It blocks scripts
and ``style=`` attributes inside pages, whatever a record contains."""


def render(name: str, site: Site, path: str, **values: Any) -> bytes:
    """Return a page as UTF-8.

    Args:
        name: The template's file in the folder ``templates``.
        site: The site, which the template knows as ``site``.
        path: Path of the page below the folder of the site, with ``/``. The template knows the way back as ``root``:
            ``""`` or ``"../"`` and so on.
        values: What else the template needs.
    """
    root = "../" * path.count("/")
    text = _environment().get_template(name).render(site=site, path=path, root=root, policy=POLICY, **values)
    return text.encode(errors="replace")  # a lone surrogate of a damaged label becomes "?"


def breakable(text: str) -> Any:
    """Return a label, shortened and escaped, that may be broken after brackets, equals signs, underscores, colons and
    slashes."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"(?<=[(\[=_:/])(?!$)", "<wbr>", str(escape(shown(text)))))


def _seen(value: Any) -> Any:
    """Return pictures of control characters in a text; other values, and text that is HTML already, stay."""
    return pictured(value) if type(value) is str else value


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("clbench.site"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_seen,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"breakable": breakable, "label": shown, "coverage": coverage}
    return made
