"""View-batch: which rows come when, in which view, what views teach each other, and what memory is offered."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from support import batches, joined, ready, same_trace, stream_rows, train_until, trained
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.data.augment import AUGMENTERS
from clbench.running.prepare import Skip
from clbench.strategies.view_batch import ViewBatch, divergence
from clbench.testing import check_strategy
from clbench.training.learner import ExperienceView

PLAIN = "view_batch(views=4, strong=none, strength=0)"
WIDE = ("memory.size=300", "training.batch_size=8")


def orders(views, n, passes, *, shuffled=True):
    """What the part makes of the loop's order in each pass, and these orders."""
    part, experience = ViewBatch(views=views, strong=None), ExperienceView(torch.zeros(5, n, dtype=torch.int64), 0)
    rng = np.random.default_rng(0)
    given = [torch.from_numpy(rng.permutation(n) if shuffled else np.arange(n)) for _ in range(passes)]
    return [part.order(None, experience, e, order).tolist() for e, order in enumerate(given)], given


# ------------------------------------------------------------------------- which rows come when


def test_a_list_of_every_row_v_times_in_a_row_is_served_in_v_passes_of_the_usual_length():
    served, given = orders(3, 7, 6)
    for start in (0, 3):  # a true pass each, in the order drawn when it begins
        assert joined(served[start : start + 3]) == [row for row in given[start].tolist() for _ in range(3)]
    assert [len(each) for each in served] == [7] * 6


def test_between_the_last_view_of_a_visit_and_the_first_of_the_next_all_other_rows_come_v_times():
    n, views = 10, 4
    served = joined(orders(views, n, 3 * views, shuffled=False)[0])
    for row in range(n):
        places = [i for i, r in enumerate(served) if r == row]
        gaps = [b - a - 1 for a, b in pairwise(places)]
        assert [g for g in gaps if g] == [(n - 1) * views] * 2  # n - 1 for each of the usual passes
        assert len(places) == 3 * views


@pytest.mark.parametrize("passes", [1, 3, 5])
def test_rows_differ_by_at_most_v_in_how_often_they_were_learned_whenever_one_stops(passes):
    counts = Counter(dict.fromkeys(range(9), 0))
    counts.update(joined(orders(4, 9, passes)[0]))
    assert max(counts.values()) - min(counts.values()) <= 4
    assert sum(counts.values()) == 9 * passes


def test_there_are_as_many_steps_as_without_it_and_rows_of_the_same_experiences():
    ours, theirs = (batches(ready(s, "training.epochs=4")) for s in (PLAIN, "naive"))
    assert [len(b) for b in ours] == [len(b) for b in theirs]
    assert sorted(joined([b.rows.tolist() for b in ours])) == sorted(joined([b.rows.tolist() for b in theirs]))


@pytest.mark.parametrize("host", ["naive", "er", "icarl"])
def test_with_one_view_it_is_its_host_bit_for_bit(host):
    changes = ("training.augment=crop", "training.momentum=0.9", "training.epochs=7")
    ours, theirs = trained(f"{host} + view_batch(views=1)", *changes), trained(host, *changes)
    assert torch.equal(ours.learner.w, theirs.learner.w)
    assert same_trace(ours, theirs)


def test_rows_of_memory_that_are_merged_into_an_experience_are_repeated_too():
    seen = batches(ready("icarl + " + PLAIN, "training.epochs=4", "stream.experiences=2"))
    late = [b for b in seen if len(b.sources) > 1]
    counts = Counter(joined([b.rows[b.sources[1].span].tolist() for b in late]))
    assert len(counts) == 40
    assert set(counts.values()) == {4}
    own = Counter(joined([b.rows[b.stream.span].tolist() for b in late]))
    assert set(own.values()) == {4}


def test_an_order_that_is_the_point_of_a_stream_is_kept():
    changes = ("stream={scenario: online, dataset: {name: digits, train_rows: 60}}", "training.batch_size=4")
    plain = stream_rows(ready("naive", *changes))
    ours = joined(stream_rows(ready(PLAIN, *changes, "training.epochs=4")))
    assert ours[::4][: len(plain[0])] == plain[0]


# ------------------------------------------------------------------------- memory


@pytest.mark.parametrize("views", [3, 4])  # of batches of 8: visits fall into two batches, or do not
def test_memory_is_offered_every_row_once_in_the_first_true_pass(views):
    run = trained(f"er + view_batch(views={views}, strong=none)", *WIDE, f"training.epochs={2 * views}")
    kept = run.learner.memory.all().index[0].tolist()
    assert sorted(kept) == list(range(300))


def test_memory_is_offered_every_row_once_in_every_true_pass_where_it_asks_for_all():
    run = ready("er + view_batch(views=4, strong=none)", *WIDE, "training.epochs=8", "memory.admit=every_pass")
    offered, offer = Counter(), run.learner.memory.offer

    def counting(index, side=None, *, host, only):
        offered.update(host[0, only].tolist())
        assert (index.numpy() == host).all()
        return offer(index, side, host=host, only=only)

    run.learner.memory.offer = counting
    run.train()
    assert set(offered.values()) == {2}
    assert len(offered) == 300


def test_side_tensors_stay_with_the_rows_that_are_offered():
    run, met = ready("derpp(alpha=0.5, beta=0.5) + view_batch(views=4, strong=none)", *WIDE, "training.epochs=4"), {}

    def note(learner, batch):
        with torch.no_grad():
            logits = learner.model(batch.x)[0]
        for i in batch.offered.tolist():
            met[int(batch.rows[i])] = logits[i]

    run.chain.before_step += (note,)
    run.train()
    kept = run.learner.memory.all()
    for row, logits in zip(kept.index[0].tolist(), kept.side["logits"], strict=True):
        torch.testing.assert_close(logits, met[row])


# ------------------------------------------------------------------------- views and what they teach each other


def test_view_1_is_what_the_benchmark_shows_and_the_others_are_changed_further(monkeypatch):
    monkeypatch.setitem(AUGMENTERS, "rand-augment", lambda x, _: 1 - x)  # plain to see
    changes = ("training.augment=crop", "training.batch_size=12", "stream.dataset.normalize=mean-std")
    run = ready("view_batch(views=3, strong=rand_augment)", *changes, "training.epochs=3")
    resident = run.learner._rows
    resident.augment = lambda x, _: x / 2
    for batch in batches(run)[:5]:
        raw = resident.present(batch.rows, batch.index[3]) * resident._std + resident._mean
        shown = batch.x * resident._std + resident._mean
        first = torch.arange(len(batch)) % 3 == 0
        torch.testing.assert_close(shown[first], raw[first] / 2, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(shown[~first], 1 - raw[~first] / 2, atol=1e-5, rtol=1e-4)


def views_of(run, size):
    """The next batch of a run that stands within an experience."""
    learner, part = run.learner, run.chain.parts[0]
    index = run.trainer.enter(run.stream[run.cursor.experience]).index
    at = part.state["at"]
    order = part.state["order"][(part._begin() + torch.arange(len(part.state["order"]))) // part.views]
    batch = learner.batch(index[:, order[at : at + size]])
    part.batch(learner, batch)
    return part, batch


@pytest.mark.parametrize(("over", "share"), [("sum", 1.0), ("mean", 1 / 4)])
def test_the_term_is_the_mean_divergence_from_view_1_to_the_others_over_the_classes_that_compete(over, share):
    """Batches of 10 and 4 views: the second batch begins with two views whose view 1 is in the first."""
    setting = f"view_batch(views=4, strong=affine_cutout, strength=0.7, start_epoch=0, over_classes={over})"
    run = ready(setting, "training.augment=crop", "training.batch_size=10", "training.epochs=4")
    train_until(run, 4 * -(-len(run.stream[0]) // 10) + 1)  # one step into the second experience
    assert run.cursor.experience == 1
    assert run.learner.classes.seen.sum() == 4
    part, batch = views_of(run, 10)
    offset = int(part.state["at"] - 10 + part.state["epoch"] % 4 * len(part.state["order"])) % 4
    output = run.learner.model(batch.x)
    shares = output.logits[:, run.learner.classes.seen].softmax(1)
    assert offset == 2
    terms, teacher, visit = [], None, None
    for i in range(10):
        view = (offset + i) % 4
        if view == 0:
            teacher, visit = shares[i].detach(), batch.rows[i]
        elif teacher is not None:
            assert batch.rows[i] == visit
            terms.append((teacher * (teacher / shares[i]).log()).sum())
    found = part.loss(run.learner, batch, output)
    expected = 0.7 * share * torch.stack(terms).mean()
    assert found > 1e-4
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    weights = tuple(run.learner.model.parameters())
    ours, theirs = (torch.autograd.grad(value, weights, retain_graph=True) for value in (found, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_the_divergence_is_torchs_own_and_finite_where_classes_do_not_compete():
    teacher, pupil = (torch.randn(5, 6, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    pupil.requires_grad_()
    all_of_them = torch.ones(5, 6, dtype=torch.bool)
    reference = F.kl_div(pupil.log_softmax(1), teacher.softmax(1), reduction="none").sum(1)
    torch.testing.assert_close(divergence(teacher, pupil, all_of_them), reference)
    few = all_of_them.clone()
    few[:, 3:] = False
    cut = F.kl_div(pupil[:, :3].log_softmax(1), teacher[:, :3].softmax(1), reduction="none").sum(1)
    found = divergence(teacher, pupil, few)
    torch.testing.assert_close(found, cut)
    (gradient,) = torch.autograd.grad(found.sum(), pupil)
    assert torch.isfinite(gradient).all()
    assert (gradient[:, 3:] == 0).all()


def test_labels_do_not_tell_views_apart_and_neighbours_of_one_class_do_not_teach_each_other():
    """One class per experience: all rows have the same label, and identical views diverge from nothing."""
    ours, theirs = (
        trained(f"view_batch(views=2, strong=none, strength={s}, start_epoch=0)", "stream.experiences=10")
        for s in (100, 0)
    )
    torch.testing.assert_close(ours.learner.w, theirs.learner.w, atol=1e-6, rtol=1e-4)


def test_the_term_sets_in_with_the_stated_pass():
    first = len(ready("naive").stream[0])
    steps = 3 * -(-first // 16)
    settings = ("training.augment=crop", "training.epochs=6", "stream.output=all")
    for step, same in ((steps, True), (steps + 1, False)):
        ours, theirs = (
            train_until(ready(f"view_batch(views=2, strong=crop, strength={s}, start_epoch=3)", *settings), step)
            for s in (1, 0)
        )
        assert torch.equal(ours.learner.w, theirs.learner.w) is same


# ------------------------------------------------------------------------- company


@pytest.mark.parametrize("prop", ["deterministic", "resumable", "unwatched", "randomness", "memory", "future"])
@pytest.mark.parametrize("host", ["er", "icarl", "derpp(alpha=0.5, beta=0.5)"])
def test_with_strong_views_and_a_host_the_contract_is_kept(host, prop):
    check_strategy(f"{host} + view_batch(views=3, start_epoch=0)", prop)


def test_where_boundaries_are_hidden_there_is_no_list_of_all_rows_to_make():
    with pytest.raises(Skip, match="needs visible boundaries"):
        ready(PLAIN, "stream.boundaries=false")
    assert trained("view_batch(views=1)", "stream.boundaries=false").learner.cost.steps > 0


def test_impossible_settings_are_refused_or_skipped():
    with pytest.raises(Skip, match="several views"):
        ready("view_batch(strong=auto_augment)")
    with pytest.raises(Refused, match="did you mean 'rand-augment'"):
        ready("view_batch(strong=randaugment)")
    with pytest.raises(Refused, match="define the views of a sample"):
        ready("view_batch(views=2) + pcr(views=1)")
