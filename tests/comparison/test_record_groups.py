"""Which records belong together, on records of made-up cells."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import record, trace_from

from clbench.comparison.record_groups import JointRuns, by_benchmark, by_strategy, distinct, is_finished, joint_runs

TRACE = trace_from([[1, 0], [0, 1]], [2, 2], lambda step, _: np.array([0.5, 0.1 * step]))


def with_cell(made, **sections):
    """The record of a cell that differs in some sections, under another key."""
    cell = {**made.cell, **sections}
    return replace(made, cell=cell, key=f"{made.key}{sorted(sections)}{sections}")


def part(name, **parameters):
    return [{"name": name, "parameters": parameters}]


@pytest.mark.parametrize(
    ("status", "trace", "finished"), [("done", TRACE, True), ("done", None, False), ("failed", TRACE, False)]
)
def test_a_record_is_finished_if_it_is_done_and_has_a_trace(status, trace, finished):
    assert is_finished(record("er", 0, trace, status=status)) is finished


def test_of_two_records_of_one_cell_the_finished_one_counts_even_where_it_is_older():
    done = replace(record("er", 0, TRACE), created="2024-01-01T00:00:00Z")
    failed = replace(record("er", 0, status="failed"), created="2025-01-01T00:00:00Z")
    assert distinct([done, failed]) == distinct([failed, done]) == [done]


def test_of_two_finished_records_of_one_cell_the_latest_counts():
    older = replace(record("er", 0, TRACE), created="2024-01-01T00:00:00Z")
    newer = replace(older, created="2024-01-02T00:00:00Z")
    assert distinct([newer, older]) == [newer]


def test_distinct_records_are_sorted_by_benchmark_label_and_seed():
    made = [
        record("naive", 0, TRACE),
        record("er", 1, TRACE),
        record("er", 0, TRACE),
        record("zz", 0, TRACE, name="a-benchmark"),
    ]
    found = [(r.benchmark, r.label, r.seed) for r in distinct(made)]
    assert found == [
        ("a-benchmark@1", "zz", 0),
        ("split-digits@1", "er", 0),
        ("split-digits@1", "er", 1),
        ("split-digits@1", "naive", 0),
    ]


def test_versions_of_a_benchmark_are_groups_of_their_own():
    made = [record("er", 0, TRACE, version=1), record("er", 0, TRACE, version=2), record("er", 1, TRACE, version=2)]
    found = by_benchmark(made)
    assert {name: [r.seed for r in group] for name, group in found.items()} == {
        "split-digits@1": [0],
        "split-digits@2": [0, 1],
    }


def test_seeds_of_a_strategy_are_one_group_under_its_label():
    made = [record("er", seed, TRACE) for seed in range(3)] + [record("naive", 0, TRACE)]
    assert {label: [r.seed for r in group] for label, group in by_strategy(made).items()} == {
        "er": [0, 1, 2],
        "naive": [0],
    }


def test_cells_that_share_a_label_and_differ_in_a_setting_are_told_apart_by_it():
    made = [record("er", 0, TRACE, training={"lr": lr}) for lr in (0.05, 0.1)]
    assert {label: group[0].cell["training"]["lr"] for label, group in by_strategy(made).items()} == {
        "er [lr=0.05]": 0.05,
        "er [lr=0.1]": 0.1,
    }


def test_a_whole_number_and_the_same_float_read_alike_and_lists_are_joined():
    made = [
        with_cell(record("er", 0, TRACE), stream={"degrees": degrees, "angle": 3.0}) for degrees in ([0, 10], [0, 20])
    ]
    assert set(by_strategy(made)) == {"er [degrees=0,10]", "er [degrees=0,20]"}


def test_a_setting_that_one_of_them_lacks_is_told_where_it_is():
    plain = record("er", 0, TRACE)
    clipped = with_cell(plain, training={**plain.cell["training"], "clip": 1.0})
    labels = list(by_strategy([plain, clipped]))
    assert labels[1] == "er [clip=1]"
    assert labels[0].startswith("er #")  # there is no setting to tell of it


def test_settings_of_the_same_last_name_are_told_by_their_whole_path():
    plain = record("er", 0, TRACE)
    made = [with_cell(plain, stream={"size": size}, memory={"size": 10 * size}) for size in (1, 2)]
    assert set(by_strategy(made)) == {"er [stream.size=1, memory.size=10]", "er [stream.size=2, memory.size=20]"}


def test_where_too_many_settings_differ_the_labels_hold_the_beginning_of_a_hash():
    made = [
        record("er", 0, TRACE, training={f"setting_number_{i}": value for i in range(5)}) for value in (0.123, 0.456)
    ]
    labels = list(by_strategy(made))
    assert len(set(labels)) == 2
    assert all(label.startswith("er #") and len(label) == len("er #") + 6 for label in labels)


def test_joint_runs_are_finished_runs_of_a_single_part_that_trains_jointly():
    made = [
        record("joint", 0, TRACE),
        record("joint", 1, status="failed"),
        record("cumulative", 0, TRACE),
        record("er", 0, TRACE),
        record("joint + l2", 0, TRACE, settings=[*part("joint"), *part("l2", strength=1)]),
    ]
    assert [r.label for r in joint_runs(made)] == ["joint", "cumulative"]


def whole(label, seed=0, **sections):
    """A record with the sections that a reference must share."""
    made = record(label, seed, TRACE)
    return replace(with_cell(made, evaluation={"every": 1}, **sections), label=label)


def test_a_reference_shares_benchmark_seed_stream_model_and_evaluation():
    er, joint = whole("er"), whole("joint")
    assert JointRuns([joint]).reference(er) is joint
    for other in (
        whole("joint", seed=1),
        whole("joint", model={"name": "cnn"}),
        whole("joint", stream={"scenario": "rotated"}),
        whole("joint", benchmark={"name": "split-digits", "version": 2}),
        replace(joint, cell={**joint.cell, "evaluation": {"every": 0}}),
    ):
        assert JointRuns([other]).reference(er) is None


def test_cumulative_comes_before_joint_and_then_the_records_own_training_settings():
    er = whole("er")
    joint, cumulative = whole("joint"), whole("cumulative")
    longer = whole("cumulative", training={"epochs": 50})
    assert JointRuns([joint, longer, cumulative]).reference(er) is cumulative
    assert JointRuns([joint, longer]).reference(er) is longer
    assert JointRuns([joint]).reference(er) is joint
    assert JointRuns([]).reference(er) is None


def test_of_references_alike_in_all_else_the_label_decides_whatever_their_order():
    er = whole("er")
    first, second = replace(whole("joint"), label="a"), replace(whole("joint"), label="b")
    assert JointRuns([second, first]).reference(er) is JointRuns([first, second]).reference(er) is first
