"""Pictures of results: figures by matplotlib for files, and lines of text for terminals.

``KINDS`` says which there are. Everything is loaded when it is first used: the package itself is light.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clbench.plots.confusion import confusion, confusion_matrix
    from clbench.plots.cost import COSTS, cost_and_accuracy
    from clbench.plots.gap import stability_gap
    from clbench.plots.lag import accuracy_by_lag
    from clbench.plots.matrix import end_matrix
    from clbench.plots.spark import BLOCKS, sparklines
    from clbench.plots.style import COLOURS, GRID, INK, MUTED, save, svg
    from clbench.plots.switches import switch_gaps
    from clbench.plots.tasks import task_curves


@dataclass(frozen=True)
class Kind:
    """A kind of picture.

    Args:
        where: ``"module:function"`` of this package. The function takes records, and ``benchmark`` and ``strategies``
            by keyword, and gives a figure; that of ``spark`` gives text.
        meaning: What it shows, in a line.
    """

    where: str
    meaning: str

    @property
    def function(self) -> Callable[..., Any]:
        """The function, imported now."""
        module, name = self.where.split(":")
        made: Callable[..., Any] = getattr(import_module(f"{__name__}.{module}"), name)
        return made


KINDS = {
    "gap": Kind("gap:stability_gap", "accuracy over iterations, and the switches magnified"),
    "tasks": Kind("tasks:task_curves", "accuracy on each task over iterations, a panel per strategy"),
    "switches": Kind("switches:switch_gaps", "accuracy on absent tasks, all switches aligned"),
    "matrix": Kind("matrix:end_matrix", "accuracy on each task at the end of each experience"),
    "confusion": Kind("confusion:confusion", "classes at the end and what they are taken for, of kept predictions"),
    "lag": Kind("lag:accuracy_by_lag", "accuracy by experiences since the last visit"),
    "cost": Kind("cost:cost_and_accuracy", "cost against ACC and WC-ACC, the Pareto front marked"),
    "spark": Kind("spark:sparklines", "lines of text for a terminal, with ACC and WC-ACC"),
}
"""Name -> picture, as ``clbench plot --kind`` knows them."""


def get(name: str) -> Kind:
    """The kind of picture called ``name``.

    Raises:
        Refused: There is none.
    """
    from clbench.parameters import Refused, did_you_mean

    if name not in KINDS:
        raise Refused(f"there is no kind of picture called {name!r}; {did_you_mean(name, KINDS)}")
    return KINDS[name]


_MODULES = {
    "style": ("COLOURS", "GRID", "INK", "MUTED", "save", "svg"),
    "gap": ("stability_gap",),
    "tasks": ("task_curves",),
    "switches": ("switch_gaps",),
    "matrix": ("end_matrix",),
    "confusion": ("confusion", "confusion_matrix"),
    "lag": ("accuracy_by_lag",),
    "cost": ("COSTS", "cost_and_accuracy"),
    "spark": ("BLOCKS", "sparklines"),
}
_PUBLIC = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "BLOCKS",
    "COLOURS",
    "COSTS",
    "GRID",
    "INK",
    "KINDS",
    "MUTED",
    "Kind",
    "accuracy_by_lag",
    "confusion",
    "confusion_matrix",
    "cost_and_accuracy",
    "end_matrix",
    "get",
    "save",
    "sparklines",
    "stability_gap",
    "svg",
    "switch_gaps",
    "task_curves",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"clbench.plots has no {name!r}; public names: {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
