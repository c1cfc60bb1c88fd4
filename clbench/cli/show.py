"""``clbench show``: all about a name, or about a record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clbench.cli.common import make_console, pairs
from clbench.cli.output_files import PICTURES, format_of
from clbench.cli.plugins import Plugins
from clbench.cli.show_benchmark import is_benchmark, show_benchmark

if TYPE_CHECKING:
    from rich.console import Console

    from clbench.core.record import Record


def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|RECORD", help="A name of any kind, the JSON file of a record, or a result folder."
        ),
    ],
    key: Annotated[
        str | None, typer.Argument(metavar="[KEY]", help="In a result folder: the first characters of a cell's key.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the stream of a benchmark: png, svg or pdf.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the benchmark first; repeatable."),
    ] = None,
    data_dir: Annotated[str | None, typer.Option("--data-dir", help="Folder of the data sets.")] = None,
    plugins: Plugins = None,  # noqa: ARG001 its callback has read it
) -> None:
    """Show a benchmark, data set, scenario, model, strategy or metric, or the record of one cell."""
    from clbench.core.errors import Refused

    console, path = make_console(), Path(name)
    if is_benchmark(name):
        if plot is not None:
            format_of(plot, PICTURES)
        show_benchmark(console, name, plot=plot, settings=settings or [], data_dir=data_dir)
        _show_name(console, name, after=True)
        return None
    if plot or settings:
        raise Refused("--plot and --set need a benchmark: a shipped name or an existing YAML file")
    if key is not None or (path / "records").is_dir():
        return _show_folder(console, path, key or "")
    if path.suffix == ".json":
        from clbench.core import store

        return _show_record(console, store.load(path))
    if (path.parent / "records").is_dir() and not path.exists():
        return _show_folder(console, path.parent, path.name)
    if set(name) & set("(+"):
        first = re.split(r"[(+]", name)[0].strip()
        raise Refused(f"show takes one name without settings; write clbench show {first or 'NAME'}")
    if not _show_name(console, name):
        raise Refused(f"nothing is called {name!r}, and there is no such record or benchmark file; {_hint(name)}")
    return None


def _hint(name: str) -> str:
    """Suggest what to write instead of an unknown name."""
    from clbench.cli.kinds import KINDS, names
    from clbench.core.errors import did_you_mean
    from clbench.strategies import STRATEGIES

    file, python, _ = name.partition(".py")
    if python and ":" not in file:
        return f"write observe:{file}.py:NAME for a class with observe(x, y), and add --plugin {file}.py for strategies"
    near = did_you_mean(name, {each for kind in KINDS for each in names(kind)})
    hint = near if near.startswith("did") else STRATEGIES.hint(name)
    return "`clbench list` shows all names" if hint.startswith("known") else hint


# --------------------------------------------------------------------------------------------------- records


def _show_folder(console: Console, folder: Path, key: str) -> None:
    """Show the cell whose key begins with ``key``; if there are several, list them."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from clbench import api
    from clbench.core.errors import Refused

    found = [record for record in api.records(folder) if record.key.startswith(key)]
    if not found:
        raise Refused(f"no cell in {folder} has a key that begins with {key!r}; `clbench show {folder}` lists them")
    if len(found) == 1:
        return _show_record(console, found[0])
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading in ("Key", "Benchmark", "Strategy", "Seed", "Status", "Reason"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "Key")
    for record in sorted(found, key=lambda r: (r.benchmark, r.label, r.seed)):
        texts = (record.key, record.benchmark, record.label, str(record.seed), record.status, record.reason)
        table.add_row(*map(Text, texts))
    console.print(table)
    console.print(
        f"`clbench show {folder} KEY` shows one of them; the first characters of its key are enough", style="dim"
    )
    return None


def _show_record(console: Console, record: Record) -> None:
    """Show everything in a record, with the metrics of its trace."""
    from rich.text import Text

    from clbench.strategies.protocol import with_breaches

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
    section("metrics", _metrics(record))
    section("cost", {name.replace("_", " "): _amount(value) for name, value in record.cost.items()})
    section("cell", {name: _flat(value) for name, value in record.cell.items() if name not in ("benchmark", "seed")})
    section("environment", {name: value for name, value in record.environment.items() if value not in ("", None)})
    told = with_breaches(record.cell, record.alarms)
    section("alarms", {str(number): text for number, text in enumerate(told, 1)})


def _metrics(record: Record) -> dict[str, str]:
    """Return title -> value, or the reason why there is none."""
    from clbench.metrics import compute, get

    if record.trace is None:
        return {"none": "nothing was recorded"}
    shown = {}
    for name, value in compute(record.trace).items():
        metric, measure = get(name).under(record.trace.measure), record.trace.measure
        told = metric.shown(value.value, measure)
        if metric.unit == "fraction" or (metric.unit in ("score", "change") and measure.unit == "%"):
            number = f"{told:.2f} %"
        else:
            unit = {"score": measure.unit, "change": measure.unit, "number": ""}.get(metric.unit, metric.unit)
            number = f"{told:.4g} {unit}".rstrip()
        shown[metric.title] = number if value.defined else f"undefined: {value.reason}"
    return shown


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3f}"


def _flat(value: Any) -> str:
    """Write settings on one line: ``lr 0.05, epochs 5``; a strategy as users write it."""
    if isinstance(value, Mapping):
        if set(value) == {"name", "parameters"}:
            inside = ", ".join(f"{key}={each}" for key, each in value["parameters"].items())
            return f"{value['name']}({inside})" if inside else str(value["name"])
        return ", ".join(
            f"{key} {f'({_flat(each)})' if isinstance(each, dict) else each}" for key, each in value.items()
        )
    if isinstance(value, list):
        return " + ".join(map(_flat, value))
    return str(value)


# --------------------------------------------------------------------------------------------------- names


def _show_name(console: Console, name: str, *, after: bool = False) -> bool:
    """Show everything with this name except a benchmark; return whether there was any.

    Args:
        console: The console to print to.
        name: The name.
        after: Whether something was shown before.
    """
    from rich.text import Text

    from clbench.cli.kinds import KINDS, names, registry
    from clbench.data.torchvision_source import SPLITS
    from clbench.metrics import FAMILIES, split_number

    found = False
    for kind in KINDS[1:]:
        if name in names(kind) or registry(kind).scheme(name):
            if found or after:
                console.print()
            _show_entry(console, kind, name)
            found = True
    if not found and split_number(name)[0] in FAMILIES:
        console.print(Text(f"metric {name}", style="bold"))
        _show_metric(console, name, "one of a family of metrics, by number")
        found = True
    if not found and name in SPLITS:
        console.print(f"{name} is a classification data set of torchvision; write dataset: {name} in a benchmark file")
        found = True
    return found


def _show_entry(console: Console, kind: str, name: str) -> None:
    from rich.text import Text

    from clbench.cli.kinds import documentation, registry

    found = registry(kind)
    entry, obj = found.entry(name), found.get(name)
    title = f"{found.kind} {name}" + ("" if entry.origin == "clbench" else f", from {entry.origin}")
    console.print(Text(title, style="bold"))
    if kind == "metrics":
        _show_metric(console, name, entry.summary)
        return
    if entry.summary:
        console.print(entry.summary)
    if kind == "strategies":
        console.print(f"defined for: {_families(obj)}")
    console.print()
    console.print(_settings_table(kind, obj))
    console.print()
    console.print(documentation(obj))


def _families(recipe: Any) -> str:
    """Return the families of tasks for which a strategy is defined, whatever its settings."""
    from inspect import Parameter, signature

    from clbench.strategies.chain import families_of

    needed = [name for name, each in signature(recipe).parameters.items() if each.default is Parameter.empty]
    try:
        made = recipe(**dict.fromkeys(needed, 1))
    except Exception:  # settings that do not go together, or a learner of another library
        return "see below"
    return ", ".join(families_of(made if isinstance(made, list) else [made])) or "every family of tasks"


def _show_metric(console: Console, name: str, summary: str) -> None:
    from clbench.metrics import get

    metric = get(name)
    unit = "" if metric.unit in ("fraction", "score", "change", "number") else f" {metric.unit}"
    lines = {
        "title": metric.title,
        "what": summary or "-",
        "formula": metric.formula,
        "range": f"{metric.low:g} to {metric.high:g}{unit}, {metric.better}",
        "needs": metric.needs,
        "source": metric.source,
    }
    console.print(pairs(lines))


def _settings_table(kind: str, obj: Any) -> Any:
    """Return a table with a line per parameter: name, type, default."""
    from rich.table import Table
    from rich.text import Text

    from clbench.cli.kinds import configurable
    from clbench.core.parameters import settings

    target = configurable(kind, obj)
    rows = [] if target is None else settings(target)
    if not rows:
        return Text("no parameters", style="dim")
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, type_text, default in rows:
        fallback = f"= {default}" if default else "needs a value"
        grid.add_row(Text(name, style="cyan"), Text(type_text), Text(fallback))
    return grid
