"""Build a site: read result folders, make all pages, and write them into a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.notices import notice
from clbench.core.record import Record
from clbench.core.record_folder import record_files
from clbench.site.benchmark_page import benchmark_pages
from clbench.site.compare_page import compare_pages
from clbench.site.front_page import front_page
from clbench.site.pairs_page import pairs_pages
from clbench.site.row_page import row_pages
from clbench.site.site_content import Site, site_of
from clbench.site.site_folder import check_free, write_files
from clbench.site.vendored_libraries import library_files
from clbench.site.verification_badges import badge_files, folder_status

TITLE = "Continual-learning leaderboard"
Pages = Callable[[Site], Iterator[tuple[str, bytes]]]
PAGES: tuple[Pages, ...] = (front_page, benchmark_pages, row_pages, pairs_pages, compare_pages)
"""What makes the files of a site: each yields paths below its folder, with ``/``, and contents."""


@dataclass(frozen=True)
class WrittenSite:
    """Say what was written.

    Args:
        folder: The folder of the site.
        benchmarks: Number of benchmarks.
        rows: Number of rows of all benchmarks.
        files: Number of files.
        size: Their size in bytes.
    """

    folder: Path
    benchmarks: int
    rows: int
    files: int
    size: int


def write_site(*directories: str | Path, out: str | Path, title: str = TITLE) -> WrittenSite:
    """Write a website of some results into a folder, to publish or to open from disk.

    Args:
        directories: Result directories, or folders with result directories below them.
        out: A folder that does not exist, is empty, or holds an earlier site, which is replaced.
        title: The heading of the front page.

    Returns:
        The folder and what is in it. Equal records give equal files.

    Raises:
        Refused: A directory holds no records, or the folder cannot be written.
    """
    folder = Path(out).expanduser()
    check_free(folder)
    records: list[Record] = []
    statuses: dict[str, str] = {}
    for directory in result_folders(*(Path(each).expanduser() for each in directories)):
        found, status = list(store.load_all(directory)), folder_status(directory)
        records += found
        statuses |= {record.key: status for record in found if status != statuses.get(record.key)}
    site = site_of(records, title=title, statuses=statuses)
    count, size = write_files(folder, site_files(site))
    return WrittenSite(folder, len(site.benchmarks), len(site.rows), count, size)


def result_folders(*directories: Path) -> Iterator[Path]:
    """Yield the result folders among some directories and below them, in a stable order and each once.

    A result folder is not searched further: the folders in it hold results that were set aside. A directory without
    results is reported and left out, as are files, so that ``results/*`` can be given.

    Raises:
        Refused: No directory has results, or one does not exist.
    """
    found = {directory: list(_below(directory)) for directory in directories}
    for directory in found:
        if not directory.exists():
            raise Refused(f"{directory} does not exist; give result folders of `clbench run`, or folders above them")
    without = [str(directory) for directory, folders in found.items() if not folders]
    if len(without) == len(found):
        raise Refused(
            f"{' and '.join(without)} holds no records; give a directory that `clbench run --out DIR` has written"
        )
    if without:
        notice(f"left out, because no results are in them: {', '.join(without)}")
    seen: set[Path] = set()
    for folders in found.values():
        for folder in folders:
            place = folder.resolve()
            if place not in seen:
                seen.add(place)
                yield folder


def _below(directory: Path) -> Iterator[Path]:
    if record_files(directory)[0]:
        yield directory
    elif directory.is_dir():
        for child in sorted(directory.iterdir()):
            if child.is_dir() and not child.is_symlink() and not child.name.startswith("."):
                yield from _below(child)


def site_files(site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield all files of a site."""
    for pages in PAGES:
        yield from pages(site)
    yield from asset_files()
    yield from badge_files()
    yield from library_files()


def asset_files() -> Iterator[tuple[str, bytes]]:
    """Yield the style sheet and the scripts of the pages."""
    assets = resources.files("clbench.site").joinpath("assets")
    for file in sorted(assets.iterdir(), key=lambda each: each.name):
        if file.name.endswith((".css", ".js")):
            yield file.name, file.read_bytes()
