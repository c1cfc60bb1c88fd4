"""Load the HTML templates of a room's folder ``templates``, in which all text is escaped, and control characters are
pictures."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from clbench.core.shown_text import pictured

if TYPE_CHECKING:
    from jinja2 import Template


@cache
def template(name: str, package: str = "clbench.leaderboard", **filters: Callable[..., Any]) -> Template:
    """Return a template that escapes text and refuses unknown names.

    Args:
        name: Its file in the folder ``templates``.
        package: The room that has the folder.
        filters: Functions that the template calls by name.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters.update(filters)
    return environment.get_template(name)


def _shown(value: Any) -> Any:
    """Return a text without control characters; what is HTML already stays as it is."""
    return pictured(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
