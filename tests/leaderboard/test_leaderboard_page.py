"""How the page of a leaderboard is laid out: settings once, attention where it is needed, and narrow screens."""

import re
from dataclasses import replace

import pytest
from synthetic import dipping, record

from clbench.leaderboard.board import board
from clbench.leaderboard.page import page
from clbench.leaderboard.page_pictures import MOST
from clbench.leaderboard.page_settings import row_settings, shared_settings


def runs(label, *, seeds=2, training=None, **given):
    return [record(label, seed, dipping(seed, tasks=3, length=20), training=training, **given) for seed in range(seeds)]


def table(records):
    (made,) = board(records).tables
    return made


def settings_of(made, section):
    return dict(shared_settings(made))[section]


def own(made):
    return {row.strategy: text for row, text in zip(made.rows, row_settings(made), strict=True)}


def test_settings_that_all_rows_share_are_written_once_without_those_that_are_not_set():
    made = table([*runs("er", training={"iterations": None}), *runs("naive", training={"iterations": None})])
    assert settings_of(made, "training") == "optimizer sgd, lr 0.05, batch_size 32, epochs 5"
    assert settings_of(made, "model") == "name mlp, hidden [100, 100]"
    assert settings_of(made, "stream") == "scenario split, setting class, experiences 5, dataset.name digits"
    assert set(own(made).values()) == {""}


def test_a_row_states_the_settings_in_which_it_differs_from_most():
    made = table([*runs("er"), *runs("naive"), *runs("agem", training={"lr": 0.3, "momentum": 0.9})])
    assert settings_of(made, "training") == "optimizer sgd, lr 0.05, batch_size 32, epochs 5"
    assert own(made) == {"er": "", "naive": "", "agem": "lr 0.3, momentum 0.9"}


def test_a_setting_without_a_value_of_most_rows_stands_in_every_row_and_not_above():
    made = table([*runs("er", training={"lr": 0.1}), *runs("naive", training={"lr": 0.2})])
    assert "lr" not in settings_of(made, "training")
    assert own(made) == {"er": "lr 0.1", "naive": "lr 0.2"}


def test_equal_strategies_with_different_settings_are_two_rows_with_their_own():
    mixed = [*runs("agem", seeds=1, training={"lr": 0.1})]
    mixed += [record("agem", 1, dipping(1, tasks=3, length=20), training={"lr": 0.2})]
    made = table([*runs("er"), *runs("naive"), *mixed])
    assert {text for label, text in own(made).items() if label.startswith("agem")} == {"lr 0.1", "lr 0.2"}


def test_long_lists_are_shortened_and_words_are_those_of_a_benchmark_file():
    made = table(runs("er", training={"at": list(range(30)), "drop_last": False}))
    assert settings_of(made, "training").endswith("at [0, 1, 2, 3, 4, 5, 6, 7, … (30)], drop_last false")


def test_strategy_and_acc_come_first_and_seeds_last():
    text = page(board(runs("er")))
    titles = re.findall(r'<th scope="col"[^>]*><button[^>]*>([^<]*)', text)
    assert [title.strip() for title in titles[:3]] == ["#", "Strategy", "ACC"]
    assert titles[-1] == "Seeds"


def test_only_alarms_and_missing_results_ask_for_attention():
    quiet = page(board([*runs("er"), *runs("naive", training={"lr": 0.2})]))
    assert 'class="attention"' not in quiet
    assert 'class="tag attention"' not in quiet
    assert "Rows differ in settings" in quiet  # an ordinary note
    loud = page(board([*runs("er"), *runs("naive", alarms=("the penalty was always 0",))]))
    assert loud.count('class="attention"') == loud.count('class="tag attention"') == 1
    failed = page(board([*runs("er"), record("gem", 0, status="failed", reason="no memory left")]))
    assert "no result 0/2</span>" in failed
    assert "no memory left" in failed


def test_a_narrow_screen_has_a_picture_of_its_own_of_the_best_strategies():
    records = [
        record(f"s{place}", 0, dipping(0, tasks=3, length=20, final=0.96 - 0.02 * place, noise=0)) for place in range(9)
    ]
    text = page(board(records))
    wide, narrow = re.findall(r"<figure.*?</figure>", text, re.DOTALL)
    assert [f">s{place}<" in wide for place in range(9)] == [True] * 9
    assert [f">s{place}<" in narrow for place in range(9)] == [place < MOST for place in range(9)]
    assert "a wider window shows 3 more" in text
    for picture in (wide, narrow):
        start = re.search(r"<svg[^>]*>", picture).group()
        assert " width=" not in start
        assert "viewBox" in start
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    few = page(board(records[:2]))
    assert "a wider window shows" not in few


def test_long_names_can_be_broken_and_stay_escaped():
    label = "er(loss='<b>', start=any)"
    text = page(board([replace(each, label=label) for each in runs("er")]))
    assert "er(<wbr>loss=<wbr>&#39;&lt;b&gt;&#39;, start=<wbr>any)" in text
    assert "<b>" not in text


@pytest.mark.parametrize("width", ["(max-width: 700px)", "(min-width: 800px)"])
def test_the_page_knows_narrow_and_wide_windows(width):
    assert width in page(board(runs("er")))
