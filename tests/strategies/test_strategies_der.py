"""DER and DER++: a run against a plain loop over torch parameters, what is kept with a row, and reductions to ER."""

from __future__ import annotations

import pytest
import torch
from support import batches, ready, same_trace, trained
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.models import make
from clbench.running.prepare import Skip


def plain_loop(run, *, alpha: float, beta: float, seed: int, epochs: int) -> torch.Tensor:
    """Weights (P,) after DER++ written as three forward passes and a list of (row, logits) under algorithm R."""
    model = make({"name": "mlp", "hidden": [16]}, (1, 8, 8), 10)
    model.load_state_dict(run.learner.model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    train = run.stream.dataset.train
    x, y = torch.from_numpy(train.x) / 16, torch.from_numpy(train.y)
    order, draw, dice = (Generator(seed, p) for p in ("order", "part/DarkExperience/0", "memory/admit"))
    kept: list[tuple[int, torch.Tensor]] = []
    offered = 0
    for experience in run.stream:
        for _ in range(epochs):
            permuted = experience.rows[order.permutation(len(experience))].tolist()
            for start in range(0, len(permuted), 16):
                rows = permuted[start : start + 16]
                now = model(x[rows]).logits
                loss = F.cross_entropy(now, y[rows])
                if kept and alpha:
                    drawn = [kept[i] for i in draw.sample(len(kept), min(len(rows), len(kept)))]
                    then = torch.stack([logits for _, logits in drawn])
                    loss = loss + alpha * F.mse_loss(model(x[[row for row, _ in drawn]]).logits, then)
                if kept and beta:
                    again = [kept[i][0] for i in draw.sample(len(kept), min(len(rows), len(kept)))]
                    loss = loss + beta * F.cross_entropy(model(x[again]).logits, y[again])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                for row, logits in zip(rows, now.detach(), strict=True):
                    if len(kept) < 40:
                        kept.append((row, logits))
                    elif (j := int(dice.uniform(1)[0] * (offered + 1))) < 40:
                        kept[j] = (row, logits)
                    offered += 1
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


@pytest.mark.parametrize(
    ("written", "alpha", "beta"),
    [("der(alpha=0.3)", 0.3, 0.0), ("derpp(alpha=0.3, beta=0.7)", 0.3, 0.7), ("derpp(alpha=0, beta=0.7)", 0.0, 0.7)],
)
def test_a_run_equals_a_plain_loop_over_torch_parameters(written, alpha, beta):
    run = ready(written, "training.epochs=2", "training.momentum=0.5", "stream.output=all", seed=4)
    expected = plain_loop(run, alpha=alpha, beta=beta, seed=4, epochs=2)
    run.train()
    torch.testing.assert_close(run.learner.w.detach(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("output", ["seen", "all"])
def test_the_logits_kept_are_those_of_the_step_itself_before_its_update_and_of_all_units(output):
    run = ready("derpp", f"stream.output={output}", "training.augment=crop", "memory.size=300")
    made: dict[int, torch.Tensor] = {}
    inner = run.learner.model.forward

    def forward(x):
        result = inner(x)
        made[run.cursor.step] = result.logits.detach()  # the view and the weights of this very step
        return result

    seen: list[torch.Tensor] = []
    run.chain.after_step += (lambda _, batch: seen.append(batch.rows[batch.stream.span]),)
    run.learner.model.forward = forward  # type: ignore[method-assign]
    run.train(lambda *_: None)
    logits = {int(row): made[step][i] for step, rows in enumerate(seen) for i, row in enumerate(rows)}
    memory = run.learner.memory.all()
    assert memory.side["logits"].shape == (300, 10)
    for row, then in zip(memory.index[0].tolist(), memory.side["logits"], strict=True):
        assert torch.equal(then, logits[row])


def test_rows_are_offered_on_every_pass_whatever_the_benchmark_says():
    run = trained("der", "training.epochs=3", "memory.admit=first_pass")
    assert run.cell.config["memory"]["admit"] == "every_pass"
    assert run.learner.memory._admission.offered == 3 * 300


def test_the_two_draws_are_independent_and_come_from_the_second_step_on():
    learned = batches(ready("derpp", "memory.size=200"))
    assert len(learned[0].sources) == 1
    assert all([s.coefficient for s in b.sources] == [1.0, 0.0, 0.5] for b in learned[1:])
    draws = [[set(b.rows[s.span].tolist()) for s in b.sources[1:]] for b in learned[8:]]
    assert all(first != second for first, second in draws)
    assert any(not first & second for first, second in draws)


def test_der_takes_nothing_from_the_labels_of_memory():
    honest, run = trained("der", "stream.output=all"), ready("der", "stream.output=all")
    inner = run.learner.memory.draw

    def wrong(*arguments, **named):
        draw = inner(*arguments, **named)
        draw.index[1] = (draw.index[1] + 1) % 10
        return draw

    run.learner.memory.draw = wrong  # type: ignore[method-assign]
    run.train()
    assert torch.equal(run.learner.w, honest.learner.w)


@pytest.mark.parametrize("written", ["der(alpha=0)", "derpp(alpha=0, beta=0)"])
def test_without_strength_der_is_naive_bit_for_bit(written):
    ours, theirs = (trained(s, "training.momentum=0.9", "model.dropout=0.2") for s in (written, "naive"))
    assert torch.equal(ours.learner.w, theirs.learner.w)
    assert same_trace(ours, theirs)


def test_without_dark_knowledge_derpp_is_er_with_the_summed_loss_bit_for_bit():
    theirs = trained("er(loss=sum, start=any)", "memory.admit=every_pass")
    ours = ready("derpp(alpha=0, beta=1)")
    ours.chain.parts[0].generator = Generator(0, "part/Replay/0")
    ours.train()
    assert torch.equal(ours.learner.w, theirs.learner.w)


def test_with_beta_0_derpp_is_der():
    assert torch.equal(trained("derpp(alpha=0.4, beta=0)").learner.w, trained("der(alpha=0.4)").learner.w)


def test_hidden_boundaries_change_nothing():
    hidden, shown = (trained("derpp", f"stream.boundaries={b}") for b in ("false", "true"))
    assert torch.equal(hidden.learner.w, shown.learner.w)


def test_strengths_are_required_and_a_memory_is_needed():
    with pytest.raises(Refused, match="needs a value for 'alpha'"):
        ready("der", "defaults={}")
    with pytest.raises(Skip, match="needs a replay buffer"):
        ready("derpp", "memory.size=0")
    with pytest.raises(Refused, match="both set the stream coefficient"):
        ready("der + er")


def test_memory_counts_the_bytes_of_logits():
    assert trained("der").learner.memory.bytes == 40 * (64 + 10 * 4)
