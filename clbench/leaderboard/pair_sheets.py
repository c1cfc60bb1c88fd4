"""Sheets of the pairs of rows: how far two strategies are apart, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from clbench.core.shown_text import shown
from clbench.leaderboard.best_values import LEVEL as NOT_SEPARATED
from clbench.leaderboard.best_values import SIGN
from clbench.leaderboard.board import Board, Table
from clbench.leaderboard.board_rows import seed_words
from clbench.leaderboard.numbers import NOTHING, Number, p_text
from clbench.leaderboard.pairs import BoardPair
from clbench.leaderboard.pooled_sheets import pooled_sheets
from clbench.leaderboard.sheets import Heading, Sheet
from clbench.leaderboard.statistics import EXACT_SEEDS
from clbench.metrics import get as get_metric

COLUMNS = (
    ("one", "Strategy"),
    ("other", "minus"),
    ("difference", "Difference"),
    ("n", "n"),
    ("t_p", "p (t)"),
    ("sign_p", "p (signs)"),
    ("holm_p", "Holm's p (pool)"),
    ("pairing", "Pairing"),
    ("detectable", "Detectable"),
    ("more_seeds", "More seeds"),
)
"""The columns of a table of pairs: name and title."""


def pair_sheets(board: Board, *, decimals: int) -> list[Sheet]:
    """Return a sheet of pairs for each table, or what is pooled over all benchmarks if the board is across them.

    There are none if the board shows no pairs; tables without a pair have none.

    Args:
        board: The leaderboard.
        decimals: Decimals of percentages unless the user chose others.
    """
    if not board.with_pairs:
        return []
    if board.across:
        return pooled_sheets(board, decimals=decimals)
    return [
        pair_sheet(table, decimals if board.decimals is None else board.decimals)
        for table in board.tables
        if table.pairs
    ]


def pair_sheet(table: Table, decimals: int, among: Sequence[BoardPair] | None = None) -> Sheet:
    """Return the sheet of the pairs of a table.

    Args:
        table: The table.
        decimals: Decimals of percentages.
        among: The pairs to show; by default all of the table.
    """
    pairs = table.pairs if among is None else tuple(among)
    metric = get_metric(table.ranking.by).under(table.measure)
    names = {row.label: shown(row.strategy) for row in table.rows}
    columns = [
        Heading(
            f"{title} ({metric.title})" * (name == "difference") or title,
            is_text=name in ("one", "other"),
        )
        for name, title in COLUMNS
    ]
    return Sheet(
        title=f"{shown(table.benchmark)}, pairs",
        columns=tuple(columns),
        lines=tuple(_line(table, names, pair, decimals) for pair in pairs),
        ranks=(0,) * len(pairs),
        legend="difference: mean over shared seeds ± half-width of its 95 % Student-t interval, paired by seed",
        seeds=seed_words(table.wanted),
        marks=f"{SIGN}: not separated (Holm's p is 0.05 or more)" if any(map(_is_level, pairs)) else "",
        notes=tuple(_notes(pairs, names)),
    )


def _line(table: Table, names: dict[str, str], pair: BoardPair, decimals: int) -> tuple[Number, ...]:
    found = pair.statistics
    metric = get_metric(table.ranking.by)
    places = metric.decimals(table.measure, percent=decimals)

    def score(value: float) -> str:
        return NOTHING if math.isnan(value) else f"{abs(metric.shown(value, table.measure)):.{places}f}"

    mark = NOT_SEPARATED if _is_level(pair) else ""
    half = "" if math.isnan(found.half) else score(found.half)
    pairing = NOTHING if math.isnan(found.pairing) else f"{found.pairing:.2f}"
    return (
        Number(names[pair.one]),
        Number(names[pair.other]),
        Number(f"{metric.shown(found.difference, table.measure):+.{places}f}", half, mark=mark),
        Number(str(found.n)),
        Number(p_text(found.t_p)),
        Number(p_text(found.sign_p)),
        Number(p_text(pair.holm_p)),
        Number(pairing),
        Number(score(found.detectable)),
        Number(NOTHING if pair.more_seeds is None else f"+{pair.more_seeds}"),
    )


def _is_level(pair: BoardPair) -> bool:
    return not math.isnan(pair.holm_p) and not pair.separated


def _notes(pairs: Sequence[BoardPair], names: dict[str, str]) -> list[str]:
    """Return sentences on what the columns mean, and on how many seeds would separate the best rows."""
    notes = [
        "p (t): paired t test; p (signs): all changes of signs of the differences, without an assumption on their "
        "distribution",
        *_smallest([pair.statistics.n for pair in pairs]),
        *_corrected(pairs),
        "pairing: standard deviation of the difference, paired over unpaired; 0.7 is worth twice the seeds",
        "detectable: the smallest difference that so many seeds find with 80 % probability, before the correction",
    ]
    pair = next((pair for pair in pairs if pair.more_seeds is not None), None)
    if pair is not None:
        seeds = f"{pair.more_seeds} more seed{'s' * (pair.more_seeds != 1)}"
        notes.append(f"about {seeds} would separate {names[pair.one]} from {names[pair.other]}")
    if any(pair.statistics.n > EXACT_SEEDS for pair in pairs):
        notes.append(f"p (signs) with more than {EXACT_SEEDS} seeds is over 65,536 random changes of signs")
    return notes


def _corrected(pairs: Sequence[BoardPair]) -> list[str]:
    """Say for how many comparisons p values are corrected, and that this depends on other rows."""
    tested = sum(not math.isnan(pair.holm_p) for pair in pairs)
    words = "1 comparison" if tested == 1 else f"{tested} comparisons"
    return [f"Holm's p: p (t) corrected for {words}; like rank and group, it depends on other rows"] if tested else []


def _smallest(counts: Sequence[int]) -> list[str]:
    """Say which numbers of seeds are too few for signs to separate anything."""
    few = sorted({n for n in counts if 3 <= n <= 5})
    told = " and ".join(f"{2.0 ** (1 - n):.4g} with {n} seeds" for n in few)
    return [f"the smallest possible p (signs) is {told}: signs can separate nothing there"] if few else []


def plain_pair(table: Table, pair: BoardPair) -> dict[str, Any]:
    """Return a pair of a table as plain data; numbers that do not exist are ``None``."""
    names = {row.label: row.strategy for row in table.rows}
    values = {**vars(pair.statistics), "holm_p": pair.holm_p, "more_seeds": pair.more_seeds}
    return {
        "one": names[pair.one],
        "other": names[pair.other],
        **{name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()},
    }
