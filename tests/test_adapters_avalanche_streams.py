"""Our streams in avalanche-lib, and its benchmarks here: the same rows, labels, tasks and order, to the bit."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch
from torch import nn

import clbench
from clbench.data import from_arrays
from clbench.resident import Resident

STREAMS = [
    ("split", {"setting": "class"}),
    ("split", {"setting": "task"}),
    ("split", {"setting": "domain"}),
    ("permuted", {"experiences": 3}),
    ("permuted", {"experiences": 3, "setting": "task"}),
    ("rotated", {}),
    ("scole", {"experiences": 20}),
    ("power_law", {}),
    ("blurry", {}),
    ("drift", {}),
]


@pytest.fixture(scope="module")
def library():
    from clbench.adapters.avalanche import library

    return library


@pytest.fixture
def vectors():
    """60 training and 30 test rows of 5 floats, 6 classes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 5)).astype("float32")
    return from_arrays("vectors", x[:60], np.arange(60) % 6, x[60:], np.arange(30) % 6)


def ours(stream, split, rows, view):
    """Inputs of rows as our own loop sees them."""
    resident = Resident(getattr(stream.dataset, split), stream.dataset, transform=stream.transform)
    views = np.array(np.broadcast_to(np.asarray(view, dtype=np.int64), len(rows)))
    return resident.present(torch.from_numpy(rows), torch.from_numpy(views))


def theirs(experience):
    """All a loader gives of an experience: inputs, labels and task labels."""
    inputs, labels, tasks = zip(*(experience.dataset[i] for i in range(len(experience.dataset))), strict=True)
    return torch.stack(inputs), list(labels), list(tasks)


@pytest.mark.parametrize(("scenario", "settings"), STREAMS)
def test_rows_labels_and_pixels_are_those_of_the_stream(scenario, settings):
    stream = clbench.stream(scenario, "digits", **settings)
    benchmark = stream.to_avalanche()
    assert len(benchmark.train_stream) == len(stream)
    for experience, shown in zip(stream, benchmark.train_stream, strict=True):
        inputs, labels, tasks = theirs(shown)
        assert torch.equal(inputs, ours(stream, "train", experience.rows, experience.view))
        assert labels == stream.labels(stream.dataset.train, experience.rows, experience.view).tolist()
        assert labels == list(shown.dataset.targets)
        assert shown.classes_in_this_experience == sorted(experience.classes)
        assert set(tasks) == (set(experience.tasks) if stream.task_labels else {0})
    views = stream.task_views(len(stream) - 1)
    for task, shown in zip(stream.tasks, benchmark.test_stream, strict=True):
        inputs, labels, _ = theirs(shown)
        assert torch.equal(inputs, ours(stream, "test", task.rows, views[task.id]))
        assert labels == stream.labels(stream.dataset.test, task.rows, int(views[task.id])).tolist()


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_real_images_are_normalised_as_in_our_loop(name, shared_data):
    stream = clbench.stream("split", name, data_dir=shared_data)
    rows = stream[1].rows[:20]
    shown = stream.to_avalanche().train_stream[1].dataset
    assert torch.equal(torch.stack([shown[i][0] for i in range(20)]), ours(stream, "train", rows, 0))


def test_float_vectors_pass_unchanged(vectors):
    stream = clbench.stream("split", vectors, experiences=3)
    inputs, _, _ = theirs(stream.to_avalanche().train_stream[0])
    assert np.array_equal(inputs.numpy(), vectors.train.x[stream[0].rows])


def test_task_labels_are_there_only_where_the_stream_reveals_them():
    hidden = clbench.stream("split", "digits", setting="class").to_avalanche()
    shown = clbench.stream("split", "digits", setting="task").to_avalanche()
    assert not hasattr(hidden.train_stream[2], "task_labels")
    assert not hasattr(hidden.test_stream[2], "task_labels")
    assert [e.task_label for e in shown.train_stream] == [e.task_label for e in shown.test_stream] == [0, 1, 2, 3, 4]


def test_the_timeline_of_classes_counts_those_that_come_back():
    stream = clbench.stream("scole", "digits", experiences=6)
    shown = stream.to_avalanche().train_stream
    for number, experience in enumerate(shown):
        before = {c for e in stream[:number] for c in e.classes}
        assert set(experience.previous_classes) == before
        assert set(experience.classes_seen_so_far) == before | set(stream[number].classes)
        assert set(experience.future_classes) == {c for e in stream[number + 1 :] for c in e.classes}


def test_a_drifting_world_is_shown_as_it_is_at_the_end_or_at_any_experience():
    stream = clbench.stream("drift", "digits")
    benchmark, test = stream.to_avalanche(), stream.dataset.test
    at = lambda e: stream.labels(test, stream.tasks[0].rows, int(stream.task_views(e)[0])).tolist()  # noqa: E731
    assert at(0) != at(len(stream) - 1)
    assert list(benchmark.test_stream[0].dataset.targets) == at(len(stream) - 1)
    assert list(benchmark.test_stream_at(0)[0].dataset.targets) == at(0)


def test_slices_and_positions_of_a_stream_know_where_they_come_from():
    benchmark = clbench.stream("split", "digits").to_avalanche()
    part = benchmark.test_stream[1:3]
    assert [e.current_experience for e in part] == [1, 2]
    assert part[0] is benchmark.test_stream[1]
    assert part[0].origin_stream is benchmark.test_stream
    with pytest.raises(IndexError):
        benchmark.train_stream[5]


def naive(library, model, *, plugins=(), epochs=2):
    metrics = import_module("avalanche.evaluation.metrics")
    return library.supervised.Naive(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
        train_mb_size=16,
        train_epochs=epochs,
        eval_mb_size=64,
        plugins=list(plugins),
        evaluator=library.EvaluationPlugin(
            metrics.accuracy_metrics(experience=True, stream=True),
            metrics.forgetting_metrics(experience=True),
            loggers=[],
        ),
    )


@pytest.mark.parametrize(("scenario", "settings"), [("split", {"setting": "task"}), ("scole", {"experiences": 5})])
def test_its_naive_trains_and_its_metrics_measure_what_the_model_gets_right(library, scenario, settings):
    stream = clbench.stream(scenario, "digits", **settings)
    benchmark = stream.to_avalanche()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, stream.n_outputs))
    with library.quiet():
        strategy = naive(library, model)
        for experience in benchmark.train_stream:
            strategy.train(experience, eval_streams=[])
        found = strategy.eval(benchmark.test_stream)
    for task in stream.tasks:
        y = torch.from_numpy(stream.labels(stream.dataset.test, task.rows, task.view))
        right = (model(ours(stream, "test", task.rows, task.view)).argmax(1) == y).float().mean().item()
        [value] = [v for k, v in found.items() if k.startswith("Top1_Acc_Exp") and k.endswith(f"Exp{task.id:03d}")]
        assert value == pytest.approx(right, abs=1e-6)


def test_its_icarl_finds_the_order_of_classes(library):
    stream = clbench.stream("split", "digits")
    benchmark = stream.to_avalanche()
    assert benchmark.n_classes_per_exp == [2] * 5
    assert sorted(benchmark.classes_order) == list(range(10))
    assert benchmark.train_stream[0].benchmark is benchmark
