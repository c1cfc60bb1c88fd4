"""Families of tasks: what a target is, its loss and its score. One family per file; torch is not imported here.

A family is a class (see :class:`clbench.families.family.Family`), made for a data set. Another package adds one
through the entry point ``clbench.families``, a running program with ``FAMILIES.add(name, its class)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clbench.core.errors import Refused
from clbench.core.registry import Registry
from clbench.families.family import Family

if TYPE_CHECKING:
    from clbench.core.types import Dataset

__all__ = ["FAMILIES", "Family", "named", "of"]

FAMILIES = Registry(
    "family",
    "clbench.families",
    {
        "classification": (
            "clbench.families.classification:Classification",
            "a class per sample: cross-entropy, accuracy",
        ),
        "regression": (
            "clbench.families.regression:Regression",
            "numbers per sample: mean squared error, R²",
        ),
    },
)


def of(dataset: Dataset) -> Family:
    """Make the family of a data set.

    Args:
        dataset: Its ``family`` names the class.

    Raises:
        Refused: There is no family of that name, or it is not the class of a family.
    """
    return named(dataset.family)(dataset)


def named(name: str) -> type[Family]:
    """Return the class of a family by its name; raises as :func:`of`."""
    kind = FAMILIES.get(name)
    if not (isinstance(kind, type) and issubclass(kind, Family)):
        raise Refused(f"the family {name!r} is {kind!r}; it must be a subclass of clbench.families.Family")
    return kind
