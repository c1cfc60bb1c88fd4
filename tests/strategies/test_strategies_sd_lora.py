"""SD-LoRA: the function of terms by hand, what is trained, and what happens at a switch."""

from __future__ import annotations

import pytest
import torch
from support import assert_same, everything, ready, trained

from clbench.adapters.run_setup import Skip
from clbench.core.errors import Refused
from clbench.models.low_rank import LowRank, terms_of

SMALL = "sd_lora(rank=2, terms=5{})"
QUIET = ("evaluation.every=0", "training.epochs=2", "stream.order=fixed")


def test_a_layer_adds_what_the_formula_says():
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 4)
    low, x = LowRank(layer, 2, 3, scaled=True), torch.rand(5, 7, 6)
    torch.testing.assert_close(low(x), layer(x))
    kept, wanted = [], layer(x)
    for place in range(2):
        with torch.no_grad():
            low.up.normal_(), low.magnitude.fill_(0.5 + place)
            kept.append((low.down.clone(), low.up.clone()))
            low.finish(place, torch.Generator().manual_seed(place), normed=True)
            low.alpha[place] = 3.0 - place
    with torch.no_grad():
        low.up.normal_(), low.magnitude.fill_(0.25)
    for (a, b), alpha in zip(kept, (3.0, 2.0), strict=True):
        wanted = wanted + alpha * (x @ (b @ a / (b.norm() * a.norm())).T)
    wanted = wanted + 0.25 * (x @ (low.up @ low.down).T)
    torch.testing.assert_close(low(x), wanted)


def switches(form):
    """Largest change of features that each switch makes, on fixed samples, in a run with steps large enough to see."""
    run, jumps = ready(SMALL.format(f", form={form}"), *QUIET, "training.lr=0.5"), []
    learner, x = run.learner, torch.rand(9, 1, 8, 8)
    begin = run.chain.begin_experience[0]

    def watched(learner, experience):
        before = learner.side_work.forward(x).features
        begin(learner, experience)
        jumps.append(float((learner.side_work.forward(x).features - before).abs().max()))

    run.chain.begin_experience = (watched,)
    run.train()
    moved = [float(layer.ups.abs().sum()) for layer in terms_of(learner.model)]
    assert min(moved) > 0
    return jumps


def test_the_function_stays_the_same_at_a_switch_and_jumps_in_the_authors_code():
    paper, code = switches("paper"), switches("code")
    assert paper[0] == code[0] == 0
    assert max(paper) < 1e-6
    assert min(code[1:]) > 1e-3


@pytest.mark.parametrize("form", ["paper", "code"])
def test_body_and_finished_directions_keep_their_bits_under_adam_with_decay(form):
    run, kept = (
        ready(SMALL.format(f", form={form}"), *QUIET, "training.optimizer=adam", "training.weight_decay=0.1"),
        [],
    )
    learner = run.learner
    frozen = {n: p.clone() for n, p in learner.model.named_parameters() if n not in learner.slices}
    assert any(".layer.weight" in name for name in frozen)
    trains = {name.rpartition(".")[2] for name in learner.slices}
    assert trains == {"down", "up", "alpha", "magnitude", "weight", "bias"}
    run.chain.end_experience += (lambda *_: kept.append([layer.ups.clone() for layer in terms_of(learner.model)]),)
    run.train()
    for name, parameter in learner.model.named_parameters():
        if name in frozen:
            assert torch.equal(parameter, frozen[name]), name
    for ups, later in zip(kept[2], kept[4], strict=True):
        assert torch.equal(ups[:4], later[:4])  # two finished terms of rank 2
        assert later[4:8].any()
        assert not later[8:].any()


def test_magnitudes_of_finished_terms_go_on_being_trained():
    run, kept = ready(SMALL.format(""), *QUIET, "training.lr=0.5"), []
    run.chain.begin_experience += (lambda learner, _: kept.append([t.alpha.clone() for t in terms_of(learner.model)]),)
    run.chain.end_experience += (lambda learner, _: kept.append([t.alpha.clone() for t in terms_of(learner.model)]),)
    run.train()
    assert any(not torch.equal(a[:1], b[:1]) for a, b in zip(kept[2], kept[3], strict=True))


def test_in_the_authors_code_all_layers_share_their_magnitudes():
    run = ready(SMALL.format(", form=code"))
    layers = list(terms_of(run.learner.model))
    assert all(layer.alpha is layers[0].alpha for layer in layers)
    paper = list(terms_of(ready(SMALL.format("")).learner.model))
    assert paper[0].alpha is not paper[1].alpha


def test_the_first_experience_is_plain_low_rank_training():
    """One term of W x + α B A x on queries and values, by a loop of torch's own."""
    run = ready(SMALL.format(""), "stream.experiences=1", "evaluation.every=0", "training.epochs=1")
    model, batches = run.learner.model, []
    names = list(run.learner.slices)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    bodies = {name: p for name, p in start.items() if name not in names}
    run.chain.before_step += (lambda _, batch: batches.append((batch.x.clone(), batch.y.clone())),)
    run.train()
    ours = {name: p.detach().clone() for name, p in model.named_parameters()}
    from torch.func import functional_call

    theirs = {name: start[name].clone().requires_grad_() for name in names}
    for x, y in batches:
        logits = functional_call(model, {**bodies, **theirs}, (x,)).logits
        gradients = torch.autograd.grad(
            torch.nn.functional.cross_entropy(logits, y), list(theirs.values()), allow_unused=True
        )
        for weight, gradient in zip(theirs.values(), gradients, strict=True):
            if gradient is not None:
                weight.data -= 0.1 * gradient
    for name in names:
        torch.testing.assert_close(ours[name], theirs[name].detach(), atol=1e-6, rtol=1e-5)


def test_a_run_resumes_after_a_switch():
    run, kept = ready(SMALL.format("")), []
    run.train(lambda step, _: kept.append(run.snapshot()) if step == 10 else None)
    resumed = ready(SMALL.format(""))
    resumed.restore(kept[0])
    resumed.train()
    assert_same(everything(resumed), everything(run))


def test_what_cannot_be_is_refused():
    with pytest.raises(Refused, match=r"sd_lora has 3 terms and the stream 5 experiences; give at least terms=5"):
        trained("sd_lora(terms=3)")
    with pytest.raises(Skip, match="needs a vision transformer, and the benchmark's model is none"):
        ready("sd_lora", "model={name: mlp}")
    with pytest.raises(Skip, match="needs the length of the stream, which is not revealed"):
        ready("sd_lora", "reveal=[]")
