"""A program's checksum: what a reader alone sees does not count, and what Python executes does."""

import textwrap

import pytest

from clbench.core.identity import checksum
from clbench.core.identity.program_text import digest

PROGRAM = '''
"""Docstring of the module."""
import math


class Idea:
    """Docstring of the class."""

    strength: float = 0.1
    """A text below a field."""

    def loss(self, x):
        """Docstring of the method."""
        # a comment
        told = f"{x} of {self.strength:.2f}"
        if x:
            return math.sqrt(x), told, "kept"
        return None
'''


def edited(old, new):
    assert old in PROGRAM
    return PROGRAM.replace(old, new).encode()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another comment"),
        ("        # a comment\n", ""),
        ("Docstring of the module", "Other words"),
        ("Docstring of the class", "Other words"),
        ("Docstring of the method", "Other words"),
        ('        """Docstring of the method."""\n', ""),
        ("A text below a field", "Other words"),
        ("import math\n", "import math  # of Python\n\n\n\n"),
        ("strength: float = 0.1", "strength :float=0.1"),
        ("math.sqrt(x), told", "math.sqrt(\n                x\n            ), told"),
        ("    ", "  "),
        ("\n", "\r\n"),
        ('\n"""Docstring of the module."""', '# -*- coding: utf-8 -*-\n"""Docstring of the module."""'),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(old, new):
    assert digest(edited(old, new)) == digest(PROGRAM.encode())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.1", "0.2"),
        ('"kept"', '"other"'),
        (":.2f", ":.3f"),
        ("{x} of", "{x} out of"),
        ("        return None\n", "            return None\n"),
        ("math.sqrt", "math.exp"),
        ("if x:", "if not x:"),
        ('        """Docstring of the method."""\n', '        name = """Docstring of the method."""\n'),
        ('told = f"{x}', 'told = "{x}'),
    ],
)
def test_an_edited_line_counts(old, new):
    assert digest(edited(old, new)) != digest(PROGRAM.encode())


def test_a_file_that_is_no_python_counts_by_every_byte():
    assert digest(b"\x7fELF\x00 \xff") != digest(b"\x7fELF\x00  \xff")
    assert digest(b"def f(:  # a") != digest(b"def f(:  # b")


def function(text):
    names = {"__name__": "__main__"}
    exec(textwrap.dedent(text), names)
    return names["f"]


BARE = "def f(x, s=3):\n    return (x + s * 2.5, 'told') if x else None"


@pytest.mark.parametrize(
    "text",
    [
        "def f(x, s=3):\n    'words'\n    return (x + s * 2.5, 'told') if x else None",
        "def f(x, s=3):\n    'other words'\n\n    # a comment\n    return (x + s * 2.5, 'told') if x else None",
        "\n\n\n" + BARE,
    ],
)
def test_the_docstring_of_a_function_that_a_program_hands_over_does_not_count(text):
    assert checksum(function(text)) == checksum(function(BARE))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(x):\n    'a'\n    return 'a'", "def f(x):\n    'b'\n    return 'b'"),
        ("def f(x):\n    return ['a' + y for y in x]", "def f(x):\n    return ['b' + y for y in x]"),
        ("def f(x):\n    'words'\n    return 1.5", "def f(x):\n    'words'\n    return 2.5"),
        ("f = lambda x: 'a'", "f = lambda x: 'b'"),
    ],
)
def test_a_text_that_a_function_uses_counts(one, other):
    assert checksum(function(one)) != checksum(function(other))


def test_docstrings_of_methods_and_of_functions_inside_do_not_count():
    def made(doc):
        return function(
            f"""
            class f:
                {doc!r}
                def method(self):
                    {doc!r}
                    def inside():
                        {doc!r}
                        return None, 4
                    return inside
            """
        )

    assert checksum(made("one")) == checksum(made("other"))
