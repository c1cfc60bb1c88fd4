"""Protocols: what a search may see, and which ones are refused for a stream."""

from __future__ import annotations

import numpy as np
import pytest

import clbench
from clbench.core.errors import Refused
from clbench.scenarios import first_experiences
from clbench.tuning.other_stream import check_nothing_shared, shared_classes, shared_samples
from clbench.tuning.protocols import PROTOCOLS, check_seeds, first, own_seeds, read_protocol

STREAM = {"dataset": {"name": "digits"}}


def test_the_first_experiences_end_the_stream_and_hold_out_a_tenth():
    assert first(2).overrides(STREAM) == {
        "stream.dataset.evaluate_on": "validation",
        "stream.dataset.validation": 0.1,
        "stream.apply": [{"first": {"experiences": 2}}],
        "evaluation.schedule": "ends",
        "evaluation.rows_per_task": "all",
    }


def test_what_the_benchmark_holds_out_and_applies_itself_is_kept():
    stream = {"dataset": {"name": "digits", "validation": 0.3}, "apply": ["lags"]}
    made = first(1).overrides(stream, ends=False)
    assert made == {
        "stream.dataset.evaluate_on": "validation",
        "stream.apply": ["lags", {"first": {"experiences": 1}}],
    }


def test_the_end_of_the_stream_is_seen_by_one_protocol_and_no_learner_can_follow_it():
    assert "stream.apply" not in read_protocol("end").overrides(STREAM)
    assert [name for name, kind in PROTOCOLS.items() if not kind.available] == ["end"]
    assert [name for name, kind in PROTOCOLS.items() if not kind.searches] == ["chf"]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("frist:2", "there is no protocol 'frist:2'; did you mean 'first'? write first:K, other:BENCHMARK, chf, end"),
        ("first:0", "protocol 'first:0' is not possible; write first:K with a number K from 1"),
        ("other", "protocol 'other' needs a benchmark; write other:BENCHMARK"),
        ("end:3", "protocol 'end:3' is not known: end stands alone"),
    ],
)
def test_an_unknown_protocol_is_answered_with_the_known_ones(written, told):
    with pytest.raises(Refused) as refused:
        read_protocol(written)
    assert str(refused.value).startswith(told)


def test_first_alone_is_the_first_experience():
    assert read_protocol("first") == read_protocol("first:1") == first(1)


@pytest.mark.parametrize(
    ("protocol", "length", "choices"),
    [(9, 5, "first:1 to first:4, or end"), (2, 2, "first:1, or end"), (1, 1, "choose end, or other:BENCHMARK")],
)
def test_a_search_has_to_end_before_the_stream_does(protocol, length, choices):
    with pytest.raises(Refused, match=f"mine has {length} experience") as refused:
        first(protocol).check(length, "mine")
    assert choices in str(refused.value)
    first(1).check(2, "mine")
    read_protocol("end").check(1, "mine")


def test_seeds_of_a_search_are_none_of_the_comparison():
    assert own_seeds([0, 1, 2]) == (100, 101)
    assert own_seeds([0, 140]) == (141, 142)
    check_seeds([100], [0, 1], "mine")
    with pytest.raises(Refused, match=r"seed 1 of the search is also of mine, .* such as --seeds 100,101"):
        check_seeds([1, 5], [0, 1], "mine")


def stream(x, y, **settings):
    data = (x, y, x[:12] + 0.5, y[:12])
    made = clbench.data.from_arrays(settings.pop("name", "arrays"), *data)
    return clbench.stream("split", made, experiences=2, **settings)


def numbers(seed, rows=40):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(rows, 6)).astype("float32"), np.arange(rows) % 4


def test_two_streams_of_one_data_set_share_the_classes_that_both_use():
    ours, theirs = (clbench.stream("split", "digits", experiences=5, seed=seed) for seed in (0, 1))
    assert shared_classes(ours, theirs) == list(ours.dataset.class_names)
    with pytest.raises(Refused, match=r"other:b is not possible: a and b share 10 classes \(0, 1, 2, \.\.\.\)"):
        check_nothing_shared(ours, theirs, "a", "b")


def test_streams_with_other_classes_of_one_data_set_share_none():
    parts = [
        clbench.stream("split", "digits", experiences=5, seed=0),
        clbench.stream("split", "digits", experiences=5, seed=0),
    ]
    ours = first_experiences.first(parts[0], experiences=2)
    used = {int(label) for experience in ours for label in ours.dataset.train.y[experience.rows]}
    assert len(used) == 4
    assert shared_classes(ours, parts[1]) == [ours.dataset.class_names[each] for each in sorted(used)]


def test_numbers_as_class_names_of_a_users_files_mean_nothing_elsewhere():
    ours, theirs = stream(*numbers(0)), stream(*numbers(1), name="others")
    assert shared_classes(ours, theirs) == []
    check_nothing_shared(ours, theirs, "a", "b")


def test_a_sample_that_both_streams_hold_is_found_by_its_bytes():
    x, y = numbers(0)
    other, labels = numbers(1)
    other[[3, 7]] = x[[21, 22]]
    ours, theirs = stream(x, y), stream(other, labels, name="others")
    assert shared_samples(ours, theirs) == 2
    with pytest.raises(Refused, match="2 samples of b are also in a"):
        check_nothing_shared(ours, theirs, "a", "b")
    assert shared_samples(ours, stream(*numbers(2), name="third")) == 0
