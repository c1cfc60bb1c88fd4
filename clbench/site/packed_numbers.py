"""Write whole numbers as short texts: neighbouring values differ little, and a difference takes one to four letters."""

from __future__ import annotations

from collections.abc import Iterable

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
"""Letters of 0 to 63. Those from 32 on say that another letter follows."""
MISSING = "."
"""What stands for a missing number."""


def packed(numbers: Iterable[int | None]) -> str:
    """Return numbers as a text: for each, its difference from the known number before it, the first one's from zero.

    A difference d is written as 2d if it is not negative, else as -2d - 1, in groups of five bits, the lowest first.
    """
    made, before = [], 0
    for number in numbers:
        if number is None:
            made.append(MISSING)
            continue
        rest = 2 * (number - before) if number >= before else 2 * (before - number) - 1
        before = number
        while rest >= 32:
            made.append(DIGITS[32 + rest % 32])
            rest //= 32
        made.append(DIGITS[rest])
    return "".join(made)


def unpacked(text: str) -> list[int | None]:
    """Return the numbers of a packed text; the function of the same name in ``site.js`` does the same."""
    found: list[int | None] = []
    before, rest, scale = 0, 0, 1
    for letter in text:
        if letter == MISSING:
            found.append(None)
            continue
        digit = DIGITS.index(letter)
        rest += digit % 32 * scale
        scale *= 32
        if digit < 32:
            before += -(rest + 1) // 2 if rest % 2 else rest // 2
            found.append(before)
            rest, scale = 0, 1
    return found
