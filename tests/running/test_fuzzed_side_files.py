"""Plans, claims, progress and attempts with wrong values or bytes: left out or believed, and nothing raises."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from command_line import call
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from support import SMALL

from clbench.running import attempts
from clbench.running.claims import Claims
from clbench.running.folder_status import folder_status

KEY = "0123456789abcdef"
JUNK = [None, "x", "", -1, 0, 1e308, float("nan"), float("inf"), [], {}, True, [1], {"a": 1}, 10**400]
"""Values that a reader of JSON may meet in place of the right one."""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A result folder with a finished cell, its plan, a running cell with progress, and the attempts of that one."""
    folder = tmp_path_factory.mktemp("side")
    with (folder / "small.yaml").open("w", encoding="utf-8") as file:
        YAML().dump({**SMALL, "version": 1, "strategies": ["naive"], "seeds": 1}, file)
    assert call("run", folder / "small.yaml", "--out", folder / "out").code == 0
    claims = Claims(folder / "out")
    assert claims.take(KEY)
    claims._publish({KEY: {"step": 3, "fraction": 0.5}})
    path = attempts.attempts_path(KEY, folder / "out")
    attempts.Attempt(path).end("stopped", attempts.Place(3, 0.2, 1.0))
    attempts.Attempt(path)
    yield folder / "out"
    claims.close()


def places(held: Any, path: tuple = ()) -> Iterator[tuple]:
    """The places of all values in JSON."""
    yield path
    items = held.items() if isinstance(held, dict) else enumerate(held) if isinstance(held, list) else ()
    for name, value in items:
        yield from places(value, (*path, name))


def replaced(held: Any, number: int, junk: Any) -> Any:
    """A copy of JSON with another value in one of its places."""
    found = list(places(held))
    *parents, last = found[number % len(found)] or (None,)
    if last is None:
        return junk
    changed = deepcopy(held)
    inner = changed
    for name in parents:
        inner = inner[name]
    inner[last] = junk
    return changed


def with_junk(content: bytes, line: int, number: int, junk: Any) -> bytes:
    lines = content.decode().splitlines()
    at = line % len(lines)
    lines[at] = json.dumps(replaced(json.loads(lines[at]), number, junk))
    return "\n".join(lines).encode() + b"\n"


def flipped(content: bytes, place: int, change: int) -> bytes:
    changed = bytearray(content)
    changed[place % len(changed)] ^= change
    return bytes(changed)


@pytest.mark.parametrize("examples", [60, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["plans/*", f"claims/{KEY}", "claims/*.progress", "attempts/*"])
def test_a_damaged_side_file_stops_neither_the_status_nor_the_next_attempt(out, kind, examples):
    [path] = out.glob(kind)
    content = path.read_bytes()
    whole = folder_status(out)
    assert whole["records"]["done"] == 1
    counts = st.integers(0, 10_000)

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(
        st.one_of(
            st.builds(with_junk, st.just(content), counts, counts, st.sampled_from(JUNK)),
            st.builds(flipped, st.just(content), counts, st.integers(1, 255)),
            counts.map(lambda length: content[: length % len(content)]),
        )
    )
    def checked(damaged: bytes) -> None:
        path.write_bytes(damaged)
        try:
            told = folder_status(out)
            json.dumps(told)
            read = attempts.read(attempts.attempts_path(KEY, out))
            assert 0 <= attempts.lost_seconds(read) < attempts.LONGEST * len(read) + 1
            attempts.attempts_text(read)
        finally:
            path.write_bytes(content)
        assert told["records"] == whole["records"]

    checked()
    assert call("status", out).code == 3  # the running cell
