"""Pictures of results: figures by matplotlib for files, and lines of text for terminals.

``KINDS`` says which there are. Everything is loaded when it is first used: the package itself is light.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clbench.plots.confusion_plot import confusion, confusion_matrix
    from clbench.plots.cost_plot import COSTS, cost_and_accuracy
    from clbench.plots.gap_plot import stability_gap
    from clbench.plots.lag_plot import accuracy_by_lag
    from clbench.plots.matrix_plot import end_matrix
    from clbench.plots.style import COLOURS, GRID, INK, MUTED, save, svg
    from clbench.plots.switch_plot import switch_gaps
    from clbench.plots.task_plot import task_curves
    from clbench.plots.terminal_plot import BLOCKS, sparklines


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
    "gap": Kind("gap_plot:stability_gap", "accuracy over iterations, and the switches magnified"),
    "tasks": Kind("task_plot:task_curves", "accuracy on each task over iterations, a panel per strategy"),
    "switches": Kind("switch_plot:switch_gaps", "accuracy on absent tasks, all switches aligned"),
    "matrix": Kind("matrix_plot:end_matrix", "accuracy on each task at the end of each experience"),
    "confusion": Kind(
        "confusion_plot:confusion", "classes at the end and what they are taken for, of kept predictions"
    ),
    "lag": Kind("lag_plot:accuracy_by_lag", "accuracy by experiences since the last visit"),
    "cost": Kind("cost_plot:cost_and_accuracy", "cost against ACC and WC-ACC, the Pareto front marked"),
    "spark": Kind("terminal_plot:sparklines", "lines of text for a terminal, with ACC and WC-ACC"),
}
"""Name -> picture, as ``clbench plot --kind`` knows them."""


def get(name: str) -> Kind:
    """The kind of picture called ``name``.

    Raises:
        Refused: There is none.
    """
    from clbench.core.errors import Refused, did_you_mean

    if name not in KINDS:
        raise Refused(f"there is no kind of picture called {name!r}; {did_you_mean(name, KINDS)}")
    return KINDS[name]


_MODULES = {
    "style": ("COLOURS", "GRID", "INK", "MUTED", "save", "svg"),
    "gap_plot": ("stability_gap",),
    "task_plot": ("task_curves",),
    "switch_plot": ("switch_gaps",),
    "matrix_plot": ("end_matrix",),
    "confusion_plot": ("confusion", "confusion_matrix"),
    "lag_plot": ("accuracy_by_lag",),
    "cost_plot": ("COSTS", "cost_and_accuracy"),
    "terminal_plot": ("BLOCKS", "sparklines"),
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
