"""The differences between two result folders, on hand-made records."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from command_line import call
from synthetic import flat, folder, record

import clbench
from clbench.core.measure import Measure
from clbench.core.record import Predictions


@pytest.fixture
def two(tmp_path):
    """Folders A and B: er is equal at seed 0 and differs at seed 1, naive failed in B, ewc and gem are in one alone."""
    bent = flat(0.5)
    bent.score[4, 0] = 0.3
    a = folder(
        tmp_path / "A", record("er", 0, flat(0.5)), record("er", 1, flat(0.5)), record("naive", 0, flat(0.4)),
        *(record("ewc", seed, flat(0.4)) for seed in range(3)),
    )  # fmt: skip
    b = folder(
        tmp_path / "B", record("er", 0, flat(0.5)), record("er", 1, bent), record("gem", 5, flat(0.4)),
        record("naive", 0, status="failed", reason="it took longer than 2 s"),
    )  # fmt: skip
    return a, b


def test_cells_in_both_are_equal_or_have_a_first_difference_and_others_are_counted_by_strategy(two):
    found = clbench.diff(*two)
    assert (found["shared"], found["equal"]) == (3, 1)
    er, naive = found["different"]
    assert (er["strategy"], er["seed"], er["status"]) == ("er", 1, ["done", "done"])
    assert (er["trace"]["evaluation"], er["trace"]["task"], er["trace"]["scores"]) == (4, 0, [0.4, 0.3])
    assert er["text"] == (
        "the first difference is at the end of experience 0 (step 2): accuracy on task 0 is 40 % and 30 %"
    )
    assert (naive["trace"], naive["text"]) == (None, "done and failed (it took longer than 2 s)")
    assert found["only_a"] == [{"benchmark": "split-digits@1", "strategy": "ewc", "seeds": [0, 1, 2]}]
    assert found["only_b"] == [{"benchmark": "split-digits@1", "strategy": "gem", "seeds": [5]}]


def test_the_difference_is_plain_data_that_the_command_prints_too(two):
    found = clbench.diff(*two)
    answer = call("diff", *two, "--json")
    assert json.loads(answer.out) == json.loads(json.dumps(found)) == found
    assert (answer.code, answer.err) == (1, "")


def test_the_command_says_all_of_it_in_lines_and_ends_with_1(two):
    answer = call("diff", *two)
    lines = answer.out.splitlines()
    assert (answer.code, answer.err) == (1, "")
    assert lines[1] == "3 cells in both: 1 equal, 2 different"
    assert lines[2].startswith("  split-digits@1, er, seed 1: the first difference is at the end of experience 0")
    assert lines[3].startswith("  split-digits@1, naive, seed 0: done and failed (it took longer than 2 s) [")
    assert lines[4:8] == [
        "3 cells only in A:", "  split-digits@1, ewc: 3 cells", "1 cell only in B:", "  split-digits@1, gem: 1 cell"
    ]  # fmt: skip


def test_equal_folders_end_with_0_whatever_they_are_called(two):
    answer = call("diff", two[0], two[0])
    assert answer.code == 0
    assert "6 cells in both: 6 equal, none different" in answer.out
    assert {row.split()[-1] for row in answer.out.splitlines()[5:8]} == {"equal"}


def test_seconds_and_the_time_of_writing_are_no_difference_but_data_and_stream_are(tmp_path):
    one = replace(record("er", 0, flat(0.5)), data="1" * 16)
    later = replace(one, created="2030", trace=replace(one.trace, seconds=np.arange(9.0)))
    other = replace(one, data="2" * 16, fingerprint="elsewhere")
    a = folder(tmp_path / "A", one)
    assert clbench.diff(a, folder(tmp_path / "later", later))["equal"] == 1
    [found] = clbench.diff(a, folder(tmp_path / "other", other))["different"]
    assert found["text"] == (
        "the data differ (checksums 11111111 and 22222222); the streams differ (fingerprints stream0 and elsewher)"
    )
    older = replace(one, data="", fingerprint="")
    assert clbench.diff(a, folder(tmp_path / "older", older))["equal"] == 1  # it has not recorded them


def test_a_difference_is_told_with_code_device_and_versions_that_may_be_its_cause(tmp_path):
    one, other = record("er", 0, flat(0.5)), record("er", 0, flat(0.6))
    one = replace(one, code={"engine": "1" * 16, "strategy": "2" * 16})
    other = replace(
        other, code={"engine": "3" * 16, "strategy": "2" * 16}, environment={**one.environment, "device": "cuda"}
    )
    a, b = folder(tmp_path / "A", one), folder(tmp_path / "B", other)
    [found] = clbench.diff(a, b)["different"]
    assert found["circumstances"] == {"code of the engine": ["11111111", "33333333"], "device": ["cpu", "cuda"]}
    assert found["text"].endswith("is 40 % and 50 %; code of the engine: 11111111 and 33333333; device: cpu and cuda")
    same = replace(other, trace=one.trace)
    assert clbench.diff(a, folder(tmp_path / "same", same))["equal"] == 1  # other code, and an equal result


def test_predictions_beside_one_of_two_equal_records_are_no_difference(tmp_path):
    one = record("er", 0, flat(0.5))
    kept = replace(one, trace=replace(one.trace, predictions=Predictions(tmp_path / "none.parquet")))
    assert clbench.diff(folder(tmp_path / "A", one), folder(tmp_path / "B", kept))["equal"] == 1


# --------------------------------------------------------------------------------------------------- ACC, paired


def test_acc_is_paired_by_seed_over_folders_of_other_settings_and_these_are_named(tmp_path):
    a = folder(tmp_path / "A", *(record("er", seed, flat(0.5)) for seed in range(4)))
    b = folder(
        tmp_path / "B", *(record("er", seed, flat(0.5 + 0.01 * seed), training={"lr": 0.1}) for seed in (1, 2, 3, 9))
    )
    found = clbench.diff(a, b)
    [er] = found["paired"]
    assert (found["shared"], er["seeds"], er["settings"]) == (0, [1, 2, 3], ["lr=0.05", "lr=0.1"])
    assert er["mean"] == pytest.approx(2)  # points, of 1, 2 and 3
    assert er["half"] == pytest.approx(4.302652729911275 / 3**0.5)  # Student's t, 2 degrees of freedom; s = 1
    answer = call("diff", a, b)
    assert (answer.code, answer.out.splitlines()[1]) == (0, "no cell is in both")
    rows = answer.out.splitlines()
    assert rows[-3].split() == ["er", "3", "50.00", "52.00", "+2.00", "±", "2.48"]
    assert rows[-2] == "split-digits@1: A has lr=0.05; B has lr=0.1"


def test_a_difference_in_a_loss_has_the_sign_that_people_read(tmp_path):
    error = Measure(name="error", short="MSE", lower_is_better=True)
    a, b = (
        folder(path, replace(made, trace=replace(made.trace, score=-made.trace.score, measure=error)))
        for path, made in ((tmp_path / "A", record("er", 0, flat(0.5))), (tmp_path / "B", record("er", 0, flat(0.75))))
    )
    [er] = clbench.diff(a, b)["paired"]
    assert (er["a"], er["b"], er["mean"], er["unit"]) == ([-0.5], [-0.75], pytest.approx(0.25), "")
    rows = call("diff", a, b).out.splitlines()
    assert rows[-4].rstrip() == "split-digits@1: MSE"
    assert rows[-2].split() == ["er", "1", "0.500", "0.750", "+0.250"]


def test_two_seeds_have_no_interval_and_a_seed_without_a_result_is_left_out(tmp_path):
    a = folder(tmp_path / "A", *(record("er", seed, flat(0.5)) for seed in range(3)))
    b = folder(
        tmp_path / "B", record("er", 0, flat(0.46)), record("er", 1, flat(0.5)), record("er", 2, status="failed")
    )
    [er] = clbench.diff(a, b)["paired"]
    assert (er["seeds"], er["half"]) == ([0, 1], None)
    assert er["mean"] == pytest.approx(-2)
    assert [row.split()[-1] for row in call("diff", a, b).out.splitlines() if row.startswith("er ")] == ["-2.00"]


def test_strategies_of_equal_settings_are_paired_first_and_what_is_ambiguous_is_not(tmp_path):
    slow, fast, faster = ({"lr": lr} for lr in (0.01, 0.1, 0.2))
    a = folder(
        tmp_path / "A", record("er", 0, flat(0.5), training=slow), record("er", 0, flat(0.7), training=fast),
    )  # fmt: skip
    b = folder(tmp_path / "B", record("er", 0, flat(0.7), training=fast), record("er", 0, flat(0.9), training=faster))
    found = clbench.diff(a, b)
    assert [(each["a"], each["b"], each["settings"]) for each in found["paired"]] == [
        ([pytest.approx(0.7)], [pytest.approx(0.7)], ["", ""]),
        ([pytest.approx(0.5)], [pytest.approx(0.9)], ["lr=0.01", "lr=0.2"]),
    ]
    folder(b, record("er", 0, flat(0.9), training={"lr": 0.4}))
    found = clbench.diff(a, b)
    assert len(found["paired"]) == 1
    assert found["unpaired"] == ["split-digits@1, er is not paired: it has 1 and 2 further settings"]


# --------------------------------------------------------------------------------------------------- how it is shown


def test_many_differences_are_cut_and_tables_fit_a_narrow_terminal(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    label = "er + ewc(strength=10) + a_part_with_a_very_long_name(of_a_setting=0.123456789, of_another=7)"
    a = folder(tmp_path / "A", *(record(label, seed, flat(0.5)) for seed in range(30)))
    b = folder(tmp_path / "B", *(record(label, seed, flat(0.6)) for seed in range(30)))
    lines = call("diff", a, b).out.splitlines()
    assert sum("the first difference is" in line for line in lines) == 20
    assert "  and 10 more; --json lists all of them" in lines
    table = lines[lines.index("") + 1 :]
    assert [line for line in table if len(line) > 80] == []
    assert any(line.split()[-1] == "0.00" and "+10.00" in line for line in table)


def test_a_folder_that_cannot_be_read_in_part_is_compared_without_the_damaged_record(two):
    a, b = two
    [path, *_] = sorted((b / "records").glob("*.json"))
    path.write_text("{ half", encoding="utf-8")
    answer = call("diff", a, b)
    assert "2 cells in both" in answer.out or "3 cells in both" in answer.out
    assert answer.err.count("\n") == 1
    assert path.name in answer.err


def test_the_command_starts_without_torch(two):
    import subprocess
    import sys

    code = (
        "import sys, clbench\n"
        f"clbench.diff({str(two[0])!r}, {str(two[1])!r})\n"
        "print(sorted({'torch', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
