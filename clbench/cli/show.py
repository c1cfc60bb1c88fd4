"""``clbench show``: all about a name, or about a record."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clbench.cli.common import make_console, pairs
from clbench.cli.output_files import PICTURES, format_of
from clbench.cli.picture_options import FontSize, Height, Title, Width, picture_format
from clbench.cli.plugins import Plugins
from clbench.cli.show_benchmark import is_benchmark, show_benchmark
from clbench.cli.show_record import show_folder, show_record

if TYPE_CHECKING:
    from rich.console import Console


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
    width: Width = None,
    height: Height = None,
    font_size: FontSize = None,
    title: Title = True,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the benchmark first; repeatable."),
    ] = None,
    data_dir: Annotated[str | None, typer.Option("--data-dir", help="Folder of the data sets.")] = None,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Print where a failed cell failed, and nothing else.")
    ] = False,
    plugins: Plugins = None,  # noqa: ARG001 its callback has read it
) -> None:
    """Show a benchmark, data set, scenario, model, strategy or metric, or the record of one cell: evaluations, costs
    and settings of one strategy with one seed."""
    from clbench.core.errors import Refused

    form = picture_format(plot, "--plot", width=width, height=height, font_size=font_size, title=title)
    console, path = make_console(), Path(name)
    if is_benchmark(name) and not traceback:
        if plot is not None:
            format_of(plot, PICTURES)
        show_benchmark(console, name, plot=plot, form=form, settings=settings or [], data_dir=data_dir)
        _show_name(console, name, after=True)
        return None
    if plot or settings:
        raise Refused("--plot and --set need a benchmark: a shipped name or an existing YAML file")
    if key is not None or (path / "records").is_dir():
        return show_folder(console, path, key or "", traceback=traceback)
    if path.suffix == ".json":
        from clbench.core import store

        return show_record(console, store.load(path), traceback=traceback)
    if (path.parent / "records").is_dir() and not path.exists():
        return show_folder(console, path.parent, path.name, traceback=traceback)
    if traceback:
        raise Refused("--traceback needs a record: a result folder and the key of a cell, or the JSON file of a record")
    if set(name) & set("(+"):
        first = re.split(r"[(+]", name)[0].strip()
        raise Refused(f"show takes one name without settings; write clbench show {first or 'NAME'}")
    if not _show_name(console, name):
        raise Refused(f"nothing is called {name!r}, and there is no such record or benchmark file; {_hint(name)}")
    return None


def _hint(name: str) -> str:
    """Suggest what to write instead of an unknown name."""
    from clbench.benchmark.setting_names import setting_called
    from clbench.cli.kinds import KINDS, names
    from clbench.core.errors import did_you_mean
    from clbench.strategies import STRATEGIES

    file, python, rest = name.partition(".py")
    if python and not rest and Path(name).is_file():
        from clbench.cli.user_file import held_by

        known = held_by(name)
        return f"write {' or '.join(known[:8])}" if known else f"{name} defines no class and no function"
    if python and ":" not in file:
        return f"write observe:{file}.py:NAME for a class with observe(x, y), and add --plugin {file}.py for strategies"
    if name.partition(":")[0].lower() in STRATEGIES.schemes:
        return STRATEGIES.hint(name)
    near, setting = did_you_mean(name, {each for kind in KINDS for each in names(kind)}), setting_called(name)
    exact = setting is not None and name in (setting, setting.rpartition(".")[2])
    if near.startswith("did") and not exact:
        return near
    if setting:
        return f"{setting} is a setting of benchmarks; write --set {setting}=VALUE, and see clbench run --help"
    hint = STRATEGIES.hint(name)
    return "`clbench list` shows all names" if hint.startswith("known") else hint


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
    if ".py:" in name and not any(registry(kind).scheme(name) for kind in KINDS[1:]):
        _show_of_file(console, name)
        return True
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


def _show_of_file(console: Console, name: str) -> None:
    """Show an object of a user's file."""
    from rich.text import Text

    from clbench.cli.kinds import documentation, registry
    from clbench.cli.user_file import kind_of
    from clbench.models.user_signature import filled

    obj = registry("strategies").get(name)
    kind = kind_of(obj)
    if kind == "observe":
        console.print(Text(f"class with observe(x, y), {name}", style="bold"))
        console.print(f"run it as the strategy observe:{name}")
    else:
        console.print(Text(f"{registry(kind).kind} {name}", style="bold"))
    if kind == "models":
        given = filled(obj)
        told = ", ".join(given) if given else "the shape of a sample and the number of outputs, in this order"
        console.print(f"clbench gives it {told}; its other parameters are settings:")
    console.print()
    console.print(_settings_table("strategies" if kind == "observe" else kind, obj))
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
    lines = {
        "title": metric.title,
        "what": summary or "-",
        "formula": metric.formula,
        "range": f"{metric.range}, {metric.better}",
        "needs": metric.needs,
        "source": metric.source,
    }
    console.print(pairs(lines))


def _settings_table(kind: str, obj: Any) -> Any:
    """Return a table with a line per parameter: name, type, default, range, search range."""
    from rich.table import Table
    from rich.text import Text

    from clbench.cli.kinds import configurable
    from clbench.core.parameters import range_text, settings
    from clbench.core.search_space import search_text
    from clbench.models.user_signature import filled, settable

    target = configurable(kind, obj)
    if kind == "models" and target is not None:
        target = settable(target)
    given = filled(obj) if kind == "models" else ()
    rows = [] if target is None else [each for each in settings(target) if each[0] not in given]
    if not rows:
        return Text("no parameters", style="dim")
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, type_text, default in rows:
        fallback = f"= {default}" if default else "needs a value"
        allowed = range_text(target, name) if target is not None else ""
        search = search_text(target, name) if target is not None else ""
        tried = f"search {search}" if search else ""
        grid.add_row(
            Text(name, style="cyan"),
            Text(type_text),
            Text(fallback),
            Text(allowed, style="dim"),
            Text(tried, style="dim"),
        )
    return grid
