"""The page in one file, opened from disk in a real browser."""

import pytest
from site_browser import PHONE, sideways, violations, watched
from synthetic import matrix

from clbench.leaderboard.board import board
from clbench.leaderboard.page import page


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    (folder / "board.html").write_text(page(board(matrix())), encoding="utf-8")
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_one_file_page_which_asks_for_no_other_file(browser, written, scheme):
    with watched(browser, written, color_scheme=scheme) as seen:
        assert violations(seen.open("board.html")) == []
        assert len(seen.requests) == 1


def test_the_one_file_page_does_not_scroll_sideways_on_a_phone(browser, written):
    with watched(browser, written, viewport=PHONE) as seen:
        assert sideways(seen.open("board.html")) == 0


def test_a_heading_of_the_one_file_page_sorts_by_keyboard_with_what_has_no_value_last(browser, written):
    with watched(browser, written) as seen:
        opened = seen.open("board.html")
        heading = opened.locator("th", has_text="ACC").first
        values = "cells => cells.map(cell => cell.dataset.sort)"
        place = heading.evaluate("cell => cell.cellIndex")
        cells = opened.locator(f"table.board tbody tr > :nth-child({place + 1})")
        orders = []
        for _ in range(2):
            heading.locator("button").press("Enter")
            orders.append((heading.get_attribute("aria-sort"), cells.evaluate_all(values)))
        assert [way for way, _ in orders] == ["descending", "ascending"]
        for way, texts in orders:
            numbers = [float(text) for text in texts if text]
            assert len(numbers) == 6
            assert texts[6:] == [""] * (len(texts) - 6)
            assert numbers == sorted(numbers, reverse=way == "descending")
