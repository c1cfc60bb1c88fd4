"""What scenarios are made of, by hand: groups of samples, draws, distributions, sequences, views and rasters."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clbench.core.errors import Refused
from clbench.core.types import Dataset, Experience, Rows, Stream, Task
from clbench.scenarios import ordered, raster, schedules, shared_settings
from clbench.scenarios.schedules import ByClass, draw_different, first_positions, repetition_probabilities

SEEDS = st.integers(0, 2**32 - 1)


def dataset(y=(2, 0, 1, 0, 2, 2), test=(0, 1, 2, 2), names=("a", "b", "c")):
    x, xt = (np.arange(len(labels), dtype=np.float32)[:, None] for labels in (y, test))
    return Dataset("six", Rows(x, np.array(y)), Rows(xt, np.array(test)), names, 1.0, "00")


# ---------------------------------------------------------------------------------------------- samples by class


def test_samples_of_a_class_are_a_slice_in_ascending_order():
    groups = ByClass.of(dataset().train, 4)
    assert [groups[c].tolist() for c in range(4)] == [[1, 3], [2], [0, 4, 5], []]
    assert groups.counts.tolist() == [2, 1, 3, 0]


def test_each_class_is_a_task_of_its_own_test_samples():
    assert [(t.id, t.name, t.rows.tolist(), t.classes) for t in schedules.class_tasks(dataset())] == [
        (0, "a", [0], (0,)),
        (1, "b", [1], (1,)),
        (2, "c", [2, 3], (2,)),
    ]


@pytest.mark.parametrize(("changes", "split"), [({"y": (0, 1, 0)}, "training"), ({"test": (0, 1)}, "test")])
def test_a_class_without_samples_of_a_split_is_no_task(changes, split):
    for check in (schedules.class_tasks, ordered.check_classes):
        with pytest.raises(Refused, match=rf"no {split} .*\[2\]"):
            check(dataset(**changes))


def test_tasks_of_groups_hold_the_test_samples_of_their_classes():
    groups = [np.array([2, 0]), np.array([1])]
    tasks = ordered.group_tasks(dataset(), groups)
    assert [(t.name, t.rows.tolist(), t.classes) for t in tasks] == [("c a", [0, 2, 3], (0, 2)), ("b", [1], (1,))]
    assert ordered.task_of_class(groups, 4).tolist() == [0, 1, 0, -1]
    assert [t.classes for t in ordered.class_tasks(dataset())] == [(0,), (1,), (2,)]
    (whole,) = ordered.whole_task(dataset())
    assert (whole.rows.tolist(), whole.classes) == ([0, 1, 2, 3], (0, 1, 2))


# ---------------------------------------------------------------------------------------------- dividing a sequence


@pytest.mark.parametrize(
    ("total", "parts", "boundaries"),
    [(10, 3, [0, 4, 7, 10]), (6, 3, [0, 2, 4, 6]), (5, 5, [0, 1, 2, 3, 4, 5]), (4, 1, [0, 4])],
)
def test_the_first_parts_are_one_longer_where_there_is_a_remainder(total, parts, boundaries):
    assert ordered.even(total, parts).tolist() == boundaries


@given(st.integers(1, 500), st.integers(1, 500))
def test_parts_differ_by_one_at_most_and_are_the_whole(total, parts):
    if parts > total:
        with pytest.raises(Refused, match=f"1 to {total}"):
            ordered.even(total, parts)
        return
    sizes = np.diff(ordered.even(total, parts))
    assert sizes.sum() == total
    assert set(sizes.tolist()) <= {total // parts, total // parts + 1}
    assert (np.diff(sizes) <= 0).all()


def test_no_part_at_all_is_refused_by_the_name_of_its_setting():
    with pytest.raises(Refused, match="pieces = 0"):
        ordered.even(5, 0, "pieces")


def test_experiences_are_pieces_of_one_sequence():
    shared = shared_settings.common(setting="class", output="seen", task_labels=None, boundaries=True)
    stream = ordered.ordered_stream(
        dataset(),
        3,
        sequence=np.array([5, 4, 0, 2, 1]),
        bounds=np.array([0, 3, 5]),
        groups=[np.array([0, 2]), np.array([1])],
        shared=shared,
        description={"scenario": "mine"},
    )
    first, second = stream
    assert first.rows.tolist() == [5, 4, 0]
    assert (first.task, first.classes, first.boundary, first.shuffled) == (0, (2,), True, False)
    assert second.rows.tolist() == [2, 1]
    assert (second.task.tolist(), second.classes) == ([1, 0], (0, 1))
    assert (stream.name, len(stream), stream.n_outputs) == ("mine", 2, 3)


def test_a_choice_that_does_not_exist_is_answered_by_the_nearest():
    assert ordered.choose("order", "given", ("given", "random")) == "given"
    with pytest.raises(Refused, match=r"order = 'givn' .*'given'") as caught:
        ordered.choose("order", "givn", ("given", "random"))
    assert caught.value.key == "order"


# ---------------------------------------------------------------------------------------------- draws


@given(SEEDS, st.integers(1, 6), st.integers(1, 8))
def test_drawing_different_positions_agrees_with_drawing_them_one_by_one(seed, experiences, n):
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 4, (experiences, n)).astype(float)
    weights[:, 0] += (weights.sum(axis=1) == 0) + 0.0
    k = int((weights > 0).sum(axis=1).min())
    uniforms = rng.random((experiences, k))
    drawn = draw_different(weights, uniforms)
    for row in range(experiences):
        left = weights[row].tolist()
        for place in range(k):
            target = uniforms[row, place] * sum(left)
            position = next(i for i in range(n) if sum(left[: i + 1]) > target)
            assert drawn[row, place] == position
            left[position] = 0.0
    assert (np.diff(np.sort(drawn, axis=1), axis=1) > 0).all()


def test_the_weights_that_were_given_are_not_changed_by_drawing():
    weights = np.ones((2, 3))
    draw_different(weights, np.full((2, 3), 0.5))
    assert (weights == 1).all()


def test_a_number_at_the_very_end_draws_the_last_position_that_is_left():
    assert draw_different(np.array([[1.0, 1.0, 0.0]]), np.array([[np.nextafter(1, 0)]])).tolist() == [[1]]


# ---------------------------------------------------------------------------------------------- distributions


def test_first_positions_are_the_distributions_of_their_names():
    geometric = first_positions("geometric", 0.5, 3)
    assert geometric.tolist() == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    assert first_positions("zipf", 1.0, 3).tolist() == pytest.approx([6 / 11, 3 / 11, 2 / 11])
    assert first_positions("uniform", None, 4).tolist() == [0.25] * 4
    poisson = np.array([2.0**k / math.factorial(k) for k in range(5)])
    assert first_positions("poisson", 2.0, 5).tolist() == pytest.approx((poisson / poisson.sum()).tolist())


def test_published_parameters_are_the_defaults():
    assert first_positions("geometric", None, 9).tolist() == first_positions("geometric", 0.01, 9).tolist()
    assert repetition_probabilities(0, "fixed", None, 4).tolist() == [0.2] * 4


@given(SEEDS, st.integers(1, 40))
def test_repetition_probabilities_are_those_of_their_names_in_a_random_order_of_classes(seed, n):
    zipf = repetition_probabilities(seed, "zipf", 1.0, n)
    assert sorted(zipf.tolist(), reverse=True) == pytest.approx([1 / (c + 1) for c in range(n)])
    dual = repetition_probabilities(seed, "dual", [0.5, 0.1, 1.0], n)
    assert sorted(dual.tolist()) == [0.1] * (n // 2) + [1.0] * (n - n // 2)
    anything = repetition_probabilities(seed, "random", None, n)
    assert ((anything >= 0) & (anything < 1)).all()
    assert anything.tolist() == repetition_probabilities(seed, "random", None, n).tolist()


@pytest.mark.parametrize(
    ("call", "key"),
    [
        (lambda: first_positions("geometrc", None, 3), "first"),
        (lambda: first_positions("poisson", None, 3), "first_parameter"),
        (lambda: first_positions("geometric", 1.0, 3), "first_parameter"),
        (lambda: first_positions("geometric", 0.0, 3), "first_parameter"),
        (lambda: first_positions("zipf", -0.1, 3), "first_parameter"),
        (lambda: repetition_probabilities(0, "fixed", 1.1, 3), "repetition_parameter"),
        (lambda: repetition_probabilities(0, "dual", [0.5, 1.0], 3), "repetition_parameter"),
        (lambda: repetition_probabilities(0, "dual", [0.5, 0.1, 2.0], 3), "repetition_parameter"),
        (lambda: repetition_probabilities(0, "dual", None, 3), "repetition_parameter"),
        (lambda: repetition_probabilities(0, "nothing", None, 3), "repetition"),
    ],
)
def test_a_distribution_that_cannot_be_is_refused_by_the_setting_that_is_wrong(call, key):
    with pytest.raises(Refused) as caught:
        call()
    assert caught.value.key == key


@pytest.mark.parametrize(("kind", "call"), [("uniform", first_positions), ("random", None)])
def test_a_parameter_where_there_is_none_is_refused(kind, call):
    with pytest.raises(Refused, match="no effect"):
        call(kind, 0.5, 3) if call else repetition_probabilities(0, kind, 0.5, 3)


def test_settings_that_a_mode_does_not_use_may_stay_at_their_defaults():
    def scenario(*, order="given", share=0.5):
        return order, share

    schedules.refuse_unused(scenario, {"order": "given", "share": 0.5}, because="mode = 'self'")
    with pytest.raises(Refused, match=r"share = 0\.25 .*mode = 'self'.*0\.5") as caught:
        schedules.refuse_unused(scenario, {"order": "given", "share": 0.25}, because="mode = 'self'")
    assert caught.value.key == "share"


def test_the_digest_of_numbers_is_the_same_for_any_integer_type_and_another_for_another_order():
    # printf '\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0' | sha256sum
    assert schedules.digest([1, 2]) == schedules.digest(np.array([1, 2], dtype=np.int16)) == DIGEST
    assert schedules.digest([2, 1]) != DIGEST


DIGEST = "0c730b69905c5ef7"

# ---------------------------------------------------------------------------------------------- shared settings


@pytest.mark.parametrize(
    ("setting", "task_labels", "revealed"),
    [
        ("class", None, False),
        ("task", None, True),
        ("domain", None, False),
        ("domain", True, True),
        ("task", True, True),
    ],
)
def test_task_labels_are_revealed_in_the_task_setting_unless_the_domain_setting_asks(setting, task_labels, revealed):
    made = shared_settings.common(setting=setting, output="seen", task_labels=task_labels, boundaries=True)
    assert made.task_labels is revealed
    assert made.describe() == {"setting": setting, "output": "seen", "task_labels": revealed, "boundaries": True}


@pytest.mark.parametrize(("setting", "task_labels"), [("class", True), ("task", False)])
def test_task_labels_that_contradict_the_setting_are_refused(setting, task_labels):
    with pytest.raises(Refused, match="contradicts"):
        shared_settings.common(setting=setting, output="seen", task_labels=task_labels, boundaries=True)


@pytest.mark.parametrize("changes", [{"setting": "clas"}, {"output": "sene"}])
def test_unknown_settings_are_refused_with_the_nearest(changes):
    with pytest.raises(Refused, match="did you mean"):
        shared_settings.common(
            **{"setting": "class", "output": "seen", "task_labels": None, "boundaries": True, **changes}
        )


def test_output_units_are_labels_under_their_map():
    rows = dataset().train
    assert shared_settings.units(rows) == (0, 1, 2)
    assert shared_settings.units(rows, np.array([0, 4])) == (2,)
    assert shared_settings.units(rows, np.array([0, 1]), np.array([7, 5, 3])) == (3, 7)


def views(setting, **options):
    shared = shared_settings.common(setting=setting, output="seen", task_labels=None, boundaries=True)
    return shared_settings.views_stream(
        dataset(), 0, name="v", names=["one", "two"], transform=None, shared=shared,
        **{"rows_per_experience": None, "description": {}, **options},
    )  # fmt: skip


def test_in_the_domain_setting_views_share_their_outputs():
    stream = views("domain")
    assert stream.n_outputs == 3
    assert [e.classes for e in stream] == [(0, 1, 2)] * 2
    assert [t.classes for t in stream.tasks] == [(0, 1, 2)] * 2
    assert [(e.task, e.view, e.rows.tolist()) for e in stream] == [
        (0, 0, [0, 1, 2, 3, 4, 5]),
        (1, 1, [0, 1, 2, 3, 4, 5]),
    ]


@pytest.mark.parametrize("setting", ["class", "task"])
def test_in_other_settings_every_view_has_outputs_of_its_own(setting):
    stream = views(setting)
    assert stream.n_outputs == 6
    assert [e.classes for e in stream] == [(0, 1, 2), (3, 4, 5)]
    assert [t.classes for t in stream.tasks] == [(0, 1, 2), (3, 4, 5)]
    assert stream.labels(stream.dataset.train, np.array([0, 1]), 1).tolist() == [5, 3]


def test_a_part_of_the_samples_is_drawn_for_each_view_by_itself():
    stream = views("domain", rows_per_experience=3)
    assert all(len(e) == 3 and (np.diff(e.rows) > 0).all() for e in stream)
    assert stream[1].rows.tolist() == views("domain", rows_per_experience=3)[1].rows.tolist()
    assert stream[0].classes == tuple(np.unique(dataset().train.y[stream[0].rows]))
    for wrong in (0, 7):
        with pytest.raises(Refused, match="6 training"):
            views("domain", rows_per_experience=wrong)


# ---------------------------------------------------------------------------------------------- rasters


def stream_of(*experiences, shuffled=True, **fields):
    """A stream whose experiences hold these samples of the data set."""
    y = dataset().train.y

    def build(i):
        rows = np.array(experiences[i])
        return Experience(i, rows, y[rows], 0, tuple(np.unique(y[rows])), shuffled=shuffled)

    tasks = tuple(Task(c, f"task {c}", np.array([0]), (c,)) for c in range(3))
    made = Stream("s", dataset(), tasks, len(experiences), build, 3, 0, {})
    return replace(made, **fields)


def test_counts_are_samples_of_each_task_in_each_experience():
    assert schedules.counts(stream_of([0, 4, 1], [2, 2], [5])).tolist() == [[1, 0, 2], [0, 2, 0], [0, 0, 1]]


def test_a_raster_holds_the_shares_of_classes_in_experiences():
    found = raster.raster(stream_of([0, 4, 1, 3], [2], [5, 2]))
    assert found.by == "class"
    assert found.names == ("a", "b", "c")
    assert found.edges.tolist() == [0, 1, 2, 3]
    assert found.share.tolist() == [[0.5, 0, 0], [0, 1, 0.5], [0.5, 0, 0.5]]


def test_experiences_in_a_given_order_are_divided_into_columns():
    found = raster.raster(stream_of([0, 4, 1, 3], [2, 2], shuffled=False), columns=4)
    assert found.edges.tolist() == [0, 0.5, 1, 1.5, 2]
    assert found.share[:, :2].tolist() == [[0, 1], [0, 0], [1, 0]]


def test_where_there_are_more_experiences_than_columns_a_column_is_their_mean():
    found = raster.raster(stream_of([0], [2], [1], [1]), columns=2)
    assert found.edges.tolist() == [0, 2, 4]
    assert found.share.tolist() == [[0, 1], [0.5, 0], [0.5, 0]]


def test_tasks_and_concepts_have_rasters_of_their_own():
    made = stream_of([0, 1], [2])
    assert raster.raster(made, by="task").names == ("task 0", "task 1", "task 2")
    drifting = replace(made, views_at=lambda i: np.full(3, i))
    assert raster.raster(drifting).by == "concept"
    assert raster.raster(drifting).names == ("concept 0", "concept 1")


def test_a_stream_in_which_nothing_returns_has_no_lags():
    assert raster.lags(stream_of([0], [1], [2])) is None


def test_lags_are_experiences_since_the_last_visit():
    # class c is there in every second experience, class a in every one
    found = raster.lags(stream_of(*[[1, 0] if i % 2 == 0 else [1] for i in range(20)]))
    assert found.lag.tolist() == [1, 2]
    assert found.t0 == 0
    # Class b waited for 1 experience 19 times and came each time; class a waited for 1 in the 10 odd experiences and
    # did not come, and for 2 in 9 even ones and came. Lag 1 came 19 times where 9 * 1 + 10 * 2 * 0.5 were expected.
    assert found.frequency.tolist() == [19 / 19, 9 / 9]


def test_a_lag_at_which_less_returns_than_at_lag_one_has_a_lower_frequency():
    # class a comes after 1 or 3 experiences; class b comes always
    found = raster.lags(stream_of(*[[1, 0] if i % 4 in (0, 1) else [1] for i in range(40)]))
    assert found.lag.tolist() == pytest.approx([1, 2, 3])
    assert found.frequency[1] == 0  # after 2 experiences it never comes
    assert found.frequency[2] > 0
