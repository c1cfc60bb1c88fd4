"""Resolve references that Sphinx alone cannot, and read docstrings with Google's sections."""

from __future__ import annotations

import re
from contextlib import suppress
from importlib import import_module
from typing import Any

import hook_pages
from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.ext.napoleon import Config, GoogleDocstring

OTHERS = (
    "Annotated", "Any", "Callable", "DataFrame", "Dataset", "Figure", "Generator", "Iterable", "Iterator", "Literal",
    "Mapping", "NDArray", "Path", "Sequence", "Tensor", "annotated_types", "avalanche", "collections", "contextlib",
    "enum", "matplotlib", "nn", "np", "numpy", "optional", "pandas", "pathlib", "pd", "pydantic", "torch", "typing",
)  # fmt: skip
"""First words of names that other libraries define: their pages are not part of this site, and no network is used."""


def resolve(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Return a reference to where a name is documented, or its text if another library defines it."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"].lstrip("~.")
    domain = env.get_domain("py")
    known = hook_pages.defined_at()
    head, _, member = target.rpartition(".")
    within = ".".join(filter(None, (node.get("py:module"), node.get("py:class"))))
    candidates = [known.get(target, ""), f"{known[head]}.{member}" if head in known else "", f"{within}.{target}"]
    candidates += [name for name in documented(env) if name.endswith(f".{target}")]
    for name in filter(None, candidates):
        made = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, contnode)
        if made is not None:
            return made
    if node["reftype"] == "attr" and target in attributes(within):
        return contnode  # it is described with its class, and has no place of its own
    return contnode if target.partition(".")[0] in OTHERS or exists(target) or exists(f"clbench.api.{target}") else None


def exists(name: str) -> bool:
    """Return whether a full name is an object of the package; without a page it is shown as text."""
    pieces = name.split(".")
    for length in range(len(pieces), 0, -1) if pieces[0] == "clbench" else ():
        with suppress(ImportError):
            found: Any = import_module(".".join(pieces[:length]))
            for piece in pieces[length:]:
                found = getattr(found, piece, None)
            return found is not None
    return False


def attributes(name: str) -> set[str]:
    """Return the attributes that a class with a full name declares."""
    module, _, inside = name.rpartition(".")
    found = getattr(import_module(module), inside, None) if module else None
    return {attribute for each in getattr(found, "__mro__", ()) for attribute in getattr(each, "__annotations__", ())}


def documented(env: Any) -> list[str]:
    """Return the names of everything that is documented."""
    return sorted(env.get_domain("py").objects)


def read_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn a docstring with Google's sections into reStructuredText, in place.

    Sphinx's own extension reads ``Return x: y`` of a property as a type and its description.
    """
    if name in hook_pages.MADE_BY_THE_LOOP:
        lines[:] = without_arguments(lines)
    lines[:] = [line for each in lines for line in apart(escaped(each))]
    kind = "method" if what in ("attribute", "data", "property") else what
    config = Config(napoleon_use_ivar=True, napoleon_use_rtype=False)
    lines[:] = GoogleDocstring(lines, config, app, kind, name, obj, options).lines()


def escaped(line: str) -> str:
    """Return a line in which bars and stars outside of code are shown as they are."""
    pieces = re.split(r"(``.*?``)", line)
    return "".join(piece if piece.startswith("``") else re.sub(r"([|*])", r"\\\1", piece) for piece in pieces)


def apart(line: str) -> list[str]:
    """Return a line of a section that describes several names, such as ``w, g: ...``, as a line for each."""
    found = re.match(r"^(    )(\w+(?:, \w+)+): (.*)$", line)
    return [line] if found is None else [f"    {name}: {found[3]}" for name in found[2].split(", ")]


def without_arguments(lines: list[str]) -> list[str]:
    """Return the lines of a docstring without its section ``Args``."""
    kept, inside = [], False
    for line in lines:
        if line.rstrip() == "Args:":
            inside = True
        elif inside and line and not line.startswith(" "):
            inside = False
        if not inside:
            kept.append(line)
    return kept


def signature_shown(_app: Any, _what: str, name: str, _obj: Any, _options: Any, signature: Any, returns: Any) -> Any:
    """Leave out the signature of a class whose objects only the loop makes; write ``...`` for made defaults."""
    if name in hook_pages.MADE_BY_THE_LOOP:
        return "", None
    return (signature.replace("<factory>", "..."), returns) if signature else None


def plain_words(_app: Any, doctree: Any, _name: str) -> None:
    """Write a dash between a name and its text, and ``Attributes`` above attributes."""
    for text in list(doctree.findall(nodes.Text)):
        if text.astext() == " -- ":
            text.parent.replace(text, nodes.Text(" – "))
        elif text.astext() == "Variables" and isinstance(text.parent, nodes.field_name):
            text.parent.replace(text, nodes.Text("Attributes"))


def setup(app: Any) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.connect("missing-reference", resolve)
    app.connect("doctree-resolved", plain_words)
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("autodoc-process-signature", signature_shown)
    app.add_lexer("csv", TextLexer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
