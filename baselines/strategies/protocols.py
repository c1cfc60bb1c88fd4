"""Compare the tables whose settings were chosen under different protocols, from the records of ``table.py``.

python baselines/strategies/protocols.py

Each method with tuned settings is compared with itself under the other protocol, and with two baselines that have no
tuned settings. Differences are paired by seed, with the 95 % Student-t interval of their mean. A method is above or
below a baseline if the interval leaves out 0, and *equal* means that it does not. The result is ``protocols.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from table import OF_BENCHMARK, TUNED

from clbench.api import records
from clbench.benchmark.tuned_settings import read_tuned
from clbench.core.record import Record
from clbench.metrics import acc
from clbench.metrics.interval import SEEDS_FOR_INTERVAL, half_width
from clbench.strategies.knobs import with_values
from clbench.strategies.strategy import Strategy

HERE = Path(__file__).parent
PROTOCOLS = {
    "end": "`end`, grids",
    "end-search": "`end`",
    "first-2": "`first:2`",
}
"""Folders of the tables, after the setting, and what they are."""
BASELINES = ("naive", "er")
SETTINGS = {"split-mnist-online": ("class", "task", "domain"), "split-cifar10-online": ("class",)}
"""The tables of each benchmark."""
Scores = dict[int, float]


def main() -> None:
    """Write ``protocols.md``."""
    told = ["# Settings chosen under `first:2` and under `end`", "", INTRODUCTION]
    for benchmark, every in SETTINGS.items():
        for setting in every:
            found = {name: folder for name in PROTOCOLS if (folder := folder_of(benchmark, setting, name)).is_dir()}
            told += ["", *section(benchmark, setting, found)]
    (HERE / "protocols.md").write_text("\n".join(told) + "\n", encoding="utf-8")


INTRODUCTION = (
    "ACC in percent, mean and half-width of the 95 % Student-t interval over five seeds of Split-MNIST and three of "
    "Split-CIFAR-10, with the number of finished seeds if some diverged. Written by `protocols.py`, which says what "
    "*above* and *below* mean. Under `end` a search sees held-out samples of all tasks, which no learner has; under "
    "`first:2` those of the first two experiences. Both are searches of 12 trials with two seeds; *grids* are those of "
    "2 to 4 values behind the tables of the README."
)


def folder_of(benchmark: str, setting: str, protocol: str) -> Path:
    """The folder of a table."""
    return HERE / benchmark / (setting if protocol == "end" else f"{setting}-{protocol}")


def section(benchmark: str, setting: str, found: Mapping[str, Path]) -> list[str]:
    """The tables of one benchmark in one setting."""
    tables = {name: by_strategy(folder) for name, folder in found.items()}
    chosen = {name: settings(benchmark, setting, name) for name in found}
    methods = TUNED | OF_BENCHMARK.get(benchmark, {})
    lines = [
        f"## {benchmark}, {setting}",
        "",
        "| method | " + " | ".join(f"{PROTOCOLS[name]} | ACC | against naive, er" for name in found) + " |",
        "| --- |" + " --- | --- | --- |" * len(found),
    ]
    changed, pair = [], list(found)[-2:]  # of two tables for end, that of the same search is compared
    for method in methods:
        row, verdicts = [f"`{method}`"], {}
        for name, table in tables.items():
            text, key = chosen[name][method]
            scores = table.get(key, {})
            verdicts[name] = tuple(against(scores, table[canonical(baseline)]) for baseline in BASELINES)
            row += [f"`{text}`", shown(scores), ", ".join(verdicts[name])]
        lines.append("| " + " | ".join(row) + " |")
        if len({verdicts[name] for name in pair}) > 1:
            changed.append(method)
    last = pair[-1]
    others = [name for name in found if name != last]
    lines += ["", "Differences paired by seed:", ""]
    lines += ["| method | " + " | ".join(f"{PROTOCOLS[last]} minus {PROTOCOLS[name]}" for name in others) + " |"]
    lines += ["| --- |" + " --- |" * len(others)]
    for method in methods:
        ours = tables[last].get(chosen[last][method][1], {})
        told = [difference(ours, tables[name].get(chosen[name][method][1], {})) for name in others]
        lines.append(f"| `{method}` | {' | '.join(told)} |")
    names = ", ".join(f"`{each}`" for each in changed) or "none"
    compared = " and ".join(PROTOCOLS[name] for name in pair)
    return [*lines, "", f"**Methods whose relation to `naive` or `er` is not the same under {compared}: {names}.**"]


def settings(benchmark: str, setting: str, protocol: str) -> dict[str, tuple[str, str]]:
    """Method -> its chosen settings as text, and its canonical form."""
    tuned = read_tuned(HERE / "tuned" / f"{benchmark}-{setting}-{protocol}.yaml")
    made = {}
    for method, text in (TUNED | OF_BENCHMARK.get(benchmark, {})).items():
        values = tuned.strategies[text].values
        chosen = with_values(text, values)
        told = (
            f"{name.partition('.')[2]}={v:g}" if isinstance(v, float) else f"{name.partition('.')[2]}={v}"
            for name, v in values.items()
        )
        made[method] = (", ".join(told), canonical(chosen))
    return made


def canonical(strategy: str) -> str:
    """The strategy as text that is equal for equal settings."""
    return str(Strategy.parse(strategy).items)


def by_strategy(folder: Path) -> dict[str, Scores]:
    """Strategy -> seed -> ACC of each seed that has finished; NaN for one that diverged."""
    found: dict[str, Scores] = {}
    for record in records(folder):
        found.setdefault(str(Strategy.of(record.cell["strategy"], record.label).items), {})[record.seed] = score(record)
    return found


def score(record: Record) -> float:
    """ACC in percent."""
    return 100 * acc(record.trace) if record.status == "done" and record.trace is not None else float("nan")


def shown(scores: Scores) -> str:
    """Mean and interval of the finished seeds, or their values if they are too few."""
    done = [value for value in scores.values() if not np.isnan(value)]
    if not done:
        return "diverged" if scores else "not run"
    counted = "" if len(done) == len(scores) else f" ({len(done)}/{len(scores)} seeds)"
    if len(done) < SEEDS_FOR_INTERVAL:
        return ", ".join(f"{value:.1f}" for value in done) + counted
    return f"{np.mean(done):.1f} ± {half_width(done, fewest=SEEDS_FOR_INTERVAL):.1f}{counted}"


def paired(ours: Scores, theirs: Scores) -> list[float]:
    """Differences over the seeds that both have finished."""
    return [ours[s] - theirs[s] for s in sorted(ours) if s in theirs and not np.isnan(ours[s] - theirs[s])]


def difference(ours: Scores, theirs: Scores) -> str:
    """The paired difference with its interval."""
    found = paired(ours, theirs)
    return (
        f"{np.mean(found):+.1f} ± {half_width(found, fewest=SEEDS_FOR_INTERVAL):.1f}"
        if len(found) >= SEEDS_FOR_INTERVAL
        else "no pairs"
    )


def against(ours: Scores, theirs: Scores) -> str:
    """Above, below or equal; diverged if any seed has not finished."""
    if len(found := paired(ours, theirs)) < len(theirs):
        return "diverged"
    mean, half = float(np.mean(found)), float(half_width(found, fewest=SEEDS_FOR_INTERVAL))
    return "equal" if abs(mean) <= half else "above" if mean > 0 else "below"


if __name__ == "__main__":
    main()
