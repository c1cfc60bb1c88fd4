"""The page that compares two rows, in a real browser."""

import numpy as np
from site_browser import watched
from test_curves_in_browser import page_of

from clbench.core import store


def slug_of(site):
    return page_of(site).removeprefix("benchmarks/").removesuffix(".html")


def cell(opened, caption, row, column):
    table = opened.locator("#compared section", has=opened.get_by_role("heading", name=caption)).locator("table")
    return (
        table.locator("tbody tr", has=opened.get_by_role("rowheader", name=row, exact=True)).locator("td").nth(column)
    )


def test_two_ticked_rows_are_compared_and_the_back_button_restores_the_choice(browser, real_site):
    from pathlib import Path

    slug = slug_of(real_site)
    scores = {
        (record.label, record.seed): record.trace.score[-1].mean()
        for record in store.load_all(Path(__file__).parents[2] / "baselines" / "split-digits")
        if record.benchmark == "split-digits@2" and record.label in ("er", "naive")
    }
    values = [scores["er", seed] - scores["naive", seed] for seed in range(5)]
    with watched(browser, real_site) as seen:
        opened = seen.open(f"compare.html#a=rows/{slug}/er.html&b=rows/{slug}/naive.html")
        opened.wait_for_selector("#compared table")
        assert opened.locator("select[name=a] option:checked").inner_text() == "er"
        mean = cell(opened, "Differences by seed", "ACC ↑", 0).inner_text()
        assert mean.startswith(f"{np.mean(values):+.4f} ± ")
        for seed, value in enumerate(values):
            assert cell(opened, "Differences by seed", "ACC ↑", seed + 1).inner_text() == f"{value:+.4f}"
        assert cell(opened, "Settings that differ", "er", 0).inner_text() == "yes"
        opened.locator("select[name=b]").select_option(label="l2")
        opened.wait_for_function("document.getElementById('compare-told').textContent.includes('l2')")
        assert "l2.html" in opened.evaluate("location.hash")
        opened.go_back()
        opened.wait_for_function("document.getElementById('compare-told').textContent.includes('naive')")


def test_rows_that_the_site_does_not_have_are_answered_with_the_first_two(browser, real_site):
    with watched(browser, real_site) as seen:
        opened = seen.open("compare.html#a=rows/nowhere/x.html&b=javascript:alert(1)")
        opened.wait_for_selector("#compared table")
        assert opened.locator("#compared section").count() == 4
