"""The scripts behind the tables of strategies: what is compared with what."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from clbench.running.plan import plan

HERE = Path(__file__).parents[2] / "baselines" / "strategies"


@pytest.fixture(scope="module")
def scripts():
    sys.path.insert(0, str(HERE))
    try:
        import claims
        import table
        import tune
    finally:
        sys.path.remove(str(HERE))
    return claims, table, tune


def frame(scores: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {"strategy": strategy, "seed": seed, "acc": value, "status": "done"}
        for strategy, values in scores.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_a_sum_of_means_is_compared_with_replay_of_the_same_sum(scripts, monkeypatch):
    claims, table, _ = scripts
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
    claims, table, _ = scripts
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


def test_every_table_has_both_baselines_and_strategies_that_exist(scripts):
    _, table, tune = scripts
    chosen = YAML(typ="safe").load(HERE / "chosen.yaml")
    for benchmark, fixed in table.FIXED.items():
        assert {"er", table.SUM} <= set(fixed)
        assert {"er", table.SUM} <= set(tune.RATED)
        own = chosen[benchmark]["class"]
        for strategies in (fixed, list(own.values()), [text.format(**own) for text in table.JOINED], tune.RATED):
            assert len(plan(benchmark, strategies=strategies, seeds=1).cells) == len(set(strategies))


def test_a_strategy_at_a_rate_is_called_as_its_record_will_be(scripts):
    _, _, tune = scripts
    for strategy in tune.RATED:
        written, label, kept = tune.rated(strategy, 0.003)
        (cell,) = plan("split-cifar10-online", strategies=[written], seeds=1).cells
        assert cell.label == label
        assert cell.config["training"]["lr"] == kept == 0.003


def test_dark_experience_is_tuned_and_run_with_all_classes_in_a_table_of_its_own(scripts):
    _, table, tune = scripts
    assert set(tune.OUTPUT_ALL) == {"der", "derpp"}
    assert {"{der}", "{derpp}", "er", table.SUM, "joint", "naive"} <= set(table.OUTPUT_ALL)
    assert table.place("class", output="all", rates="benchmark") == "class-output-all"
    assert table.place("task", output="seen", rates="own") == "task-own-rates"
