"""Strategies as text and as data: ``"er + ewc(strength=100)"`` to canonical form and back, and to parts.

The canonical form is a list of ``{"name": ..., "parameters": {...}}`` with every parameter written out, so that two
ways to write a strategy are one cell.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import keyword
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from clbench.core.errors import Refused
from clbench.core.parameters import validate
from clbench.core.registry import a, open_file
from clbench.strategies import STRATEGIES
from clbench.strategies.part import Part

Item = dict[str, Any]
WORDS = {"true": True, "false": False, "none": None, "null": None}
"""Words that are values of their own; as a text they are quoted."""
Written = str | Mapping[str, Any] | Sequence[Any]


def split_list(text: str) -> list[str]:
    """``"a, er + ewc(strength=1, rows=2)"`` -> the strategies in it; commas inside parentheses belong to the call."""
    return _split(text, ",")


def canonical(written: Written, defaults: Mapping[str, Mapping[str, Any]] | None = None) -> list[Item]:
    """The canonical form of a strategy.

    Args:
        written: Text (``"er + ewc(strength=1)"``), a mapping from a name to its parameters, or a list of either.
        defaults: The benchmark's values for parameters that have no published default, by recipe name.

    Raises:
        Refused: A syntax error, an unknown name or parameter, a wrong type or a missing value.
    """
    items = []
    for called, given in calls(written):
        name = STRATEGIES.resolve(called)
        target = STRATEGIES.get(name)
        _dataclass(target, called)
        _keyword_only(target, called)
        filled = validate(target, given, where=f"strategy {called!r}", fill=(defaults or {}).get(called))
        filled = target.settled(filled) if is_part(target) else filled
        _plain(filled, called)
        source = STRATEGIES.source(name)
        items.append({"name": name, "parameters": filled, **({"source": source} if source else {})})
    return items


def _dataclass(target: Any, name: str) -> None:
    """Refuse a part whose settings are no fields: they would be unknown, and part of no cell."""
    if not is_part(target):
        return
    maker = next(cls for cls in target.__mro__ if "__init__" in vars(cls))
    if "__dataclass_fields__" not in vars(maker):
        raise Refused(
            f"strategy {name!r}: {maker.__name__} has an __init__ of its own, and parts are dataclasses, whose fields "
            "are their settings; write @dataclass(kw_only=True) above the class, and fields in place of __init__"
        )
    fields = {each.name for each in dataclasses.fields(target)}
    for what, hint in inspect.get_annotations(target).items():
        if what not in fields and "ClassVar" not in str(hint):
            raise Refused(
                f"strategy {name!r}: {what!r} is no setting, since {target.__name__} is no dataclass; write "
                "@dataclass(kw_only=True) above the class"
            )


def _plain(filled: Mapping[str, Any], name: str) -> None:
    """Refuse a setting that no file and no record can hold."""
    for what, value in filled.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            raise Refused(
                f"strategy {name!r}: {what} = {value!r} cannot be written in a file; settings are numbers, texts, and "
                "lists and mappings of them"
            ) from None


def _keyword_only(target: Any, name: str) -> None:
    """Refuse a part or recipe with a parameter that could never be set by name and checked."""
    if not (is_part(target) or inspect.isfunction(target)):
        return  # no strategy at all: told where parts are made of it
    for parameter in inspect.signature(target).parameters.values():
        if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            form = "@dataclass(kw_only=True)" if isinstance(target, type) else f"def {target.__name__}(*, ...)"
            raise Refused(f"strategy {name!r}: {parameter.name!r} is not keyword-only, as settings are; write {form}")


def parts(items: Sequence[Item]) -> list[Part]:
    """The parts of a strategy in canonical form.

    Raises:
        Refused: Something makes no part.
    """
    made: list[Part] = []
    for item in items:
        result = _called(item)
        several = [result] if isinstance(result, Part) else result
        if not (isinstance(several, list | tuple) and all(isinstance(part, Part) for part in several)):
            raise Refused(f"{item['name']} makes {a(result)}, which is no part; {_written(item)}")
        called = re.split(r"\.py:", item["name"])[-1]
        for part in several:  # of this instance, not of the class
            part.__dict__["written"] = called if len(several) == 1 else f"{called} ({type(part).__name__})"
        made.extend(several)
    return made


def _called(item: Item) -> Any:
    target = STRATEGIES.get(item["name"])
    try:
        inspect.signature(target).bind(**item["parameters"])
    except TypeError as error:
        raise Refused(f"{item['name']} cannot be made from its settings ({error}); {_written(item)}") from None
    return target(**item["parameters"])


def _written(item: Item) -> str:
    known = "a strategy is a subclass of clbench.Part, or a function that returns parts"
    return known + (f"; a class with observe(x, y) is written observe:{item['name']}" if ".py:" in item["name"] else "")


def plugin(file: str) -> dict[str, str]:
    """The strategies that a file defines: name -> ``FILE.py:NAME``, as :meth:`Registry.alias` takes it.

    A public part is called by its snake_case name; a public function that says that it returns parts
    (``-> list[Part]``) by its own.

    Raises:
        Refused: No Python file, one that does not import, one that defines no strategy, or two of one name.
    """
    if not file.endswith(".py"):
        raise Refused(f"--plugin {file} is no Python file; give a FILE.py that defines strategies: {_DEFINED}")
    module = open_file(f"{file}:")
    named: dict[str, str] = {}
    for what, thing in vars(module).items():
        own = getattr(thing, "__module__", None) == module.__name__ and getattr(thing, "__name__", None) == what
        if not own or what.startswith("_") or not (is_part(thing) or is_recipe(thing)):
            continue
        name = snake_case(what) if isinstance(thing, type) else what
        if name in named:
            raise Refused(
                f"{file}: {named[name].rpartition(':')[2]} and {what} would both be called {name!r}; rename one, or "
                "begin its name with an underscore"
            )
        named[name] = f"{file}:{what}"
    if not named:
        raise Refused(f"{file} defines no strategy; write {_DEFINED}")
    return named


_DEFINED = "a subclass of clbench.Part, or a function whose return annotation is list[Part]"


def is_part(thing: Any) -> bool:
    """Whether a thing is a part's class."""
    return isinstance(thing, type) and issubclass(thing, Part)


def is_recipe(thing: Any) -> bool:
    """Whether a function says that it returns a list of parts, in an annotation that is Python or text."""
    if not inspect.isfunction(thing):
        return False
    returned = inspect.get_annotations(thing).get("return")
    if isinstance(returned, str):
        try:
            returned = eval(returned, thing.__globals__)
        except Exception:  # names what only a type checker imports
            return re.fullmatch(r"list\[(\w+\.)*Part\]", returned.replace(" ", "")) is not None
    return typing.get_origin(returned) is list and all(map(is_part, typing.get_args(returned)))


def snake_case(name: str) -> str:
    """``MyEWC`` -> ``my_ewc``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def located(
    written: Written, defaults: Mapping[str, Mapping[str, Any]]
) -> tuple[list[dict[str, dict[str, Any]]], dict[str, Mapping[str, Any]]]:
    """A strategy and its defaults as mappings by name, files named by absolute paths, to be read from anywhere."""
    return (
        [{STRATEGIES.located(name): given} for name, given in calls(written)],
        {STRATEGIES.located(name): values for name, values in defaults.items()},
    )


def label(written: Written) -> str:
    """How a strategy is called on boards: as it was written, with regular spaces, so that it can be read again."""
    names = []
    for name, given in calls(written):
        inside = ", ".join(f"{key}={_value_text(value)}" for key, value in given.items())
        names.append(f"{name}({inside})" if inside else name)
    return " + ".join(names)


def plain_number(value: Any) -> str:
    """A value as people write it: 100, not 100.0."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _value_text(value: Any) -> str:
    """A value as :func:`_value` reads it: quoted where it would be read as something else."""
    if value is None:
        return "none"
    if isinstance(value, str):
        bare = value.isidentifier() and not keyword.iskeyword(value) and value.lower() not in WORDS
        return value if bare else repr(value)
    short = plain_number(value)
    return repr(value) if isinstance(value, float) and float(short) != value else short


def calls(written: Written) -> list[tuple[str, dict[str, Any]]]:
    """Names and settings as they were written, without a look at what there is.

    Raises:
        Refused: A text that cannot be read.
    """
    if isinstance(written, str):
        return [_call(piece) for piece in _split(written, "+")]
    if isinstance(written, Mapping):
        return [(name, dict(given or {})) for name, given in written.items()]
    return [item for piece in written for item in calls(piece)]


def _split(text: str, separator: str) -> list[str]:
    """Split at separators outside of brackets and quotes."""
    pieces, depth, quote, start = [], 0, "", 0
    for i, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == separator and depth == 0 and not _in_number(text, i):
            pieces.append(text[start:i])
            start = i + 1
    pieces = [piece.strip() for piece in [*pieces, text[start:]]]
    if depth or quote or not all(pieces):
        what = (
            "a bracket or quote is not closed" if depth or quote else f"there is nothing on one side of a {separator!r}"
        )
        raise Refused(f"strategy {text!r} cannot be read: {what}; write it like er + ewc(strength=100)")
    return pieces


def _in_number(text: str, i: int) -> bool:
    return text[i] == "+" and i > 1 and text[i - 1] in "eE" and text[i - 2].isdigit()


def _call(text: str) -> tuple[str, dict[str, Any]]:
    name, bracket, rest = text.partition("(")
    name = name.strip()
    if not bracket:
        return name, {}
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        assert isinstance(call, ast.Call)
        assert not call.args
        return name, {str(k.arg): _value(k.value) for k in call.keywords}
    except (SyntaxError, ValueError, AssertionError):
        raise Refused(f"strategy {text!r} cannot be read; {_how(rest)}") from None


def _how(rest: str) -> str:
    """What to write in place of settings that cannot be read."""
    bare = re.search(r"(\w+)\s*=\s*(\w[^,'\"()=]*[^\w\s,'\"()=][^,'\"()]*)", rest)
    if bare:
        return f"a value with signs in it is quoted: {bare[1]}='{bare[2].strip()}'"
    return "parameters are written name=value, like ewc(strength=100, fisher=exact)"


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return WORDS.get(node.id.lower(), node.id)
    return ast.literal_eval(node)
