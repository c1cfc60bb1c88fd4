"""Our streams in avalanche-lib, and its benchmarks here: the same rows, labels, tasks and order, to the bit."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch
from torch import nn

import clbench
from clbench.data import from_arrays, load
from clbench.training.device_rows import Resident

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


ROUND = [*STREAMS[:4], STREAMS[5], *STREAMS[6:9]]


@pytest.mark.parametrize(("scenario", "settings"), ROUND)
def test_there_and_back_again_is_the_same_stream(scenario, settings):
    stream = clbench.stream(scenario, load("digits", train_rows=120), **settings)
    back = clbench.from_avalanche(stream.to_avalanche())
    assert (len(back), len(back.tasks), back.task_labels) == (len(stream), len(stream.tasks), stream.task_labels)
    for ours_, theirs_ in zip(stream, back, strict=True):
        n = len(ours_)
        assert torch.equal(ours(back, "train", theirs_.rows, 0), ours(stream, "train", ours_.rows, ours_.view))
        own = stream.labels(stream.dataset.train, ours_.rows, ours_.view)
        assert np.array_equal(back.labels(back.dataset.train, theirs_.rows, 0), own)
        assert np.array_equal(theirs_.task, np.broadcast_to(ours_.task, n))
        assert theirs_.classes == tuple(sorted(ours_.classes))
    for task, other in zip(stream.tasks, back.tasks, strict=True):
        assert torch.equal(ours(back, "test", other.rows, 0), ours(stream, "test", task.rows, task.view))


def test_rows_that_come_back_are_stored_once_and_repetition_is_noticed():
    stream = clbench.stream("scole", "digits", experiences=20)
    back = clbench.from_avalanche(stream.to_avalanche())
    shown = {int(row) for experience in stream for row in experience.rows}
    assert len(back.dataset.train) <= len(shown) < sum(map(len, stream))
    assert back.description["repeated_classes"]
    assert back.description["repeated_tasks"]
    assert not clbench.from_avalanche(clbench.stream("split", "digits").to_avalanche()).description["repeated_classes"]


def test_the_fingerprint_is_that_of_the_content():
    twice = [clbench.from_avalanche(clbench.stream("split", "digits").to_avalanche()) for _ in range(2)]
    other = clbench.from_avalanche(clbench.stream("split", "digits", seed=1).to_avalanche())
    assert twice[0].fingerprint == twice[1].fingerprint != other.fingerprint


def by_hand(library, groups, tests):
    """A benchmark of label lists: row of label c is the one pixel c, task label 0."""
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.utils import _make_taskaware_tensor_classification_dataset as tensors

    def make(labels):
        x = torch.tensor(labels, dtype=torch.float32).reshape(-1, 1, 1, 1)
        return tensors(x, torch.tensor(labels), task_labels=0)

    return benchmark_from_datasets(train=[make(g) for g in groups], test=[make(t) for t in tests])


def test_tasks_are_found_by_class_by_position_or_asked_for(library):
    by_class = clbench.from_avalanche(by_hand(library, [[0, 1], [2, 0], [3]], [[0, 1], [2, 3]]))
    assert [e.task.tolist() for e in by_class] == [[0, 0], [1, 0], [1]]
    by_position = clbench.from_avalanche(by_hand(library, [[0, 1], [0, 1]], [[0, 1], [1, 0]]))
    assert [e.tasks for e in by_position] == [(0,), (1,)]
    ambiguous = by_hand(library, [[0, 1], [0, 1], [0, 1]], [[0, 1], [1, 0]])
    with pytest.raises(clbench.Refused, match=r"experience 0 .* give tasks="):
        clbench.from_avalanche(ambiguous)
    assert [e.tasks for e in clbench.from_avalanche(ambiguous, tasks=[1, 0, 1])] == [(1,), (0,), (1,)]


def test_its_own_split_mnist_is_taken_offline(library, shared_data):
    from avalanche.benchmarks.classic import SplitMNIST

    with library.quiet():
        classic = SplitMNIST(5, fixed_class_order=list(range(10)), dataset_root=shared_data / "mnist")
        small = import_module("avalanche.benchmarks").benchmark_from_datasets(
            train=[e.dataset.subset(range(0, 11000, 400)) for e in classic.train_stream],
            test=[e.dataset.subset(range(0, 1800, 90)) for e in classic.test_stream],
        )
    stream = clbench.from_avalanche(small)
    assert [t.classes for t in stream.tasks] == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    assert [e.tasks for e in stream] == [(0,), (1,), (2,), (3,), (4,)]
    mine = load("mnist", str(shared_data)).train
    for row in stream[0].rows[[0, 5, -1]]:  # its default transform subtracts 0.1307 and divides by 0.3081
        pixels = (stream.dataset.train.x[row] * 0.3081 + 0.1307) * 255
        candidates = mine.x[mine.y == stream.dataset.train.y[row]]
        assert (np.abs(candidates - pixels).max(axis=(1, 2, 3)) < 0.01).sum() == 1
