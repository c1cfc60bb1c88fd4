"""What to expect of a strategy: read off docstrings, told per kind of stream, on the page."""

from __future__ import annotations

import pytest
from support import ready, trained

from clbench.benchmark.shipped_files import shipped
from clbench.leaderboard import board, render
from clbench.running.plan import plan
from clbench.running.run_cell import record
from clbench.strategies import STRATEGIES
from clbench.strategies.expected_results import KINDS, expected, kind, sentences


def method() -> None:
    """Does something.

    Args: none.

    Expected:
        class: near ``naive``; zero on old classes
            is what it does.
        task: above it.

    Source: nobody.
    """


def test_lines_are_read_from_the_block_in_a_docstring_and_may_go_on():
    assert expected(method) == {"class": "near naive; zero on old classes is what it does.", "task": "above it."}
    assert expected(lambda: None) == {}


@pytest.mark.parametrize("name", [entry.name for entry in STRATEGIES])
def test_every_built_in_strategy_says_what_to_expect_in_each_setting_and_where_things_recur(name):
    told = expected(STRATEGIES.get(name))
    assert {"class", "task", "domain", "recurring"} <= set(told) <= set(KINDS)
    assert all(20 < len(sentence) < 300 for sentence in told.values())


@pytest.mark.usefixtures("miniatures")
@pytest.mark.parametrize("name", list(shipped()))
def test_every_shipped_benchmark_is_of_some_kind(name):
    stream = plan(name, seeds=1).cells[0].config["stream"]
    assert kind(stream) in KINDS
    if stream["scenario"] in ("scole", "cir", "gaussian", "blurry", "power_law"):
        assert kind(stream) == "recurring"


def test_a_board_tells_what_to_expect_of_the_strategies_on_it_in_its_setting():
    runs = [trained(strategy, "stream.setting=task") for strategy in ("naive", "er")]
    records = [record(run.cell, run, status="done", reason="", device="cpu") for run in runs]
    page = render(board(records), "html")
    for name in ("naive", "er"):
        told = expected(STRATEGIES.get(name))
        assert told["task"] in page.replace("&#39;", "'").replace("&gt;", ">").replace("&lt;", "<")
        assert told["class"] not in page


def test_on_a_stream_whose_labels_drift_nothing_is_told_of_classes_to_come():
    stream = plan("drift-mnist-short", seeds=1).cells[0].config["stream"]
    assert kind(stream) == "drift"
    strategy = [{"name": name, "parameters": {}} for name in ("naive", "er", "ewc")]
    told = dict(sentences(strategy, stream))
    assert set(told) == {"naive", "er"}
    assert "1 / experiences" not in told["naive"]
    assert "no longer true" in told["er"]


def test_a_strategy_that_is_not_installed_here_is_passed_over():
    config = ready("er").cell.config
    assert sentences([{"name": "gone", "parameters": {}}, *config["strategy"]], config["stream"])[0][0] == "er"
