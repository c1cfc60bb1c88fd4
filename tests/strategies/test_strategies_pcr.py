"""PCR and HPCR: the proxy contrast and its additions by hand, what a batch holds, runs told again in plain torch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support import batches, ready, train_until, trained
from torch import nn
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.families.class_mask import ClassMask
from clbench.models.output import Output
from clbench.running.prepare import Skip
from clbench.strategies.hpcr import score_distance, similarity_loss
from clbench.strategies.pcr import contrast, swing
from clbench.testing import check_strategy

VIEWS = "training.augment=crop"


def made(rows, classes, seed=0):
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ------------------------------------------------------------------------- the contrast


def test_with_every_class_present_exactly_once_the_contrast_is_the_cross_entropy_of_the_scores():
    scores, y = made(6, 6), torch.tensor([3, 0, 5, 1, 2, 4])
    assert float(contrast(scores, y)) == pytest.approx(float(F.cross_entropy(scores, y)), rel=1e-12)


def test_a_class_weighs_in_the_denominator_as_often_as_it_occurs():
    """One row of class 0 and k of class 1; scores of the first row are log 2 and log 3: the share is 2 / (2 + 3 k)."""
    for k in (1, 2, 5):
        scores = torch.tensor([[2.0, 3.0]]).log().expand(1 + k, 2).double()
        found = contrast(scores, torch.tensor([0] + [1] * k))
        own, other = math.log((2 + 3 * k) / 2), math.log((2 + 3 * k) / 3)
        assert float(found) == pytest.approx((own + k * other) / (1 + k), rel=1e-6)


def test_proxies_of_absent_classes_get_no_gradient_at_all_and_under_cross_entropy_they_do():
    scores, y = made(5, 7).requires_grad_(), torch.tensor([1, 1, 4, 6, 4])
    (ours,) = torch.autograd.grad(contrast(scores, y), scores)
    (plain,) = torch.autograd.grad(F.cross_entropy(scores, y), scores)
    absent = [0, 2, 3, 5]
    assert (ours[:, absent] == 0).all()
    assert (plain[:, absent] != 0).all()
    assert torch.isfinite(ours).all()


def loops(scores, y, features=None, temperature=1.0):
    """The contrast as it is written in words."""
    terms = []
    for i in range(len(y)):
        below = [math.exp(scores[i][y[j]]) for j in range(len(y))]
        positives = [scores[i][y[j]] for j in range(len(y)) if y[j] == y[i]]
        if features is None:
            terms.append(math.log(sum(below)) - scores[i][y[i]])
            continue
        for k in set(range(len(y))) - {i}:
            a, b = features[i], features[k]
            s = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) / temperature
            below.append(math.exp(s))
            positives += [s] if y[k] == y[i] else []
        terms.append(-np.mean([p - math.log(sum(below)) for p in positives]))
    return float(np.mean(terms))


def test_the_contrast_is_a_plain_double_loop_with_and_without_pairs_of_rows():
    scores, features, y = made(7, 5), made(7, 4, seed=1), torch.tensor([0, 3, 3, 1, 0, 3, 4])
    plain = [t.numpy() for t in (scores, y, features)]
    assert float(contrast(scores, y)) == pytest.approx(loops(*plain[:2]), rel=1e-9)
    found = contrast(scores, y, features=features, temperature=0.3)
    assert float(found) == pytest.approx(loops(*plain, 0.3), rel=1e-9)


def test_classes_that_may_not_compete_on_a_row_are_left_out_of_its_sum():
    scores, y = made(4, 4), torch.tensor([0, 1, 2, 3])
    allowed = torch.tensor([[1, 1, 0, 0]] * 2 + [[0, 0, 1, 1]] * 2, dtype=torch.bool)
    halves = [contrast(scores[:2], y[:2]), contrast(scores[2:], y[2:])]
    assert float(contrast(scores, y, class_mask=ClassMask(allowed))) == pytest.approx(float(sum(halves)) / 2, rel=1e-12)
    features = made(4, 3, seed=2)
    halves = [contrast(scores[h], y[h], features=features[h]) for h in (slice(2), slice(2, 4))]
    found = contrast(scores, y, class_mask=ClassMask(allowed), features=features)
    assert float(found) == pytest.approx(float(sum(halves)) / 2, rel=1e-12)


# ------------------------------------------------------------------------- batches and runs


def test_a_batch_holds_every_row_raw_and_once_more_augmented():
    run = ready("pcr(views=2)", VIEWS)
    seen = batches(run)
    batch = seen[6]
    own, drawn, second, again = (batch.index[:, s.span] for s in batch.sources)
    assert torch.equal(own, second)
    assert torch.equal(drawn, again)
    assert own.shape[1] == drawn.shape[1] == 16
    raw = run.learner._rows.present(batch.index[0], batch.index[3])
    assert torch.equal(batch.x[:32], raw[:32])
    assert not torch.equal(batch.x[32:], raw[32:])
    assert [len(s) for s in seen[0].sources] == [16, 16]  # memory is empty
    rows = run.learner.memory.all().index[0].tolist()
    assert len(set(rows)) == len(rows) == 40  # the second views are not kept


def test_a_run_is_the_one_that_plain_torch_makes_of_the_same_batches():
    run = ready("pcr(views=2, temperature=0.2)", VIEWS, "training.lr=0.05")
    w = {name: p.detach().clone().requires_grad_() for name, p in run.learner.model.named_parameters()}
    hidden, head = [n for n in w if "layers" in n], w["head.weight"]
    bias = w["head.bias"].detach().clone()
    for batch in batches(run):
        z = torch.relu(F.linear(batch.x.flatten(1), *(w[n] for n in hidden)))
        cosine = F.cosine_similarity(z[:, None], head[batch.y][None], dim=2)  # (A, A), column j the proxy of row j
        loss = -(cosine / 0.2).log_softmax(1).diagonal().mean()
        grads = torch.autograd.grad(loss, [*(w[n] for n in hidden), head])
        with torch.no_grad():
            for p, g in zip([*(w[n] for n in hidden), head], grads, strict=True):
                p -= 0.05 * g
    for name, p in run.learner.model.named_parameters():
        torch.testing.assert_close(p, w[name], atol=1e-5, rtol=1e-4)
    assert torch.equal(run.learner.model.head.bias, bias)  # no row moves it


def test_predictions_follow_the_angle_to_the_proxies_and_not_their_length_or_the_bias():
    run = trained("pcr(views=1)", "evaluation.every=0")
    learner, x = run.learner, run.evaluator.panels._test.present(torch.arange(60), torch.zeros(60, dtype=torch.int64))
    with torch.no_grad():
        scores = run.trainer.readout.predict(learner.model(x), None)
        z = learner.model(x).features
        cosine = F.cosine_similarity(z[:, None], learner.model.head.weight[None], dim=2)
        torch.testing.assert_close(scores, cosine / 0.09)
        learner.model.head.weight[2] *= 50
        learner.model.head.bias[3] += 1000
        torch.testing.assert_close(run.trainer.readout.predict(learner.model(x), None), scores)


def test_a_batch_that_meets_an_empty_memory_is_learned_or_skipped_and_kept_either_way():
    start = ready("pcr(views=1)").learner.w.detach().clone()
    learned, skipped = (train_until(ready(f"pcr(views=1, empty={e})"), 1) for e in ("learn", "skip"))
    assert torch.equal(skipped.learner.w, start)
    assert not torch.equal(learned.learner.w, start)
    assert len(skipped.learner.memory) == len(learned.learner.memory) == 16
    assert not torch.equal(train_until(ready("pcr(views=1, empty=skip)"), 2).learner.w, start)


def test_boundaries_may_be_hidden_and_tasks_may_have_heads_of_their_own():
    hidden, shown = (trained("pcr(views=1)", f"stream.boundaries={b}") for b in ("false", "true"))
    assert torch.equal(hidden.learner.w, shown.learner.w)
    task = trained("pcr(views=1)", "stream.setting=task", "model.heads=separate", "training.epochs=3")
    assert task.evaluator.trace().score[-1].mean() > 0.7


def test_impossible_settings_are_refused_or_skipped():
    with pytest.raises(Skip, match="several views"):
        ready("pcr(views=2)")
    with pytest.raises(Skip, match="several views"):
        ready("hpcr(views=2)")
    with pytest.raises(Skip, match="needs a replay buffer"):
        ready("pcr(views=1)", "memory.size=0")
    with pytest.raises(Refused, match="both set the"):
        ready("pcr(views=1) + er_aml")

    class Headless(nn.Module):
        def __init__(self, shape, n_outputs):
            super().__init__()
            self.head = nn.ParameterList([nn.Parameter(torch.zeros(n_outputs, math.prod(shape)))])

        def forward(self, x):
            return Output(x.flatten(1) @ self.head[0].T, x.flatten(1))

    with pytest.raises(Refused, match="no linear layer 'head'"):
        train_until(ready("pcr(views=1)", model=Headless), 1)


def test_with_small_memory_it_is_above_er_in_one_pass_in_the_class_incremental_setting():
    """The rows it gets right are of old classes, where er predicts the newest ones."""
    settings = ("training.batch_size=10", "memory.size=50", "stream.dataset.train_rows=600", "evaluation.every=0")
    found = {
        name: np.mean([trained(name, *settings, seed=i).evaluator.trace().score[-1].mean() for i in (0, 1, 2)])
        for name in ("pcr(views=1)", "er(start=any)")
    }
    assert found["pcr(views=1)"] > found["er(start=any)"]


# ------------------------------------------------------------------------- HPCR


def test_the_factor_swings_from_the_smallest_to_the_largest_and_back_within_a_period():
    assert [swing(i, 0.5625, 1.8, 500) for i in (0, 250, 500)] == pytest.approx([0.5625, 1.8, 0.5625])
    assert swing(125, 0.5625, 1.8, 500) == pytest.approx((0.5625 + 1.8) / 2)


@pytest.mark.parametrize(("boundaries", "again"), [("true", 0), ("false", 4)])
def test_the_factor_begins_anew_with_every_visible_experience(boundaries, again):
    run = train_until(ready("hpcr(views=1, alpha=0, beta=0)", f"stream.boundaries={boundaries}"), 5)
    assert run.cursor.experience == 1
    assert run.chain.parts[0].state["step"] == again


def test_scores_are_matched_in_the_columns_of_the_joint_batch_with_multiplicity():
    now, before = made(3, 4), made(3, 4, seed=1)
    y = torch.tensor([2, 0, 2, 2])
    expected = np.mean([(now[i, c] - before[i, c]).item() ** 2 for i in range(3) for c in y.tolist()])
    assert float(score_distance(now, before, y)) == pytest.approx(expected, rel=1e-12)


def test_similarities_are_distilled_as_a_plain_double_loop_says_and_rest_where_nothing_has_changed():
    now, kept = made(5, 3), made(5, 3, seed=1)

    def shares(z, i):
        z = z / z.norm(dim=1, keepdim=True)
        each = {k: math.exp(float(z[i] @ z[k]) / 0.5) for k in range(5) if k != i}
        return {k: v / sum(each.values()) for k, v in each.items()}

    terms = [
        -sum(p * math.log(q) for p, q in zip(shares(kept, i).values(), shares(now, i).values(), strict=True))
        for i in range(5)
    ]
    assert float(similarity_loss(now, kept, 0.5)) == pytest.approx(np.mean(terms), rel=1e-9)
    still = (3 * kept).requires_grad_()  # lengths do not count
    (gradient,) = torch.autograd.grad(similarity_loss(still, kept, 0.5), still)
    assert gradient.abs().max() < 1e-12


def test_without_its_additions_it_is_pcr_bit_for_bit_and_in_the_code_that_was_released_distillation_is_dead():
    plain = "factor_min=1, factor_max=1"
    ours = trained(f"hpcr(views=2, alpha=0, beta=0, {plain})", VIEWS)
    assert torch.equal(ours.learner.w, trained("pcr(views=2)", VIEWS).learner.w)
    assert torch.equal(trained(f"hpcr(views=2, form=code, {plain})", VIEWS).learner.w, ours.learner.w)
    assert not torch.equal(trained("hpcr(views=2, alpha=0, beta=0)", VIEWS).learner.w, ours.learner.w)
    assert not torch.equal(trained(f"hpcr(views=2, {plain}, sample_pairs=on)", VIEWS).learner.w, ours.learner.w)


def test_pairs_of_rows_may_wait_for_a_batch_size():
    on, off, at, above = (
        trained(f"hpcr(views=1, sample_pairs={pairs})").learner.w for pairs in ("on", "off", "16", "17")
    )
    # the last batch of an experience is smaller than 16, and so from 16 on is not quite always on
    assert torch.equal(above, off)
    assert not torch.equal(at, off)
    assert not torch.equal(on, off)


def test_distillation_sets_in_with_the_second_experience():
    ends = ready("naive").stream
    first = -(-len(ends[0]) // 16)
    for step, same in ((first, True), (first + 1, False)):
        ours, theirs = (train_until(ready(f"hpcr(views=1, form={f})"), step) for f in ("paper", "code"))
        assert torch.equal(ours.learner.w, theirs.learner.w) is same


def test_memory_keeps_the_scores_and_features_of_the_raw_view_in_the_step_in_which_a_row_was_met():
    run, met = ready("hpcr(views=2, empty=skip)", VIEWS), {}
    run.chain.before_step += (lambda learner, batch: met.update(_known(learner, batch)),)
    run.train()
    kept = run.learner.memory.all()
    known = [i for i, row in enumerate(kept.index[0].tolist()) if row in met]
    assert len(known) > 25
    for i in known:
        scores, features = met[kept.index[0, i].item()]
        torch.testing.assert_close(kept.side["scores"][i], scores)
        torch.testing.assert_close(kept.side["features"][i], features)
    assert (kept.side["scores"].abs().sum(1) > 0).all()  # rows of the batch that was skipped have them too


def _known(learner, batch):
    """Scores and features of the stream's rows under the weights before the step, from raw inputs."""
    index = batch.index[:, batch.stream.span]
    with torch.no_grad():
        z = learner.model(learner._rows.present(index[0], index[3])).features
        scores = F.cosine_similarity(z[:, None], learner.model.head.weight[None], dim=2) / 0.09
    return dict(zip(index[0].tolist(), zip(scores, z, strict=True), strict=True))


def test_the_loss_of_a_step_is_the_contrast_times_its_factor_plus_both_distillations():
    run = train_until(ready("hpcr(views=2, alpha=0.3, beta=0.7)", VIEWS, "stream.output=all"), 9)
    learner, (proxy, distil) = run.learner, run.chain.parts
    batch = learner.batch(run.trainer.enter(run.stream[run.cursor.experience]).index[:, 16:26])
    for part in (proxy, distil):
        part.batch(learner, batch)
    output = learner.model(batch.x)
    s = F.cosine_similarity(output.features[:, None], learner.model.head.weight[None], dim=2) / 0.09
    a = batch.sources
    assert [len(source) for source in a] == [10, 10, 10, 10]
    assert a[3].side["scores"] is a[1].side["scores"]
    old = [*range(10, 20), *range(30, 40)]
    stored, z = a[1].side["scores"].repeat(2, 1), a[1].side["features"].repeat(2, 1)
    expected = swing(proxy.state["step"], 0.5625, 1.8, 500) * -s[:, batch.y].log_softmax(1).diagonal().mean()
    expected = expected + 0.3 * F.mse_loss(s[old][:, batch.y], stored[:, batch.y])
    off = ~torch.eye(20, dtype=torch.bool)
    pairs = [F.cosine_similarity(f[:, None], f[None], dim=2) / 0.09 for f in (z, output.features[old])]
    similar = [each[off].view(20, 19) for each in pairs]
    expected = expected + 0.7 * F.cross_entropy(similar[1], similar[0].softmax(1))
    torch.testing.assert_close(learner.loss(batch, output), expected)


@pytest.mark.parametrize("prop", ["deterministic", "resumable", "unwatched", "randomness", "second_model", "state"])
@pytest.mark.parametrize("strategy", ["pcr", "hpcr(empty=skip, sample_pairs=10)"])
def test_with_two_views_the_contract_is_kept_too(strategy, prop):
    check_strategy(strategy, prop)


def test_a_factor_that_swings_from_more_to_less_is_refused():
    with pytest.raises(Refused, match="factor_min = 2 is above factor_max = 1"):
        ready("hpcr(factor_min=2, factor_max=1)")
