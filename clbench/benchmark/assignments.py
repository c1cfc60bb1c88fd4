"""Read assignments such as ``--set training.lr=0.03`` and texts of seeds, and apply them to a benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from clbench.benchmark.documents import plain
from clbench.core.errors import Refused, did_you_mean

Assignment = str | tuple[str, Any]
"""``key=value`` as text with a value in YAML, or a pair of key and value. Keys are dotted."""


def short(assignment: Assignment) -> str:
    """Return an assignment as text."""
    return f"--set {assignment}" if isinstance(assignment, str) else f"{assignment[0]} = {assignment[1]!r}"


def key(assignment: Assignment) -> str:
    """Return the dotted key of an assignment; empty if it has none."""
    if isinstance(assignment, str):
        return assignment.partition("=")[0].strip()
    first = assignment[0] if isinstance(assignment, tuple) and assignment else ""
    return first.strip() if isinstance(first, str) else ""


def told(assignment: Assignment) -> str:
    """Return the name of a wrong assignment for messages."""
    return f"--set {assignment!r}" if isinstance(assignment, str) else f"overrides {dict([assignment])!r}"


def override(document: dict[str, Any], assignments: Iterable[Assignment]) -> dict[str, Any]:
    """Apply assignments with dotted keys, such as ``training.lr=0.03`` or ``("training.lr", 0.03)``.

    Raises:
        Refused: Text without ``=``, a value that is not valid YAML or that no benchmark can hold, or a key inside
            something that is not a mapping.
    """
    document = plain(document)
    for assignment in assignments:
        key, value = _read_assignment(assignment)
        *path, last = key.split(".")
        node = document
        for step in path:
            if step == "dataset" and isinstance(node.get(step), str):
                node[step] = {"name": node[step]}
            node = node.setdefault(step, {})
            if not isinstance(node, dict):
                raise Refused(
                    f"{told(assignment)}: {step!r} holds {node!r}, not a section; {did_you_mean(step, document)}"
                )
        node[last] = value
    return document


def pairs(assignments: Iterable[Assignment]) -> list[tuple[str, Any]]:
    """Return assignments as pairs of a dotted key and plain data.

    Raises:
        Refused: As in :func:`override`.
    """
    return [_read_assignment(each) for each in assignments]


def _read_assignment(assignment: Assignment) -> tuple[str, Any]:
    """Return the key and its value as plain data."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not isinstance(assignment, str):
        key, value = assignment if isinstance(assignment, tuple) and len(assignment) == 2 else (None, assignment)
        if not isinstance(key, str) or not key.strip():
            raise Refused(f"overrides: {assignment!r} has no dotted key; write it like {{'training.lr': 0.03}}")
        return key.strip(), plain(value, f"overrides: {key}")
    key, equals, text = assignment.partition("=")
    if not equals or not key:
        raise Refused(f"{told(assignment)} is not an assignment; write it like --set training.lr=0.03")
    try:
        return key.strip(), plain(YAML(typ="safe", pure=True).load(text))
    except YAMLError:
        raise Refused(
            f"{told(assignment)}: {text!r} is not valid YAML; write it like --set 'model.hidden=[100, 50]'"
        ) from None


def seeds(written: int | str | Iterable[int]) -> list[int]:
    """Read seeds from ``5`` (0 to 4), ``"0,1,2"``, ``"0-9"``, ``"3,"`` (only 3) or a list.

    Raises:
        Refused: Another text, a repetition, a negative number, or no seed.
    """
    if isinstance(written, str):
        try:
            pieces = [_range(piece) for piece in written.split(",") if piece.strip()]
        except ValueError:
            raise Refused(
                f"seeds {written!r} cannot be read; write 5 (for 0 to 4), 0-9, 0,1,2 or 3, (for 3 alone)"
            ) from None
        listed = [seed for piece in pieces for seed in piece]
        if len(listed) == 1 and "," not in written and "-" not in written:
            listed = list(range(*listed))
    else:
        given = plain(written if isinstance(written, int) or hasattr(written, "tolist") else list(written), "seeds")
        listed = given if isinstance(given, list) else list(range(given))
        if any(isinstance(seed, bool) or not isinstance(seed, int) for seed in listed):
            raise Refused(f"seeds {listed} cannot be read; a list of seeds holds integers from 0")
    if not listed or len(set(listed)) != len(listed) or min(listed) < 0:
        raise Refused(f"seeds {written!r} give {listed}; at least one is needed, none below 0 and none twice")
    return listed


MOST_IN_RANGE = 100_000
"""Largest number of seeds that a range such as ``0-9`` may hold."""


def _range(piece: str) -> list[int]:
    """Read ``3``, or ``0-9``.

    Raises:
        ValueError: Another text.
    """
    first, dash, last = piece.strip().partition("-")
    if not dash or not first:
        return [int(piece)]
    found = range(int(first), int(last) + 1)
    if not 0 < len(found) <= MOST_IN_RANGE:
        raise ValueError(piece)
    return list(found)
