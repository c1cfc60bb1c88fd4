"""Search ranges of settings: declared in the types of parameters, or written as text.

    strength: Annotated[NonNegative, Search(1e-3, 1e3, log=True)]
    --space 'ewc.strength=1e-2:1e4:log, training.lr=1e-3:1:log, er.rows=8|16|32'

A range says where a tuner looks for a value. The type alone decides which values are allowed. A setting without a range
is not free: it is part of a budget, such as a number of stored samples, or a form of the method, such as the paper's.
This module imports no torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from clbench.core.errors import Refused
from clbench.core.parameters import allows_only_whole_numbers, plain_words, schema

WORDS = {"true": True, "false": False, "none": None, "null": None}
FORM = "write NAME.SETTING=LOW:HIGH, LOW:HIGH:log or A|B|C, as in ewc.strength=1e-2:1e4:log"


@dataclass(frozen=True)
class Search:
    """Declare the values of a setting among which a tuner searches: a range of numbers, or choices.

    Args:
        low: The lowest value of a range.
        high: The highest value, above ``low``.
        log: Whether values are spread evenly over orders of magnitude; ``low`` is then above 0.
        step: The distance between neighbouring values, counted from ``low``; ``None`` for any value, and 1 for whole
            numbers.
        choices: The values, instead of a range; at least two.
        when: Name and value of another setting of the same strategy; the range holds only with this value, because the
            setting has no effect otherwise.

    Raises:
        Refused: No range and no choices, both, or an impossible range.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()
    when: tuple[str, Any] | None = None

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise Refused(f"search range {self.text}: {problem}")

    def _problem(self) -> str:
        """Return what is wrong with the range; an empty text if nothing is."""
        ends = [each for each in (self.low, self.high) if each is not None]
        if self.choices:
            several = len(set(self.choices)) == len(self.choices) > 1
            if ends or self.log or self.step is not None:
                return "it has choices and a range; keep one of them"
            return "" if several else "choices are at least two different values"
        if len(ends) < 2:
            return "it needs a low and a high end, or choices"
        low, high = ends
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            return "the low end has to be below the high end, and both finite"
        if self.log and low <= 0:
            return f"a range in log has to begin above 0, not at {low:g}"
        if self.step is not None and not (0 < self.step <= high - low and not self.log):
            return "a step is above 0, at most the length of the range, and not in log"
        return ""

    @property
    def ends(self) -> tuple[Any, ...]:
        """Return the values that the type of the setting has to allow: both ends, or all choices."""
        return self.choices or (self.low, self.high)

    def including(self, value: Any) -> Search:
        """Return the range, widened to a number outside of it, such as the value that a benchmark uses."""
        if self.low is None or self.high is None or isinstance(value, bool) or not isinstance(value, int | float):
            return self
        reachable = value > 0 if self.log else self.step is None
        if self.low <= value <= self.high or not reachable:
            return self
        return replace(self, low=min(self.low, value), high=max(self.high, value))

    @property
    def text(self) -> str:
        """Return the range as people read it, such as ``0.1 to 1e+06, log`` or ``mean | sum``."""
        if self.choices:
            return " | ".join(shown(each) for each in self.choices)
        low, high = (shown(each) for each in (self.low, self.high))
        step = "" if self.step is None else f", step {self.step:g}"
        return f"{low} to {high}{', log' if self.log else ''}{step}"


@dataclass(frozen=True)
class Knob:
    """Describe one setting that a tuner may turn.

    Args:
        place: The setting as the user names it: ``ewc.strength``, or ``training.lr`` of the benchmark.
        low, high, log, step, choices: As in :class:`Search`.
        whole: Whether the values of a range are whole numbers.
        default: The value without tuning: as the user gave it, the benchmark's, or the strategy's. ``None`` too if the
            strategy has no default.
        required: Whether there is no default, so that the strategy cannot be run without a value.
    """

    place: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()
    whole: bool = False
    default: Any = None
    required: bool = False

    @classmethod
    def of(
        cls, place: str, search: Search, *, whole: bool = False, default: Any = None, required: bool = False
    ) -> Knob:
        """Return the knob of a setting with a range."""
        return cls(
            place, search.low, search.high, search.log, search.step, search.choices, whole, default, required
        )  # fmt: skip

    @property
    def describe(self) -> str:
        """Return the knob as one line for people: ``ewc.strength: 0.1 to 1e+06, log; default 100``."""
        search = Search(self.low, self.high, self.log, self.step, self.choices)
        default = "no default" if self.required else f"default {shown(self.default)}"
        return f"{self.place}: {search.text}; {default}"

    def value(self, number: Any) -> Any:
        """Return a value inside the range as the setting takes it: clipped to the ends, whole if the setting is.

        Args:
            number: A number, or one of the choices.
        """
        if self.choices or self.low is None or self.high is None:
            return number
        held = min(max(float(number), self.low), self.high)
        return round(held) if self.whole else held


def shown(value: Any) -> str:
    """Return a value as the user writes it: 100, not 100.0, and ``none`` for ``None``."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def ranges(target: Callable[..., Any]) -> dict[str, Search]:
    """Return the declared search ranges of the settings of a callable, by name."""
    found = {name: _declared(info) for name, info in schema(target).model_fields.items()}
    return {name: search for name, search in found.items() if search is not None}


def search_text(target: Callable[..., Any], name: str) -> str:
    """Return the search range of a setting for people, such as ``0.5 to 1 if mode = online``; empty if it has none."""
    search = ranges(target).get(name)
    if search is None:
        return ""
    return search.text if search.when is None else f"{search.text} if {search.when[0]} = {shown(search.when[1])}"


def _declared(info: FieldInfo) -> Search | None:
    """Return the range in the type of a setting, also inside a union with ``None``."""
    held = [*info.metadata, *_inside(info.annotation)]
    return next((each for each in held if isinstance(each, Search)), None)


def _inside(kind: Any) -> Iterable[Any]:
    for each in get_args(kind):
        yield from (each, *_inside(each))


def check_ranges(target: Callable[..., Any], where: str) -> None:
    """Refuse a search range outside of the values that the type of its setting allows.

    Args:
        target: What has the settings.
        where: Its name in messages, such as ``"strategy 'mine'"``.

    Raises:
        Refused: There is such a range, or its ``when`` names no setting.
    """
    fields = schema(target).model_fields
    for name, search in ranges(target).items():
        check_range(search, fields[name], name, where)
        if search.when is not None and search.when[0] not in fields:
            raise Refused(
                f"{where}: the search range of {name} holds when {search.when[0]} = {shown(search.when[1])}, and there "
                f"is no setting {search.when[0]!r}; its settings are {', '.join(fields)}",
                name,
            )


def check_range(search: Search, info: FieldInfo, name: str, where: str) -> None:
    """Refuse a search range with a value that the type of a setting does not allow.

    Args:
        search: The range.
        info: The setting, of the schema of its owner.
        name: Its name.
        where: The name of its owner in messages.

    Raises:
        Refused: The range does not fit the setting.
    """
    kind: Any = info.annotation
    if info.metadata:
        kind = Annotated[(kind, *info.metadata)]
    allowed: TypeAdapter[Any] = TypeAdapter(kind)
    for value in search.ends:
        whole = allows_only_whole_numbers(info.annotation) and isinstance(value, float) and value.is_integer()
        try:
            allowed.validate_python(int(value) if whole else value, strict=False)
        except ValidationError as error:
            because = ", or ".join(dict.fromkeys(plain_words(each["msg"], each["input"]) for each in error.errors()))
            raise Refused(
                f"{where}: the search range {search.text} of {name} holds {shown(value)}, which the setting does not "
                f"allow: {because}",
                name,
            ) from None


# --------------------------------------------------------------------------------------------------- as text


def parse_space(written: str | Iterable[str]) -> dict[str, Search]:
    """Read search ranges from text: ``'ewc.strength=1e-2:1e4:log, er.rows=8|16|32'``.

    Args:
        written: One text, or several as an option collects them.

    Returns:
        Place of each setting, such as ``ewc.strength``, with its range.

    Raises:
        Refused: The text cannot be read, or names a setting twice.
    """
    found: dict[str, Search] = {}
    texts = [written] if isinstance(written, str) else list(written)
    for piece in (piece.strip() for text in texts for piece in text.split(",")):
        place, equals, values = (each.strip() for each in piece.partition("="))
        if not equals or not values or "." not in place.strip("."):
            raise Refused(f"--space {piece!r} cannot be read; {FORM}")
        if place in found:
            raise Refused(f"--space names {place} twice; keep one of the two")
        try:
            found[place] = _range(values)
        except Refused as error:
            raise Refused(f"--space {piece!r}: {str(error).partition(': ')[2] or error}", place) from None
    return found


def _range(text: str) -> Search:
    if "|" in text:
        return Search(choices=tuple(_value(each.strip()) for each in text.split("|")))
    pieces = [each.strip() for each in text.split(":")]
    if len(pieces) < 2:
        raise Refused(f"{text}: one value is no range; {FORM}, or give the strategy this value in its parentheses")
    log, step = False, None
    try:
        low, high = (_number(each) for each in pieces[:2])
        for further in pieces[2:]:
            if further == "log":
                log = True
            else:
                step = _number(further)
    except ValueError:
        raise Refused(f"{text}: it cannot be read; {FORM}") from None
    return Search(low, high, log, step)


def _number(text: str) -> float:
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)


def _value(text: str) -> Any:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        return _number(text)
    except ValueError:
        return text.strip("'\"")


def by_owner(given: Mapping[str, Search]) -> dict[str, dict[str, Search]]:
    """Return ranges by the owner of their setting: ``ewc.strength`` is ``strength`` of ``ewc``."""
    found: dict[str, dict[str, Search]] = {}
    for place, search in given.items():
        owner, _, name = place.rpartition(".")
        found.setdefault(owner, {})[name] = search
    return found
