"""The curves of a benchmark's page in a real browser: ticks, tasks, the address, and dips."""

import numpy as np
import pytest
from site_browser import watched

from clbench.core import store
from clbench.core.record import Kind
from clbench.metrics.curves import experience_boundaries
from clbench.site.packed_numbers import packed

LINES = "name => (clbench.charts[name]?.lines || []).map(line => line.label)"
LOWEST = """() => clbench.charts["curve-chart"].series.slice(1).map((each, k) =>
    [each.label, Math.min(...clbench.charts["curve-chart"].data[k + 1].filter(y => y != null))])"""


def page_of(site, task=False):
    return next(
        path.relative_to(site).as_posix()
        for path in sorted((site / "benchmarks").iterdir())
        if ("task" in path.name) == task
    )


def lines(opened, chart="curve-chart"):
    return opened.evaluate(LINES, chart)


def test_the_first_rows_are_drawn_and_a_tick_adds_one_to_both_charts_and_to_the_address(browser, real_site):
    with watched(browser, real_site) as seen:
        opened = seen.open(page_of(real_site))
        assert len(lines(opened)) == 6
        assert opened.locator("#curves-picture").is_hidden()
        opened.get_by_label("naive", exact=True).check()
        assert "naive" in lines(opened)
        assert "naive" in lines(opened, "gap-chart")
        assert len(lines(opened)) == 7
        assert "naive" in opened.evaluate("location.hash")
        opened.go_back()
        opened.wait_for_function("clbench.charts['curve-chart'].lines.length === 6")
        assert not opened.get_by_label("naive", exact=True).is_checked()


def test_a_state_in_the_address_is_restored_and_no_tick_draws_nothing(browser, real_site):
    with watched(browser, real_site) as seen:
        opened = seen.open(page_of(real_site) + "#rows=naive,er&curve=0&low=1")
        assert lines(opened) == ["er", "er, lowest", "naive", "naive, lowest"]
        assert opened.locator("select[name=curve]").input_value() == "0"
        for name in ("er", "naive"):
            opened.get_by_label(name, exact=True).uncheck()
        assert lines(opened) == []
        assert opened.locator("#curve-chart").is_hidden()


@pytest.mark.parametrize("task", range(5))
def test_the_lowest_drawn_value_of_a_task_is_its_lowest_evaluation(browser, real_site, split_digits_traces, task):
    with watched(browser, real_site) as seen:
        opened = seen.open(page_of(real_site) + f"#rows=naive,er,l2&low=1&curve={task}")
        drawn = dict(opened.evaluate(LOWEST))
    for label in ("naive", "er", "l2"):
        found = [
            np.nanmin(
                trace.score[(trace.step >= experience_boundaries(trace)[task]) & (trace.kind != Kind.SWITCH), task]
            )
            for trace in split_digits_traces[label]
        ]
        assert drawn[f"{label}, lowest"] == pytest.approx(100 * np.min(found), abs=0.0051)


@pytest.fixture(scope="module")
def split_digits_traces(real_site):
    from pathlib import Path

    found = {}
    for record in store.load_all(Path(__file__).parents[2] / "baselines" / "split-digits"):
        if record.benchmark == "split-digits@2":
            found.setdefault(record.label, []).append(record.trace)
    return found


def test_the_script_unpacks_the_numbers_that_were_packed(browser, real_site):
    numbers = [0, 3, None, -70_000, 2**40, 2**40 - 1, 15, 31, 47, None, -1, *range(-40, 40, 3)]
    with watched(browser, real_site) as seen:
        assert seen.open(page_of(real_site)).evaluate("text => clbench.unpacked(text)", packed(numbers)) == numbers


def test_without_script_a_picture_of_the_curves_is_shown(browser, real_site):
    with watched(browser, real_site, java_script_enabled=False) as seen:
        opened = seen.open(page_of(real_site))
        assert opened.locator("#curves-picture img").is_visible()
        assert opened.locator("#curve-tools").is_hidden()
