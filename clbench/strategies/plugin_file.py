"""Find the strategies that a Python file defines, and name them."""

from __future__ import annotations

from clbench.core.errors import Refused
from clbench.core.registry import open_file
from clbench.strategies.canonical_form import is_part, is_recipe
from clbench.strategies.notation import snake_case

DEFINED = "a subclass of clbench.Part, or a function whose return annotation is list[Part]"
"""What counts as a strategy in a file."""


def plugin(file: str) -> dict[str, str]:
    """Return the strategies that a file defines: name -> ``FILE.py:NAME``, as :meth:`Registry.alias` takes it.

    A public part gets its snake_case name. A public function with the annotation ``-> list[Part]`` keeps its own name.

    Raises:
        Refused: The file is no Python file, does not import, defines no strategy, or defines two of one name.
    """
    if not file.endswith(".py"):
        raise Refused(f"--plugin {file} is no Python file; give a FILE.py that defines strategies: {DEFINED}")
    try:
        module = open_file(f"{file}:")
    except Refused as error:
        raise Refused(f"--plugin {file}: {error}") from None
    named: dict[str, str] = {}
    for what, obj in vars(module).items():
        own = getattr(obj, "__module__", None) == module.__name__ and getattr(obj, "__name__", None) == what
        if not own or what.startswith("_") or not (is_part(obj) or is_recipe(obj)):
            continue
        name = snake_case(what) if isinstance(obj, type) else what
        if name in named:
            raise Refused(
                f"{file}: {named[name].rpartition(':')[2]} and {what} would both be called {name!r}; rename one, or "
                "begin its name with an underscore"
            )
        named[name] = f"{file}:{what}"
    if not named:
        raise Refused(f"{file} defines no strategy; write {DEFINED}")
    return named
