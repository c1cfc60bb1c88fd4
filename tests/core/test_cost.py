"""The account of a run: operations worked out by hand, and what a record keeps of it."""

import dataclasses

from clbench.core.cost import Cost


def test_operations_are_rows_times_those_of_a_row_forward_and_backward():
    cost = Cost(stream_rows=100, replay_rows=50, extra_forward_rows=7, extra_backward_rows=3, evaluation_rows=40)
    cost.count_flops(forward=10, backward=20)
    assert cost.train_flops == 157 * 10 + 153 * 20 == 4630
    assert cost.evaluation_flops == 400


def test_what_was_not_measured_is_left_out_and_a_zero_is_kept():
    kept = Cost(steps=3).as_dict()
    assert kept["steps"] == 3
    assert kept["stream_rows"] == 0
    assert not {"train_flops", "evaluation_flops", "probe_rows", "probe_seconds", "peak_bytes"} & set(kept)
    assert Cost(probe_rows=0).as_dict()["probe_rows"] == 0


def test_every_entry_that_was_measured_is_kept_under_its_name():
    names = [field.name for field in dataclasses.fields(Cost)]
    cost = Cost(**{name: place for place, name in enumerate(names, 1)})
    assert cost.as_dict() == {name: place for place, name in enumerate(names, 1)}


def test_every_entry_is_described():
    text = Cost.__doc__ or ""
    assert [field.name for field in dataclasses.fields(Cost) if f"\n        {field.name}: " not in text] == []
