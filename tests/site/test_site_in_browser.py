"""Every page of a site, opened from disk in a real browser: accessible, quiet, and no wider than a phone."""

import pytest
from site_browser import PHONE, sideways, violations, watched


def pages(site):
    """All pages of a site, and of the rows of each benchmark the first and the last."""
    found = [path for path in sorted(site.rglob("*.html")) if "rows" not in path.relative_to(site).parts]
    for benchmark in sorted((site / "rows").iterdir()):
        rows = sorted(benchmark.iterdir())
        found += [rows[0], rows[-1]]
    return [path.relative_to(site).as_posix() for path in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(browser, small_site, scheme):
    with watched(browser, small_site, color_scheme=scheme) as seen:
        assert {path: found for path in pages(small_site) if (found := violations(seen.open(path)))} == {}


def test_no_page_scrolls_sideways_on_a_phone(browser, small_site):
    with watched(browser, small_site, viewport=PHONE) as seen:
        assert {path: wide for path in pages(small_site) if (wide := sideways(seen.open(path)))} == {}


def test_every_link_and_picture_of_a_site_leads_to_a_file_of_it(browser, real_site):
    with watched(browser, real_site) as seen:
        for path in pages(real_site):
            opened = seen.open(path)
            addresses = opened.evaluate(
                "() => [...document.querySelectorAll('[href], [src], [srcset]')]"
                ".flatMap(e => ['href', 'src', 'srcset'].filter(n => e.hasAttribute(n))"
                ".map(n => new URL(e.getAttribute(n), document.baseURI).href))"
            )
            inside = [address for address in addresses if address.startswith(real_site.resolve().as_uri())]
            files = {address.removeprefix(real_site.resolve().as_uri() + "/").split("#")[0] for address in inside}
            assert {file for file in files if not (real_site / file).is_file()} == set()
            outside = {address for address in addresses if address not in inside}
            assert all(address.startswith("https://") for address in outside), outside


def test_pages_show_their_tables_without_script(browser, small_site):
    with watched(browser, small_site, java_script_enabled=False) as seen:
        opened = seen.open("index.html")
        assert opened.locator("#rows tbody tr").count() == 10
        assert opened.locator("#tools").is_hidden()
        for path in pages(small_site):
            if path.startswith(("benchmarks/", "rows/")):
                assert seen.open(path).locator("table tbody tr").count() > 0
