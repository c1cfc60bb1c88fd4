"""What a reader does with the front page: sort, search, filter, choose columns, share the address, go back."""

from collections.abc import Iterator

import pytest
from site_browser import PHONE, Watched, watched

ACC = "#rows th[data-name=acc]"


@pytest.fixture
def front(browser, small_site) -> Iterator[Watched]:
    with watched(browser, small_site) as seen:
        seen.open("index.html")
        yield seen


def labels(page):
    return page.locator("#rows tbody tr th.name").all_inner_texts()


def accuracies(page):
    place = page.locator(ACC).evaluate("cell => cell.cellIndex")
    texts = page.locator(f"#rows tbody tr > :nth-child({place + 1})").evaluate_all(
        "all => all.map(c => c.dataset.order)"
    )
    return [float(text) if text else None for text in texts]


def changed(page, press):
    """Do something that changes the rows, and wait until they have changed: the table sorts after the click."""
    before = page.locator("#rows").inner_text()
    press()
    page.wait_for_function("before => document.querySelector('#rows').innerText !== before", arg=before)
    return page.locator("#rows").inner_text()


def becomes(page, expected):
    """Wait until the table shows a text."""
    page.wait_for_function("expected => document.querySelector('#rows').innerText === expected", arg=expected)


def state(page):
    return page.evaluate("() => location.hash")


def test_a_heading_sorts_both_ways_with_rows_without_a_value_last(front):
    for press in (lambda: front.page.click(ACC), lambda: front.page.locator(ACC + " [role=button]").press("Enter")):
        changed(front.page, press)
        found = accuracies(front.page)
        numbers = [value for value in found if value is not None]
        assert len(numbers) == 8
        assert found[8:] == [None, None]
        down = "desc" in state(front.page)
        assert numbers == sorted(numbers, reverse=down)
    assert not down


def test_search_and_filters_leave_the_rows_that_fit(front):
    page = front.page
    page.fill("[name=q]", "ewc")
    assert len(labels(page)) == 2
    assert "2 of 10 rows" in page.inner_text("#told")
    page.fill("[name=q]", "")
    page.select_option("[name=benchmark]", index=1)
    assert len(labels(page)) in (2, 8)
    page.click("[type=reset]")
    assert len(labels(page)) == 10
    page.fill("[name=steps]", "299")
    assert page.locator("#rows tbody").inner_text().strip() == "No row fits the filters."
    page.fill("[name=steps]", "300")
    assert len(labels(page)) >= 8
    page.fill("[name=steps]", "many")
    assert page.get_attribute("[name=steps]", "aria-invalid") == "true"


def test_a_ticked_column_appears_and_one_without_tick_goes(front):
    page = front.page
    heads = lambda: page.locator("#rows thead th").evaluate_all("all => all.map(c => c.dataset.name)")  # noqa: E731
    before = heads()
    assert "steps" not in before
    page.click(".columns summary")
    page.check("[name=column][value=steps]")
    page.uncheck("[name=column][value=forgetting]")
    assert set(heads()) == {*before, "steps"} - {"forgetting"}
    page.click("h1")
    assert page.locator(".columns div").is_hidden()


def test_the_address_restores_search_filters_columns_and_order_in_a_new_window(browser, small_site, front):
    page = front.page
    page.select_option("[name=benchmark]", index=1)
    page.fill("[name=q]", "e")
    page.click(".columns summary")
    page.check("[name=column][value=seconds]")
    page.keyboard.press("Escape")
    shown = changed(page, lambda: page.click(ACC))
    assert "sort=acc:desc" in state(page)
    with watched(browser, small_site) as other:
        again = other.open("index.html" + state(page))
        becomes(again, shown)
        assert again.input_value("[name=q]") == "e"
        assert again.is_checked("[name=column][value=seconds]")


def test_the_back_button_undoes_one_choice_at_a_time_and_forward_does_it_again(front):
    page = front.page
    shown = [page.locator("#rows").inner_text()]
    shown.append(changed(page, lambda: page.click(ACC)))
    shown.append(changed(page, lambda: page.select_option("[name=benchmark]", index=1)))
    assert len(set(shown)) == 3
    for expected in (shown[1], shown[0]):
        page.go_back()
        becomes(page, expected)
    page.go_forward()
    becomes(page, shown[1])


def test_the_back_button_returns_from_another_page_to_the_table_as_it_was(front):
    page = front.page
    page.fill("[name=q]", "agem")
    shown = page.locator("#rows").inner_text()
    page.click("#rows tbody th.name a")
    assert "rows/" in page.url
    page.go_back()
    becomes(page, shown)


def test_the_keyboard_alone_reaches_every_control_and_shows_where_it_is(front):
    page = front.page
    wanted = page.evaluate(
        "() => [...document.querySelectorAll('a[href], input, select, button, summary, [tabindex]')]"
        ".filter(e => e.checkVisibility() && !e.disabled && e.tabIndex >= 0).map((e, i) => (e.dataset.reach = i, i))"
    )
    reached = []
    for _ in range(len(wanted) + 5):
        page.keyboard.press("Tab")
        place, outline = page.evaluate(
            "() => [document.activeElement.dataset.reach, getComputedStyle(document.activeElement).outlineStyle]"
        )
        if place is not None:
            reached.append(int(place))
            assert outline != "none", page.evaluate("() => document.activeElement.outerHTML")
    assert set(reached) == set(wanted)
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "main"


def test_on_a_phone_the_table_scrolls_in_its_own_box_and_the_menu_of_columns_fits(browser, small_site):
    with watched(browser, small_site, viewport=PHONE) as seen:
        page = seen.open("index.html")
        box = page.locator(".scroll").first
        assert box.evaluate("e => e.scrollWidth > e.clientWidth")
        page.click(".columns summary")
        edges = page.locator(".columns div").bounding_box()
        assert edges["x"] >= 0
        assert edges["x"] + edges["width"] <= PHONE["width"]


def test_print_shows_the_whole_table_without_controls(front):
    page = front.page
    page.emulate_media(media="print")
    assert page.locator("#tools").is_hidden()
    assert page.locator("header.top").is_hidden()
    assert page.locator("#rows tbody tr").count() == 10
    assert page.locator(".scroll").first.evaluate("e => getComputedStyle(e).overflowX") == "visible"


def test_two_ticked_rows_of_a_benchmark_lead_to_their_comparison_and_back(front):
    page = front.page
    page.select_option("[name=benchmark]", index=1)
    names = [page.locator("#rows th.name a").nth(place).inner_text() for place in (0, 1)]
    page.locator(".pick").nth(0).check()
    assert page.inner_text("#compare") == "Tick another row of this benchmark to compare them"
    page.locator(".pick").nth(1).check()
    page.click("#compare")
    page.wait_for_function("() => document.querySelectorAll('select[name=a] option').length > 0")
    chosen = [
        page.locator(f"select[name={name}]").evaluate("all => all.selectedOptions[0].textContent") for name in "ab"
    ]
    assert chosen == names
    page.go_back()
    page.wait_for_function("() => document.querySelectorAll('.pick:checked').length === 2")
