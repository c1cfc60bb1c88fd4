"""A real browser for tests of pages: what a page asks for, prints or violates is a fault of the page."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

AXE = Path(__file__).parent / "vendored" / "axe.min.js"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
"""axe-core 4.14.1 as published, under the Mozilla Public License 2.0 (``LICENSE.txt`` beside it)."""
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 320, "height": 640}


def chromium() -> str | None:
    """Return the program of the browser, or nothing where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Watched:
    """Hold one page, with what it did that no page of ours may do.

    Args:
        context: A new context of the browser.
        folder: The only folder from which the page may load files.
    """

    def __init__(self, context: Any, folder: Path) -> None:
        self.context, self.folder = context, folder.resolve()
        self.faults: list[str] = []
        self.requests: list[str] = []
        context.on("request", self._requested)
        context.on("requestfailed", self._failed)
        context.on("dialog", self._dialog)
        context.on("console", lambda line: self.faults.append(f"console: {line.text}"))
        context.on("weberror", lambda error: self.faults.append(f"error: {error.error}"))
        self.page = context.new_page()
        context.on("page", lambda other: self.faults.append(f"opened a window: {other.url}"))

    def open(self, path: str) -> Any:
        """Go to a file of the folder; what follows ``#`` in the path is the state of the page."""
        name, _, state = path.partition("#")
        self.page.goto((self.folder / name).as_uri() + ("#" + state if state else ""))
        return self.page

    def _requested(self, request: Any) -> None:
        parts = urlsplit(request.url)
        self.requests.append(request.url)
        if parts.scheme == "data" or (parts.scheme == "blob" and request.resource_type == "image"):
            return
        inside = parts.scheme == "file" and Path(unquote(parts.path)).resolve().is_relative_to(self.folder)
        if not inside:
            self.faults.append(f"request: {request.url[:200]}")

    def _failed(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # a picture that was still loading when the reader left the page
            self.faults.append(f"not found: {request.url} ({request.failure})")

    def _dialog(self, dialog: Any) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()


@contextmanager
def watched(browser: Any, folder: Path, *, faults: bool = False, **options: Any) -> Iterator[Watched]:
    """Yield a page whose faults fail the test at the end, unless the test reads them itself (``faults``)."""
    context = browser.new_context(**{"viewport": WIDE, **options})
    context.set_default_timeout(120_000)  # of a busy machine
    try:
        made = Watched(context, folder)
        yield made
        made.page.wait_for_timeout(20)  # lines of the console arrive after what caused them
        if not faults:
            assert not made.faults, made.faults
    finally:
        context.close()


@cache
def axe_script() -> str:
    """Return the source of axe-core, unchanged since it was vendored."""
    content = AXE.read_bytes()
    assert hashlib.sha256(content).hexdigest() == AXE_SHA256
    return content.decode()


def violations(page: Any) -> list[str]:
    """Return what axe-core finds on a page, a line for each rule with the first elements that break it.

    The page's policy lets no script run but files beside the page; what a debugger evaluates is not bound by it.
    """
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(axe_script())
    found = page.evaluate(
        "() => axe.run(document, {resultTypes: ['violations'], preload: false}).then((r) => r.violations)"
    )
    return [f"{each['id']}: {[node['html'][:160] for node in each['nodes'][:3]]}" for each in found]


def sideways(page: Any) -> int:
    """Return by how many CSS pixels the page, not a box in it, scrolls sideways."""
    return page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
