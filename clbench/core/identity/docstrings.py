"""Compiled code without its docstring: the code that Python would make of the same function without one."""

from __future__ import annotations

import dis
import inspect
import sys
import types

_HAS_DOCSTRING = 0x4000000
"""The flag of code with a docstring since Python 3.14."""


def without_docstring(code: types.CodeType) -> tuple[bytes, tuple[object, ...], int]:
    """Return the instructions, the constants and the flags of compiled code as if it had no docstring.

    A docstring is the first constant. Code with a docstring that it also uses as a value is returned unchanged, and so
    is code with more than 255 constants.
    """
    flags = code.co_flags & ~_HAS_DOCSTRING
    if not _has_docstring(code) or len(code.co_consts) > 255:
        return code.co_code, code.co_consts, flags
    place = _places(code.co_consts, keeps_first=sys.version_info < (3, 14))
    instructions = bytearray(code.co_code)
    for step in dis.get_instructions(code):
        if step.opcode in dis.hasconst and step.arg is not None:
            if step.arg == 0:
                return code.co_code, code.co_consts, flags
            instructions[step.offset + 1] = place[step.arg]
    constants: list[object] = [None] * (1 + max(place.values(), default=0))
    for old, new in place.items():
        constants[new] = code.co_consts[old]
    return bytes(instructions), tuple(constants), flags


def _has_docstring(code: types.CodeType) -> bool:
    if sys.version_info >= (3, 14):
        return bool(code.co_flags & _HAS_DOCSTRING)
    of_function = code.co_flags & inspect.CO_NEWLOCALS and code.co_flags & inspect.CO_OPTIMIZED
    named = not code.co_name.startswith("<")  # comprehensions and lambdas have no docstring
    return bool(of_function and named and code.co_consts and isinstance(code.co_consts[0], str))


def _places(constants: tuple[object, ...], *, keeps_first: bool) -> dict[int, int]:
    """Map the place of each constant but the docstring to its place without one.

    Before Python 3.14 the first constant of a function without a docstring is None.
    """
    found: dict[int, int] = {}
    free = 1 if keeps_first else 0
    for old, value in enumerate(constants[1:], 1):
        if keeps_first and value is None:
            found[old] = 0
        else:
            found[old], free = free, free + 1
    return found
