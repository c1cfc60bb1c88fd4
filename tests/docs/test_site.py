"""The pages of the docs site that are made from the code say what the code says; links lead to where pages are."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import PurePosixPath

import pytest
from command_line import FAST
from worked_pages import ROOT, blocks, reader_environment

import clbench
from clbench.cli import kinds
from clbench.core.parameters import Count, NonNegative, range_text, settings

EXTENSIONS = ROOT / "docs" / "_ext"
sys.path.insert(0, str(EXTENSIONS))
try:
    import docstrings
    import hook_pages
    import named_pages
    import stage
finally:
    sys.path.remove(str(EXTENSIONS))


@cache
def site() -> dict[str, str]:
    return {str(place): text for place, text in stage.staged().items() if isinstance(text, str)}


def rows(text: str) -> dict[str, list[str]]:
    """First cell of each row of a page's tables -> the other cells."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| ")]
    return {cells[0].strip().strip("`"): [cell.strip() for cell in cells[1:]] for cells in lines}


@pytest.mark.parametrize("kind", named_pages.PAGE_FOR_EACH)
def test_every_name_of_clbench_has_a_page(kind):
    names = [
        name
        for name in kinds.names(kind)
        if kind == "benchmarks" or kinds.registry(kind).entry(name).origin == "clbench"
    ]
    assert len(names) >= 5
    index = site()[f"reference/{kind}/index.md"]
    assert [name for name in names if f"reference/{kind}/{name}.md" not in site() or f"]({name}.md)" not in index] == []


@pytest.mark.parametrize("name", [entry.name for entry in kinds.registry("strategies") if entry.origin == "clbench"])
def test_the_page_of_a_strategy_has_all_settings_and_what_to_expect(name):
    recipe = kinds.registry("strategies").get(name)
    page = site()[f"reference/strategies/{name}.md"]
    table = rows(page)
    for setting, _, default in settings(recipe):
        assert table[setting][2] == (f"`{default}`" if default else "needs a value")
        assert table[setting][3], f"{setting} of {name} is not described"
    assert {"class", "task", "domain", "recurring"} <= table.keys()
    assert "**Source.**" in page or name in ("naive", "joint", "cumulative", "frozen", "l2")


def test_a_page_gives_type_range_default_and_meaning_of_a_setting():
    kind, limits, default, meaning = rows(site()["reference/strategies/ewc.md"])["gamma"]
    assert (kind, limits, default) == ("`float`", "at least 0, at most 1", "`1.0`")
    assert meaning.startswith("Decay of old importance")
    assert "(strength, mode=separate, gamma=1.0, fisher=exact, rows=None)" in site()["reference/strategies/ewc.md"]


def test_ranges_are_read_from_types():
    def made(*, strength: NonNegative, rows: Count | None = None, name: str = "x") -> None: ...

    assert [range_text(made, name) for name in ("strength", "rows", "name")] == [
        "at least 0",
        "at least 1",
        "",
    ]


def test_the_page_of_a_metric_has_formula_range_and_direction():
    table = rows(site()["reference/metrics/wc_acc.md"])
    assert table["title on leaderboards"] == ["WC-ACC"]
    assert table["range"] == ["0 to 1, higher is better"]
    assert "minimum while absent" in table["formula"][0]


def test_every_command_has_its_options_and_two_examples():
    found = named_pages.commands()
    assert {"run", "board", "new strategy"} <= found.keys()
    for words, command in found.items():
        page = site()[f"reference/commands/{words.replace(' ', '-')}.md"]
        options = [
            option
            for each in command.params
            if not each.hidden and each.name != "help"
            for option in each.opts
            if option.startswith("-")
        ]
        assert [option for option in options if f"`{option}`" not in page] == []
        (examples,) = re.findall(r"## Examples\n\n```sh\n(.*?)```", page, flags=re.DOTALL)
        assert examples.count("clbench ") >= 2


def test_the_plugin_surface_shows_every_hook_in_the_order_of_a_run():
    from clbench.strategies.part import HOOKS

    page = site()["reference/plugin-surface.md"]
    assert re.findall(r"^\| `(\w+)\(", page, flags=re.MULTILINE) == list(HOOKS)
    assert "`loss(learner: Learner, batch: Batch, output: Output) -> Tensor \\| None`" in page
    assert [
        hook
        for hook in HOOKS
        if f"hooks.{hook}" not in page and hook not in ("build", "objective", "loss", "answer", "predict")
    ] == []


def test_all_names_of_the_plugin_surface_are_public_and_loaded_at_first_use():
    names = hook_pages.surface_names()
    assert {"Part", "Batch", "Output", "Learner", "Memory"} <= set(names) <= set(clbench.__all__)
    code = f"import sys, clbench; assert 'torch' not in sys.modules; from clbench import {', '.join(names)}"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_every_public_name_is_on_a_page_of_the_reference():
    text = site()["reference/python-api.md"] + site()["reference/plugin-surface.md"]
    assert [name for name in clbench.__all__ if name != "__version__" and f":: clbench.{name}\n" not in text] == []


def test_links_are_changed_to_where_pages_are_on_the_site():
    assert "(baselines/README.md#the-default-benchmark)" in site()["readme.md"]
    assert "(pictures/leaderboard.png)" in site()["readme.md"]
    assert site()["readme.md"].startswith("# Install and first run\n\n**clbench** compares")
    assert "(../files/baselines/strategies/table.py.md)" in site()["tutorials/tune.md"]
    assert "](../../strategies/mir.md)" in site()["baselines/strategies/README.md"]


def test_pages_lead_to_the_page_of_the_reference_that_belongs_to_them():
    assert site()["add-a-strategy.md"].endswith("(reference/plugin-surface.md).\n")
    assert "[derpp](../reference/strategies/derpp.md)" in site()["strategies/der.md"].splitlines()[-1]


def test_links_in_code_stay_as_they_are():
    pages = {PurePosixPath("docs/a.md"): PurePosixPath("a.md"), PurePosixPath("README.md"): PurePosixPath("readme.md")}
    text = "[x](../README.md) [y](https://a.b/c)\n```python\nf[0](../README.md)\n```\n[z](../README.md#part)"
    shown = stage._with_links(text, PurePosixPath("docs/a.md"), PurePosixPath("a.md"), pages, {}, ROOT)
    assert shown == "[x](readme.md) [y](https://a.b/c)\n```python\nf[0](../README.md)\n```\n[z](readme.md#part)"


def test_a_list_of_tutorials_ends_with_those_that_it_does_not_name():
    text = "```{toctree}\n:glob:\n\none\n*\n```\n"
    assert stage.without_empty_pattern(text, {"one", "two"}) == text
    assert stage.without_empty_pattern(text, {"one"}) == "```{toctree}\n:glob:\n\none\n```\n"


def test_only_what_has_changed_is_written_and_what_is_gone_is_removed(tmp_path):
    tree = {PurePosixPath("a/b.md"): "one", PurePosixPath("c.png"): b"two"}
    assert stage.write(tree, tmp_path) == 2
    assert stage.write(tree, tmp_path) == 0
    assert stage.write({PurePosixPath("c.png"): b"three"}, tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c.png"]


def test_docstrings_become_markdown_with_their_sections_apart():
    def documented() -> None:
        """Keep a_b * c in ``code | here``, see :func:`~clbench.run`.

        Args:
            one, two: The first
                and the second.
            three: With ``code``: yes.

        More text.

        Source: A & B 2020,
        section 3.

        Expected:
            class: low.
        """

    told = docstrings.read(documented)
    assert told.summary == r"Keep a\_b \* c in `code | here`, see `clbench.run`."
    assert told.settings == {
        "one": "The first and the second.",
        "two": "The first and the second.",
        "three": "With `code`: yes.",
    }
    assert (told.body, told.source) == (["More text."], "A & B 2020, section 3.")


def test_the_job_scripts_of_the_page_on_scale_share_all_cells_and_run_one_seed(tmp_path):
    shared, one_seed = [code for code in blocks("docs/scale.md", "sh") if "#SBATCH" in code]
    options = " ".join(["--jobs 1 --strategies naive", *FAST])

    def job(script, number, options):
        fast = script.replace("--jobs 2", options)
        environment = {**reader_environment(tmp_path), "SLURM_ARRAY_TASK_ID": str(number), "TMPDIR": str(tmp_path)}
        return subprocess.Popen(["bash", "-e", "-c", fast], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)

    jobs = [job(shared, number, f"{options} --seeds 2") for number in (1, 2)] + [job(one_seed, 3, options)]
    assert [each.wait() for each in jobs] == [0, 0, 0]
    frame = clbench.load(tmp_path / "results" / "split-digits")
    assert sorted(zip(frame.seed, frame.status, strict=True)) == [(0, "done"), (1, "done"), (3, "done")]
