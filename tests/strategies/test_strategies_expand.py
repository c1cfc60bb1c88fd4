"""A backbone for each experience: what is frozen, what begins where, the loss by hand, and one experience alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support import Disturbable, assert_same, everything, ready, trained

from clbench.core.errors import Refused
from clbench.models.expanded import Expanded
from clbench.running.prepare import Skip
from clbench.strategies.expand import expanded
from clbench.training.batch import Y

ADAM = ("training.optimizer=adam", "training.lr=0.01", "training.weight_decay=0.1", "training.epochs=2")


def ends(run):
    """The states of all backbones before the first step, at begins and at ends of experiences, and the run."""
    net, begins, kept = expanded(run.learner), [], []
    copies = [{k: v.clone() for k, v in b.state_dict().items()} for b in net.backbones]

    def now():
        return [{k: v.clone() for k, v in b.state_dict().items()} for b in net.backbones]

    run.chain.begin_experience += (lambda *_: begins.append(now()),)
    run.chain.end_experience += (lambda *_: kept.append(now()),)
    run.train()
    return copies, begins, kept


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("model", [None, Disturbable])
def test_old_backbones_keep_their_bits_and_statistics_under_adam_with_decay(model):
    first, begins, kept = ends(ready("expand", *ADAM, model=model))
    assert len(kept) == 5
    for number in range(5):
        assert not same(kept[number][number], begins[number][number])  # it is trained
        for later in range(number, 5):
            assert same(kept[later][number], kept[number][number]), (number, later)
        for early in range(number):  # it takes no part before
            assert same(kept[early][number], first[number])
        if number:
            assert same(begins[number][number], kept[number - 1][number - 1])


def test_running_statistics_are_among_what_is_compared():
    _, begins, kept = ends(ready("expand", *ADAM, model=Disturbable))
    name = next(name for name in kept[0][0] if name.endswith("running_mean"))
    assert not torch.equal(kept[1][1][name], begins[1][1][name])


def test_only_the_newest_backbone_is_in_training_mode():
    run, modes = ready("expand", model=Disturbable), []
    net = expanded(run.learner)
    run.chain.loss += (lambda *_: modes.append([any(m.training for m in b.modules()) for b in net.backbones]) and None,)
    run.train()
    assert len(modes) == run.learner.cost.steps
    assert sorted(set(map(tuple, modes)), reverse=True) == [tuple(i == k for i in range(5)) for k in range(5)]


def test_head_weights_of_backbones_to_come_are_0_and_new_ones_begin_uniform():
    run = ready("expand", *ADAM)
    net = expanded(run.learner)

    def begin(learner, experience):
        k = learner.experience
        assert net.begun == k + 1
        for later in range(k + 1, 5):
            assert not net.block(later).any()
        if k:
            bound = 1 / math.sqrt((k + 1) * net.width)
            assert 0.8 * bound < float(net.block(k).detach().abs().max()) <= bound

    run.chain.begin_experience += (begin,)
    run.chain.end_experience += (lambda learner, _: begin_zero(net, learner.experience),)
    run.train()


def begin_zero(net, k):
    assert not any(net.block(later).any() for later in range(k + 1, 5))


def test_logits_are_the_head_on_the_features_of_all_backbones():
    run = trained("expand", *ADAM)
    net, x = expanded(run.learner), torch.rand(6, 1, 8, 8)
    net.eval()
    total = net.head.bias.detach().clone().expand(6, -1)
    for number, backbone in enumerate(net.backbones):
        total = total + backbone(x).features @ net.block(number).T
    torch.testing.assert_close(net(x).logits, total)


def test_the_loss_is_both_cross_entropies_of_a_plain_loop():
    run, found = ready("expand(auxiliary=0.7)", *ADAM), []
    net, learner = expanded(run.learner), run.learner
    known = set()

    def entropy(row, label, competing):
        return math.log(sum(math.exp(row[c]) for c in competing)) - row[label]

    def check(learner, batch, output):
        if learner.experience == 0:
            assert torch.equal(learner.objective(batch, output), plain(batch, output)[1])
            return
        found.append((run.chain.parts[1].loss(learner, batch, output).item(), plain(batch, output)[0]))

    def plain(batch, output):
        own = set(run.stream[learner.experience].classes) - known
        mine = output.features[:, learner.experience * net.width : (learner.experience + 1) * net.width]
        scores = (mine @ net.auxiliary.weight.T + net.auxiliary.bias).tolist()
        labels = [y if y in own else 10 for y in batch.y.tolist()]
        terms = [entropy(row, y, [*own, 10]) for row, y in zip(scores, labels, strict=True)]
        return 0.7 * sum(terms) / len(terms), learner.objective(batch, output)

    run.chain.loss += (check,)
    run.chain.end_experience += (lambda _, experience: known.update(experience.index[Y].tolist()),)
    run.train()
    assert len(found) > 20
    assert [ours for ours, _ in found] == pytest.approx([wanted for _, wanted in found], rel=1e-4)


def test_new_classes_have_the_mean_norm_of_old_ones_at_the_end():
    run, seen = ready("expand", *ADAM), []
    net = expanded(run.learner)

    def check(learner, experience):
        own = experience.index[Y].unique()
        old = [c for c in seen if c not in own]
        norms = net.head.weight.detach().double().norm(dim=1)
        if old:
            assert abs(float(norms[old].mean() - norms[own].mean())) < 1e-6
        seen.extend(own.tolist())

    run.chain.end_experience += (check,)
    run.train()


def test_one_experience_is_the_plain_run_bit_for_bit():
    one = ("stream.experiences=1", *ADAM)
    ours, plain = trained("expand", *one), trained("naive", *one)
    net = expanded(ours.learner)
    assert torch.equal(net.head.weight, plain.learner.model.head.weight)
    assert np.array_equal(ours.evaluator.trace().score, plain.evaluator.trace().score, equal_nan=True)


@pytest.mark.parametrize("model", [None, Disturbable])
def test_it_resumes_within_an_experience_bit_for_bit(model):
    run, kept = ready("expand", *ADAM, model=model), []
    run.train(lambda step, _: kept.append(run.snapshot()) if step == 21 else None)
    resumed = ready("expand", *ADAM, model=model)
    resumed.restore(kept[0])
    resumed.train()
    assert_same(everything(resumed), everything(run))


def test_without_the_length_of_the_stream_it_is_skipped():
    with pytest.raises(Skip, match="needs the length of the stream"):
        ready("expand", "reveal=[]")


def test_a_head_that_is_no_linear_layer_is_refused():
    net = Disturbable((1, 8, 8), 10)
    net.head = torch.nn.Identity()
    with pytest.raises(
        Refused, match=r"this model's last layer is Identity; choose a model that ends with torch\.nn\.L"
    ):
        Expanded(net, 2)
