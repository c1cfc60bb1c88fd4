"""Notes that a reader needs to compare the rows of a table: about streams, labels and versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from clbench.comparison.code_versions import count_versions, newest
from clbench.comparison.comparable import sees
from clbench.comparison.trace_values import TraceValues
from clbench.core.measure import Measure
from clbench.core.public_names import public
from clbench.core.record import Record
from clbench.leaderboard.board_rows import Row
from clbench.leaderboard.columns import on_versions
from clbench.leaderboard.settings_origin import unavailable
from clbench.leaderboard.settings_text import differing_settings, is_renamed, versions
from clbench.leaderboard.standing_notes import standing_notes
from clbench.leaderboard.standings import RankingChoice


def table_notes(
    rows: Sequence[Row],
    seeds: tuple[int, ...],
    reference: tuple[int, ...],
    measure: Measure,
    values: TraceValues,
    ranking: RankingChoice,
) -> tuple[str, ...]:
    """Return the notes of a table.

    Args:
        rows: Its rows.
        seeds: The seeds of all records.
        reference: The seeds that a ranked strategy has.
        measure: What its scores are.
        values: What computes the facts of traces.
        ranking: What ranks its rows.
    """
    looks = " or ".join(dict.fromkeys(row.looks for row in rows))
    notes = [f"evaluations: {looks}"] if looks else []
    finished = [row for row in rows if row.finished]
    notes += on_versions({row.name: row.records for row in finished}, rows[0].metrics if rows else (), values)
    notes += standing_notes(rows, seeds, reference, measure, ranking)
    notes += [*other_streams(finished), *labels(rows), *different_versions(rows), *different_code(rows)]
    differing = differing_settings([record.cell for row in rows for record in _one_each(row.records)])
    if differing:
        notes.append(f"rows differ in settings of the benchmark: {', '.join(differing)}")
    late = [row.name for row in rows if unavailable(row.records)]
    if late:
        notes.append(
            f"settings chosen on the whole stream (end), which is not available to a learner: {', '.join(late)}"
        )
    if any(row.label != public(record.label) for row in rows for record in row.records):
        notes.append("rows with equal names and different settings show these in brackets, or a # if there are many")
    return (*notes, *_older_shown(rows))


def left_out(older: Sequence[Record]) -> str:
    """Say how many records of older versions of a user's code a table leaves out."""
    versions, told = _versions_text(older)
    return f"{versions} left out ({told}; {len(older)} cell{'s' * (len(older) != 1)})"


def _older_shown(rows: Sequence[Row]) -> list[str]:
    """Say how many rows are of older versions of a user's code, and how to leave them out."""
    older = newest(record for row in rows for record in row.records)[1]
    if not older:
        return []
    versions, told = _versions_text(older)
    return [f"{versions} shown too ({told}); `clbench board DIR --latest` leaves them out"]


def _versions_text(older: Sequence[Record]) -> tuple[str, str]:
    counts = count_versions(older)
    total = sum(counts.values())
    told = ", ".join(f"{number} of {label}" for label, number in counts.items())
    return f"{total} older version{'s' * (total != 1)} of code", told


def other_streams(rows: Iterable[Row]) -> list[str]:
    """Return sentences on strategies whose fingerprint is not the most common one of a seed.

    Upper bounds are only those strategies that declare to see a merged or accumulated stream.
    """
    streams: dict[int, Counter[str]] = {}
    pairs = [(row.name, record) for row in rows for record in row.records if record.fingerprint]
    for _, record in pairs:
        streams.setdefault(record.seed, Counter())[record.fingerprint] += 1
    usual = {seed: counts.most_common(1)[0][0] for seed, counts in streams.items()}
    found = [(strategy, record) for strategy, record in pairs if record.fingerprint != usual[record.seed]]
    bounds = dict.fromkeys(strategy for strategy, record in found if sees(record) != "stream")
    others = dict.fromkeys(strategy for strategy, record in found if sees(record) == "stream")
    told = []
    if bounds:
        told.append(f"upper bounds (trained on all data at once): {', '.join(bounds)}")
    if others:
        told.append(f"trained on a different stream than most, but no upper bound: {', '.join(others)}")
    return told


def different_versions(rows: Iterable[Row]) -> list[str]:
    """Return a sentence that names the versions if rows differ in them."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        for record in row.records:
            if versions(record):
                found.setdefault(versions(record), {})[row.name] = None
    if len(found) < 2:
        return []
    return ["made with different versions: " + "; ".join(f"{text} ({', '.join(own)})" for text, own in found.items())]


def different_code(rows: Iterable[Row]) -> list[str]:
    """Return a sentence if rows, or the seeds of one of them, were made by different code of clbench.

    If no record knows its code, as in older results, there is none.
    """
    engines: Counter[str] = Counter()
    mixed = []
    for row in rows:
        ours = [record.code for record in row.records if not _of_script(record)]
        engines.update(code.get("engine", "") for code in ours)
        if len({code["strategy"] for code in ours if "strategy" in code}) > 1:
            mixed.append(row.name)
    unknown = engines.pop("", 0)
    if not engines or (len(engines) < 2 and not unknown and not mixed):
        return []
    told = [f"states of the engine: {' and '.join(str(n) for _, n in engines.most_common())} records"]
    told = told if len(engines) > 1 else []
    told += [f"states of strategies: {', '.join(mixed)}"] if mixed else []
    told += [f"unknown code: {unknown} of {unknown + engines.total()} records"] if unknown else []
    return [f"made by different code ({'; '.join(told)}); `clbench status DIR` counts stale cells"]


def _of_script(record: Record) -> bool:
    """Return whether a script of another library made a record, whose code has no digests."""
    return any(str(item.get("name", "")).startswith("script:") for item in record.cell.get("strategy", ()))


def labels(rows: Iterable[Row]) -> list[str]:
    """Return a sentence on labels that differ from their strategies, such as ``er_sum is er(loss=sum)``."""
    found = [
        f"{row.name} is {row.recipe}"
        for row in rows
        if any(map(is_renamed, _one_each(row.records))) and _bare(row.strategy) != _bare(row.recipe)
    ]
    return ["labels: " + "; ".join(found)] if found else []


def _one_each(records: Iterable[Record]) -> Iterable[Record]:
    """Return one of the records that differ only in their seeds and results."""
    return {(record.settings, record.label): record for record in records}.values()


def _bare(text: str) -> str:
    """Return a strategy without spaces and quotes: ``er(new_weight='1/k')`` is ``er(new_weight=1/k)``."""
    return "".join(letter for letter in text if letter not in " '\"")
