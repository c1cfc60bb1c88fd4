"""One experience for each group: hospitals, years, users."""

from __future__ import annotations

import numpy as np
import pytest

import clbench
from clbench.core.errors import Refused
from clbench.data import from_arrays
from clbench.scenarios import make
from clbench.scenarios.realised import check_stream, repetition

SITE = np.array(["b", "a", "c", "a", "b", "c"] * 4)
YEAR = np.array([10, 9, 100, 9, 10, 100] * 4)


def held(domains=SITE, *, classes: int = 2, family: str | None = None):
    x = np.random.default_rng(0).random((24, 3)).astype(np.float32)
    y = np.arange(24) // 6 % classes if family is None else np.linspace(0, 1, 24)
    return from_arrays("sites", x, y, x + 1, y, domains=(domains, domains), family=family)


def test_every_experience_is_one_group_and_all_tasks_share_the_outputs():
    data = held()
    stream = make({"scenario": "by_group"}, data, 0)
    assert [task.name for task in stream.tasks] == ["a", "b", "c"]
    for experience, name in zip(stream, "abc", strict=True):
        assert experience.rows.tolist() == np.flatnonzero(name == SITE).tolist()
        assert stream.tasks[experience.id].rows.tolist() == experience.rows.tolist()  # the test split is the same here
        assert experience.classes == (0, 1)
    assert stream.n_outputs == 2
    assert repetition(stream) == "none"
    assert check_stream(lambda: make({"scenario": "by_group"}, held(), 0)) == []


def test_numbers_ascend_by_value_and_an_order_may_be_drawn_or_given():
    assert [task.name for task in make({"scenario": "by_group"}, held(YEAR), 0).tasks] == ["9", "10", "100"]
    given = make({"scenario": "by_group", "order": [100, 9, 10]}, held(YEAR), 0)
    assert [task.name for task in given.tasks] == ["100", "9", "10"]
    orders = {
        tuple(t.name for t in make({"scenario": "by_group", "order": "seeded"}, held(), s).tasks) for s in range(20)
    }
    assert len(orders) == 6
    with pytest.raises(Refused, match="does not name every group once; write a, b, c"):
        make({"scenario": "by_group", "order": ["a", "b"]}, held(), 0)


def test_with_task_labels_every_group_has_outputs_of_its_own():
    stream = make({"scenario": "by_group", "setting": "task"}, held(), 0)
    assert stream.n_outputs == 6
    assert [experience.classes for experience in stream] == [(0, 1), (2, 3), (4, 5)]
    assert stream.labels(stream.dataset.train, stream[2].rows, 2).min() == 4


def test_groups_of_numbers_to_predict_share_one_output():
    stream = make({"scenario": "by_group"}, held(family="regression"), 0)
    assert (len(stream), stream.n_outputs, stream.output) == (3, 1, "all")


def test_a_data_set_without_groups_or_with_one_is_refused():
    with pytest.raises(Refused, match="needs a data set with a column of groups, and 'digits' has none"):
        clbench.stream("by_group", "digits")
    with pytest.raises(Refused, match=r"'sites' has one \(x\)"):
        make({"scenario": "by_group"}, held(np.array(["x"] * 24)), 0)
    lacking = np.array([*["x", "y"] * 11, "z", "x"])
    with pytest.raises(Refused, match="domains: z has no test samples"):
        from_arrays(
            "sites",
            np.zeros((24, 3)),
            np.arange(24) % 2,
            np.ones((4, 3)),
            [0, 1, 0, 1],
            domains=(lacking, list("xyxy")),
        )


def test_a_benchmark_over_the_groups_of_a_csv_file_runs(tmp_path):
    rows = ["age,ill,site", *(f"{i % 7},{i // 3 % 2},{'xyz'[i % 3]}" for i in range(90))]
    (tmp_path / "visits.csv").write_text("\n".join(rows))
    benchmark = {
        "name": "visits",
        "stream": {"scenario": "by_group", "dataset": {"name": "csv:visits.csv", "label": "ill", "group": "site"}},
        "model": {"name": "mlp", "hidden": [8]},
    }
    [record] = clbench.run(benchmark, strategies="naive", seeds=1, data_dir=tmp_path)
    assert record.status == "done"
    assert record.trace.score.shape[1] == 3
