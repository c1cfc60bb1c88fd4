"""Plots of results: matplotlib figures for files, and lines of text for terminals.

``KINDS`` lists them. Everything is imported at first use, so that the package itself imports fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from clbench.core.record import Record
    from clbench.plots.classes_plot import class_curves
    from clbench.plots.confusion_plot import confusion, confusion_matrix
    from clbench.plots.cost_plot import COSTS, cost_and_accuracy
    from clbench.plots.gap_plot import stability_gap
    from clbench.plots.lag_plot import accuracy_by_lag
    from clbench.plots.matrix_plot import end_matrix
    from clbench.plots.picture_files import save, svg
    from clbench.plots.picture_format import Format
    from clbench.plots.predictions_plot import predicted_classes
    from clbench.plots.readings_plot import network_readings
    from clbench.plots.strategy_styles import COLOURS
    from clbench.plots.style import GRID, INK, MUTED
    from clbench.plots.switch_plot import switch_gaps
    from clbench.plots.task_plot import task_curves
    from clbench.plots.terminal_plot import BLOCKS, sparklines


@dataclass(frozen=True)
class Kind:
    """Describe a kind of plot.

    Args:
        where: ``"module:function"`` in this package. The function takes records, and ``benchmark`` and ``strategies``
            as keywords, and returns a figure; that of ``spark`` returns text.
        meaning: What the plot shows, in one line.
    """

    where: str
    meaning: str

    @property
    def function(self) -> Callable[..., Any]:
        """Import the function and return it."""
        module, name = self.where.split(":")
        made: Callable[..., Any] = getattr(import_module(f"{__name__}.{module}"), name)
        return made


KINDS = {
    "gap": Kind("gap_plot:stability_gap", "accuracy over iterations, and the switches magnified"),
    "tasks": Kind("task_plot:task_curves", "accuracy on each task over iterations, a panel per strategy"),
    "switches": Kind("switch_plot:switch_gaps", "accuracy on absent tasks, all switches aligned"),
    "matrix": Kind("matrix_plot:end_matrix", "accuracy on each task at the end of each experience"),
    "classes": Kind("classes_plot:class_curves", "accuracy on each class along the stream, from evaluation.classes"),
    "predictions": Kind(
        "predictions_plot:predicted_classes", "how often each class is predicted, from kept predictions"
    ),
    "confusion": Kind("confusion_plot:confusion", "true and predicted classes at the end, from kept predictions"),
    "lag": Kind("lag_plot:accuracy_by_lag", "accuracy by experiences since the last visit"),
    "cost": Kind("cost_plot:cost_and_accuracy", "cost against ACC and WC-ACC, the Pareto front marked"),
    "readings": Kind(
        "readings_plot:network_readings", "readings of the network along the stream, from evaluation.readings"
    ),
    "spark": Kind("terminal_plot:sparklines", "lines of text for a terminal, with ACC and WC-ACC"),
}
"""Map the names of ``clbench plot --kind`` to kinds of plots."""


def get(name: str) -> Kind:
    """Return the kind of plot called ``name``.

    Raises:
        Refused: It does not exist.
    """
    from clbench.core.errors import Refused, did_you_mean

    if name not in KINDS:
        raise Refused(f"there is no kind of picture called {name!r}; {did_you_mean(name, KINDS)}")
    return KINDS[name]


def draw(
    kind: str,
    records: Iterable[Record],
    form: Format | None = None,
    *,
    benchmark: str | None = None,
    strategies: Sequence[str] | None = None,
    order: Sequence[str] | None = None,
    **settings: Any,
) -> Figure:
    """Draw records as a figure of some kind, in a format.

    Args:
        kind: The name of a kind in :data:`KINDS`, except ``spark``.
        records: Any records; cells that are not done are left out.
        form: Size, letters, title and names; by default the usual ones of the kind.
        benchmark: Name and version; needed only if the records contain several.
        strategies: Labels of strategies, in this order; by default all, from the best ACC to the worst.
        order: Labels of strategies that come first, in this order. The others follow in the order above.
        settings: Settings of the kind, such as ``cost`` or ``since``.

    Raises:
        Refused: The kind or a label is unknown, there is nothing to plot, or the records do not suit this kind.
    """
    from clbench.core.errors import Refused, did_you_mean
    from clbench.plots.picture_format import Format, formatted
    from clbench.plots.plotted_runs import as_labels, choose

    found = get(kind)
    if kind == "spark":
        raise Refused("kind 'spark' is text; clbench.plots.sparklines(records) gives it, the other kinds are figures")
    records = list(records)
    with formatted(form or Format()):
        if order:
            runs = choose(records, benchmark, strategies)
            drawn, first = list(runs.own_labels.values()), as_labels(order, runs.labels)
            for label in first:
                if label not in drawn:
                    raise Refused(f"the order names {label!r}, which is not drawn; {did_you_mean(label, drawn)}")
            strategies = list(dict.fromkeys([*first, *drawn]))
        made: Figure = found.function(records, benchmark=benchmark, strategies=strategies, **settings)
    return made


_MODULES = {
    "style": ("GRID", "INK", "MUTED"),
    "strategy_styles": ("COLOURS",),
    "picture_format": ("Format",),
    "picture_files": ("save", "svg"),
    "gap_plot": ("stability_gap",),
    "task_plot": ("task_curves",),
    "switch_plot": ("switch_gaps",),
    "matrix_plot": ("end_matrix",),
    "classes_plot": ("class_curves",),
    "predictions_plot": ("predicted_classes",),
    "confusion_plot": ("confusion", "confusion_matrix"),
    "lag_plot": ("accuracy_by_lag",),
    "readings_plot": ("network_readings",),
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
    "Format",
    "Kind",
    "accuracy_by_lag",
    "class_curves",
    "confusion",
    "confusion_matrix",
    "cost_and_accuracy",
    "draw",
    "end_matrix",
    "get",
    "network_readings",
    "predicted_classes",
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
