"""Read a page of the docs as a reader works through it: files to write, commands to run, Python to execute."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PIECE = re.compile(
    r"^```(?P<language>[\w+-]*)[^\n]*\n(?P<code>.*?)^```[ \t]*$|<!--\s*expect:\s*(?P<expect>.*?)\s*-->",
    flags=re.DOTALL | re.MULTILINE,
)
NAMED = re.compile(r"(?:#|%|//)\s*(?P<name>[\w./-]+\.\w+)\s*$")
SESSION = """
import json, linecache, sys, traceback
session = vars(sys.modules["__main__"])
asked = sys.stdin
sys.stdin = open("/dev/null")
sys.path.insert(0, "")
for line in asked:
    number, code = json.loads(line)
    name = f"<block {number}>"
    linecache.cache[name] = (len(code), None, code.splitlines(True), name)
    try:
        exec(compile(code, name, "exec"), session)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        print("FAILED", flush=True)
    print("DONE", flush=True)
"""


@dataclass
class Block:
    """Hold one fenced block of a page.

    Args:
        language: The word after the fence.
        code: The text between the fences.
        line: The line of the page where the fence stands, from 1.
        expected: What must exist, or what the block must print: the comments ``<!-- expect: ... -->`` after it.
    """

    language: str
    code: str
    line: int
    expected: list[str] = field(default_factory=list)

    @property
    def file(self) -> str | None:
        """Return the name of the file that the block is written to, from the comment in its first line."""
        found = None if self.language in ("sh", "text") else NAMED.match(self.code.partition("\n")[0])
        return found and found["name"]

    @property
    def content(self) -> str:
        """Return what the file holds; a table of values has no comment in it."""
        return self.code.partition("\n")[2] if self.language == "csv" else self.code


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    blocks: list[Block] = []
    for piece in PIECE.finditer(text):
        if piece["expect"] is None:
            blocks.append(Block(piece["language"], piece["code"], text.count("\n", 0, piece.start()) + 1))
        elif not blocks:
            raise AssertionError(f"an expectation stands before the first block: {piece['expect']}")
        else:
            blocks[-1].expected.append(piece["expect"])
    return blocks


def blocks(page: str, language: str) -> list[str]:
    """Return the texts of a page's blocks in one language; the page by its path in the repository."""
    return [block.code for block in blocks_of((ROOT / page).read_text(encoding="utf-8")) if block.language == language]


class Session:
    """Execute blocks of Python in one process, one after another, as the cells of a notebook."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        command = [sys.executable, "-u", "-c", SESSION]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self._process = subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes)

    def run(self, number: int, code: str) -> tuple[int, str]:
        """Return the exit code and what was printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([number, code]) + "\n")
        self._process.stdin.flush()
        printed = []
        for line in self._process.stdout:
            if line == "DONE\n":
                failed = bool(printed) and printed[-1] == "FAILED\n"
                return int(failed), "".join(printed)
            printed.append(line)
        return self._process.wait(), "".join(printed)

    def close(self) -> None:
        """End the process."""
        with self._process:  # closes the pipes
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(timeout=60)


def reader_environment(home: Path) -> dict[str, str]:
    """Return the environment of a reader: ``clbench`` is on PATH, the home folder is empty, there is no network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLBENCH_", "PYTEST_"))}
    return kept | {
        "HOME": str(home),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "CLBENCH_CACHE": str(home / "cache"),
        "CLBENCH_OFFLINE": "1",
        "MPLCONFIGDIR": str(home / "matplotlib"),
        "MPLBACKEND": "agg",
    }


def work_through(text: str, folder: Path, home: Path) -> Iterator[tuple[Block, str]]:
    """Work through a page in a folder; yield each block with what it printed.

    Raises:
        AssertionError: A command or a block of Python fails, or an expectation is not met.
    """
    environment, session = reader_environment(home), None
    try:
        for block in blocks_of(text):
            code, printed = 0, ""
            if block.file:
                (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
                (folder / block.file).write_text(block.content, encoding="utf-8")
            elif block.language == "sh":
                bash = ["bash", "-e", "-o", "pipefail", "-c", block.code]
                pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
                done = subprocess.run(bash, cwd=folder, env=environment, text=True, check=False, **pipes)
                code, printed = done.returncode, done.stdout
            elif block.language == "python":
                session = session or Session(folder, environment)
                code, printed = session.run(block.line, block.code)
            assert code == 0, f"line {block.line} ended with exit code {code}:\n{block.code}\n{printed}"
            for expected in block.expected:
                met = (folder / expected).exists() or " ".join(expected.split()) in " ".join(printed.split())
                assert met, f"line {block.line}: expected {expected!r} of\n{block.code}\n{printed}"
            yield block, printed
    finally:
        if session is not None:
            session.close()
