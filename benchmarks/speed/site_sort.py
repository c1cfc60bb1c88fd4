"""Measure how long a site's front page takes to sort 500 rows of all its columns, in the chromium of this machine.

    python benchmarks/speed/site_sort.py

needs playwright and chromium. It prints the milliseconds from the click to the laid-out rows, for a column of numbers
and one of names.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from playwright.sync_api import sync_playwright
from synthetic import flat, folder, record

from clbench.site import write_site

TIMES = 9
SORT = """name => new Promise(done => {
  const heading = document.querySelector(`#rows th[data-name=${name}] [role=button]`);
  const start = performance.now();
  new MutationObserver((_, observer) => {
    observer.disconnect();
    document.body.offsetHeight;
    done(performance.now() - start);
  }).observe(document.querySelector("#rows tbody"), {childList: true});
  heading.click();
})"""
ALL_COLUMNS = "document.querySelectorAll('[name=column]').forEach(tick => tick.checked || tick.click())"


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        records = [record(f"s{place}", 0, flat(0.1 + place * 37 % 500 / 700)) for place in range(500)]
        site = write_site(folder(Path(scratch) / "results", *records), out=Path(scratch) / "site").folder
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto((site / "index.html").as_uri())
        page.evaluate(ALL_COLUMNS)
        print(f"500 rows, {page.locator('#rows thead th').count()} columns, {TIMES} sorts each; milliseconds")
        for name in ("acc", "strategy"):
            times = [page.evaluate(SORT, name) for _ in range(TIMES)]
            print(f"{name}: median {statistics.median(times):.0f}, {min(times):.0f} to {max(times):.0f}")
        browser.close()


if __name__ == "__main__":
    main()
