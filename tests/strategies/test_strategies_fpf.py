"""Fine-tuning of modules on memory: against a plain loop of its own, what moves and what stands, when, and on what."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import pytest
import torch
from support import assert_same, everything, ready, same_trace, train_until, trained
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.models.weight_groups import groups, layers, mask
from clbench.running.plan import plan
from clbench.running.prepare import Skip, prepare
from clbench.training.batch import ROW, Y

RESNET = ("model={name: resnet, width: 2, norm: batch}", "stream.dataset.train_rows=100", "evaluation.every=0")
CNN = ("model={name: cnn, width: 2, hidden: 8}", "stream.dataset.train_rows=100", "evaluation.every=0")


def at_the_end(strategy, *changes):
    """Train up to the end of the stream: the run, its model then, and all rounds left to do."""
    run = ready(strategy, *changes)
    finish, run.chain.end_stream = run.chain.end_stream, ()
    run.train()
    return run, copy.deepcopy(run.learner.model), finish


def free(run, text):
    from clbench.models.weight_groups import select

    found = groups(layers(run.learner.model, run.learner.slices))
    return mask(select(found, text), run.learner.w)


# ------------------------------------------------------------------------- what a round does


@pytest.mark.parametrize("lr", [None, 0.03])
def test_a_round_is_plain_sgd_on_the_head_over_memory_at_a_rate_that_falls_along_a_cosine(lr):
    setting = "" if lr is None else f", lr={lr}"
    run, model, finish = at_the_end(f"fpf(modules=head, iters=17, batch_size=9{setting})", "training.momentum=0.9")
    memory = run.learner.memory.all()
    rows, labels = memory.index[ROW], memory.index[Y]
    x = torch.from_numpy(run.stream.dataset.train.x)[rows].float() * run.stream.dataset.scale
    generator = Generator(0, "part/FPF/0")
    drawn = torch.from_numpy(generator.sample(len(rows), len(rows)))
    x, labels, order = x[drawn], labels[drawn], []
    for step in range(17):
        if not order:
            order = generator.permutation(len(rows)).tolist()
        chosen, order = order[:9], order[9:]
        loss = F.cross_entropy(model(x[chosen]).logits, labels[chosen])
        gradients = torch.autograd.grad(loss, list(model.head.parameters()))
        rate = (lr or 0.1) * 0.5 * (1 + math.cos(math.pi * step / 17))
        with torch.no_grad():
            for parameter, gradient in zip(model.head.parameters(), gradients, strict=True):
                parameter -= rate * gradient
    finish[0](run.learner)
    for ours, theirs in zip(run.learner.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("modules", ["head", "stem", "norm", "conv2+norm1", "fc+head", "all"])
def test_only_the_modules_named_move_and_nothing_stays_frozen(modules):
    run, _, finish = at_the_end(f"er + fpf(modules='{modules}', iters=3)", *CNN)
    before = run.learner.w.detach().clone()
    finish[0](run.learner)
    moved = run.learner.w.detach() != before
    named = free(run, modules)
    assert not bool((moved & ~named).any())
    assert int((moved & named).sum()) > 0.3 * int(named.sum())  # relu and pooling leave some gradients at zero
    assert run.learner.frozen is None


def test_momentum_of_the_stream_is_neither_used_nor_touched():
    run, _, finish = at_the_end("fpf(iters=5)", "training.momentum=0.9")
    before = {k: v.clone() for k, v in run.trainer.steps.optimizer.state[run.learner.w].items() if v is not None}
    finish[0](run.learner)
    assert before
    for name, value in before.items():
        assert torch.equal(run.trainer.steps.optimizer.state[run.learner.w][name], value)


def test_no_steps_leave_the_weights_of_the_method_that_it_joins_bit_for_bit():
    for method in ("naive", "er"):
        ours = trained(f"{method} + fpf(iters=0)" if method != "naive" else "fpf(iters=0)", "model.dropout=0.3")
        theirs = trained(method, "model.dropout=0.3")
        assert torch.equal(ours.learner.w, theirs.learner.w)
        assert ours.learner.cost.steps == theirs.learner.cost.steps


def test_the_steps_and_rows_of_a_round_are_counted():
    costs = [trained(f"fpf(iters={iters}, batch_size=40)").learner.cost for iters in (0, 7)]
    assert costs[1].steps - costs[0].steps == 7
    assert costs[1].extra_backward_rows - costs[0].extra_backward_rows == 7 * 40


def test_an_empty_memory_is_a_skipped_cell_and_an_unknown_module_is_refused_at_the_first_step():
    with pytest.raises(Skip, match="memory"):
        ready("fpf", "memory.size=0")
    run = ready("fpf(modules=haed)")
    with pytest.raises(Refused, match="its modules are fc1, head"):
        run.train()
    assert run.cursor.step == 0


# ------------------------------------------------------------------------- stored logits


def test_logits_are_those_of_the_step_in_which_a_row_was_offered():
    run = ready("fpf(loss=kd, alpha=0.5, iters=2)", "training.epochs=2")
    assert run.learner.memory.admit_when == "every_pass"
    offered: dict[int, list[torch.Tensor]] = {}

    def note(learner, batch, output):
        for row, logits in zip(batch.rows.tolist(), output.logits.detach(), strict=True):
            offered.setdefault(row, []).append(logits.clone())

    run.chain.loss += (note,)
    run.train()
    memory = run.learner.memory.all()
    for row, logits in zip(memory.index[ROW].tolist(), memory.side["logits"], strict=True):
        assert any(torch.equal(logits, seen) for seen in offered[row])


def test_distillation_adds_alpha_times_the_mean_squared_distance_to_stored_logits():
    run, model, finish = at_the_end("fpf(modules=head, iters=1, batch_size=40, loss=kd, alpha=0.7, lr=0.5)")
    memory = run.learner.memory.all()
    x = torch.from_numpy(run.stream.dataset.train.x)[memory.index[ROW]].float() * run.stream.dataset.scale
    logits = model(x).logits
    loss = F.cross_entropy(logits, memory.index[Y]) + 0.7 * F.mse_loss(logits, memory.side["logits"])
    gradients = torch.autograd.grad(loss, list(model.head.parameters()))
    finish[0](run.learner)
    for now, then, gradient in zip(
        run.learner.model.head.parameters(), model.head.parameters(), gradients, strict=True
    ):
        torch.testing.assert_close(now, then - 0.5 * gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("wrong", ["loss=kd", "alpha=0.5"])
def test_alpha_belongs_to_distillation_and_has_to_be_given(wrong):
    with pytest.raises(Refused, match="alpha"):
        ready(f"fpf({wrong})")


# ------------------------------------------------------------------------- running statistics


def statistics(run):
    return {name: b.clone() for name, b in run.learner.model.named_buffers() if ".running_" in name}


@pytest.mark.parametrize(
    ("modules", "how", "moving"),
    [
        ("head", "update", ()),
        ("head", "recompute", ()),
        ("all", "hold", ()),
        ("norm0", "update", ("stem_norm",)),
        ("head+norm0", "recompute", ("stem_norm",)),
        ("norm2", "update", ("blocks.2", "blocks.3")),
    ],
)
def test_only_statistics_of_chosen_norms_move_and_only_if_asked(modules, how, moving):
    run, _, finish = at_the_end(f"fpf(modules='{modules}', iters=2, statistics={how})", *RESNET)
    modes = [m.training for m in run.learner.model.modules()]
    before = statistics(run)
    finish[0](run.learner)
    for name, value in statistics(run).items():
        assert torch.equal(value, before[name]) != name.startswith(moving), name
    assert [m.training for m in run.learner.model.modules()] == modes


def test_recalibration_alone_moves_no_weight_and_gives_the_mean_and_variance_over_memory():
    run, model, finish = at_the_end("fpf(modules=norm0, iters=0, statistics=recompute)", *RESNET)
    before = run.learner.w.detach().clone()
    finish[0](run.learner)
    memory = run.learner.memory.all()
    x = torch.from_numpy(run.stream.dataset.train.x)[memory.index[ROW]].float() * run.stream.dataset.scale
    with torch.no_grad():
        y = model.stem(x).transpose(0, 1).flatten(1)  # (channels, rows · height · width)
    norm = run.learner.model.stem_norm
    torch.testing.assert_close(norm.running_mean, y.mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, y.var(1), rtol=1e-4, atol=1e-5)
    assert norm.momentum == 0.1
    assert torch.equal(run.learner.w, before)


# ------------------------------------------------------------------------- measured modules


def test_the_modules_that_change_most_are_measured_between_the_ends_of_experiences():
    run, ends = ready("fpf(modules='sensitive: q=1', iters=1)", *CNN), []
    run.chain.end_experience += (lambda learner, _: ends.append(learner.w.detach().clone()),)
    run.train()
    found = groups(layers(run.learner.model, run.learner.slices))
    shares = []
    for old, new in pairwise(ends):
        change = [sum(float((new - old)[p.start : p.stop].abs().sum()) for p in g.places) / g.size for g in found]
        shares.append([c / sum(change) for c in change])
    mean = [sum(column) for column in zip(*shares, strict=True)]
    torch.testing.assert_close(run.chain.parts[0].state["share"][: len(found)], torch.tensor(mean))
    assert run.chain.parts[0].state["modules"] == found[mean.index(max(mean))].name


def test_a_percentage_takes_modules_until_so_many_weights_are_reached():
    run = trained("fpf(modules='sensitive: p=50', iters=0)", *CNN)
    found = groups(layers(run.learner.model, run.learner.slices))
    share = dict(zip([g.name for g in found], run.chain.parts[0].state["share"].tolist(), strict=False))
    ranked, taken, size = sorted(found, key=lambda g: -share[g.name]), set(), 0
    for group in ranked:
        if size < 0.5 * run.learner.w.numel():
            taken.add(group.name)
            size += group.size
    assert set(run.chain.parts[0].state["modules"].split("+")) == taken
    assert 0 < len(taken) < len(found)


def test_sensitive_and_insensitive_choose_from_opposite_ends():
    most, least = (
        trained(f"fpf(modules='{w}: q=2', iters=0)", *CNN).chain.parts[0].state["modules"].split("+")
        for w in ("sensitive", "insensitive")
    )
    assert len(most) == len(least) == 2
    assert not set(most) & set(least)


@pytest.mark.parametrize("text", ["sensitive", "sensitive: q=0", "sensitive: q=1.5", "insensitive: p=200"])
def test_a_choice_that_cannot_be_read_is_refused(text):
    with pytest.raises(Refused, match="modules"):
        ready(f"fpf(modules='{text}')")


# ------------------------------------------------------------------------- when


def rounds(strategy, *changes, **given):
    """Train, and return the steps of the stream after which a round began."""
    run, seen = ready(strategy, *changes, **given), []
    fit = run.learner.side_work.fit
    run.learner.side_work.fit = lambda *args, **kwargs: (
        seen.append(run.chain.parts[0].state["steps"]),
        fit(*args, **kwargs),
    )[1]
    run.train()
    return seen, run


def test_by_default_the_only_round_is_at_the_end_of_the_stream():
    seen, run = rounds("fpf")
    assert seen == [run.cursor.step]


def test_at_boundaries_a_round_follows_every_experience():
    seen, run = rounds("fpf(when=boundary)")
    steps = [-(-len(e) // 16) for e in run.stream]
    assert seen == [sum(steps[: n + 1]) for n in range(5)]
    with pytest.raises(Skip, match="boundaries"):
        ready("fpf(when=boundary)", "stream.boundaries=false")


@pytest.mark.parametrize("k", [1, 3, 4, 7])
def test_k_rounds_follow_the_steps_of_the_stream_and_the_last_ends_it(k):
    seen, run = rounds(f"k_fpf(k={k}, every=none, iters=1)", "reveal=[length]", "stream.boundaries=false")
    total = run.cursor.step
    assert total == run.learner.total_steps
    assert seen == [*(n * (total // k) for n in range(1, k)), total]


def test_k_is_the_number_of_experiences_unless_given_and_needs_the_length():
    assert len(rounds("k_fpf(every=none, iters=1)", "reveal=[length]")[0]) == 5
    with pytest.raises(Skip, match="length"):
        ready("k_fpf(every=none)", "reveal=[]")


def test_a_period_in_steps_needs_no_length_and_does_not_end_with_two_rounds_in_one_place():
    seen, run = rounds("k_fpf(every=8, iters=1)")
    assert seen == [*range(8, run.cursor.step, 8), run.cursor.step]
    seen, run = rounds(f"k_fpf(every={run.cursor.step}, iters=1)")
    assert seen == [run.cursor.step]


def test_where_memory_is_filled_at_the_ends_of_experiences_the_last_round_meets_the_newest_classes():
    changes, newest = ("memory.admit=end", "training.epochs=2"), {}
    total = trained("naive", *changes).cursor.step
    for every in (8, total):  # 8 does not divide the steps of the stream; the other falls on the last of them
        run = ready(f"k_fpf(every={every}, iters=1)", *changes)
        fit = run.learner.side_work.fit

        def note(rows, *args, every=every, run=run, fit=fit, **kwargs):
            newest[every] = set(rows.index[Y].tolist()) & set(run.stream[4].classes)
            fit(rows, *args, **kwargs)

        run.learner.side_work.fit = note
        run.train()
    assert newest == {8: set(run.stream[4].classes), total: set(run.stream[4].classes)}


def test_a_round_without_rows_to_train_on_is_none():
    seen, run = rounds("k_fpf(k=5, every=none, iters=1)", "reveal=[length]", "memory.admit=end")
    period, first = run.cursor.step // 5, -(-len(run.stream[0]) // 16)
    due = [n * period for n in range(1, 5) if n * period > first]
    assert seen == [*due, run.cursor.step]
    assert len(due) < 4
    assert run.chain.parts[0].state["rounds"] == len(seen)


def test_a_round_begins_at_the_rate_of_the_benchmark_whatever_its_schedule_has_made_of_it():
    began = []
    for strategy in ("fpf(modules=head, iters=3)", "k_fpf(every=8, modules=head, iters=3)"):
        run = ready(strategy, "training.lr_schedule={linear: {end: 0}}")
        side_work, fit = run.learner.side_work, run.learner.side_work.fit
        side_work.fit = lambda *args, fit=fit, **kwargs: (began.append(kwargs["lr"]), fit(*args, **kwargs))[1]
        run.train()
        assert run.learner.lr == 0.0
        assert run.learner.base_lr == 0.1
    assert len(began) > 2
    assert set(began) == {0.1}


def test_two_ways_to_say_when_are_refused():
    with pytest.raises(Refused, match="both say when"):
        ready("k_fpf(k=2, every=8)")


def test_between_rounds_the_stream_is_learned_as_by_naive():
    ours, theirs = ready("k_fpf(every=1000)"), ready("naive")
    ours.chain.end_stream = ()
    for run in (ours, theirs):
        run.train()
    assert torch.equal(ours.learner.w, theirs.learner.w)
    assert same_trace(ours, theirs)
    assert torch.equal(ours.learner.memory.all().index, theirs.learner.memory.all().index)


def test_a_round_in_the_middle_of_an_experience_resumes_bit_for_bit():
    strategy, changes = "k_fpf(every=5, iters=3, loss=kd, alpha=0.5)", ("training.epochs=2",)
    whole = trained(strategy, *changes)
    stopped = train_until(ready(strategy, *changes), 13)
    resumed = ready(strategy, *changes)
    resumed.restore(stopped.snapshot())
    resumed.train()
    assert_same(everything(resumed), everything(whole))


# ------------------------------------------------------------------------- what it is for


def test_the_head_alone_on_a_balanced_memory_mends_much_of_what_plain_training_forgot():
    scores = {}
    for strategy in ("naive", "fpf(modules=head, iters=100)"):
        benchmark = plan(
            "split-digits@1", strategies=[strategy], seeds=[0], overrides=("evaluation.every=0", "memory.size=200")
        )
        run = prepare(benchmark.cells[0])
        run.train()
        scores[strategy] = run.evaluator.trace().score[-1].mean()
    assert scores["naive"] < 0.25
    assert scores["fpf(modules=head, iters=100)"] > scores["naive"] + 0.1
