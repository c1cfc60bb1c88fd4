"""Fill the templates of the site's pages, in which all text is escaped."""

from __future__ import annotations

import re
from typing import Any

from clbench.core.shown_text import shown
from clbench.leaderboard.board_rows import coverage
from clbench.leaderboard.html_templates import template
from clbench.site.site_content import Site

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
    page = template(name, "clbench.site", breakable=breakable, label=shown, coverage=coverage)
    text = page.render(site=site, path=path, root=root, policy=POLICY, **values)
    return text.encode(errors="replace")  # a lone surrogate of a damaged label becomes "?"


def breakable(text: str) -> Any:
    """Return a label, shortened and escaped, that may be broken after brackets, equals signs, underscores, colons and
    slashes."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"(?<=[(\[=_:/])(?!$)", "<wbr>", str(escape(shown(text)))))
