"""Readings show what is inside a network, have the values worked out by hand, and leave a run as it is."""

import math

import numpy as np
import pytest
import torch
from support import assert_same, everything, ready, same_trace, train_until, trained
from torch import nn

import clbench
from clbench.api import records
from clbench.benchmark import reading_names
from clbench.core import trace_file
from clbench.core.errors import Refused
from clbench.core.trace_equality import common_difference, trace_difference, trace_digest
from clbench.models.output import Output
from clbench.readings import READINGS
from clbench.readings.cka import linear_cka
from clbench.readings.effective_rank import rank_of
from clbench.running.plan import plan

ALL = "evaluation.readings=[{fau: {by_layer: true}}, dormant, effective_rank, {effective_rank: {form: share}}, " \
      "weight_norm, gradient_norm, distance, cka]"  # fmt: skip


def test_the_readings_that_come_with_clbench_are_those_of_the_documentation():
    assert [entry.name for entry in READINGS] == sorted(
        ["fau", "dormant", "effective_rank", "weight_norm", "gradient_norm", "distance", "cka", "overlap"]
    )


@pytest.mark.parametrize("name", [entry.name for entry in READINGS])
@pytest.mark.parametrize("strategy", ["er", "icarl"])
def test_a_reading_at_any_moment_changes_no_weight_and_no_score(name, strategy):
    read = trained(
        strategy, f"evaluation.readings=[{name}]", "evaluation.reading_schedule=dense", "training.optimizer=adam"
    )
    plain = trained(strategy, "training.optimizer=adam")
    assert_same(everything(read), everything(plain))
    assert same_trace(read, plain)
    assert read.trace().units.tolist() == plain.trace().units.tolist()
    assert len(read.trace().readings[name].steps) > 6


@pytest.mark.parametrize("model", ["dropout", "norm"])
def test_readings_leave_generators_and_running_statistics_as_they_are(model):
    changes = {"dropout": ("model.dropout=0.3",), "norm": ()}[model]
    if model == "norm":
        runs = [trained("naive", *extra, model=normed) for extra in ((), (ALL, "evaluation.reading_schedule=dense"))]
    else:
        runs = [trained("naive", *changes, *extra) for extra in ((), (ALL, "evaluation.reading_schedule=dense"))]
    assert_same(everything(runs[0]), everything(runs[1]))


def normed(shape, n_outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))


def test_readings_are_taken_at_the_start_and_at_the_ends_unless_a_schedule_adds_steps():
    ends = trained("naive", ALL, "evaluation.every=0").trace()
    assert ends.readings["fau(by_layer=True)"].steps.tolist() == ends.step[np.isin(ends.kind, (0, 2))].tolist()
    more = trained("naive", "evaluation.readings=[weight_norm]", "evaluation.reading_schedule={at: [3, 6]}").trace()
    assert more.readings["weight_norm"].steps.tolist() == [0, 3, 4, 6, 8, 12, 16, 20]
    both = trained(
        "naive", "evaluation.readings=[weight_norm]", "evaluation.reading_schedule=every", "evaluation.every=10"
    )
    assert 10 in both.trace().readings["weight_norm"].steps


def test_a_resumed_run_reads_the_same_bits():
    whole = trained("er", ALL)
    first = train_until(ready("er", ALL), 10)
    again = ready("er", ALL)
    again.restore(first.snapshot())
    again.train()
    assert trace_difference(whole.trace(), again.trace()) == ""
    assert trace_digest(whole.trace()) == trace_digest(again.trace())


def test_the_norms_and_the_distance_are_those_of_the_weights():
    run = ready("naive", ALL)
    first = run.learner.w.detach().double().clone()
    run.train()
    last, found = run.learner.w.detach().double(), run.trace().readings
    assert found["weight_norm"].values[[0, -1]] == pytest.approx([float(first.norm()), float(last.norm())])
    assert found["distance"].values[[0, -1]] == pytest.approx([0, float((last - first).norm())])


def test_the_gradient_norm_is_that_of_the_loss_on_the_evaluation_samples_of_the_running_experience():
    run = trained("naive", ALL)
    panel = run.evaluator.panels.of_all_tasks(run.trainer.readout, 4)
    own = panel.task == 4
    x = panel.x[panel.index[own]]
    model = run.learner.model
    with run.learner.side_work.undisturbed(training=False):
        loss = nn.functional.cross_entropy(model(x).logits, panel.target[own])  # all ten classes have been seen
        parts = torch.autograd.grad(loss, list(model.parameters()))
    expected = math.sqrt(sum(float(part.double().square().sum()) for part in parts))
    assert run.trace().readings["gradient_norm"].values[-1] == pytest.approx(expected, rel=1e-5)


class ByHand(nn.Module):
    """Two layers of four units: +1, +2, 0 and a unit that is 4 on inputs of the first kind and negative elsewhere."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 10)

    def forward(self, x):
        high = (x.flatten(1).mean(1, keepdim=True) > 0.3).float()  # (B, 1)
        rest = torch.tensor([1.0, 2.0, 0.0]).expand(len(x), 3)
        h = torch.relu(torch.cat([rest, 8 * high - 4], dim=1))  # (B, 4)
        return Output(self.head(h), h)


def test_the_shares_of_a_network_whose_activations_are_set_by_hand():
    run = ready(
        "naive",
        "evaluation.readings=[fau, dormant, {dormant: {tau: 1}}, {fau: {tasks: all}}]",
        model=ByHand(),
    )
    run.train()
    panel = run.evaluator.panels.of_all_tasks(run.trainer.readout, 4)
    x = panel.x[panel.index]
    high = float((x[panel.task == 4].flatten(1).mean(1) > 0.3).double().mean())
    every = float((x.flatten(1).mean(1) > 0.3).double().mean())
    found = {name: float(reading.values[-1]) for name, reading in run.trace().readings.items()}
    assert 0 < high < 1
    assert found["fau"] == pytest.approx((1 + 1 + 0 + high) / 4)
    assert found["fau(tasks=all)"] == pytest.approx((1 + 1 + 0 + every) / 4)
    assert found["dormant"] == 0.25  # the unit that is always 0
    mean = (1 + 2 + 0 + 4 * high) / 4
    assert found["dormant(tau=1.0)"] == sum(each <= mean for each in (1, 2, 0, 4 * high)) / 4


def test_ranks_of_matrices_whose_singular_values_are_known():
    q, _ = torch.linalg.qr(torch.randn(20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    equal, one = q * 3, q[:, :1] @ torch.ones(1, 4, dtype=torch.float64)
    assert rank_of(equal, form="entropy") == pytest.approx(4)
    assert rank_of(equal, form="share") == 4
    assert rank_of(one, form="entropy") == pytest.approx(1)
    assert rank_of(one, form="share") == 1
    mixed = q @ torch.diag(torch.tensor([6.0, 3.0, 1.0, 0.0], dtype=torch.float64))  # shares .6, .3 and .1
    entropy = -(0.6 * math.log(0.6) + 0.3 * math.log(0.3) + 0.1 * math.log(0.1))
    assert rank_of(mixed, form="entropy") == pytest.approx(math.exp(entropy), rel=1e-5)
    assert [rank_of(mixed, form="share", share=s) for s in (0.5, 0.6, 0.61, 0.9, 0.91)] == [1, 1, 2, 2, 3]
    assert rank_of(torch.zeros(5, 3), form="entropy") == 0


def test_cka_is_one_up_to_rotation_and_scale_and_small_for_independent_features():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 5, generator=generator)
    q, _ = torch.linalg.qr(torch.randn(5, 5, generator=generator))
    assert linear_cka(x, 3 * x @ q + 7) == pytest.approx(1, abs=1e-6)
    assert linear_cka(x, torch.randn(2000, 5, generator=generator)) < 0.01
    a, b = x[:, :1], x[:, :1] + 2 * x[:, 1:2]  # of single columns it is the squared correlation
    expected = float(torch.corrcoef(torch.stack([a[:, 0], b[:, 0]]))[0, 1]) ** 2
    assert linear_cka(a, b) == pytest.approx(expected, rel=1e-5)
    assert math.isnan(linear_cka(x, torch.ones(2000, 2)))


def test_cka_compares_each_task_with_the_end_of_its_first_visit():
    values = trained("naive", ALL).trace().readings["cka"].values  # (6, 5)
    assert np.isnan(values[0]).all()
    assert np.diag(values[1:]) == pytest.approx(np.ones(5))
    later = values[1:][np.tril_indices(5, -1)]
    assert ((later > 0) & (later < 1)).all()
    assert np.isnan(values[1:][np.triu_indices(5, 1)]).all()


# ------------------------------------------------------------------ traces


def test_a_trace_with_readings_is_written_and_read_again_and_one_without_has_the_same_bytes_as_before():
    trace = trained("naive", ALL).trace()
    again = trace_file.decoded(trace_file.encoded(trace))
    assert list(again.readings) == list(trace.readings)
    for name, reading in trace.readings.items():
        assert reading.values.dtype == np.float32
        np.testing.assert_array_equal(again.readings[name].values, reading.values)
        np.testing.assert_array_equal(again.readings[name].steps, reading.steps)
    assert trace_difference(trace, again) == ""
    plain = trained("naive").trace()
    assert trace_digest(trace) != trace_digest(plain)
    assert trace_difference(trace, plain) == "the trace's reading cka"
    assert common_difference(trace, plain) == ""
    assert trace_file.decoded(trace_file.encoded(plain)).readings == {}


def test_another_value_of_a_reading_is_another_digest():
    trace = trained("naive", "evaluation.readings=[fau]").trace()
    other = trace_file.decoded(trace_file.encoded(trace))
    other.readings["fau"].values[-1] += 0.25
    assert trace_digest(other) != trace_digest(trace)
    assert trace_difference(trace, other) == common_difference(trace, other) == "the trace's reading fau"


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"fau": 0}', "damaged"), ("[1]", "damaged"), ('{"fau": 1, "b": 1}', "no array"), ('{"fau": 2}', "dimensions")],
)
def test_a_trace_whose_readings_are_damaged_is_refused(text, message):
    import io

    trace = trained("naive", "evaluation.readings=[fau]").trace()
    arrays = dict(np.load(io.BytesIO(trace_file.encoded(trace))))
    arrays["readings"] = np.array(text)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    with pytest.raises(ValueError, match=message):
        trace_file.decoded(buffer.getvalue())


# ------------------------------------------------------------------ settings


def test_a_cell_without_readings_keeps_its_key_and_settings_are_written_out():
    cell = ready("naive").cell
    assert cell.config["evaluation"].keys().isdisjoint({"readings", "reading_schedule"})
    assert ready("naive", "evaluation.readings=[]", "evaluation.reading_schedule=ends").cell.key == cell.key
    full = ready("naive", "evaluation.readings=[dormant, weight_norm]").cell.config["evaluation"]["readings"]
    assert full == [{"dormant": {"tau": 0.025, "tasks": "current"}}, "weight_norm"]
    assert reading_names.canonical(full) == full


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["evaluation.readings=[fua]"], "there is no reading 'fua'; did you mean 'fau'"),
        (["evaluation.readings=[{dormant: {tua: 1}}]"], "no parameter 'tua'; did you mean 'tau'"),
        (["evaluation.readings=[fau, fau]"], "has fau twice"),
        (["evaluation.readings=[{fau: 3}]"], "takes settings as"),
        (["evaluation.reading_schedule=dense"], "without evaluation.readings"),
        (["evaluation.readings=[fau]", "evaluation.reading_schedule=nightly"], "no evaluation schedule 'nightly'"),
        (
            ["evaluation.readings=[fau]", "evaluation.reading_schedule=every", "evaluation.schedule=ends"],
            "reading_schedule = every follows evaluation.every",
        ),
    ],
)
def test_mistakes_in_readings_are_refused_in_one_sentence(changes, message):
    with pytest.raises(Refused, match=message):
        plan("split-digits", overrides=changes)


def test_a_learner_without_a_network_has_no_readings():
    assert trained("ncm", ALL).trace().readings == {}


OWN = """
def largest(learner, panel, /, *, power: float = 1.0):
    learner.memory["calls"] = learner.memory.get("calls", 0) + 1
    return [float(learner.weights.abs().max()) ** power, learner.memory["calls"], len(panel.tasks), learner.step]

def words(learner, panel, /):
    return "many"

def growing(learner, panel, /):
    return [0.0] * (1 + learner.step)
"""


def test_a_reading_from_a_file_has_settings_memory_and_its_code_in_the_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(OWN)
    run = trained("naive", "evaluation.readings=[{'mine.py:largest': {power: 2.0}}]")
    (written,) = run.cell.config["evaluation"]["readings"]
    assert set(written) == {f"{tmp_path}/mine.py:largest", "source"}
    values = run.trace().readings["mine.py:largest(power=2.0)"].values
    assert values[-1] == pytest.approx([float(run.learner.w.detach().abs().max()) ** 2, 6, 5, 20])


@pytest.mark.parametrize(("name", "message"), [("words", "returned a str"), ("growing", "the same shape each time")])
def test_a_reading_that_returns_no_numbers_or_another_shape_is_refused(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(OWN)
    with pytest.raises(Refused, match=message):
        trained("naive", f"evaluation.readings=['mine.py:{name}']")


def test_readings_of_a_benchmark_reach_its_records(tmp_path):
    benchmark = {
        "name": "read",
        "stream": {"scenario": "split", "dataset": {"name": "digits", "train_rows": 100}},
        "model": {"name": "mlp", "hidden": [8]},
        "evaluation": {"every": 0, "rows_per_task": 10, "readings": ["fau"]},
        "seeds": 1,
    }
    (record,) = clbench.run(benchmark, out=tmp_path)
    (stored,) = records(tmp_path)
    assert record.trace.readings["fau"].values.shape == (6,)
    np.testing.assert_array_equal(stored.trace.readings["fau"].values, record.trace.readings["fau"].values)


@pytest.mark.parametrize(
    ("strategy", "changes"),
    [("hypernet", ()), ("binary(read_out=sample)", ("reveal=[length]",)), ("gpm", ()), ("acil", ())],
)
def test_strategies_that_own_a_piece_of_the_network_learn_and_resume_the_same_bits_with_readings(strategy, changes):
    common = ("stream.setting=task", "evaluation.every=0", "stream.dataset.train_rows=80", *changes)
    plain, read = trained(strategy, *common), trained(strategy, *common, ALL)
    assert_same(everything(plain), everything(read))
    assert same_trace(plain, read)
    again = ready(strategy, *common, ALL)
    again.restore(train_until(ready(strategy, *common, ALL), 3).snapshot())
    again.train()
    assert trace_difference(read.trace(), again.trace()) == ""


def test_with_generated_weights_the_layers_of_the_generator_come_first_and_those_that_answer_last():
    run = trained(
        "hypernet", "stream.setting=task", "evaluation.every=0", "evaluation.readings=[{fau: {by_layer: true}}]"
    )
    panel = run.evaluator.panels.of_all_tasks(run.trainer.readout, 4)
    own = panel.task == 4
    with torch.no_grad():
        features = run.trainer.readout.output(panel.x[panel.index[own]], panel.task[own]).features  # after the ReLU
    shares = run.trace().readings["fau(by_layer=True)"].values[-1]
    assert len(shares) > 2
    assert shares[-1] == pytest.approx(float((features > 0).double().mean()), abs=1e-6)
