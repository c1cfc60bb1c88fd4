"""One browser for all tests of pages, and the sites that they share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from site_browser import chromium
from synthetic import dipping, folder, matrix, record


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's chromium, started once; where it is missing, a skip that says so."""
    program = chromium()
    if program is None:
        pytest.skip("chromium is not installed; pages are not opened in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def two_benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results on two benchmarks: finished, diverged, skipped and missing cells, and an alarm."""
    others = [
        record(label, seed, dipping(seed, tasks=3, length=20, depth=depth), name="rotated-digits", alarms=alarms)
        for label, depth, alarms in (("er", 0.3, ()), ("naive", 0.6, ("the penalty was always 0",)))
        for seed in range(3)
    ]
    return folder(tmp_path_factory.mktemp("results") / "two", *matrix(), *others)


@pytest.fixture(scope="session")
def small_site(tmp_path_factory: pytest.TempPathFactory, two_benchmarks: Path) -> Path:
    """The site of two benchmarks."""
    from clbench.site import write_site

    return write_site(two_benchmarks, out=tmp_path_factory.mktemp("sites") / "small").folder


@pytest.fixture(scope="session")
def real_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of committed records of one benchmark."""
    from clbench.site import write_site

    baseline = Path(__file__).parents[2] / "baselines" / "split-digits"
    return write_site(baseline, out=tmp_path_factory.mktemp("sites") / "real").folder
