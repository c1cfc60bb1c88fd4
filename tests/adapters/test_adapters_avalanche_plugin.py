"""Our evaluation plugin in scripts for avalanche-lib: what it sees is right, and the run does not notice it."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from support import assert_same
from torch import nn

import clbench
from clbench.core.global_rng import seed_globals
from clbench.core.record import Kind


@pytest.fixture(scope="module")
def library():
    from clbench.adapters.avalanche import library

    return library


@pytest.fixture(scope="module")
def benchmark():
    return small("class")


def small(setting):
    from clbench.data import load

    dataset = load("digits", train_rows=200)
    return clbench.stream("split", dataset, setting=setting, experiences=5).to_avalanche()


def model():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.3), nn.Linear(24, 10)
    )


def script(library, benchmark, template="Naive", *, plugins=(), net=None, adam=False, epochs=2, **settings):
    """A user's script; what training leaves behind, generators included, and the strategy."""
    seed_globals(3, "script")
    net = copy.deepcopy(net) if net is not None else model()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.003) if adam else torch.optim.SGD(net.parameters(), lr=0.05)
    with library.quiet():
        strategy = getattr(library.supervised, template)(
            model=net,
            optimizer=optimizer,
            criterion=nn.CrossEntropyLoss(),
            train_mb_size=16,
            train_epochs=epochs,
            eval_mb_size=64,
            plugins=list(plugins),
            evaluator=library.EvaluationPlugin(loggers=[]),
            **settings,
        )
        strategy.train(benchmark.train_stream, eval_streams=[])
    state = {k: v.clone() for k, v in strategy.model.state_dict().items()}
    drawn = [torch.rand(3), torch.from_numpy(np.random.rand(3)), torch.tensor([random.random()])]  # noqa: NPY002
    return state | {f"drawn {i}": d for i, d in enumerate(drawn)}, strategy


def watch(benchmark, **settings):
    from clbench.adapters.avalanche import ContinualEvaluationPlugin

    return ContinualEvaluationPlugin(benchmark, **settings)


@pytest.mark.parametrize("every", [1, 7])
@pytest.mark.parametrize(
    ("template", "settings"), [("Naive", {}), ("Naive", {"adam": True}), ("Replay", {"mem_size": 30})]
)
def test_the_run_is_bit_for_bit_what_it_is_without_the_plugin(library, benchmark, template, settings, every):
    plain, _ = script(library, benchmark, template, **settings)
    watched, _ = script(library, benchmark, template, plugins=[watch(benchmark, every=every)], **settings)
    assert_same(plain, watched)


def test_ends_agree_with_its_own_evaluation_on_the_same_rows(library, benchmark):
    from avalanche.evaluation.metrics import accuracy_metrics

    plugin = watch(benchmark, rows_per_task=None)
    _, strategy = script(library, benchmark, "Replay", plugins=[plugin], mem_size=30)
    strategy.plugins.remove(strategy.evaluator)
    with library.quiet():
        strategy.evaluator = library.EvaluationPlugin(accuracy_metrics(experience=True), loggers=[])
        strategy.plugins.append(strategy.evaluator)
        found = strategy.eval(benchmark.test_stream)
    theirs = [v for k, v in sorted(found.items()) if k.startswith("Top1_Acc_Exp")]
    assert plugin.trace().score[-1] == pytest.approx(theirs, abs=1e-6)


def test_looks_are_at_the_start_after_every_iteration_and_at_ends(library, benchmark):
    plugin = watch(benchmark)
    script(library, benchmark, plugins=[plugin])
    trace = plugin.trace()
    per = [2 * -(-len(e.dataset) // 16) for e in benchmark.train_stream]
    assert trace.kind.tolist() == [Kind.START, *(k for n in per for k in [Kind.SWITCH, *[Kind.STEP] * n, Kind.END])]
    assert trace.step[-1] == sum(per)
    assert np.array_equal(trace.present, np.eye(5, dtype=bool))
    assert np.isfinite(trace.score[0]).all()
    values = plugin.metrics()
    assert values["acc"].value == pytest.approx(trace.score[-1].mean())
    assert np.isfinite(values["gap_depth"].value)
    assert all(v.reason for v in values.values() if np.isnan(v.value))


def test_joint_training_has_all_tasks_present_and_cumulative_one_at_a_time(library, benchmark):
    joint, cumulative = watch(benchmark, every=0), watch(benchmark, every=0)
    script(library, benchmark, "JointTraining", plugins=[joint])
    script(library, benchmark, "Cumulative", plugins=[cumulative])
    assert joint.trace().present.tolist() == [[True] * 5]
    assert np.array_equal(cumulative.trace().present, np.eye(5, dtype=bool))


def test_a_multi_head_model_is_told_the_task_and_grows_as_without_the_plugin(library):
    from avalanche.models import SimpleMLP, as_multitask

    benchmark = small("task")
    torch.manual_seed(0)
    with library.quiet():
        net = as_multitask(SimpleMLP(num_classes=10, input_size=64, hidden_size=16), "classifier")
    plugin = watch(benchmark, rows_per_task=None)
    plain, _ = script(library, benchmark, net=net)
    watched, _ = script(library, benchmark, net=net, plugins=[plugin])
    assert_same(plain, watched)
    assert plugin.stream.task_labels
    assert plugin.trace().score[-1].mean() > 0.6


def test_icarl_is_asked_for_its_nearest_means(library, benchmark):
    plugin = watch(benchmark, rows_per_task=None, every=0)
    torch.manual_seed(0)
    features, head = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU()), nn.Linear(16, 10)
    with library.quiet():
        strategy = library.supervised.ICaRL(
            feature_extractor=features,
            classifier=head,
            optimizer=torch.optim.SGD([*features.parameters(), *head.parameters()], lr=0.5),
            memory_size=50,
            buffer_transform=None,
            fixed_memory=True,
            train_mb_size=16,
            train_epochs=4,
            eval_mb_size=64,
            plugins=[plugin],
            evaluator=library.EvaluationPlugin(loggers=[]),
        )
        strategy.train(benchmark.train_stream, eval_streams=[])
    strategy.model.eval()
    with torch.no_grad():
        for task, experience in enumerate(benchmark.test_stream):
            x = torch.stack([experience.dataset[i][0] for i in range(len(experience.dataset))])
            right = strategy.model(x).argmax(1) == torch.tensor(list(experience.dataset.targets))
            assert plugin.trace().score[-1, task] == pytest.approx(right.float().mean().item(), abs=1e-6)


def test_a_saved_run_is_read_by_board_frame_and_plot(library, benchmark, tmp_path):
    for _ in range(2):
        plugin = watch(benchmark)
        script(library, benchmark, plugins=[plugin], epochs=1)
        plugin.save(tmp_path, name="mine")
    frame = clbench.load(tmp_path)
    assert frame[["benchmark", "strategy", "seed"]].to_numpy().tolist() == [
        ["mine@1", "Naive", 0],
        ["mine@1", "Naive", 1],
    ]
    assert frame["acc"][0] == pytest.approx(plugin.metrics()["acc"].value)
    assert clbench.board(tmp_path).tables
    assert clbench.plot(tmp_path) is not None
    assert plugin.save(tmp_path, name="mine", seed=7).seed == 7


@pytest.mark.filterwarnings("ignore:ContinualEvaluationPlugin stops its evaluations")
def test_outputs_that_are_not_finite_end_the_looks_and_not_the_run(library, benchmark, tmp_path):
    net, plugin = model(), watch(benchmark)
    net[-1].weight.data.fill_(float("nan"))
    script(library, benchmark, net=net, plugins=[plugin])
    assert "not finite" in plugin.stopped
    assert plugin.save(tmp_path).status == "diverged"


def test_any_benchmark_will_do_and_its_training_stream_is_left_alone(library, benchmark):
    from avalanche.benchmarks import benchmark_from_datasets

    plain = benchmark_from_datasets(
        train=[e.dataset for e in benchmark.train_stream], test=[e.dataset for e in benchmark.test_stream]
    )
    ours, theirs = watch(benchmark), watch(plain)
    script(library, benchmark, plugins=[ours])
    script(library, plain, plugins=[theirs])
    assert np.array_equal(ours.trace().score, theirs.trace().score, equal_nan=True)
