"""Which classes an experience holds: the settings ``experiences`` (sizes of groups) and ``order`` (of classes or
domains)."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator

from clbench.core.errors import Refused, did_you_mean
from clbench.core.name_lists import listed_in
from clbench.core.near_names import nearest
from clbench.core.rng import Generator
from clbench.core.types import Index

GENERATORS = {"numpy": 0, "python": 1}
"""Generators of other programs whose orders can be named, with the smallest seed of each. At seed 0 CODA-Prompt leaves
the classes as they are, and Python's generator does not."""
LARGEST_SEED = 2**32 - 1
FORMS = "write a number, a list such as [50, 10, 10], or {first: 50, each: 10}"


# --------------------------------------------------------------------------------------------------- sizes of groups


def written_experiences(written: Any) -> Any:
    """Return the setting ``experiences`` after a check that needs no data: a number, a list, or a mapping.

    Raises:
        ValueError: It is of another form, or a size is below 1.
    """
    if isinstance(written, list):
        if not written or any(isinstance(size, bool) or size < 1 for size in written):
            raise ValueError(f"a list holds the number of classes of each experience, each at least 1; {FORMS}")
        return [int(size) for size in written]
    if not isinstance(written, Mapping):
        return written
    unknown = sorted(set(written) - {"first", "each"}, key=str)
    if unknown or "each" not in written:
        what = f"{unknown[0]!r} is not known in it" if unknown else "it has no 'each'"
        raise ValueError(f"{what}; {FORMS}")
    filled = {"first": written["each"], "each": written["each"], **written}
    for name, size in reversed(filled.items()):
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{name} = {size!r} is no number of classes, at least 1; {FORMS}")
    return {"first": filled["first"], "each": filled["each"]}


Experiences = Annotated[int | list[int] | dict[str, Any], AfterValidator(written_experiences)]
"""The number of groups of classes, or the size of each, or the size of the first and of each other."""


def group_sizes(experiences: int | list[int] | dict[str, Any], n_classes: int, where: str) -> list[int]:
    """Return the number of classes of each experience.

    Args:
        experiences: The setting. If a number does not divide ``n_classes``, the first groups have one class more.
        n_classes: C, which the sizes add up to.
        where: Name of the data set in messages.

    Raises:
        Refused: There are fewer classes than experiences, or the sizes do not add up to C.
    """
    try:
        written = written_experiences(experiences)
    except ValueError as error:
        raise Refused(f"experiences = {experiences!r} is not allowed: {error}", "experiences") from None
    if isinstance(written, int):
        if written < 1:
            raise Refused(f"experiences = {written} makes no stream; ask for at least 1")
        if n_classes < written:
            raise Refused(
                f"{where!r} has {n_classes} classes, too few for {written} experiences of at least one class; ask for "
                f"at most {n_classes}"
            )
        return [n_classes // written + (i < n_classes % written) for i in range(written)]
    if isinstance(written, list):
        if sum(written) != n_classes:
            raise Refused(
                f"experiences = {written} adds up to {sum(written)} classes, and {where!r} has {n_classes}; write "
                f"sizes that add up to {n_classes}",
                "experiences",
            )
        return written
    first, each = written["first"], written["each"]
    if first > n_classes or (n_classes - first) % each:
        rest = n_classes - first
        told = f"leaves {rest} classes, no multiple of {each}," if rest >= 0 else "is more than there are"
        raise Refused(
            f"experiences = {{first: {first}, each: {each}}} {told} of the {n_classes} of {where!r}; choose an each "
            f"that divides what the first leaves, or write the list of sizes",
            "experiences",
        )
    return [first, *[each] * ((n_classes - first) // each)]


def listed_sizes(settings: Mapping[str, Any], count: Callable[[], int | None], where: str) -> dict[str, Any]:
    """Return a stream's settings with ``{first: 50, each: 10}`` as the list that it stands for, so that both are one
    cell.

    Args:
        settings: The settings of a scenario.
        count: A function that returns C, or ``None`` if it cannot be known yet. It is called only if it is needed.
        where: Name of the data set in messages.

    Raises:
        Refused: The sizes do not add up to C.
    """
    written = settings.get("experiences")
    if not isinstance(written, Mapping | list):
        return dict(settings)
    classes = count()
    if classes is None:
        return dict(settings)
    return {**settings, "experiences": group_sizes(written, classes, where)}  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------------- order


def written_order(written: Any, words: Sequence[str] = ("fixed", "seeded")) -> Any:
    """Return the setting ``order`` after a check that needs no data; a file of names is read.

    Args:
        written: The setting.
        words: The orders that have a name.

    Raises:
        ValueError: It is of another form, or the file does not exist or names something twice.
    """
    if isinstance(written, Mapping):
        return _generator(written)
    if not isinstance(written, str) or written in words:
        return written
    names = listed_in(written)
    if names is not None:
        return names
    if "." in written or "/" in written:
        raise ValueError(f"there is no file {written}; give an absolute path, or one beside the benchmark file")
    raise ValueError(
        f"it does not exist; {did_you_mean(written, words)}, a list, {{numpy: 1993}}, {{python: 1}}, or a file "
        "with one name a line"
    )


def _generator(written: Mapping[Any, Any]) -> dict[str, int]:
    if len(written) != 1 or next(iter(written)) not in GENERATORS:
        raise ValueError("it names no generator; write {numpy: 1993} or {python: 1}")
    name, seed = next(iter(written.items()))
    lowest = GENERATORS[name]
    if isinstance(seed, bool) or not isinstance(seed, int) or not lowest <= seed <= LARGEST_SEED:
        zero = " (CODA-Prompt leaves the classes as they are at seed 0: order: fixed)" if seed == 0 and lowest else ""
        raise ValueError(f"the seed of {name} is {seed!r}; write a whole number from {lowest} to {LARGEST_SEED}{zero}")
    return {name: seed}


Order = Annotated[
    Literal["fixed", "seeded"] | str | list[int | str] | dict[str, Any],
    AfterValidator(written_order),
]
"""An order of classes: by a word, as a list, by a generator of another program, or from a file of names."""


def in_order(names: Sequence[str], seed: int, order: Any, *, usual: str, what: str, where: str) -> Index:
    """Return the position of each of several names in the order of a stream, (len(names),).

    Args:
        names: What is ordered, such as the domains of a data set.
        seed: The seed of the stream, for ``seeded``.
        order: The setting: ``usual`` or ``seeded``, a list of names, ``{"numpy": seed}``, ``{"python": seed}``, or a
            file with one name a line.
        usual: The word for the order as it is.
        what: What is named, for messages.
        where: Name of the data set in messages.

    Raises:
        Refused: The order is of another form, or does not name each once.
    """
    try:
        written = written_order(order, (usual, "seeded"))
    except ValueError as error:
        raise Refused(f"order = {order!r} is not allowed: {error}", "order") from None
    if isinstance(written, dict):
        return drawn_elsewhere(written, len(names))
    if isinstance(written, str):
        return Generator(seed, "stream").permutation(len(names)) if written == "seeded" else np.arange(len(names))
    if sorted(map(str, written)) != sorted(names):
        raise Refused(
            f"order = {_short(list(map(str, written)))} does not name every {what} once; write {', '.join(names)} in "
            "the order wanted",
            "order",
        )
    return places_of([str(each) for each in written], names, where, what)


def drawn_elsewhere(order: Mapping[str, int], count: int) -> Index:
    """Return the order (count,) that another program draws with a seed; no generator outside is touched.

    Args:
        order: ``{"numpy": seed}`` for ``numpy.random.RandomState(seed).permutation(count)``, as PyCIL and PILOT draw
            it, or ``{"python": seed}`` for ``random.Random(seed).shuffle``, as CODA-Prompt does.
        count: How many things to order.
    """
    if "numpy" in order:
        return np.random.RandomState(order["numpy"]).permutation(count).astype(np.int64)
    places = list(range(count))
    random.Random(order["python"]).shuffle(places)
    return np.asarray(places, dtype=np.int64)


def places_of(order: Sequence[int | str], names: Sequence[str], where: str, what: str = "class") -> Index:
    """Return the position of each entry of a list among names, (len(names),).

    Args:
        order: Names, or positions as numbers.
        names: All names.
        where: Name of the data set in messages.
        what: What is named, for messages.

    Raises:
        Refused: Something is unknown, named twice or left out, or a name means several.
    """
    if all(isinstance(each, int) for each in order):
        if sorted(order) != list(range(len(names))):
            raise Refused(
                f"order = {_short(order)} does not name every {what} of {where!r} once; write the numbers 0 to "
                f"{len(names) - 1} in the order wanted",
                "order",
            )
        return np.asarray(order, dtype=np.int64)
    written = [str(each) for each in order]
    position = {name: place for place, name in enumerate(names)}
    if len(position) < len(names):
        double = next(name for i, name in enumerate(names) if name in names[:i])
        raise Refused(f"{where!r} has the {what} {double!r} twice; write numbers in order, not names", "order")
    unknown = next((name for name in written if name not in position), None)
    if unknown is not None:
        near = nearest(unknown, names)
        hint = f"did you mean {near!r}?" if near else f"it has {_short(names)}"
        raise Refused(f"order names {unknown!r}, which is no {what} of {where!r}; {hint}", "order")
    if sorted(written) != sorted(names):
        missing = [name for name in names if name not in written]
        raise Refused(
            f"order does not name every {what} of {where!r} once"
            + (f": {_short(missing)} is missing" if missing else "")
            + "; name each once",
            "order",
        )
    return np.array([position[name] for name in written], dtype=np.int64)


def _short(values: Sequence[Any], most: int = 12) -> str:
    text = ", ".join(str(value) for value in values[:most])
    more = f", ... ({len(values)} in all)" if len(values) > most else ""
    return f"[{text}{more}]"
