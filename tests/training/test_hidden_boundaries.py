"""Where boundaries are hidden nothing follows the cut: what competes and what counts grows with the rows met."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support import assert_same, everything, ready, train_until, trained

from clbench.core.errors import Refused
from clbench.core.record import Kind
from clbench.core.types import Experience
from clbench.metrics import compute
from clbench.running.plan import plan
from clbench.running.prepare import Skip, prepare
from clbench.running.user_objects import UserObjects
from clbench.scenarios import make
from clbench.scenarios.ordered import even
from clbench.strategies import STRATEGIES
from clbench.strategies.part import Part

PIECES = (5, 40)
SMALL = {
    "name": "hidden",
    "stream": {"scenario": "gaussian", "dataset": {"name": "digits", "train_rows": 400}},
    "model": {"name": "mlp", "hidden": [16]},
    "training": {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "batch_size": 10},
    "memory": {"size": 40},
    "evaluation": {"every": 2, "rows_per_task": 15, "classes": True},
}
"""400 rows of digits in 40 steps."""
GAUSSIAN = {"scenario": "gaussian", "sigma": 0.05}
BLURRY = {"scenario": "blurry", "disjoint": 50, "blurry": 10}
ANYTIME = ("aaa", "a_auc", "acc_seen", "wf10", "wf100", "wp10", "wp100", "acc")


def recut(stream, pieces):
    """The rows of a stream in the same order, cut into so many even pieces with hidden boundaries."""
    rows = np.concatenate([e.rows for e in stream])
    task = np.concatenate([np.broadcast_to(np.asarray(e.task), len(e)) for e in stream])
    bounds = even(len(rows), pieces)

    def build(i):
        here = slice(bounds[i], bounds[i + 1])
        classes = tuple(np.unique(stream.dataset.train.y[rows[here]]).tolist())
        return Experience(i, rows[here], task[here], 0, classes, boundary=False, shuffled=False)

    return replace(stream, length=pieces, build=build, description={**stream.description, "pieces": pieces})


def hidden(strategy, scenario, pieces, *changes, seed=0):
    """A run on a stream cut into so many pieces, that has not begun."""
    ours = [change for change in changes if change.startswith("stream.")]
    cell = plan(SMALL, strategies=["naive"], seeds=[seed], overrides=ours).cells[0]
    whole = prepare(cell).stream.dataset
    stream = recut(make({**scenario, "output": cell.config["stream"]["output"]}, whole, seed), pieces)
    others = [change for change in changes if change not in ours]
    cell = plan(SMALL, strategies=[strategy], seeds=[seed], overrides=others, stream=stream).cells[0]
    return prepare(cell, given=UserObjects(stream=stream))


# ------------------------------------------------------------------------- the cut


@pytest.mark.parametrize("output", ["seen", "all"])
@pytest.mark.parametrize(
    "scenario", [GAUSSIAN, BLURRY, {**BLURRY, "variant": "si_blurry"}], ids=["gaussian", "i", "si"]
)
@pytest.mark.parametrize("strategy", ["naive", "er", "er_ace"])
def test_the_number_of_pieces_changes_no_bit_of_what_is_learned(strategy, scenario, output):
    runs = [hidden(strategy, scenario, pieces, f"stream.output={output}") for pieces in PIECES]
    for run in runs:
        run.train()
    assert_same(*map(everything, runs))


@pytest.mark.parametrize(
    "strategy",
    ["er + hft(start_experience=1, redraw=never)", "derpp(alpha=1,beta=1)", "pcr(views=1)", "joint", "slda", "er_aml"],
)
def test_nor_does_it_for_other_strategies_that_need_no_boundaries(strategy):
    runs = [hidden(strategy, GAUSSIAN, pieces) for pieces in PIECES]
    for run in runs:
        run.train()
    assert_same(*map(everything, runs))


def test_the_scenario_itself_gives_the_same_weights_at_5_and_40_pieces():
    ends = []
    for pieces in PIECES:
        run = prepare(plan(SMALL, strategies=["er"], seeds=1, overrides=[f"stream.experiences={pieces}"]).cells[0])
        run.train()
        ends.append(everything(run))
    assert_same(*ends)


@pytest.mark.parametrize("scenario", [GAUSSIAN, BLURRY], ids=["gaussian", "i_blurry"])
@pytest.mark.parametrize("every", [1, 2, 3])
def test_anytime_metrics_are_those_of_the_stream_and_not_of_the_cut(scenario, every):
    found = []
    for pieces in (1, *PIECES):
        run = hidden("er", scenario, pieces, f"evaluation.every={every}")
        run.train()
        found.append({name: value.value for name, value in compute(run.trace(), ANYTIME).items()})
    assert all(np.isfinite(list(each.values())).all() for each in found)
    assert found[0] == found[1] == found[2]


def test_with_the_look_before_the_first_step_windows_begin_with_the_classes_of_the_first_batch():
    found = []
    for pieces in (1, *PIECES):
        run = hidden("er", GAUSSIAN, pieces, "stream.output=all")
        run.train()
        values = compute(run.trace(), ("wf_initial10", "wp_initial10"))
        found.append({name: value.value for name, value in values.items()})
    assert np.isfinite(list(found[0].values())).all()
    assert found[0] == found[1] == found[2]


# ------------------------------------------------------------------------- what competes


def test_the_classes_that_compete_are_those_of_the_batches_met():
    run, met, told = hidden("naive", GAUSSIAN, 5), set(), []

    def note(learner, batch):
        met.update(batch.y.tolist())
        assert set(learner.classes.seen.nonzero()[:, 0].tolist()) == met
        allowed = range(10) if batch.class_mask.competes is None else batch.class_mask.competes.nonzero()[:, 0].tolist()
        told.append(set(allowed) == met)

    run.chain.before_step = (note,)
    run.train()
    assert len(told) == 40
    assert all(told)
    assert len(met) == 10


def test_heads_of_classes_not_met_stand_still_under_momentum_and_weight_decay():
    run = hidden("naive", GAUSSIAN, 2)
    head, steps = run.learner.model.head, []
    first = head.weight.detach().clone()

    def note(learner, _):
        unmet = ~learner.classes.seen
        steps.append(int(unmet.sum()))
        assert torch.equal(head.weight.detach()[unmet], first[unmet])

    run.chain.after_step = (note,)
    run.train()
    assert steps[0] >= 5  # of ten classes
    assert steps[-1] == 0


def test_a_look_inside_a_piece_lets_the_classes_met_by_then_compete():
    run = hidden("naive", GAUSSIAN, 1, "evaluation.every=1")
    asked = []
    look = run.evaluator._pass

    def note(readout, panel, *more):
        learner = readout.learner
        unmet = ~learner.classes.seen
        told = torch.zeros_like(unmet) if panel.class_mask.competes is None else ~panel.class_mask.competes
        asked.append((bool(unmet.any()), torch.equal(told, unmet if bool(learner.classes.seen.any()) else told)))
        return look(readout, panel, *more)

    run.evaluator._pass = note
    run.train()
    assert len(asked) == 42  # the start, every step, the end
    assert sum(partly for partly, _ in asked) > 10
    assert all(same for _, same in asked)


def test_in_a_visible_experience_all_its_classes_compete_from_the_start():
    run = ready("naive", "stream.dataset.train_rows=100", "training.batch_size=1")
    seen = []
    run.chain.before_step = (lambda learner, _: seen.append(int(learner.classes.seen.sum())),)
    run.train()
    assert seen[:3] == [2, 2, 2]


def test_a_run_goes_on_bit_for_bit_in_the_middle_of_a_piece_before_all_classes_are_met():
    whole = hidden("er", GAUSSIAN, 2)
    whole.train()
    stopped = hidden("er", GAUSSIAN, 2)
    train_until(stopped, 7)
    assert not bool(stopped.learner.classes.seen.all())
    resumed = hidden("er", GAUSSIAN, 2)
    resumed.restore(stopped.snapshot())
    resumed.train()
    assert_same(everything(whole), everything(resumed))
    ours, theirs = resumed.trace(), whole.trace()
    for name in ("score", "met", "counted", "units", "class_score"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


# ------------------------------------------------------------------------- what hooks are told


class Curious(Part):
    """Would learn something of rows to come wherever it is told of an experience."""

    def begin_experience(self, learner, experience):
        raise AssertionError("told of a beginning")

    def merge(self, learner, experience):
        raise AssertionError("told of rows to merge with")

    def order(self, learner, experience, epoch, order):
        raise AssertionError("told of all rows")

    def end_experience(self, learner, experience):
        raise AssertionError("told of an end")


def test_no_hook_is_told_of_the_rows_or_the_place_of_a_hidden_piece():
    run = hidden("naive", GAUSSIAN, 5)
    curious = Curious()
    for name in ("begin_experience", "merge", "order", "end_experience"):
        setattr(run.chain, name, (getattr(curious, name),))
    run.train()
    assert run.cursor.step == 40


def test_the_number_of_pieces_is_not_told_with_the_length_of_the_stream():
    run = hidden("naive", GAUSSIAN, 5, "reveal=[length]")
    assert (run.learner.length, run.learner.total_steps) == (None, 40)
    with pytest.raises(Skip, match="visible boundaries"):
        hidden("k_fpf(iters=1)", GAUSSIAN, 5, "reveal=[length]")


@pytest.mark.parametrize("strategy", ["view_batch(views=2, strong=none)", "hft(start_experience=1, redraw=epoch)"])
def test_what_arranges_all_rows_of_an_experience_needs_to_see_it(strategy):
    with pytest.raises(Skip, match="needs visible boundaries"):
        hidden(f"er + {strategy}", GAUSSIAN, 5)


# ------------------------------------------------------------------------- settings that follow experiences


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("training.lr_schedule=cosine", "training.lr_schedule = .*cosine.* depends on experiences.* use constant"),
        ("memory.admit=end", "memory.admit = end depends on experiences.* use first_pass or every_pass"),
        ("memory.policy=per_experience", "memory.policy = per_experience depends on experiences"),
    ],
)
def test_settings_that_follow_experiences_are_refused_where_these_are_hidden(change, sentence):
    with pytest.raises(Refused, match=sentence):
        plan(SMALL, strategies=["er"], overrides=[change])
    plan(SMALL, strategies=["er"], overrides=[change, "stream.boundaries=true"])
    with pytest.raises(Refused, match=sentence):
        hidden_by_program("er", change)


def hidden_by_program(strategy, change):
    stream = recut(prepare(plan(SMALL, strategies=["naive"], seeds=1).cells[0]).stream, 4)
    cell = plan(SMALL, strategies=[strategy], seeds=1, overrides=[change], stream=stream).cells[0]
    return prepare(cell, given=UserObjects(stream=stream))


def test_a_strategys_own_settings_are_refused_likewise_and_no_memory_admits_nothing():
    entry = {"strategy": "naive", "training": {"lr_schedule": "linear"}}
    with pytest.raises(Refused, match="depends on experiences"):
        plan(SMALL, strategies=[entry])
    plan(SMALL, strategies=["naive"], overrides=["memory.size=0", "memory.admit=end"])


def test_a_part_that_fills_memory_at_ends_is_skipped_where_these_are_hidden():
    class Late(Part):
        memory_admit = "end"

    if "late" not in STRATEGIES:
        STRATEGIES.add("late", Late)
    with pytest.raises(Skip, match="late needs visible boundaries"):
        hidden("late", GAUSSIAN, 5)


# ------------------------------------------------------------------------- what counts from when


def test_the_trace_tells_when_each_class_was_first_met():
    run = hidden("naive", GAUSSIAN, 3)
    y = run.stream.dataset.train.y[np.concatenate([e.rows for e in run.stream])]
    sizes = [len(e) for e in run.stream]  # 134, 133, 133: the last batch of a piece is short
    starts = np.concatenate([[0], np.cumsum([-(-n // 10) for n in sizes])])
    step = np.concatenate([starts[i] + np.arange(n) // 10 for i, n in enumerate(sizes)])
    expected = [int(step[np.flatnonzero(y == c)[0]]) for c in range(10)]
    run.train()
    trace = run.trace()
    assert trace.met.tolist() == expected
    assert trace.counted.tolist() == expected  # tasks are classes
    assert len(set(expected)) > 5


def test_where_boundaries_are_visible_tasks_count_from_their_experience_and_first_rows_are_told_all_the_same():
    run = trained("naive", "stream.order=fixed", "training.batch_size=10")
    trace = run.trace()
    begins = np.concatenate([[0], np.cumsum([-(-len(e) // 10) for e in run.stream])])
    assert all(begins[c // 2] <= trace.met[c] <= begins[c // 2] + 1 for c in range(10))
    assert trace.counted.size == 0
    np.testing.assert_array_equal(trace.seen, trace.first_visit <= trace.experience[:, None])


def test_a_class_that_never_comes_is_never_met():
    run = hidden("naive", GAUSSIAN, 4)
    full = run.stream.build

    def without(i):
        e = full(i)
        keep = run.stream.dataset.train.y[e.rows] != 3
        return replace(e, rows=e.rows[keep], task=e.task[keep])

    run.stream = replace(run.stream, build=without)
    run.train()
    assert run.trace().met[3] == run.trace().counted[3] == -1
    assert not run.trace().seen[:, 3].any()


def test_anytime_metrics_are_what_the_rule_of_exposed_classes_gives_on_every_look():
    run = hidden("er", GAUSSIAN, 5, "evaluation.every=1", "evaluation.tasks=all")
    y = run.stream.dataset.train.y[np.concatenate([e.rows for e in run.stream])]
    run.train()
    trace = run.trace()
    at = trace.kind == Kind.STEP
    queries, means, rows = trace.score[at], [], trace.rows
    for done, score in enumerate(queries, start=1):
        exposed = np.unique(y[: done * 10])
        means.append((score[exposed].mean(), (score[exposed] * rows[exposed]).sum() / rows[exposed].sum()))
    values = {name: value.value for name, value in compute(trace, ("aaa", "a_auc", "wf10", "wp10")).items()}
    assert values["aaa"] == pytest.approx(np.mean([m for m, _ in means]), abs=1e-12)
    assert values["a_auc"] == pytest.approx(np.mean([m for _, m in means]), abs=1e-12)
    falls, rises = [], []
    for c in range(10):
        own = queries[int(np.flatnonzero(y == c)[0]) // 10 :, c]
        pairs = [(own[m], own[n]) for n in range(len(own)) for m in range(max(0, n - 9), n + 1)]
        falls.append(max(a - b for a, b in pairs))
        rises.append(max(b - a for a, b in pairs))
    assert values["wf10"] == pytest.approx(np.mean(falls), abs=1e-12)
    assert values["wp10"] == pytest.approx(np.mean(rises), abs=1e-12)


def test_a_domain_counts_from_its_own_first_row_although_its_classes_were_met_before():
    changes = ("stream={scenario: drift, dataset: {name: digits, train_rows: 200}, kind: swap, passes: 2}",)
    run = prepare(plan(SMALL, strategies=["naive"], seeds=1, overrides=changes).cells[0])
    first, step = {}, 0
    for e in run.stream:
        task = np.broadcast_to(np.asarray(e.task), len(e))
        for start in range(0, len(e), 10):
            for t in np.unique(task[start : start + 10]).tolist():
                first.setdefault(t, step)
            step += 1
    run.train()
    assert run.trace().counted.tolist() == [first[t] for t in range(len(run.stream.tasks))]


def test_a_record_without_first_rows_counts_from_the_piece_as_before():
    run = hidden("er", GAUSSIAN, 2, "evaluation.every=1")
    run.train()
    trace = run.trace()
    old = replace(trace, met=trace.met[:0], counted=trace.counted[:0])
    assert old.seen[trace.kind == Kind.STEP].sum() > trace.seen[trace.kind == Kind.STEP].sum()
    assert compute(old, ["a_auc"])["a_auc"].value != compute(trace, ["a_auc"])["a_auc"].value


def test_where_one_of_two_interleaved_streams_hides_boundaries_they_are_hidden():
    other = "{interleave: {other: {scenario: gaussian, experiences: 5}}}"
    changes = ("stream={scenario: split, experiences: 5, dataset: {name: digits, train_rows: 200}}",)
    changes += (f"stream.apply=[{other}]",)
    cells = [plan(SMALL, strategies=[s], seeds=1, overrides=changes).cells[0] for s in ("naive", "ewc(strength=1)")]
    with pytest.raises(Skip, match="visible boundaries"):
        prepare(cells[1])
    run, shown = prepare(cells[0]), {}
    run.chain.before_step = (lambda learner, batch: shown.setdefault(learner.experience, learner.classes.seen.clone()),)
    run.train()
    assert list(shown) == [0, None, 2, 4, 6, 8]
    assert set(run.stream[0].classes) == set(shown[0].nonzero()[:, 0].tolist())
    trace = run.trace()
    assert trace.counted[0] == 0  # a task of split, from the beginning of its experience
    assert all(trace.counted[5:] >= 4)  # those of gaussian, from their first rows
