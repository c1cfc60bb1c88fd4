"""Read and write strategies as text: ``"er + ewc(strength=100)"`` to names with settings, and back."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Mapping, Sequence
from typing import Any

from clbench.core.errors import Refused
from clbench.core.near_names import same
from clbench.core.parameters import schema
from clbench.strategies import STRATEGIES

WORDS = {"true": True, "false": False, "none": None, "null": None}
"""Words with a value of their own; as text they are quoted."""
Written = str | Mapping[str, Any] | Sequence[Any]


def split_list(text: str) -> list[str]:
    """Split ``"a, er + ewc(strength=1, rows=2)"`` into strategies; commas inside parentheses belong to the call."""
    return _split(text, ",")


def snake_case(name: str) -> str:
    """Convert ``MyEWC`` to ``my_ewc``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def located(
    written: Written, defaults: Mapping[str, Mapping[str, Any]]
) -> tuple[list[dict[str, dict[str, Any]]], dict[str, Mapping[str, Any]]]:
    """Return a strategy and its defaults with the absolute paths of files, so that any working directory will do."""
    return (
        [{STRATEGIES.located(name): given} for name, given in calls(written)],
        {STRATEGIES.located(name): values for name, values in defaults.items()},
    )


def label(written: Written) -> str:
    """Return a strategy's name on leaderboards: as the user wrote it, with regular spaces, and readable again."""
    return text(calls(written))


def text(read: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Write names with their settings as text that :func:`calls` reads."""
    names = []
    for name, given in read:
        inside = ", ".join(f"{key}={_value_text(value)}" for key, value in given.items())
        names.append(f"{name}({inside})" if inside else name)
    return " + ".join(names)


def plain_number(value: Any) -> str:
    """Format a value as people write it: 100, not 100.0."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _value_text(value: Any) -> str:
    """Format a value as :func:`_value` reads it, with quotes if it would be read as something else."""
    if value is None:
        return "none"
    if isinstance(value, str):
        bare = value.isidentifier() and not keyword.iskeyword(value) and value.lower() not in WORDS
        return value if bare else repr(value)
    short = plain_number(value)
    return repr(value) if isinstance(value, float) and float(short) != value else short


def calls(written: Written) -> list[tuple[str, dict[str, Any]]]:
    """Return names and settings as they were written, without checks.

    Raises:
        Refused: The text cannot be read.
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
        meant = same(text, [entry.name for entry in STRATEGIES])  # der++
        cure = f"did you mean {meant!r}?" if meant else "write it like er + ewc(strength=100)"
        raise Refused(f"strategy {text!r} cannot be read: {what}; {cure}")
    return pieces


def _in_number(text: str, i: int) -> bool:
    return text[i] == "+" and i > 1 and text[i - 1] in "eE" and text[i - 2].isdigit()


def _call(text: str) -> tuple[str, dict[str, Any]]:
    name, bracket, rest = text.partition("(")
    name = name.strip()
    if not bracket:
        _refuse_several(name)
        return name, {}
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        assert isinstance(call, ast.Call)
        assert not call.args
        return name, {str(k.arg): _value(k.value) for k in call.keywords}
    except (SyntaxError, ValueError, AssertionError):
        raise Refused(f"strategy {text!r} cannot be read; {_how(name, rest)}") from None


def _refuse_several(name: str) -> None:
    """Refuse names of strategies with no + or comma between them."""
    names = re.split(r"[\s;&|]+", name)
    if len(names) > 1 and all(each in STRATEGIES for each in names):
        raise Refused(
            f"strategy {name!r} cannot be read; write '{' + '.join(names)}' for one strategy of several parts, or "
            f"'{', '.join(names)}' for several strategies"
        )


def _how(name: str, rest: str) -> str:
    """Return what to write in place of settings that cannot be read."""
    if name not in STRATEGIES:
        return f"there is no strategy called {name!r}; {STRATEGIES.hint(name)}"
    settings = _settings(name)
    word = next((each for each in re.findall(r"(\w+)\s*=(?!=)", rest) if keyword.iskeyword(each)), "")
    if word:
        meant = same(word, settings)
        has = f"{name} has the parameters {', '.join(settings)}" if settings else f"`clbench show {name}` shows them"
        told = f"{name} calls it {meant!r}" if meant else has
        return f"{word!r} is a word of Python and cannot name a parameter; {told}"
    bare = re.search(r"(\w+)\s*=\s*(\w[^,'\"()=]*[^\w\s,'\"()=][^,'\"()]*)", rest)
    if bare:
        return f"a value with signs in it is quoted: {bare[1]}='{bare[2].strip()}'"
    alone = re.fullmatch(r"\s*([-+.\w]+)\s*\)\s*", rest)
    if alone and settings:
        first = f"{alone[1]}=VALUE" if alone[1] in settings else f"{settings[0]}={alone[1]}"
        return f"parameters are written name=value, like {name}({first})"
    return "parameters are written name=value, like ewc(strength=100, fisher=exact)"


def _settings(name: str) -> list[str]:
    """Return the parameters of a strategy, the required ones first; none if they cannot be read."""
    try:
        fields = schema(STRATEGIES.get(name)).model_fields
    except Exception:  # an unknown name, or an object of another library
        return []
    return sorted(fields, key=lambda each: not fields[each].is_required())


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return WORDS.get(node.id.lower(), node.id)
    return ast.literal_eval(node)
