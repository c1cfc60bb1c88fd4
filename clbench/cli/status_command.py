"""``clbench status``: what is done in a result folder, what runs where, and what is wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clbench.cli.common import count, make_console

if TYPE_CHECKING:
    from rich.console import Console

MOST = 10
"""The most lines of one kind that are printed."""
UNFINISHED = 3
"""Exit code if cells run or wait."""


def status(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Result folder of clbench run.")],
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all of it as JSON, with the keys that docs/scale.md lists.")
    ] = False,
) -> None:
    """Show what is done in a result folder, what runs where, what failed, and what is wrong with its files.

    It reads the folder only, also while commands run in it, on this machine or others.

    Exit code: 0 all planned cells are finished, 1 some failed or files are damaged or contradict each other, 2 the
    command is wrong, 3 cells run or wait.
    """
    from clbench.running.folder_status import folder_status, has_problems, is_unfinished

    told = folder_status(directory)
    if as_json:
        print(json.dumps(told, indent=1))
    else:
        _show(make_console(), told)
    raise typer.Exit(UNFINISHED if is_unfinished(told) else 1 if has_problems(told) else 0)


def _show(console: Console, told: Mapping[str, Any]) -> None:
    for line in [*_plans(told), *_running(told), *_unsuccessful(told), *_files(told), *_totals(told)]:
        console.print(line, soft_wrap=True)


def _plans(told: Mapping[str, Any]) -> list[str]:
    """Describe what was planned and what of it is done."""
    shown = []
    for plan in told["plans"]:
        parts = [f"{plan[name]} {name}" for name in ("done", "skipped", "diverged", "failed", "running", "waiting")
                 if plan[name] or name == "done"]  # fmt: skip
        what = plan["benchmark"] + (f", shard {plan['shard']}" if plan["shard"] else "")
        line = f"{what}: planned {plan['planned']}: {', '.join(parts)}"
        if plan["current"]:
            shown.append(line)
        elif plan["waiting"] > plan["waiting_elsewhere"]:
            shown.append(f"{line} (an earlier plan, of {_day(plan['written'])})")
    others = told["unplanned"] if told["plans"] else 0
    if others:
        shown.append(f"{count(others, 'record')} of earlier plans besides")
    if not told["plans"]:
        parts = [f"{number} {name}" for name, number in told["records"].items()]
        total = sum(told["records"].values())
        shown.append(f"{count(total, 'record')}: {', '.join(parts) or 'none'}; no plan tells what else was to be run")
    return shown


def _running(told: Mapping[str, Any]) -> list[str]:
    from clbench.running.progress import clock_text

    lines = []
    for each in told["running"]:
        where = "by an unknown command" if each["host"] is None else f"on {each['host']}, process {each['pid']}"
        parts = [f"{100 * each['fraction']:.0f} %"]
        parts += [each["scores"]] if each["scores"] else []
        parts += [f"for {clock_text(each['seconds'])}"] if each["seconds"] else []
        parts += [f"about {clock_text(each['seconds_left'])} left"] if each["seconds_left"] is not None else []
        parts += [f"silent for {each['silent_seconds']:.0f} s"] if each["silent_seconds"] > 30 else []
        lines.append(f"  {_who(each)}: {', '.join(parts)}, {where}")
    lines = [*_limited(lines, "cells run")]
    ended = [f"  {_who(each)}: the command on {each['host'] or '?'} has ended or is silent; the next one runs the cell"
             for each in told["ended"]]  # fmt: skip
    return [*(["Running:", *lines] if lines else []), *(["Interrupted:", *_limited(ended, "cells")] if ended else [])]


def _unsuccessful(told: Mapping[str, Any]) -> list[str]:
    """Describe cells without a result, once for all seeds that share the reason."""
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for each in told["unsuccessful"]:
        named = (each["benchmark"], each["strategy"], each["status"], each["reason"].split("\n")[0])
        groups.setdefault(named, []).append(str(each["seed"]))
    lines = [
        f"  {label}, seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}: {state}: {reason}"
        for (_, label, state, reason), seeds in groups.items()
    ]
    return ["Without a result:", *_limited(lines, "reasons")] if lines else []


def _files(told: Mapping[str, Any]) -> list[str]:
    """Describe what is wrong with files."""
    lines = []
    if told["damaged"]:
        named = [f"{each['key']} ({each['fault']})" for each in told["damaged"]]
        lines.append(f"{count(len(named), 'damaged record')}, in no number: {_some(named)}")
    lines += [f"{count(len(told['newer']), 'record')} of a newer clbench: {told['newer'][0]}"] if told["newer"] else []
    if told["foreign"]:
        lines.append(f"{count(len(told['foreign']), 'file')} in records/ that are no records: {_some(told['foreign'])}")
    if told["stale"]:
        cells = [_who(each) for each in told["stale"]]
        by_strategy = Counter(each["strategy"] for each in told["stale"])
        named = [f"{label} ({number})" for label, number in by_strategy.most_common()] if len(cells) > 3 else cells
        lines.append(
            f"{count(len(cells), 'stale cell')}, whose code has changed since: {_some(named)}; "
            "`clbench run ... --rerun stale` runs them again"
        )
    if told["unknown_code"]:
        lines.append(f"{count(told['unknown_code'], 'record')} of unknown code, from before records held it")
    for name, number in told["aside"].items():
        lines.append(f"{name}/ holds {count(number, 'record')}")
    return lines


def _totals(told: Mapping[str, Any]) -> list[str]:
    from clbench.running.executors.limits import size_text
    from clbench.running.progress import clock_text

    lines = []
    running = count(len(told["running"]), "cell")
    if told["seconds_left"] is not None:
        lines.append(f"About {clock_text(told['seconds_left'])} left with {running} at a time.")
    elif told["running"]:
        lines.append("The time left is known when the first cell is done.")
    elif told["waiting"]:
        work = "" if told["seconds_of_work"] is None else f"; about {clock_text(told['seconds_of_work'])} of work"
        saved = f", {told['with_checkpoint']} of them from a checkpoint" if told["with_checkpoint"] else ""
        lines.append(f"No command runs; the same command runs the other {count(told['waiting'], 'cell')}{saved}{work}.")
    starts, board = told["starts"], told["board"]
    if starts["cells"]:
        lost = f"; {clock_text(starts['lost_seconds'])} of work lost" if starts["lost_seconds"] >= 0.5 else ""
        lines.append(f"{count(starts['starts'], 'start')} of {count(starts['cells'], 'cell')}{lost}.")
    if board is not None:
        age = "of all records" if board["current"] else "older than the newest record"
        lines.append(f"Leaderboard of {_day(board['written'])}, {age}.")
    folders = [f"{name} {size_text(size)}" for name, size in told["disk"]["folders"].items() if size >= 2**19]
    lines.append(f"Disk: {size_text(told['disk']['bytes'])}{': ' * bool(folders)}{', '.join(folders)}.")
    return lines


def _who(each: Mapping[str, Any]) -> str:
    return f"{each['strategy']}, seed {each['seed']}" if each["strategy"] else f"cell {each['key']}"


def _day(written: str) -> str:
    return f"{written[:10]} {written[11:16]} UTC"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _limited(lines: Sequence[str], what: str) -> list[str]:
    more = len(lines) - MOST
    return [*lines[:MOST], *([f"  and {more} more {what}"] if more > 0 else [])]
