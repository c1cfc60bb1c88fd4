"""The scripts behind the tables of strategies: what is compared with what."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from clbench.benchmark.tuned_settings import read_tuned
from clbench.running.plan import plan
from clbench.strategies.knobs import with_values

HERE = Path(__file__).parents[2] / "baselines" / "strategies"


@pytest.fixture(scope="module")
def scripts():
    sys.path.insert(0, str(HERE))
    try:
        import claims
        import table
    finally:
        sys.path.remove(str(HERE))
    return claims, table


def frame(scores: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {"strategy": strategy, "seed": seed, "acc": value, "status": "done"}
        for strategy, values in scores.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_a_sum_of_means_is_compared_with_replay_of_the_same_sum(scripts, monkeypatch):
    claims, table = scripts
    found = frame(
        {"er": [0.5, 0.6], table.SUM: [0.7, 0.8], "er_ace": [0.6, 0.72], "mir": [0.5, 0.58], "pcr(views=1)": [0.9, 0.9]}
    )
    monkeypatch.setattr(claims.Table, "finished", lambda self: found)
    lines = claims.at_equal_loss(claims.Table("x"))
    assert lines[2] == "| x | `er(loss=sum, start=any)` | sum | 20.0 ± 0.0 | |"
    # paired by seed: 10 and 12 above er, 10 and 8 below its sum; t(0.975, 1) = 12.7 times 1.0
    assert lines[3] == "| x | `er_ace` | sum | 11.0 ± 12.7 | **-9.0 ± 12.7** |"
    assert lines[4] == "| x | `mir` | mean | **-1.0 ± 12.7** | -21.0 ± 12.7 |"
    assert lines[5].startswith("| x | `pcr` | mean | **35.0 ± ")
    assert len(lines) == 6


def test_a_strategy_is_found_by_its_name_and_not_by_that_of_another(scripts, monkeypatch):
    claims, table = scripts
    found = frame({"er [lr=0.03]": [0.1], f"{table.SUM} [lr=0.01]": [0.2], "ewc(strength=10, rows=500)": [0.3]})
    monkeypatch.setattr(claims.Table, "finished", lambda self: found)
    asked = claims.Table("x")
    assert asked.scores("er") == {0: 0.1}
    assert asked.scores(table.SUM) == {0: 0.2}
    assert asked.scores("ewc") == {0: 0.3}
    with pytest.raises(AssertionError, match="'naive' is not one strategy of x"):
        asked.scores("naive")
    found.loc[1, "seed"] = found.loc[0, "seed"]
    monkeypatch.setattr(claims.Table, "finished", lambda self: pd.concat([found, found]))
    with pytest.raises(AssertionError, match="'er' has a seed twice"):
        asked.scores("er")


FILES = sorted((HERE / "tuned").glob("*.yaml"))


def test_every_table_has_both_baselines_and_strategies_that_exist(scripts):
    _, table = scripts
    assert {"er", table.SUM} <= set(table.RATED)
    for benchmark, fixed in table.FIXED.items():
        assert {"er", table.SUM} <= set(fixed)
        tuned = read_tuned(table.file_of(benchmark, "class", "end"))
        methods = table.TUNED | table.OF_BENCHMARK.get(benchmark, {})
        chosen = {method: with_values(text, tuned.strategies[text].values) for method, text in methods.items()}
        joined = [text.format(**chosen) for text in table.JOINED]
        assert len(plan(benchmark, strategies=[*fixed, *joined], seeds=1).cells) == len({*fixed, *joined})
        made = plan(benchmark, strategies=list(methods.values()), seeds=1, tuned=tuned).cells
        assert all(cell.tuning["protocol"] == "end" for cell in made)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_settings_of_a_table_are_those_of_its_published_records(path):
    """Every tuned strategy of a file is a cell of the committed records, with the values in it."""
    tuned = read_tuned(path)
    benchmark = tuned.benchmark.partition("@")[0]
    named = path.stem.removeprefix(f"{benchmark}-")
    folder = HERE / benchmark / named.removesuffix("-end")
    if not (folder / "records").is_dir():
        pytest.skip("this table has not been run")
    overrides = dict(tuned.settings) | ({"evaluation.schedule": "ends"} if "own-rates" in named else {})
    cells = plan(benchmark, strategies=list(tuned.strategies), seeds=1, overrides=overrides.items(), tuned=tuned).cells
    kept = {found.stem for found in (folder / "records").glob("*.json")}
    assert {cell.key for cell in cells} <= kept
    assert len(cells) == len(tuned.strategies)


def test_dark_experience_is_tuned_and_run_with_all_classes_in_a_table_of_its_own(scripts):
    _, table = scripts
    assert {"er", table.SUM, "joint", "naive"} <= set(table.OUTPUT_ALL)
    for benchmark in table.FIXED:
        tuned = read_tuned(table.file_of(benchmark, "class-output-all", "end"))
        assert set(tuned.strategies) == {"der", "derpp"}
        assert tuned.settings["stream.output"] == "all"
    assert table.place("class", output="all", rates="benchmark") == "class-output-all"
    assert table.place("task", output="seen", rates="own") == "task-own-rates"
    assert table.folder_of("class", "first:2") == "class-first-2"
