"""What is in the pictures of classes: their accuracy along the stream, and how often they are predicted."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import record, trace_from

from clbench.core.errors import Refused
from clbench.core.record import Kind, Predictions
from clbench.plots import class_curves, confusion, predicted_classes
from clbench.plots.class_order import class_order
from clbench.plots.plotted_runs import choose

LENGTH = 10


def classes_of(order):
    """Two experiences with two classes each: ``order`` gives the classes as they come."""
    units = np.zeros((2, 4), dtype=np.int8)
    units[0, order[:2]], units[1, order[2:]] = 2, 2
    return units


def run(seed=0, order=(0, 1, 2, 3), *, every=1, score=None, label="er"):
    """A run whose class c has accuracy 0.1 (c + 1) at each evaluation, unless ``score`` gives (K, C) from a trace."""
    trace = trace_from(np.eye(2), [LENGTH, LENGTH], lambda *_: np.full(2, 0.5), every=every)
    own = np.tile(0.1 * (1 + np.arange(4)), (len(trace.step), 1)) if score is None else score(trace)
    return record(label, seed, replace(trace, class_score=own, units=classes_of(list(order))))


def panels(figure):
    return [axes for axes in figure.axes if axes.get_images()]


def image(axes):
    return axes.get_images()[0].get_array()


def heading(figure):
    return " ".join(text.get_text() for text in figure.texts)


def names(axes):
    return [text.get_text() for text in axes.get_yticklabels()]


def test_rows_are_classes_as_the_stream_brings_them_and_begin_with_their_experience():
    (axes,) = panels(class_curves([run(order=(2, 0, 3, 1))]))
    assert names(axes) == ["0", "2", "1", "3"]  # classes of one experience by their number
    shown = image(axes)
    assert shown.shape == (4, 2 * LENGTH)  # a column for each iteration
    np.testing.assert_allclose(shown[:2].filled(-1), np.repeat([[0.1], [0.3]], 2 * LENGTH, axis=1))
    assert shown.mask[2:, :LENGTH].all()
    np.testing.assert_allclose(shown[2:, LENGTH:].filled(-1), np.repeat([[0.2], [0.4]], LENGTH, axis=1))
    assert axes.get_xlim() == (0, 2 * LENGTH)
    assert [line.get_xdata()[0] for line in axes.get_lines()] == [LENGTH]


def test_seeds_with_other_orders_are_averaged_by_position_and_named_so():
    (axes,) = panels(class_curves([run(0, (0, 1, 2, 3)), run(1, (3, 2, 1, 0))]))
    assert axes.get_ylabel() == "class, by order of arrival"
    # positions: classes 0 and 2, 1 and 3, 2 and 0, 3 and 1; of an experience the lower number is first
    np.testing.assert_allclose(image(axes)[:, -1].filled(-1), [0.2, 0.3, 0.2, 0.3])


def test_between_evaluations_values_are_interpolated():
    def rising(trace):
        return np.repeat(trace.step[:, None] / 100, 4, axis=1)

    (axes,) = panels(class_curves([run(score=rising, every=5)]))
    np.testing.assert_allclose(image(axes)[0].filled(-1), (np.arange(2 * LENGTH) + 0.5) / 100)


def test_ends_alone_give_a_column_for_each_experience_with_numbers():
    def known_at_ends(trace):
        at = np.full((len(trace.step), 4), np.nan)
        at[trace.kind == Kind.END] = [[0.9, 0.8, 0.0, 0.0], [0.5, 0.4, 0.7, 0.6]]
        return at

    (axes,) = panels(class_curves([run(every=0, score=known_at_ends)]))
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "90", (0, 1): "80", (1, 0): "50", (1, 1): "40", (1, 2): "70", (1, 3): "60"}
    assert axes.get_title(loc="left").endswith("mean over classes at the end 55.0 %")


def test_records_without_accuracy_per_class_are_refused_with_the_setting_or_named():
    without = record("naive", 0, trace_from(np.eye(2), [LENGTH] * 2, lambda *_: np.full(2, 0.5)))
    with pytest.raises(Refused, match=r"no accuracy per class; run the benchmark with --set evaluation\.classes=true"):
        class_curves([without])
    assert "no accuracy per class: naive" in heading(class_curves([run(), without]))


def kept(path, rows):
    """Predictions at ends from lines of experience, task, label and prediction."""
    columns = [np.array(column, dtype=np.int32) for column in zip(*rows, strict=True)]
    held = dict(zip(("experience", "task", "label", "prediction"), columns, strict=True))
    held |= {"look": held["experience"], "row": np.arange(len(rows), dtype=np.int32), "top1": held["prediction"]}
    held |= {f"top{place}": np.full(len(rows), -1, dtype=np.int32) for place in range(2, 6)}
    pq.write_table(pa.table(held), path)
    return Predictions(path)


BIASED = [
    *[(0, 0, label, prediction) for label, prediction in [(0, 0), (0, 0), (1, 0), (1, 1)]],
    *[(0, 1, 2, 0), (0, 1, 3, 0)],  # a task still to come: left out
    *[(1, 0, label, prediction) for label, prediction in [(0, 2), (0, 3), (1, 3), (1, 1)]],
    *[(1, 1, label, prediction) for label, prediction in [(2, 2), (2, 2), (3, 3), (3, 3)]],
]


def predicted(tmp_path, rows=BIASED, **given):
    made = run(**given)
    return replace(made, trace=replace(made.trace, predictions=kept(tmp_path / f"{made.label}.parquet", rows)))


def test_a_cell_is_the_share_of_a_class_among_the_predictions_on_tasks_seen_so_far(tmp_path):
    figure = predicted_classes([predicted(tmp_path)])
    (axes,) = panels(figure)
    shares = image(axes)
    np.testing.assert_allclose(shares[:, 0].filled(-1), [0.75, 0.25, -1, -1])
    np.testing.assert_allclose(shares[:, 1].filled(-1), [0, 1 / 8, 3 / 8, 4 / 8])
    assert axes.get_title(loc="left") == "er\nnewest classes: 88 % of predictions,\n50 % of samples"
    frames = {(round(p.get_x() + 0.44), round(p.get_y() + 0.44)) for p in axes.patches if not p.get_fill()}
    assert frames == {(0, 0), (0, 1), (1, 2), (1, 3)}  # (experience, class)


def test_where_every_class_is_in_every_experience_there_is_no_newest_one(tmp_path):
    made = predicted(tmp_path)
    units = np.full((2, 4), 2, dtype=np.int8)
    (axes,) = panels(predicted_classes([replace(made, trace=replace(made.trace, units=units))]))
    assert axes.get_title(loc="left").strip() == "er"
    assert not [patch for patch in axes.patches if not patch.get_fill()]


def test_a_record_without_class_units_has_the_order_of_its_labels(tmp_path):
    made = predicted(tmp_path)
    bare = replace(made, trace=replace(made.trace, units=np.zeros((0, 0), dtype=np.int8)))
    order = class_order(choose([bare], None, None))
    assert (order.names, order.same) == (["0", "1", "2", "3"], True)
    np.testing.assert_allclose(image(panels(predicted_classes([bare]))[0])[:, 1].filled(-1), [0, 1 / 8, 3 / 8, 4 / 8])


@pytest.mark.parametrize("draw", [predicted_classes, confusion])
def test_records_without_predictions_are_refused_with_the_flag_or_named(tmp_path, draw):
    with pytest.raises(Refused, match="no predictions; run the benchmark with --save-predictions"):
        draw([run()])
    assert "no predictions: naive" in heading(draw([predicted(tmp_path), run(label="naive")]))


@pytest.mark.parametrize("draw", [class_curves, predicted_classes, confusion])
def test_numbers_have_no_classes_to_draw(draw):
    from clbench.families import FAMILIES

    measure = FAMILIES.get("regression").measure
    made = run()
    with pytest.raises(Refused, match="scored by R²; choose another --kind"):
        draw([replace(made, trace=replace(made.trace, measure=measure))])
