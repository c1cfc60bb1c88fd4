"""Text of a stranger's record is text on every page: nothing of it runs, loads, links or turns the line."""

import copy
import json
import shutil
from pathlib import Path

import pytest
from site_browser import watched

from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.types import content_hash
from clbench.leaderboard.board import board
from clbench.leaderboard.page import page
from clbench.site import write_site

BASELINE = Path(__file__).parents[2] / "baselines" / "split-digits"
SCRIPT = "window.__hit = 1"
PAYLOADS = {
    "markup": f"javascript:{SCRIPT}//</script><script>{SCRIPT}</script><img src=x onerror='{SCRIPT}'>"
    f'"\' onfocus="{SCRIPT}',
    "directions": "abc\u202edef\u2066\x1b[2J\x07",
}
FOUND = """() => ({
  hit: window.__hit === undefined ? [] : ["a script ran"],
  scripts: [...document.querySelectorAll("script:not([src])")].map(e => e.outerHTML),
  handlers: [...document.querySelectorAll("*")].flatMap(e => [...e.attributes])
    .filter(a => a.name.startsWith("on")).map(a => a.name),
  addresses: [...document.querySelectorAll("[href], [src]")].map(e => e.href || e.src)
    .filter(a => !/^(file:|https:|data:)/.test(a)),
  characters: [...document.body.innerText].filter(c => /[\\u202a-\\u202e\\u2066-\\u2069\\x07\\x1b]/.test(c)),
})"""


def leaves(value, path=()):
    """Paths of all texts in plain data."""
    if isinstance(value, dict):
        for name, inside in value.items():
            yield from leaves(inside, (*path, name))
    elif isinstance(value, list):
        for place, inside in enumerate(value):
            yield from leaves(inside, (*path, place))
    elif isinstance(value, str):
        yield path


def planted(value, path, text):
    changed = copy.deepcopy(value)
    inside = changed
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = text
    return changed


def plant(folder: Path, text: str) -> list[tuple]:
    """Write a record for each of its texts, with the payload in its place, and return the places that can be read."""
    original = min((BASELINE / "records").glob("*.json"))
    content = json.loads(original.read_text()) | {"reason": "a reason", "alarms": ["an alarm"]}
    for name in ("records", "traces"):
        (folder / name).mkdir(parents=True)
    kept = []
    for place, path in enumerate(leaves(content)):
        changed = planted(content, path, text)
        changed["cell"]["seed"] = 1000 + place
        if path != ("key",):
            changed["key"] = content_hash(changed["cell"])
        key = content_hash(changed["cell"])
        file = folder / "records" / f"{key}.json"
        file.write_text(json.dumps(changed))
        trace = folder / "traces" / f"{key}.npz"
        shutil.copy(BASELINE / "traces" / f"{original.stem}.npz", trace)
        try:
            store.load(file)
            kept.append(path)
        except Refused:
            file.unlink()
            trace.unlink()
    return kept


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_in_any_text_of_a_record_stays_text_on_every_page(browser, tmp_path, name):
    kept = plant(tmp_path / "results", PAYLOADS[name])
    assert {("label",), ("cell", "benchmark", "name"), ("reason",), ("alarms", 0)} <= set(kept)
    site = write_site(tmp_path / "results", out=tmp_path / "site", title=PAYLOADS[name]).folder
    (site / "board.html").write_text(page(board(list(store.load_all(tmp_path / "results")))), encoding="utf-8")
    with watched(browser, site) as seen:
        for path in sorted(site.rglob("*.html")):
            found = seen.open(path.relative_to(site).as_posix()).evaluate(FOUND)
            scripts = found.pop("scripts")
            assert len(scripts) == (path.name == "board.html"), (path, scripts)  # that page's own script stands in it
            assert {what: faults for what, faults in found.items() if faults} == {}, path
