"""Show the records of a result folder, or everything in one of them."""

from __future__ import annotations

import glob
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clbench.cli.common import pairs
from clbench.core.errors import Refused
from clbench.core.shown_text import pictured, shown

if TYPE_CHECKING:
    from rich.console import Console

    from clbench.core.record import Record

SHORT = 6
"""Number of characters of a key in a suggested command."""


def show_folder(console: Console, folder: Path, key: str, *, traceback: bool = False) -> None:
    """Show the cell whose key begins with ``key``; if there are several, list them.

    Raises:
        Refused: There is no such cell, or several and a traceback is wanted.
    """
    from clbench import api
    from clbench.core import store

    found = [record for record in api.records(folder) if record.key.startswith(key)]
    if not found:
        for path in sorted((folder / "records").glob(f"{glob.escape(key)}*.json")) if key else ():
            store.load(path)  # a damaged record is refused with its fault
        raise Refused(f"no cell in {folder} has a key that begins with {key!r}; `clbench show {folder}` lists them")
    if len(found) == 1:
        return show_record(console, found[0], place=str(folder), traceback=traceback)
    if traceback:
        failed = next((record for record in found if record.traceback), None)
        example = f", such as {failed.key[:SHORT]}" if failed else "; none of them has a traceback"
        raise Refused(f"--traceback needs one cell, and {len(found)} of {folder} fit; add the key of one{example}")
    _list(console, folder, found)
    return None


def _list(console: Console, folder: Path, records: Sequence[Record]) -> None:
    """List records, with the settings that tell equal labels apart."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from clbench.comparison.record_groups import settings_that_differ

    apart = settings_that_differ(records)
    headings = ["Key", "Benchmark", "Strategy", "Differs in", "Seed", "Status", "Reason"]
    named = [name for name in headings if name != "Differs in" or any(apart.values())]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading in named:
        table.add_column(heading, overflow="fold", no_wrap=heading == "Key")
    for record in sorted(records, key=lambda r: (r.benchmark, r.label, apart[r.key], r.seed)):
        texts = (
            record.key,
            shown(record.benchmark),
            shown(record.label),
            apart[record.key],
            record.seed,
            record.status,
            record.reason,
        )
        table.add_row(*(Text(pictured(str(text))) for name, text in zip(headings, texts, strict=True) if name in named))
    console.print(table)
    console.print(
        f"`clbench show {folder} KEY` shows one of them; the first characters of its key are enough", style="dim"
    )


def show_record(console: Console, record: Record, *, place: str = "", traceback: bool = False) -> None:
    """Show everything in a record, with the metrics of its trace; or only its traceback.

    Args:
        console: The console to print to.
        record: The record.
        place: Its result folder, for a suggested command; empty for the file of a record.
        traceback: Whether to print only the traceback.

    Raises:
        Refused: The record has no traceback.
    """
    from rich.text import Text

    from clbench.strategies.protocol import with_breaches

    if traceback:
        if not record.traceback:
            why = "an older version of clbench wrote it, or its process was killed"
            why = why if record.status == "failed" else f"it is {record.status}"
            raise Refused(f"{record.label}, seed {record.seed} has no traceback: {why}; failed cells have one")
        console.print(record.traceback, soft_wrap=True)
        return

    def section(title: str, items: Mapping[str, Any]) -> None:
        if items:
            console.print(Text(f"\n{title}", style="bold"))
            console.print(pairs({f"  {label}": value for label, value in items.items()}))

    status = f"{record.status}: {record.reason}" if record.reason else record.status
    console.print(Text(f"{record.benchmark}, {record.label}, seed {record.seed}: {status}", style="bold"))
    section(
        "record",
        {"key": record.key, "run by": record.engine, "stream": record.fingerprint or "-", "created": record.created},
    )
    section("settings", how_found(record.tuning))
    if record.traceback:
        command = f"`clbench show {shlex.quote(place) if place else 'RECORD'} {record.key[:SHORT] if place else ''}"
        section("traceback", {"last call": last_call(record), "": f"{command.rstrip()} --traceback` shows all of it"})
    section("metrics", metrics_of(record))
    if beside := published_beside(record, place):
        console.print(Text("\npublished, by others", style="bold bright_black"))
        console.print(pairs(beside), style="bright_black")
    section("cost", {name.replace("_", " "): amount(value) for name, value in record.cost.items()})
    section("attempts", attempts_of(record))
    section("cell", {name: flat(value) for name, value in record.cell.items() if name not in ("benchmark", "seed")})
    section("environment", {name: value for name, value in record.environment.items() if value not in ("", None)})
    told = with_breaches(record.cell, record.alarms)
    section("code", code_of_record(record))
    section("alarms", {str(number): text for number, text in enumerate(told, 1)})


def published_beside(record: Record, place: str) -> dict[str, str]:
    """Return the published numbers on a record's benchmark, by method; none if its cell differs from the file.

    Args:
        record: The record.
        place: Its result folder; empty for the file of a record.
    """
    from clbench.comparison.comparable import title
    from clbench.core.measure import ACCURACY
    from clbench.leaderboard.published_rows import published_in, published_rows
    from clbench.metrics import get

    written = published_in([place] if place else [])
    return {
        f"  {row.strategy}": ", ".join(f"{get(name).title} {row.number(name, 2, ACCURACY)}" for name in row.values)
        + f" ({row.source})"
        for row in published_rows(title(record.cell, record.label), written)
    }


def how_found(tuning: Mapping[str, Any]) -> dict[str, str]:
    """Return how the settings of a record were found, with a line for each experience in which the run chose some."""
    told = {name: flat(value) for name, value in tuning.items() if name != "chosen"}
    for each in tuning.get("chosen", ()):
        values = ", ".join(f"{place} {value:g}" for place, value in each["values"].items())
        tries = ", ".join("diverged" if value < 0 else f"{100 * value:.1f}" for value in each["accuracies"])
        kept = "" if each["enough"] else ", the last try"
        told[f"experience {each['experience']}"] = (
            f"{values}{kept}; lr {each['lr']:g}; accuracy {tries} % with the best at {100 * each['best']:.1f} %"
        )
    return told


def last_call(record: Record) -> str:
    """Return the last call of a record's traceback, ``File "mine.py", line 5, in gradient``."""
    calls = [line.strip() for line in record.traceback.splitlines() if line.startswith("  File ")]
    return calls[-1] if calls else record.traceback.strip().splitlines()[-1]


def attempts_of(record: Record) -> dict[str, str]:
    """Return number -> when an attempt began, from where, and how it ended, if there is more than one or work was
    lost."""
    from clbench.running.attempts import attempts_text, lost_seconds

    total = attempts_text(record.attempts)
    if not total:
        return {}
    named = {"in all": total}
    for number, each in enumerate(record.attempts, 1):
        ended, lost = each.get("ended", "running"), lost_seconds([each])
        steps = f"steps {each.get('from_step', 0)} to {each.get('to_step', '?')}"
        named[str(number)] = f"{each.get('began', '?')}, {steps}, {ended}" + (f", {lost:.1f} s lost" if lost else "")
    return named


def code_of_record(record: Record) -> dict[str, str]:
    """Return the digests of the code that made a record, each with whether it is that of now."""
    from clbench.running.code_digest import code_of

    now = code_of(record.cell) if record.code else {}
    return {
        part: f"{digest}, {'as now' if digest == now.get(part) else 'changed since'}"
        for part, digest in record.code.items()
    }


def metrics_of(record: Record) -> dict[str, str]:
    """Return title -> value, or the reason why there is none."""
    from clbench.metrics import compute, get

    if record.trace is None:
        return {"none": "nothing was recorded"}
    named = {}
    for name, value in compute(record.trace).items():
        metric, measure = get(name).under(record.trace.measure), record.trace.measure
        told = metric.shown(value.value, measure)
        if metric.in_percent(measure):
            number = f"{told:.2f} %"
        else:
            unit = {"score": measure.unit, "change": measure.unit, "number": ""}.get(metric.unit, metric.unit)
            number = f"{told:.4g} {unit}".rstrip()
        named[metric.title] = number if value.defined else f"undefined: {value.reason}"
    return named


def amount(value: float) -> str:
    """Write a number of a record's cost: whole numbers without decimals."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3f}"


def flat(value: Any) -> str:
    """Write settings on one line: ``lr 0.05, epochs 5``; a strategy as users write it."""
    if isinstance(value, Mapping):
        if set(value) == {"name", "parameters"}:
            inside = ", ".join(f"{key}={each}" for key, each in value["parameters"].items())
            return f"{value['name']}({inside})" if inside else str(value["name"])
        return ", ".join(
            f"{key} {f'({flat(each)})' if isinstance(each, dict) else each}" for key, each in value.items()
        )
    if isinstance(value, list):
        return " + ".join(map(flat, value))
    return str(value)
