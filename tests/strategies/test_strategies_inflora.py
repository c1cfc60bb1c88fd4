"""InfLoRA: directions against NumPy, the memory by hand, and that terms do nothing to earlier inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import assert_same, everything, ready

from clbench.adapters.run_setup import Skip
from clbench.core.errors import Refused
from clbench.models.low_rank import terms_of
from clbench.strategies.inflora import DAMPING, InfLoRA

SMALL = "inflora(rank=2, terms=5{})"
QUIET = ("evaluation.every=0", "training.epochs=2", "stream.order=fixed")


def moments_of(run, index):
    """The second moments of what the attention of each block reads, by a pass of the model block by block."""
    model, found = run.learner.model, []
    tokens = model.tokens(run.learner.raw(index))
    for block in model.blocks:
        x = block.attention_norm(tokens).flatten(0, 1).detach().double().numpy()
        found.append(x.T @ x / len(x))
        tokens = block(tokens)
    return found


def test_the_first_directions_are_those_of_numpy():
    run = ready(SMALL.format(""))
    shown = run.trainer.enter(run.stream[0])
    wanted = moments_of(run, shown.index)
    run.chain.begin_experience[0](run.learner, shown)
    for number, moments in enumerate(wanted):
        u = np.linalg.svd(moments)[0][:, :2]
        for name in ("key", "value"):
            down = getattr(run.learner.model.blocks[number].attention, name).down.numpy()
            cosine = (down * u.T).sum(1) / DAMPING
            np.testing.assert_allclose(np.abs(cosine), 1, atol=1e-5)


@pytest.mark.parametrize("form", ["paper", "code"])
def test_terms_map_directions_of_the_memory_to_zero(form):
    run, checked = ready(SMALL.format(f", form={form}"), *QUIET, "training.lr=0.5"), []
    part = run.chain.parts[0]
    end = run.chain.end_experience[0]

    def watched(learner, experience):
        for number, block in enumerate(learner.model.blocks):
            held = part.state.get("memories", {}).get(str(number))
            if held is None:
                continue
            basis = held["basis"].float()
            for name in ("key", "value"):
                layer = getattr(block.attention, name)
                product = layer.up.detach() @ layer.down  # (D, D)
                inside = product - product @ basis @ basis.T if held["complement"] else product @ basis
                checked.append((float(inside.abs().max()), float(product.abs().max())))
        end(learner, experience)

    run.chain.end_experience = (watched,)
    run.train()
    assert len(checked) == 4 * 2 * 2  # experiences, blocks, layers
    assert max(inside for inside, _ in checked) < 1e-5
    assert max(product for _, product in checked) > 1e-3
    assert {held["complement"] for held in part.state["memories"].values()} <= {True, False}


def memory_by_hand(power, covariances, shares, below):
    """The memory after each experience as the projector (D, D) on its directions, with eigenvectors of NumPy."""
    size = len(covariances[0])
    projector = np.zeros((size, size))
    for number, (c, share) in enumerate(zip(covariances, shares, strict=True)):
        total = (np.linalg.svd(c)[1] ** power).sum()
        u, s, _ = np.linalg.svd(c - projector @ c)
        left, count = (s**power).sum(), 0
        while left > (1 - share) * total:
            left -= s[count] ** power
            count += 1
        if number == 0:
            count = max(1, count - below)
        chosen = u[:, :count]
        projector = projector + chosen @ chosen.T
    return projector


@pytest.mark.parametrize(("form", "power", "below"), [("paper", 1, 0), ("code", 2, 1)])
def test_the_memory_covers_the_share_of_the_energy_also_as_its_complement(form, power, below):
    rng = np.random.default_rng(0)
    covariances = []
    for _ in range(4):
        x = rng.normal(size=(50, 8)) * rng.exponential(size=8) @ np.linalg.qr(rng.normal(size=(8, 8)))[0]
        covariances.append(x.T @ x / 50)
    shares, part, held, kinds = [0.6, 0.7, 0.8, 0.9], InfLoRA(form=form), None, []
    for number, share in enumerate(shares):
        held = part._extended(torch.from_numpy(covariances[number]), held, share)
        basis = held["basis"].numpy()
        np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-10)
        assert 2 * basis.shape[1] <= 8
        ours = np.eye(8) - basis @ basis.T if held["complement"] else basis @ basis.T
        wanted = memory_by_hand(power, covariances[: number + 1], shares[: number + 1], below)
        np.testing.assert_allclose(ours, wanted, atol=1e-8)
        kinds.append(held["complement"])
    assert kinds[0] is False
    assert kinds[-1] is True


def test_the_squared_energy_needs_fewer_directions():
    c = torch.diag(torch.tensor([1.0, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005], dtype=torch.float64))
    sizes = {form: InfLoRA(form=form)._extended(c, None, 0.9)["basis"].shape[1] for form in ("paper", "code")}
    assert sizes == {"paper": 4, "code": 1}


def test_where_no_direction_is_left_a_term_is_zero():
    run = ready(SMALL.format(""))
    shown, part = run.trainer.enter(run.stream[0]), run.chain.parts[0]
    part.state["begun"] = 1
    part.state["memories"] = {
        str(number): {"basis": torch.zeros(8, 0, dtype=torch.float64), "complement": True} for number in range(2)
    }
    part.begin_experience(run.learner, shown)
    assert not any(layer.down.any() for layer in terms_of(run.learner.model))


def test_body_and_finished_terms_keep_their_bits_under_adam_with_decay():
    run, kept = ready(SMALL.format(""), *QUIET, "training.optimizer=adam", "training.weight_decay=0.1"), []
    learner = run.learner
    frozen = {n: p.clone() for n, p in learner.model.named_parameters() if n not in learner.slices}
    assert {name.rpartition(".")[2] for name in learner.slices} == {"up", "weight", "bias"}
    run.chain.end_experience += (
        lambda *_: kept.append([(layer.downs.clone(), layer.ups.clone()) for layer in terms_of(learner.model)]),
    )
    run.train()
    for name, parameter in learner.model.named_parameters():
        if name in frozen:
            assert torch.equal(parameter, frozen[name]), name
    for early, late in zip(kept[2], kept[4], strict=True):
        for before, after in zip(early, late, strict=True):
            assert torch.equal(before[:4], after[:4])
            assert not after[8:].any()


def test_the_function_stays_the_same_at_a_switch():
    run, jumps = ready(SMALL.format(""), *QUIET, "training.lr=0.5"), []
    x, begin = torch.rand(9, 1, 8, 8), run.chain.begin_experience[0]

    def watched(learner, experience):
        before = learner.side_work.forward(x).features
        begin(learner, experience)
        jumps.append(float((learner.side_work.forward(x).features - before).abs().max()))

    run.chain.begin_experience = (watched,)
    run.train()
    assert len(jumps) == 5
    assert max(jumps) < 1e-6


def test_a_run_resumes_after_a_switch():
    run, kept = ready(SMALL.format("")), []
    run.train(lambda step, _: kept.append(run.snapshot()) if step == 10 else None)
    resumed = ready(SMALL.format(""))
    resumed.restore(kept[0])
    resumed.train()
    assert_same(everything(resumed), everything(run))


def test_what_cannot_be_is_refused():
    with pytest.raises(Refused, match=r"inflora has 3 terms and the stream 5 experiences; give at least terms=5"):
        ready("inflora(rank=2, terms=3)").train()
    assert next(terms_of(ready("inflora").learner.model)).rank == 8  # no more directions than the width of a token
    with pytest.raises(Skip, match="needs a vision transformer, and the benchmark's model is none"):
        ready("inflora", "model={name: mlp}")
    with pytest.raises(Skip, match="needs the length of the stream, which is not revealed"):
        ready("inflora", "reveal=[]")
