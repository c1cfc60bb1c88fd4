"""Strategies of avalanche-lib in our matrix: each runs, paired with ours, and our looks leave it alone."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from support import SMALL, NoLooks, trained

from clbench.adapters.avalanche.avalanche_run import AvalancheRun
from clbench.adapters.avalanche.library import SupervisedPlugin
from clbench.adapters.run_setup import Job
from clbench.core.errors import Refused
from clbench.core.global_rng import global_states
from clbench.core.record import Kind, Record
from clbench.running.cell_key import Cell
from clbench.running.plan import plan
from clbench.running.prepare import Skip, parts_and_setup, prepare, prepare_job
from clbench.running.run_cell import run_cell

TEMPLATES = {
    "Naive": "",
    "Cumulative": "",
    "JointTraining": "",
    "Replay": "",
    "GDumb": "",
    "EWC": "ewc_lambda=1",
    "SynapticIntelligence": "si_lambda=0.1",
    "MAS": "",
    "LwF": "alpha=1, temperature=2",
    "GEM": "patterns_per_exp=8",
    "AGEM": "patterns_per_exp=8, sample_size=16",
    "DER": "batch_size_mem=8",
    "ER_ACE": "batch_size_mem=8",
    "MIR": "subsample=16, batch_size_mem=8",
    "ICaRL": "fixed_memory=true",
    "SCR": "batch_size_mem=8",
    "CWRStar": "",
    "RWalk": "delta_t=2",
    "LFL": "lambda_e=1",
    "FromScratchTraining": "",
    "StreamingLDA": "",
}
"""What every one of them needs beside its name."""
ALL = [f"avalanche:{name}({settings})" if settings else f"avalanche:{name}" for name, settings in TEMPLATES.items()]
ALL.append("avalanche:EWC(ewc_lambda=1, mode=online, decay_factor=0.5)")


def cell(strategy: str, *changes: str, seed: int = 0) -> Cell:
    return plan(SMALL, strategies=[strategy], seeds=[seed], overrides=changes).cells[0]


def hosted(strategy: str, *changes: str, seed: int = 0) -> Job:
    return prepare_job(cell(strategy, *changes, seed=seed))


def done(strategy: str, *changes: str, seed: int = 0) -> Record:
    record = run_cell(cell(strategy, *changes, seed=seed))
    assert record.status == "done", record.reason
    assert record.trace is not None
    return record


def weights(job: Job) -> dict[str, torch.Tensor]:
    state = job.strategy.model.state_dict()
    return {name: tensor.clone() for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


# --------------------------------------------------------------------------------------------------- each of them


@pytest.mark.parametrize("strategy", ALL)
def test_every_template_runs_and_is_looked_at_after_every_iteration(strategy):
    record = done(strategy)
    trace = record.trace
    steps = record.cost["steps"]
    experiences = 1 if "Joint" in strategy else 5
    assert (trace.kind == Kind.STEP).sum() == steps > 0
    assert (trace.kind == Kind.END).sum() == experiences
    assert trace.step[0] == 0
    assert trace.kind[0] == Kind.START
    assert not [alarm for alarm in record.alarms if "budget" in alarm or "never drawn" in alarm]


@pytest.mark.parametrize("strategy", ALL)
def test_looks_leave_the_run_as_it_is_bit_for_bit(strategy):
    watched, alone = hosted(strategy, "model.dropout=0.2"), hosted(strategy, "model.dropout=0.2")
    alone.evaluator = NoLooks()  # type: ignore[assignment]
    watched.train()
    alone.train()
    assert same(weights(watched), weights(alone))


def test_looks_leave_running_statistics_alone():
    document = copy.deepcopy(SMALL)
    document["model"] = {"name": "resnet", "width": 2, "norm": "batch"}
    document["training"] |= {"batch_size": 32}
    watched, alone = (prepare_job(plan(document, strategies=["avalanche:Replay"], seeds=[0]).cells[0]) for _ in "ab")
    alone.evaluator = NoLooks()  # type: ignore[assignment]
    for job in (watched, alone):
        job.shorten([0, 1], 2, job.evaluator)
        job.train()
    assert any("running_mean" in name for name in weights(alone))
    assert same(weights(watched), weights(alone))


def test_another_period_of_looks_gives_the_same_weights_and_the_same_scores_where_both_look():
    strategy = "avalanche:Replay(mem_size=40)"
    often, seldom = hosted(strategy), hosted(strategy, "evaluation.every=3")
    often.train()
    seldom.train()
    assert same(weights(often), weights(seldom))
    ends = [job.trace().score[job.trace().kind == Kind.END] for job in (often, seldom)]
    np.testing.assert_array_equal(*ends)


def test_a_look_leaves_modes_buffers_generators_and_the_strategys_own_state_untouched():
    job = hosted("avalanche:SCR(batch_size_mem=8)")
    states = []

    class Between:
        def look(self, subject, kind, number, step):
            strategy, model = subject.strategy, subject.strategy.model
            before = {
                "attributes": dict(vars(strategy)),
                "modules": [dict(vars(module)) for module in model.modules()],
                "buffers": copy.deepcopy(dict(model.named_buffers())),
                "generators": (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()),  # noqa: NPY002
            }
            evaluator.look(subject, kind, number, step)
            assert vars(strategy) == before["attributes"]
            for module, attributes in zip(model.modules(), before["modules"], strict=True):
                assert vars(module) == attributes
            for name, buffer in model.named_buffers():
                assert torch.equal(buffer, before["buffers"][name])
            torch_state, numpy_state, python_state = before["generators"]
            assert torch.equal(torch.get_rng_state(), torch_state)
            assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
            assert random.getstate() == python_state
            states.append(step)

    evaluator, job.evaluator = job.evaluator, Between()  # type: ignore[assignment]
    job.train()
    assert len(states) == 26 + len(job.stream)  # the start, after every step, and the switch and end of each experience


def test_a_run_leaves_the_global_generators_as_they_were_and_depends_on_its_seed_alone():
    random.seed(3)
    before = global_states()
    first = hosted("avalanche:AGEM(patterns_per_exp=8)")
    first.train()
    after = global_states()
    assert torch.equal(before["torch"], after["torch"])
    assert torch.equal(before["numpy"][0], after["numpy"][0])
    assert torch.equal(before["python"][1], after["python"][1])
    random.seed(4)
    again, other = (hosted("avalanche:AGEM(patterns_per_exp=8)", seed=seed) for seed in (0, 1))
    again.train()
    other.train()
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(other))


# --------------------------------------------------------------------------------------------------- what is read out


def test_naive_begins_with_our_initial_weights_and_takes_our_number_of_steps():
    job, ours = hosted("avalanche:Naive"), trained("naive")
    first = prepare(cell("naive"))
    initial = torch.cat([w.flatten() for w in job.strategy.model.parameters()])
    assert torch.equal(initial, first.learner.w.detach())
    job.train()
    assert job.account().steps == ours.account().steps
    assert job.account().stream_rows == ours.account().stream_rows == 300
    np.testing.assert_array_equal(job.trace().step, ours.trace().step)
    np.testing.assert_array_equal(job.trace().score[0], ours.trace().score[0])  # the start look is the same model


def test_in_our_order_of_rows_naive_takes_our_steps_up_to_rounding():
    ours = trained("naive")
    job = AvalancheRun(*parts_and_setup(cell("avalanche:Naive")), ordered=True)
    job.train()
    theirs = torch.cat([w.detach().flatten() for w in job.strategy.model.parameters()])
    torch.testing.assert_close(theirs, ours.learner.w.detach(), rtol=1e-4, atol=1e-6)
    with pytest.raises(Refused, match="more than one pass"):
        AvalancheRun(*parts_and_setup(cell("avalanche:Naive", "training.epochs=2")), ordered=True)


@pytest.mark.parametrize("strategy", ["avalanche:ICaRL(fixed_memory=true)", "avalanche:SCR(batch_size_mem=8)"])
def test_the_read_out_is_what_the_librarys_own_evaluation_predicts(strategy):
    from clbench.adapters.avalanche.library import quiet

    job = hosted(strategy, "evaluation.rows_per_task=all")
    job.train()
    stream = job.stream
    rows = torch.from_numpy(np.concatenate([task.rows for task in stream.tasks]))
    x = job.evaluator.panels._test.present(rows, torch.zeros_like(rows))
    model = job.strategy.model
    model.eval()
    with torch.no_grad(), quiet():
        chosen = model(x).argmax(1)
    y = torch.from_numpy(stream.dataset.test.y)[rows]
    tasks = torch.from_numpy(np.concatenate([np.full(len(task.rows), task.id) for task in stream.tasks]))
    theirs = [(chosen == y)[tasks == task.id].float().mean().item() for task in stream.tasks]
    np.testing.assert_allclose(job.trace().score[-1], theirs, atol=1e-6)


def test_what_plugins_make_of_the_output_is_read_out_too():
    class Turns(SupervisedPlugin):
        def after_eval_forward(self, strategy, **kwargs):
            strategy.mb_output = -strategy.mb_output

    plain, turned = hosted("avalanche:Naive"), hosted("avalanche:Naive")
    turned.strategy.plugins.append(Turns())
    x = plain.setup.rows.present(torch.arange(5), torch.zeros(5, dtype=torch.int64))
    logits = []
    for job in (plain, turned):
        with torch.no_grad(), job.subject.undisturbed(training=False):
            logits.append(job.subject.output(x, None).logits)
    assert torch.equal(logits[1], -logits[0])


def test_unseen_classes_are_out_of_the_loss_where_the_stream_says_so_and_in_it_otherwise():
    def of_unseen(*changes):
        job = hosted("avalanche:Naive", *changes)
        unseen = list(set(range(10)) - set(job.stream[0].classes))
        before = job.strategy.model.model.head.weight[unseen].detach().clone()
        job.shorten([0], 4, NoLooks())
        job.train()
        return torch.equal(job.strategy.model.model.head.weight[unseen], before)

    assert of_unseen()
    assert not of_unseen("stream.output=all")


def test_with_task_labels_only_the_rows_task_competes_in_training_too():
    job = hosted("avalanche:Naive", "stream.setting=task")
    mine = job.stream[1].classes
    before = job.strategy.model.model.head.weight.detach().clone()
    job.shorten([1], 4, NoLooks())
    job.train()
    moved = (job.strategy.model.model.head.weight != before).any(1).nonzero().flatten().tolist()
    assert moved == sorted(mine)


# --------------------------------------------------------------------------------------------------- other streams


@pytest.mark.parametrize("strategy", [each for each in ALL if "ICaRL" not in each])
@pytest.mark.parametrize(
    "changes",
    [
        ("stream.setting=task",),
        ("stream.scenario=scole", "stream.setting=", "stream.experiences=4", "stream.rows_per_class=16"),
    ],
    ids=["task", "scole"],
)
def test_every_template_learns_streams_with_task_labels_and_with_returning_classes(strategy, changes):
    document = copy.deepcopy(SMALL)
    for change in changes:
        key, _, value = change.removeprefix("stream.").partition("=")
        document["stream"][key] = int(value) if value.isdigit() else value
        if not value:
            del document["stream"][key]
    record = run_cell(plan(document, strategies=[strategy], seeds=[0], overrides=["evaluation.every=0"]).cells[0])
    assert record.status == "done", record.reason


def test_icarl_is_skipped_with_the_reason_where_classes_return():
    document = copy.deepcopy(SMALL)
    document["stream"] = {"scenario": "scole", "dataset": SMALL["stream"]["dataset"], "experiences": 4}
    with pytest.raises(Skip, match="every class in one experience only"):
        prepare_job(plan(document, strategies=["avalanche:ICaRL(fixed_memory=true)"], seeds=[0]).cells[0])


def test_hidden_boundaries_skip_it():
    with pytest.raises(Skip, match="visible boundaries"):
        hosted("avalanche:Naive", "stream.boundaries=false")


# --------------------------------------------------------------------------------------------------- settings and costs


def test_iterations_per_experience_are_kept_over_several_passes():
    assert done("avalanche:Naive", "training.iterations=7").cost["steps"] == 35
    assert done("avalanche:StreamingLDA", "training.iterations=3").cost["steps"] == 15


def test_an_incomplete_last_batch_is_left_out_where_the_benchmark_says_so():
    ours, theirs = (done(name, "training.drop_last=true").cost for name in ("naive", "avalanche:Naive"))
    assert (theirs["steps"], theirs["stream_rows"]) == (ours["steps"], ours["stream_rows"])


def test_a_last_batch_of_one_row_is_refused_where_batch_normalisation_could_not_learn_it():
    sizes = [len(e) for e in hosted("avalanche:Naive").stream]
    changes = ("model={name: resnet, norm: batch, width: 2}", f"training.batch_size={sizes[2] - 1}")
    with pytest.raises(Refused, match=r"experience \d has \d+ samples, and avalanche-lib's last batch of \d+ would"):
        hosted("avalanche:Naive", *changes)
    assert done("avalanche:Naive", *changes, "training.drop_last=true", "evaluation.every=0").cost["steps"] == 5
    with pytest.raises(Refused, match="leaves out all of it"):
        hosted("avalanche:Naive", "training.drop_last=true", "training.batch_size=128")


def test_learning_rate_schedule_and_longest_gradient_are_kept():
    rates, lengths = [], []
    job = hosted("avalanche:Naive", "training.lr_schedule.step.gamma=0.5", "training.clip_norm=0.01")
    optimizer = job.strategy.optimizer
    step = optimizer.step

    def note(*args, **kwargs):
        rates.append(optimizer.param_groups[0]["lr"])
        lengths.append(torch.cat([w.grad.flatten() for w in job.strategy.model.parameters()]).norm().item())
        return step(*args, **kwargs)

    optimizer.step = note
    job.train()
    assert sorted(set(rates), reverse=True) == pytest.approx([0.1, 0.05, 0.025, 0.0125, 0.00625])
    assert max(lengths) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (("training.augment=crop-flip",), "training.augment"),
        (("evaluation.probe=2",), "evaluation.probe"),
        (("stream.setting=task", "model.heads=separate", "training.momentum=0.9"), "model.heads"),
    ],
)
def test_settings_that_its_loop_cannot_keep_are_refused(changes, words):
    with pytest.raises(Refused, match=words):
        hosted("avalanche:Naive", *changes)


def test_rehearsed_rows_are_counted_and_memory_is_read_from_the_storage_policy():
    cost = done("avalanche:Replay").cost
    ours = done("er").cost
    assert cost["stream_rows"] == 300
    assert 0 < cost["replay_rows"] <= ours["replay_rows"]  # its loader fills a last batch no further than it goes
    assert cost["memory_bytes"] == ours["memory_bytes"] == 40 * 64


def test_side_work_and_statistics_are_counted():
    cost = done("avalanche:EWC(ewc_lambda=1, mode=online, decay_factor=0.5)").cost
    assert cost["extra_forward_rows"] == cost["extra_backward_rows"] == 300  # one pass for the importances
    assert cost["state_bytes"] == 2 * 4 * cost["weights"]  # old weights and importances, float32


def test_memory_beyond_the_budget_raises_an_alarm_and_without_a_size_it_is_the_benchmarks():
    assert any(
        "300 samples in the replay buffer" in text and "40" in text
        for text in done("avalanche:Replay(mem_size=500)").alarms
    )
    assert done("avalanche:GDumb").cost["memory_bytes"] == 40 * 64
    with pytest.raises(Skip, match="size 0"):
        hosted("avalanche:Replay", "memory.size=0")


def test_a_memory_that_never_serves_raises_an_alarm():
    assert any("never drawn" in text for text in done("avalanche:DER(mem_size=10, batch_size_mem=16)").alarms)


def test_a_run_whose_outputs_are_not_finite_ends_as_diverged():
    assert run_cell(cell("avalanche:Naive", "training.lr=1e30")).status == "diverged"


def test_gems_projection_without_quadprog_solves_the_same_programme():
    from scipy.optimize import minimize

    job = hosted("avalanche:GEM(patterns_per_exp=8)")
    plugin = next(plugin for plugin in job.strategy.plugins if hasattr(plugin, "memory_strength"))
    generator = torch.Generator().manual_seed(0)
    past, g = torch.randn(3, 7, generator=generator), torch.randn(7, generator=generator)
    plugin.G = past
    gram, linear = (past @ past.T).double().numpy() + 1e-3 * np.eye(3), (past @ g).double().numpy()
    best = minimize(
        lambda v: 0.5 * v @ gram @ v + linear @ v, np.ones(3), jac=lambda v: gram @ v + linear, bounds=[(0.5, None)] * 3
    )
    expected = g + torch.from_numpy(best.x).float() @ past
    torch.testing.assert_close(plugin.solve_quadprog(g), expected, rtol=1e-3, atol=1e-3)


def test_er_aml_is_refused_where_its_loader_would_wait_for_ever():
    with pytest.raises(Refused, match="would never end"):
        hosted("avalanche:ER_AML(batch_size_mem=8)")
    assert done("avalanche:ER_AML(batch_size_mem=8)", "training.batch_size=4").cost["steps"] > 0


def test_a_size_that_is_written_goes_before_the_budget():
    run = hosted("avalanche:ICaRL(memory_size=20, fixed_memory=true)")
    assert run.strategy.plugins[0].memory_size == 20


def test_synaptic_intelligence_without_importances_raises_an_alarm():
    record = done("avalanche:SynapticIntelligence(si_lambda=1.0)")
    assert record.alarms[0] == "its importances are all 0, so that its penalty never acted: this is naive training"
    assert not any("importances" in alarm for alarm in done("avalanche:EWC(ewc_lambda=1)").alarms)
