"""Hypernetworks: the regulariser by hand, what is generated for each task, and what it takes not to forget."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import assert_same, everything, ready, same_trace, train_until, trained
from torch.func import functional_call

from clbench.core.errors import Refused
from clbench.core.record import Kind
from clbench.running.prepare import Skip

TASKS = ("stream.setting=task", "model.heads=separate", "evaluation.schedule=ends")
ADAM = ("training.optimizer=adam", "training.lr=0.003")
CNN = "model={name: cnn, width: 4, hidden: 8, norm: batch}"


def embeddings(run):
    return {task: version["w"] for task, version in run.chain.parts[-1].state["versions"].items()}


def generated(run, task):
    """The weights of a finished task by name, as they are generated now."""
    net = run.chain.parts[-1].net
    pieces = [piece.detach() for piece in net.generator.tensors(embeddings(run)[task])]
    return {name: piece.view(shape) for (name, shape), piece in zip(net.shapes.items(), pieces, strict=True)}


def end_scores(run):
    """(E, T): the score of each task at the end of each experience."""
    trace = run.evaluator.trace()
    ends = [(trace.kind == int(Kind.END)) & (trace.experience == e) for e in range(len(run.stream))]
    return np.array([trace.score[at][-1] for at in ends])


# ------------------------------------------------------------------------- the regulariser


def by_hand(net, place, theta, kept, targets, strength, counts):
    """The gradient of the regulariser of a linear hypernetwork at weights (number of θ,), sum by sum."""
    generator, e = net.generator, kept.shape[1]
    k, size = len(generator.chunks), generator.last.out_features
    chunks, rest = theta[: k * e].reshape(k, e), theta[k * e :]
    matrix, bias = rest[: size * 2 * e].reshape(size, 2 * e), rest[size * 2 * e :]
    spreads = np.repeat(generator.spreads.numpy(), generator.sizes).astype(np.float64)
    centers = np.repeat(generator.centers.numpy(), generator.sizes).astype(np.float64)
    d_chunks, d_matrix, d_bias = np.zeros_like(chunks), np.zeros_like(matrix), np.zeros_like(bias)
    for j in range(len(kept)):
        for c in range(k):
            both = np.concatenate([kept[j], chunks[c]])
            for i in range(size):
                m = c * size + i
                if m >= len(spreads):
                    continue
                weight, old = (centers[m] + spreads[m] * v for v in (matrix[i] @ both + bias[i], targets[j, m]))
                slope = 2 * strength / len(kept) * (weight - old) * spreads[m] * counts[j, m]
                d_matrix[i] += slope * both
                d_bias[i] += slope
                d_chunks[c] += slope * matrix[i, e:]
    return np.concatenate([d_chunks.ravel(), d_matrix.ravel(), d_bias])


@pytest.mark.parametrize("lookahead", [True, False])
@pytest.mark.parametrize("setting", ["task", "domain"])
def test_the_gradient_of_the_regulariser_of_a_linear_hypernetwork_is_the_one_worked_out_by_hand(setting, lookahead):
    stream = ("stream.setting=task", "model.heads=separate") if setting == "task" else ()
    stream = stream or ("stream.scenario=permuted", "stream.setting=domain", "stream.task_labels=true")
    text = f"hypernet(hidden=[], embedding=2, chunk=50, strength=0.7, lookahead={str(lookahead).lower()})"
    run = ready(text, *stream, *ADAM, "model.hidden=[3]", "stream.experiences=3")
    compared = []

    def compare(learner, batch):
        part = run.chain.parts[0]
        if "targets" not in part.state:
            return
        step = learner.would_be_step() if lookahead else None
        place, ours = part._regulariser(learner, step)
        theta = learner.w.detach() if step is None else learner.w.detach() + step
        targets, kept = part.state["targets"].double().numpy(), part.state["embeddings"].double().numpy()
        counts = np.ones_like(targets)
        if setting == "task":
            others = torch.tensor([task for task in part.state["versions"] if task != part.state["task"]])
            counts = np.stack([part.net.serving(u).numpy() for u in learner.classes.mask_of_tasks(others).competes])
        theirs = by_hand(part.net, place, theta[place].double().numpy(), kept, targets, 0.7, counts)
        compared.append((len(kept), ours.double().numpy(), theirs))

    run.chain.gradient = (compare, *run.chain.gradient)
    run.train()
    assert {n for n, *_ in compared} == {1, 2}
    for _, ours, theirs in compared[:: max(1, len(compared) // 6)] + compared[-1:]:
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=3e-7)  # float32 weights
    assert np.abs(compared[-1][2]).max() > 1e-4


def test_the_gradient_of_the_step_is_that_of_the_task_plus_the_regulariser_on_the_hypernetwork_alone():
    run = ready("hypernet(hidden=[8], strength=0.5)", *TASKS, *ADAM)
    part, kept = run.chain.parts[0], []

    def note(learner, batch):
        before = learner.g.clone()
        if "targets" in part.state:
            kept.append((before, part._regulariser(learner, learner.would_be_step())))

    def compare(learner, batch):
        if kept:
            before, (place, term) = kept.pop()
            before[place] += term
            assert torch.equal(learner.g, before)
            assert not term.isnan().any()
            assert place.start == 8  # the embedding of the running task comes first, and is not regularised
            assert place.stop == learner.w.numel()
            part.__dict__["compared"] = part.__dict__.get("compared", 0) + 1

    run.chain.gradient = (note, *run.chain.gradient, compare)
    run.train()
    assert part.__dict__["compared"] > 10


def test_without_lookahead_the_first_step_of_an_experience_is_not_regularised():
    for lookahead in (True, False):
        run = ready(f"hypernet(strength=1, lookahead={str(lookahead).lower()})", *TASKS, *ADAM)
        part, firsts, running = run.chain.parts[0], [], []

        def note(learner, batch, part=part, firsts=firsts, running=running, lookahead=lookahead):
            if "targets" in part.state and learner.experience not in running:
                running.append(learner.experience)
                _, term = part._regulariser(learner, learner.would_be_step() if lookahead else None)
                firsts.append(float(term.norm()))

        run.chain.gradient = (note, *run.chain.gradient)
        run.train()
        assert len(firsts) == 4
        assert (min(firsts) > 1e-4) if lookahead else max(firsts) < 1e-6


# ------------------------------------------------------------------------- what is kept


def test_a_large_strength_keeps_all_that_was_generated_for_earlier_tasks():
    def moved(strength):
        run = ready(
            f"hypernet(strength={strength})", *TASKS, "model.hidden=[8]", "training.optimizer=adam",
            "training.lr=0.0003", "training.epochs=10", "training.optimizer_state=reset", "stream.experiences=3",
        )  # fmt: skip
        changes, before = [], {}

        def note(learner, experience):
            part = run.chain.parts[0]
            for task in embeddings(run) if part.state.get("versions") else ():
                own = learner.classes.mask_of_tasks(torch.tensor([task])).competes.reshape(-1)
                before[task] = part.net.serving(own), torch.cat([w.reshape(-1) for w in generated(run, task).values()])

        def compare(learner, experience):
            for task, (serving, old) in before.items():
                now = torch.cat([w.reshape(-1) for w in generated(run, task).values()])
                changes.append(float((now - old)[serving].abs().max()))

        run.chain.begin_experience += (note,)
        run.chain.end_experience = (compare, *run.chain.end_experience)
        run.train()
        assert len(changes) == 1 + 2
        return changes

    assert max(moved(1e4)) < 1e-4
    assert min(moved(0)) > 1e-3


PERMUTED = (
    "stream={scenario: permuted, dataset: digits, setting: domain, experiences: 3, task_labels: true}",
    "training={optimizer: adam, lr: 0.001, batch_size: 16, epochs: 6}", "model.hidden=[50]",
    "evaluation={schedule: ends, rows_per_task: 100}",
)  # fmt: skip


def test_with_the_regulariser_permuted_digits_are_kept_and_without_it_they_are_forgotten():
    kept, lost = (end_scores(trained(f"hypernet(strength={s})", *PERMUTED)) for s in (0.1, 0))
    for scores in (kept, lost):
        assert min(np.diag(scores)[:2]) > 0.7
    assert (np.diag(kept) - kept[-1]).mean() < 0.05
    assert (np.diag(lost) - lost[-1]).mean() > 0.2


def test_the_lstm_learns_and_keeps_too():
    scores = end_scores(trained("hypernet(form=rnn, hidden=[16], strength=0.1)", *PERMUTED))
    assert min(np.diag(scores)) > 0.6
    assert (np.diag(scores) - scores[-1]).mean() < 0.05


# ------------------------------------------------------------------------- tasks


def test_each_task_keeps_an_embedding_and_is_predicted_with_what_it_generates():
    run = trained("hypernet(strength=0.1)", *TASKS, *ADAM)
    part, x = run.chain.parts[0], torch.rand(6, 1, 8, 8)
    kept = embeddings(run)
    assert sorted(kept) == [0, 1, 2, 3, 4]
    assert len({tuple(e.tolist()) for e in kept.values()}) == 5
    assert all(e.shape == (8,) for e in kept.values())
    task = torch.tensor([3, 0, 0, 2, 3, 1])
    answered = part.answer(run.learner, x, task).logits
    for i, label in enumerate(task.tolist()):
        single = functional_call(part.net.target, generated(run, label), (x[i : i + 1],)).logits
        torch.testing.assert_close(answered[i : i + 1], single)


def test_replayed_samples_train_the_hypernetwork_by_the_embeddings_of_their_tasks():
    run = ready("er + hypernet(strength=0)", *TASKS, *ADAM)
    part, checked = run.chain.parts[-1], []

    def compare(learner, batch):
        old = [i for i, task in enumerate(batch.task.tolist()) if task in part.state["versions"]]
        if not old or batch.task[old[0]] == part.state["task"]:
            return
        own = batch.task[old[0]].item()
        alone = functional_call(part.net.target, generated(run, own), (batch.x[old[:1]],)).logits
        output = learner.run(batch)
        torch.testing.assert_close(output.logits[old[:1]], alone)
        (slope,) = torch.autograd.grad(
            output.logits[old[0]].sum(), part.net.embedding, retain_graph=True, allow_unused=True
        )
        assert slope is None or not slope.any()  # an embedding is learned with the loss of its own task
        (slope,) = torch.autograd.grad(output.logits[old[0]].sum(), part.net.generator.last.weight)
        assert slope.any()
        checked.append(own)

    run.chain.gradient += (compare,)
    run.train()
    assert set(checked) >= {0, 1}


def test_every_task_has_running_statistics_of_its_own_that_begin_anew():
    run = ready("hypernet", *TASKS, *ADAM, CNN)
    begun = []

    def note(learner, experience):
        counts = [b for name, b in learner.model.named_buffers() if name.endswith("num_batches_tracked")]
        begun.append([int(count) for count in counts])

    run.chain.begin_experience += (note,)
    run.train()
    assert begun == [[0] * 4] * 5
    versions = run.chain.parts[0].state["versions"]
    means = [versions[task]["buffers"]["target.norms.0.running_mean"] for task in range(5)]
    assert all(not torch.equal(a, b) for i, a in enumerate(means) for b in means[:i])
    assert {name.split(".")[-1] for name in versions[0]["buffers"]} == {
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }


def test_a_task_that_returns_continues_with_its_embedding_and_is_not_regularised_meanwhile():
    run = ready("hypernet", *TASKS, *ADAM, "stream.apply=[{repeat: {times: 2}}]")
    part, seen = run.chain.parts[0], []

    def note(learner, experience):
        task = part.state["task"]
        version = part.state["versions"].get(task)
        if version is not None:
            assert torch.equal(part.net.embedding.detach(), version["w"])
        others = [t for t in part.state["versions"] if t != task]
        assert len(part.state.get("targets", ())) == len(others)
        seen.append(version is not None)

    run.chain.begin_experience += (note,)
    run.train()
    assert any(seen)


# ------------------------------------------------------------------------- running


@pytest.mark.parametrize("text", ["hypernet", "er + hypernet(form=rnn, hidden=[8])"])
def test_a_run_that_is_interrupted_in_an_experience_goes_on_bit_for_bit(text):
    changes = (*TASKS, *ADAM, CNN)
    whole = trained(text, *changes)
    part = train_until(ready(text, *changes), 11)
    resumed = ready(text, *changes)
    resumed.restore(part.snapshot())
    resumed.train()
    assert_same(everything(whole), everything(resumed))
    assert same_trace(whole, resumed)
    for a, b in zip(embeddings(whole).values(), embeddings(resumed).values(), strict=True):
        assert torch.equal(a, b)


def test_the_cost_counts_the_weights_of_the_hypernetwork_and_not_those_that_it_generates():
    run = ready("hypernet(chunk=20, hidden=[8], embedding=4)", *TASKS)
    d = sum(run.chain.parts[0].net.generator.sizes)
    assert d == 64 * 16 + 16 + 16 * 10 + 10
    chunks = -(-d // 20)
    assert run.learner.cost.weights == 4 + 4 * chunks + 8 * (8 + 1) + 20 * (8 + 1)


@pytest.mark.parametrize("partner", ["ewc(strength=1)", "si(strength=0.1)", "lwf", "agem", "hft", "l2(strength=0.1)"])
def test_it_runs_with_methods_that_read_gradients_importances_or_an_earlier_model(partner):
    scores = end_scores(trained(f"{partner} + hypernet(hidden=[8])", *TASKS, *ADAM))
    assert np.isfinite(scores).all()


def test_what_it_needs_is_said_where_it_is_missing():
    with pytest.raises(Skip, match="task labels"):
        ready("hypernet", "stream.setting=class")
    with pytest.raises(Refused, match=r"hidden = \[8, 8\] has 2 widths.*one layer; write hidden=\[96\]"):
        ready("hypernet(form=rnn, hidden=[8, 8])", *TASKS)
    with pytest.raises(Refused, match="hidden"):
        ready("hypernet(hidden=[0])", *TASKS)
