"""What the pages of a site are about: benchmarks and rows, each with the path of its page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from clbench.core.record import Record
from clbench.leaderboard.board import Board, Table, board
from clbench.leaderboard.board_rows import Row
from clbench.site.site_slugs import slugs

SELF_REPORTED = "self-reported"
"""The status of results that nobody has verified."""


@dataclass(frozen=True, eq=False)
class SiteRow:
    """Hold one strategy on one benchmark, as the site shows it.

    Args:
        row: The row of the leaderboard.
        slug: File name of its page without suffix, unique in its benchmark.
        path: Path of its page below the folder of the site.
        status: What was verified: ``self-reported``, ``consistent``, ``reproduced`` or ``honest seeds``.
    """

    row: Row
    slug: str
    path: str
    status: str = SELF_REPORTED


@dataclass(frozen=True, eq=False)
class SiteBenchmark:
    """Hold one table of the leaderboard, as the site shows it.

    Args:
        table: The table.
        slug: File name of its page without suffix, unique in the site.
        rows: Its rows, in the order of the table.
    """

    table: Table
    slug: str
    rows: tuple[SiteRow, ...]

    @property
    def path(self) -> str:
        """Return the path of its page below the folder of the site."""
        return f"benchmarks/{self.slug}.html"

    @property
    def pairs_path(self) -> str:
        """Return the path of the page of its pairs."""
        return f"pairs/{self.slug}.html"

    @property
    def name(self) -> str:
        """Return its title: name, version, and differences from the shipped file of that version."""
        return self.table.benchmark


@dataclass(frozen=True, eq=False)
class Site:
    """Hold everything that the pages of a site show.

    Args:
        board: The leaderboard.
        benchmarks: Its tables, those with the most rows first.
        title: The heading of the site.
    """

    board: Board
    benchmarks: tuple[SiteBenchmark, ...]
    title: str

    @cached_property
    def rows(self) -> list[tuple[SiteBenchmark, SiteRow]]:
        """Return all rows with their benchmarks."""
        return [(benchmark, row) for benchmark in self.benchmarks for row in benchmark.rows]

    @property
    def records(self) -> Iterator[Record]:
        """Yield the records of all rows."""
        return (record for _, row in self.rows for record in row.row.records)


def site_of(records: Iterable[Record], *, title: str, statuses: Mapping[str, str] | None = None) -> Site:
    """Return what a site of some records shows.

    Args:
        records: Any records.
        title: The heading of the site.
        statuses: Key of a record -> what was verified; a record without one is self-reported.
    """
    made = board(records)
    names = slugs(table.benchmark for table in made.tables)
    largest_first = sorted(made.tables, key=lambda table: -len(table.rows))
    benchmarks = tuple(_benchmark(table, names[table.benchmark], statuses or {}) for table in largest_first)
    return Site(made, benchmarks, title)


def _benchmark(table: Table, slug: str, statuses: Mapping[str, str]) -> SiteBenchmark:
    from clbench.site.verification_badges import lowest

    names = slugs(row.label for row in table.rows)
    rows = tuple(
        SiteRow(
            row,
            names[row.label],
            f"rows/{slug}/{names[row.label]}.html",
            lowest(statuses.get(record.key, SELF_REPORTED) for record in row.records),
        )
        for row in table.rows
    )
    return SiteBenchmark(table, slug, rows)
