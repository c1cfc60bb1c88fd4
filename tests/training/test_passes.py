"""How passes are cut into batches; a single row is no batch for batch normalisation."""

import numpy as np
import pytest
import torch
from support import assert_same, everything, ready, same_trace, stream_rows, train_until, trained
from torch import nn

import clbench
from clbench.core.errors import Refused
from clbench.data import from_arrays
from clbench.running.forecast import _iterations
from clbench.running.options import Options
from clbench.running.run_cell import run_cell
from clbench.running.user_objects import UserObjects
from clbench.training.batch_splits import BatchSplit, fewest_rows


def with_batch_norm(shape, n_outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 8), nn.BatchNorm1d(8), nn.Linear(8, n_outputs))


class Held(nn.Module):
    """Its normalisation stays in evaluation mode, as that of a frozen backbone does."""

    def __init__(self, shape, n_outputs):
        super().__init__()
        self.inner = with_batch_norm(shape, n_outputs)

    def train(self, mode=True):
        super().train(mode)
        self.inner[2].eval()
        return self

    def forward(self, x):
        return self.inner(x)


def rows_of(classes, sizes, test=2):
    """A data set with so many training rows of each class, as vectors of 6."""
    y = np.repeat(np.arange(classes), sizes)
    x = np.random.default_rng(0).normal(size=(len(y), 6)).astype("float32")
    y_test = np.repeat(np.arange(classes), test)
    return from_arrays("sized", x, y, x[: len(y_test)], y_test)


# --------------------------------------------------------------------------------------------------- spans


@pytest.mark.parametrize(
    ("split", "rows", "spans"),
    [
        (BatchSplit(4), 9, [(0, 4), (4, 8), (8, 9)]),
        (BatchSplit(4), 8, [(0, 4), (4, 8)]),
        (BatchSplit(4, fewest=2), 9, [(0, 4), (4, 9)]),
        (BatchSplit(4, fewest=2), 10, [(0, 4), (4, 8), (8, 10)]),
        (BatchSplit(4, fewest=2), 5, [(0, 5)]),
        (BatchSplit(4, fewest=2), 1, [(0, 1)]),
        (BatchSplit(4, drop_last=True, fewest=2), 9, [(0, 4), (4, 8)]),
        (BatchSplit(4, drop_last=True), 3, []),
        (BatchSplit(4), 0, []),
    ],
)
def test_a_last_batch_that_is_too_small_joins_the_one_before_it(split, rows, spans):
    assert split.spans(rows) == spans
    assert split.count(rows) == len(spans)


# --------------------------------------------------------------------------------------------------- which models


def test_only_layers_that_see_one_value_a_row_need_two_rows():
    small, large = ((1, 8, 8), (1, 32, 32))
    resnet = {"name": "resnet", "norm": "batch", "width": 2}
    make = clbench.models.make
    assert fewest_rows(make(resnet, small, 4), small) == 2  # its last convolutions leave 1 x 1 pixels
    assert fewest_rows(make(resnet, large, 4), large) == 1  # and here 4 x 4
    assert fewest_rows(make({"name": "resnet", "width": 2}, small, 4), small) == 1
    assert fewest_rows(with_batch_norm(small, 4), small) == 2
    assert fewest_rows(Held(small, 4), small) == 1


def test_asking_leaves_modes_statistics_and_generators_alone():
    model = with_batch_norm((6,), 4)
    model[1].eval()
    before, generator = [b.clone() for b in model.buffers()], torch.get_rng_state()
    assert fewest_rows(model, (6,)) == 2
    assert [m.training for m in model.modules()] == [True, True, False, True, True]
    assert all(torch.equal(*pair) for pair in zip(before, model.buffers(), strict=True))
    assert torch.equal(generator, torch.get_rng_state())
    assert not any(m._forward_pre_hooks for m in model.modules())


# --------------------------------------------------------------------------------------------------- runs


def test_a_single_row_left_over_is_learned_with_the_batch_before_it():
    run = ready("naive", "stream.experiences=4", "training.batch_size=8", dataset=rows_of(4, 9), model=with_batch_norm)
    learned = stream_rows(run)
    assert [len(rows) for rows in learned] == [9] * 4
    for experience, rows in zip(run.stream, learned, strict=True):
        assert sorted(rows) == experience.rows.tolist()


def test_without_batch_statistics_a_single_row_stays_a_batch():
    for model in (None, Held):
        run = ready("naive", "stream.experiences=4", "training.batch_size=8", dataset=rows_of(4, 9), model=model)
        assert [len(rows) for rows in stream_rows(run)] == [8, 1] * 4


def test_the_built_in_resnet_with_batch_normalisation_learns_digits_whatever_the_sizes():
    changes = ["model={name: resnet, norm: batch, width: 2}", "evaluation.every=0", "training.batch_size=19"]
    run = ready("er", "stream.dataset.train_rows=288", *changes)
    left = [len(e) % 19 for e in run.stream]
    assert 1 in left
    run.train()
    assert run.cursor.step == sum(len(e) // 19 + (len(e) % 19 > 1) for e in run.stream)
    assert run.evaluator.trace().score[-1].mean() > 0


def test_steps_announced_and_foretold_are_those_that_are_made():
    run = ready(
        "naive",
        "stream.experiences=4",
        "training.batch_size=8",
        "training.epochs=3",
        "reveal=[length]",
        dataset=rows_of(4, [9, 8, 10, 17]),
        model=with_batch_norm,
    )
    foretold = _iterations(
        run.stream,
        clbench.benchmark.schema.Training(**run.cell.config["training"]),
        1,
        run.learner.side_work.fewest_rows,
    )
    per_pass = {8: 1, 9: 1, 10: 2, 17: 2}
    assert foretold.tolist() == [3 * per_pass[len(e)] for e in run.stream]
    run.train()
    assert run.cursor.step == run.learner.total_steps == 18


def test_a_rate_and_progress_reach_their_ends_where_batches_are_joined():
    seen, told = [], []
    run = ready(
        "naive",
        "stream.experiences=4",
        "training.batch_size=8",
        "training.epochs=2",
        "training.lr_schedule={rewarm: {end: 0}}",
        dataset=rows_of(4, 17),
        model=with_batch_norm,
    )
    run.chain.after_step += (lambda learner, _: seen.append(learner.lr),)
    run.train(lambda step, done: told.append(done))
    assert seen[3] == seen[-1] == pytest.approx(0.0, abs=1e-9)
    assert told[-1] == 1.0


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_run_goes_on_from_any_step_of_a_pass_with_a_joined_batch(step):
    def one():
        return ready(
            "er",
            "stream.experiences=2",
            "training.batch_size=6",
            "training.iterations=7",
            dataset=rows_of(4, [10, 9, 9, 9]),
            model=with_batch_norm,
        )

    whole, first, second = one(), one(), one()
    whole.train()
    train_until(first, step)
    second.restore(first.snapshot())
    second.train()
    assert_same(everything(whole), everything(second))
    assert same_trace(whole, second)
    assert whole.cursor.step == 14


def test_iterations_are_made_also_where_a_part_shortens_or_repeats_a_pass():
    for change in (lambda order: order[:3], lambda order: order.repeat(3)):
        run = ready("naive", "training.iterations=7", "training.batch_size=30")
        run.chain.order = (lambda learner, shown, epoch, order, change=change: change(order),)
        run.train()
        assert run.cursor.step == 7 * 5


def test_a_part_that_leaves_no_row_of_any_pass_ends_the_experience():
    run = ready("naive", "training.iterations=7")
    run.chain.order = (lambda learner, shown, epoch, order: order[:0],)
    run.train()
    assert run.cursor.step == 0


def test_loops_of_parts_join_a_single_row_too():
    run = ready("gdumb(passes=2, cutmix=0)", "memory.size=17", "stream.dataset.train_rows=300", model=with_batch_norm)
    sizes = []
    original = run.learner.model.forward
    run.learner.model.forward = lambda x: (sizes.append(len(x)) if run.learner.model.training else None, original(x))[1]
    run.train()
    assert set(sizes) == {17}
    assert len(sizes) == 2 * 5


def test_a_memory_of_one_row_is_refused_where_a_part_would_learn_from_it_alone():
    record = run_cell(
        ready("gdumb(passes=2, cutmix=0)", "memory.size=1", model=with_batch_norm).cell,
        Options(given=UserObjects(model=with_batch_norm)),
    )
    assert record.status == "failed"
    assert "1 sample to learn from: batch normalisation has no statistics in a batch of one sample" in record.reason


# --------------------------------------------------------------------------------------------------- refused


def test_an_experience_of_a_single_row_is_refused_before_it_runs():
    with pytest.raises(Refused, match=r"experience . has 1 sample, too few for this model.*norm: group"):
        ready("naive", "stream.experiences=4", dataset=rows_of(4, [9, 9, 1, 9]), model=with_batch_norm)


def test_batches_of_a_single_row_are_refused_before_they_run():
    with pytest.raises(Refused, match=r"training.batch_size = 1 is not possible with this model.*set it to 2 or more"):
        ready("naive", "training.batch_size=1", model=with_batch_norm)


def test_leaving_out_incomplete_batches_is_refused_where_it_would_leave_out_an_experience():
    said = r"experience \d has 59 samples and a batch 128, .* set training.batch_size to 59 or less"
    with pytest.raises(Refused, match=said):
        ready("er", "training.drop_last=true", "training.batch_size=128")
    assert trained("joint", "training.drop_last=true", "training.batch_size=128").cursor.step == 2  # 300 rows


def test_and_so_it_is_before_any_cell_runs(tmp_path):
    seen = []
    with pytest.raises(Refused, match="leaves out all of it"):
        clbench.run(
            "split-digits",
            strategies="naive, er",
            seeds=3,
            out=tmp_path,
            overrides=["training.drop_last=true", "training.batch_size=300"],
            watch=seen.append,
        )
    assert not seen
    assert not (tmp_path / "records").exists()


def test_a_single_row_behind_a_function_is_told_with_the_cure():
    class Own(nn.Module):
        def __init__(self, shape, n_outputs):
            super().__init__()
            self.head = nn.Linear(6, n_outputs)

        def forward(self, x):
            return self.head(nn.functional.batch_norm(x, torch.zeros(6), torch.ones(6), training=self.training))

    given = UserObjects(model=Own, dataset=rows_of(4, 9))
    run = ready("naive", "stream.experiences=4", "training.batch_size=8", dataset=given.dataset, model=Own)
    record = run_cell(run.cell, Options(given=given))
    assert record.status == "failed"
    assert record.reason.startswith(
        "batch normalisation has no statistics in a batch of one sample, and a step had one"
    )
    assert "training.drop_last: true" in record.reason
