"""Apply tuned settings to the strategies of a run. The values enter a cell as settings do; how they were found goes
with the cell into its record, outside of its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clbench.benchmark.documents import plain
from clbench.benchmark.tuned_settings import TunedSettings, TunedStrategy, as_tuned, read_tuned
from clbench.core.errors import Refused
from clbench.core.record import Record
from clbench.running.cell_key import Cell
from clbench.strategies import notation
from clbench.strategies.knobs import with_values
from clbench.strategies.strategy import Strategy

Given = str | Path | Mapping[str, Any] | TunedSettings | None
"""Tuned settings as a program gives them: a file, the content of one, or what :func:`clbench.tune` returns."""


def tuned_settings(given: Any) -> TunedSettings | None:
    """Return tuned settings that a program or command gives.

    Raises:
        Refused: The file cannot be read, or is no file of tuned settings.
    """
    if given is None or isinstance(given, TunedSettings):
        return given
    if isinstance(given, Mapping):
        return as_tuned(given)
    held = getattr(given, "settings", given)
    return held if isinstance(held, TunedSettings) else read_tuned(given)


def with_tuning(record: Record, cell: Cell) -> dict[str, Any]:
    """Return how the settings of a finished record were found, for a cell of the present run.

    The present run decides if its settings were tuned; otherwise the record keeps what it says. So a record that was
    made with the same values before they were tuned takes part, and its trace is not computed again.
    """
    if not cell.tuning:
        return record.tuning
    same = record.tuning.get("study") == cell.tuning.get("study")
    same = same and record.tuning.get("protocol") == cell.tuning.get("protocol")
    return {**(record.tuning if same else {}), **cell.tuning}


class Tuning:
    """Give the strategies of a run their tuned settings.

    Args:
        settings: The tuned settings; ``None`` for none.
        defaults: The benchmark's values for settings without a default.
    """

    def __init__(self, settings: TunedSettings | None, defaults: Mapping[str, Mapping[str, Any]]) -> None:
        self.settings, self.defaults = settings, defaults
        self.used: set[str] = set()
        self.seen: list[str] = []

    def entry(self, written: Any) -> tuple[Any, dict[str, Any]]:
        """Return an entry of ``strategies`` with its tuned settings, and how they were found; both unchanged and empty
        for a strategy that the file does not name.

        Raises:
            Refused: The entry sets a value itself that the file sets too, or the file names a setting that does not
                exist.
        """
        if self.settings is None:
            return written, {}
        overrides = isinstance(written, Mapping) and "strategy" in written
        strategy = written["strategy"] if overrides else written
        self.seen.append(notation.label(strategy))
        name = next((each for each in self.settings.strategies if self._same(each, strategy)), None)
        if name is None:
            return written, {}
        self.used.add(name)
        found = self.settings.strategies[name]
        own = (written.get("training") or {}) if overrides else {}
        both = sorted(set(own) & set(found.training))
        if both:
            raise Refused(
                f"{name} sets training.{both[0]} = {own[both[0]]}, and in {self.settings.source} it is "
                f"{found.training[both[0]]}; leave one of them out"
            )
        try:
            made = with_values(written, found.values)
        except Refused as error:
            raise Refused(f"{self.settings.source}: {error}") from None
        return _in_run(made, found), {"benchmark": self.settings.benchmark, **found.tuning}

    def check(self) -> None:
        """Refuse tuned settings of which no strategy of the run takes any.

        Raises:
            Refused: There are none.
        """
        if self.settings is not None and not self.used:
            raise Refused(
                f"{self.settings.source} has settings for {', '.join(self.settings.strategies)}, and the run has "
                f"{', '.join(self.seen)}; name such a strategy by --strategies, without values of its own"
            )

    def remarks(self, benchmark: str, cells: Sequence[Cell]) -> list[str]:
        """Return a sentence for each way in which a run does not fit the search of its settings: another benchmark,
        other settings, or seeds of the search.

        Args:
            benchmark: Name and version of the benchmark of the run.
            cells: All cells of the run, of which some have tuned settings.
        """
        if self.settings is None:
            return []
        tuned = [cell for cell in cells if cell.tuning]
        told, source = [], self.settings.source
        if self.settings.benchmark != benchmark:
            told.append(f"the settings in {source} were chosen for {self.settings.benchmark}, and this is {benchmark}")
        for place, value in self.settings.settings.items():
            here = [_at(cell.config, place) for cell in tuned]
            other = next((each for each in here if each is not _ABSENT and plain(each) != plain(value)), _ABSENT)
            if other is not _ABSENT:
                told.append(
                    f"the settings in {source} were chosen with {place}={value}, and here it is {other}; add --set "
                    f"{place}={value} for a run as in the search"
                )
        searched = {seed for cell in tuned for seed in cell.tuning.get("seeds") or ()}
        both = sorted(searched & {cell.seed for cell in tuned})
        if both:
            told.append(
                f"the settings in {source} were chosen on seeds {', '.join(map(str, both))} too; use other seeds for "
                "results that the choice has not seen"
            )
        return told

    def _same(self, name: str, strategy: Any) -> bool:
        """Return whether a name in the file is a strategy of the run, without values that differ."""
        calls = [notation.calls(each) for each in (name, strategy)]
        if calls[0] == calls[1]:
            return True
        try:
            return Strategy.parse(name, self.defaults) == Strategy.parse(strategy, self.defaults)
        except Refused:  # a setting without a default: only the text is compared
            return False


_ABSENT = object()


def _at(config: Mapping[str, Any], place: str) -> Any:
    """Return the value of a cell at a dotted place; a cell holds some settings only where they are not the default."""
    found: Any = config
    for name in place.split("."):
        if not isinstance(found, Mapping) or name not in found:
            return _ABSENT
        found = found[name]
    return found


def _in_run(written: Any, found: TunedStrategy) -> Any:
    """Return an entry whose runs choose settings themselves, if the file says so."""
    if not found.chosen_in_run:
        return written
    entry = dict(written) if isinstance(written, Mapping) and "strategy" in written else {"strategy": written}
    return {**entry, "tuning": dict(found.chosen_in_run)}
