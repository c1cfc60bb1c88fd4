"""Every tutorial is worked through as it stands, in an empty folder: its files are written, its commands run."""

from __future__ import annotations

import pytest
from worked_pages import ROOT, blocks_of, work_through

TUTORIALS = sorted(path for path in (ROOT / "docs" / "tutorials").glob("*.md") if path.stem != "index")


@pytest.fixture
def folders(tmp_path):
    made = tmp_path / "work", tmp_path / "home"
    for folder in made:
        folder.mkdir()
    return made


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_the_tutorial_runs_as_written(tutorial, folders):
    worked = list(work_through(tutorial.read_text(encoding="utf-8"), *folders))
    assert [block for block, _ in worked if block.language == "sh"], "a tutorial has commands"
    assert [block for block, _ in worked if block.expected], "a tutorial says what one has at the end"


PAGE = """
```python
# part/idea.py
answer = 41
```

```csv
# points.csv
x,y
1,2
```

```sh
head -n 1 points.csv > head.txt
cat head.txt; clbench --version
```
<!-- expect: head.txt -->
<!-- expect: x,y clbench -->

```python
import sys
sys.path.insert(0, "part")
from idea import answer
```

```text
rm -r /nothing/of/this/runs
```

```python
print(answer + 1, __import__("os").environ["CLBENCH_OFFLINE"])
```
<!-- expect: 42 1 -->
"""


def test_files_are_written_commands_run_and_python_is_one_session(folders):
    worked = list(work_through(PAGE, *folders))
    assert [block.line for block, _ in worked] == [2, 7, 13, 20, 26, 30]
    assert (folders[0] / "points.csv").read_text() == "x,y\n1,2\n"
    assert worked[-1][1] == "42 1\n"


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("```sh\nfalse\ntrue\n```\n", "exit code 1"),
        ("```sh\nfalse | true\n```\n", "exit code 1"),
        ("```python\nassert 0, 'not so'\n```\n", "not so"),
        ("```python\nraise SystemExit(3)\n```\n", "SystemExit: 3"),
        ("```sh\necho one\n```\n<!-- expect: two -->\n", "expected 'two'"),
        ("\n<!-- expect: two -->\n```sh\ntrue\n```\n", "stands before the first block"),
    ],
)
def test_a_page_that_does_not_do_what_it_says_fails(page, words, folders):
    with pytest.raises(AssertionError, match=words):
        list(work_through(page, *folders))


def test_a_block_knows_its_file_and_its_line():
    named, shown = blocks_of("a\n\n```yaml\n# mine.yaml\nname: mine\n```\n\n```text\n# mine.yaml\n```\n")
    assert (named.file, named.line, shown.file) == ("mine.yaml", 3, None)
