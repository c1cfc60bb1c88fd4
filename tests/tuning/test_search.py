"""A search over real runs: what it may not see, and that its answer depends on nothing but its arguments."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from support import SMALL

import clbench
from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.record import Record
from clbench.data.digits import digits
from clbench.running.plan_files import read_plans
from clbench.tuning import tune

SPACE = "ewc.strength=1:1000:log"
BOTH = f"{SPACE}, training.lr=0.01:0.5:log"
OWN = {**SMALL, "stream": {**SMALL["stream"], "dataset": "digits"}}
"""The small benchmark, to be given other data."""
QUICK = {"trials": 6, "seeds": "100,"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """300 training samples of the digits and 200 test samples, as plain arrays."""
    held = digits(tmp_path_factory.mktemp("data"))
    train, test = (rows.x.astype("float32") / 16 for rows in (held.train, held.test))
    return train[:300], held.train.y[:300], test[:200], held.test.y[:200]


def outcome(found):
    """All trials of a search with their scores and traces, and what was chosen."""
    ((_, trials),) = found.trials.items()
    (answer,) = found.settings.strategies.values()
    return [(each.values, each.scores, each.digests) for each in trials], answer.values, answer.tuning["study"]


def test_test_labels_change_neither_trials_nor_choice(rows):
    x, y, test_x, test_y = rows
    permuted = np.random.default_rng(0).permutation(test_y)
    assert (permuted != test_y).mean() > 0.8
    for protocol in ("first:2", "end"):
        ours, theirs = (
            tune(OWN, strategies="ewc", protocol=protocol, space=BOTH, dataset=(x, y, test_x, labels), **QUICK)
            for labels in (test_y, permuted)
        )
        assert outcome(ours) == outcome(theirs)


def test_noise_after_the_first_experiences_changes_neither_trials_nor_choice(rows):
    x, y, test_x, test_y = rows
    seen = clbench.stream("split", rows, setting="class", experiences=5, seed=100)
    early = np.unique(np.concatenate([y[seen[i].rows] for i in range(2)]))
    noise = np.random.default_rng(1).random(size=x.shape, dtype="float32")
    late = ~np.isin(y, early)
    changed = np.where(late[:, None, None, None], noise, x)
    assert late.sum() > 150
    first, other = (
        outcome(tune(OWN, strategies="ewc", protocol="first:2", space=BOTH, dataset=(held, y, test_x, test_y), **QUICK))
        for held in (x, changed)
    )
    assert first == other
    ends = [
        outcome(tune(OWN, strategies="ewc", protocol="end", space=BOTH, dataset=(held, y, test_x, test_y), **QUICK))
        for held in (x, changed)
    ]
    assert ends[0] != ends[1], "the end of the stream is seen by this protocol"


class Killed(BaseException):
    pass


def test_an_interrupted_search_gives_the_same_file_and_runs_no_trial_twice(tmp_path):
    settings = {"strategies": "ewc, l2", "protocol": "first:2", "space": BOTH, **QUICK}
    whole = tune(SMALL, out=tmp_path / "whole", **settings)
    ended: list[str] = []

    def kill(_text, event):
        if isinstance(event, Record):
            ended.append(event.key)
            if len(ended) == 7:
                raise Killed

    out = tmp_path / "killed"
    with pytest.raises(Killed):
        tune(SMALL, out=out, watch=kill, **settings)
    assert not (out / "tuned.yaml").exists()
    kept = {path.stem for path in (out / "records").glob("*.json")}
    assert len(kept) == 7
    again: list[str] = []
    tune(SMALL, out=out, watch=lambda _, event: again.append(getattr(event, "key", "")), **settings)
    assert not kept & set(again)
    assert (out / "tuned.yaml").read_bytes() == (tmp_path / "whole" / "tuned.yaml").read_bytes() == whole.text.encode()


def test_one_job_and_two_give_the_same_file(tmp_path):
    for jobs in (1, 2):
        tune(SMALL, strategies="ewc", protocol="first:2", trials=4, seeds="100,", jobs=jobs, out=tmp_path / f"{jobs}")
    assert (tmp_path / "1" / "tuned.yaml").read_bytes() == (tmp_path / "2" / "tuned.yaml").read_bytes()


def test_trials_are_ordinary_cells_and_the_first_one_is_the_default(tmp_path):
    found = tune(SMALL, strategies="ewc", protocol="first:2", out=tmp_path, **QUICK)
    (trials,) = found.trials.values()
    assert trials[0].values == {"ewc.strength": 10}
    held = {record.key: record for record in store.load_all(tmp_path)}
    for record in held.values():
        stream = record.cell["stream"]
        assert stream["dataset"]["evaluate_on"] == "validation"
        assert stream["dataset"]["validation"] == 0.1
        assert stream["apply"] == [{"first": {"experiences": 2}}]
        assert record.seed == 100
        assert record.trace.n_experiences == 2
    (answer,) = found.settings.strategies.values()
    strengths = {record.cell["strategy"][0]["parameters"]["strength"]: record for record in held.values()}
    assert set(strengths) == {each.values["ewc.strength"] for each in trials}
    acc = {value: clbench.metrics.get("acc")(record.trace).value for value, record in strengths.items()}
    assert acc[answer.values["ewc.strength"]] == max(acc.values()) == pytest.approx(answer.tuning["score"], abs=1e-6)
    assert [{cell.key for cell in plan.cells} for plan in read_plans(tmp_path)] == [
        set(held)
    ]  # a plan, not one a batch
    steps = sum(record.cost["steps"] for record in held.values())
    whole = clbench.run(SMALL, strategies="ewc", seeds="100,")[0].cost["steps"]
    assert answer.tuning["spent"] == pytest.approx(steps / whole, abs=0.06)


def test_a_strategy_that_is_written_twice_is_searched_once():
    told = []
    settings = {"protocol": "first:1", **QUICK, "watch": lambda text, _: told.append(text)}
    found = tune(SMALL, strategies="ewc, ewc", **settings)
    assert list(found.settings.strategies) == ["ewc"]
    assert set(told) == {"trials 1 to 4 of 6", "trials 5 to 6 of 6"}


def test_a_setting_that_changes_no_score_keeps_its_default_and_is_named():
    (alone,) = tune(SMALL, strategies="ewc", protocol="first:1", **QUICK).settings.strategies.values()
    assert alone.values == {"ewc.strength": 10}
    assert alone.notes[0].startswith(
        "ewc.strength changes no recorded score there: all trials have equal traces, so it keeps its default 10;"
    )
    found = tune(SMALL, strategies="ewc", protocol="first:1", space=BOTH, **QUICK)
    (both,) = found.settings.strategies.values()
    assert both.values["ewc.strength"] == 10
    assert both.tuning["checks"] == 2
    assert sum("changes no recorded score there: the best trial, and" in note for note in both.notes) == 1
    (acts,) = tune(SMALL, strategies="ewc", protocol="first:3", **QUICK).settings.strategies.values()
    assert not any("changes no recorded" in note for note in acts.notes)


def test_a_diverging_trial_never_wins():
    space = "training.lr=0.01:1e20:log"
    found = tune(SMALL, strategies="er", protocol="first:1", space=space, sampler="random", trials=8, seeds="100,")
    (trials,) = found.trials.values()
    lost = [trial for trial in trials if trial.problem]
    assert len(lost) > 2
    assert all("diverged" in trial.problem and math.isnan(trial.mean) for trial in lost)
    (answer,) = found.settings.strategies.values()
    assert answer.values["training.lr"] < min(trial.values["training.lr"] for trial in lost)
    assert any(f"{len(lost)} of {len(trials)} trials have no score" in note for note in answer.notes)


def test_a_seed_that_diverges_makes_its_trial_lose_however_good_the_other_is():
    from clbench.tuning.study import Study

    record = clbench.run(SMALL, strategies="er", seeds=1)[0]
    lost = replace(record, status="diverged", reason="a weight is infinite")
    made = Study("er", [], None, trials=2, metric=clbench.metrics.get("acc")).trial({}, [record, lost])
    assert math.isnan(made.mean)
    assert made.problem == "er, seed 0, diverged: a weight is infinite"


def test_settings_are_tuned_on_another_stream_only_if_nothing_is_shared(tmp_path):
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(120, 8)).astype("float32"), np.arange(120) % 6
    table = tmp_path / "other.csv"
    header = ",".join([*(f"c{i}" for i in range(8)), "kind"])
    lines = [",".join([*map(str, row), f"kind{label}"]) for row, label in zip(x, y, strict=True)]
    table.write_text("\n".join([header, *lines]), encoding="utf-8")
    other = tmp_path / "other.yaml"
    other.write_text(
        f"name: other\nstream: {{scenario: split, experiences: 3, dataset: {{name: 'csv:{table}', label: kind}}}}\n"
        "model: {name: mlp}\n", encoding="utf-8",
    )  # fmt: skip
    found = tune(SMALL, strategies="ewc", protocol=f"other:{other}", trials=2, seeds="100,", out=tmp_path / "out")
    held = list(store.load_all(tmp_path / "out"))
    assert {record.cell["stream"]["dataset"]["name"] for record in held} == {f"csv:{table}"}
    assert {json.dumps(record.cell["model"]["hidden"]) for record in held} == {"[16]"}, "all else is the benchmark's"
    assert {record.cell["stream"]["dataset"]["evaluate_on"] for record in held} == {"validation"}
    (answer,) = found.settings.strategies.values()
    assert answer.tuning["protocol"] == f"other:{other}"
    with pytest.raises(Refused, match="small and split-digits share 10 classes"):
        tune(SMALL, strategies="ewc", protocol="other:split-digits", **QUICK)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"protocol": "first:9"}, "protocol first:9 is not possible: small has 5 experiences, .* first:1 to first:4"),
        ({"protocol": "fist"}, "there is no protocol 'fist'; did you mean 'first'"),
        ({"seeds": "0,100"}, "seed 0 of the search is also of small"),
        ({"trials": 1}, "trials = 1 is not possible; give a number from 2"),
        ({"metric": "la"}, "metric la cannot be improved by a search"),
        ({"metric": "ac"}, "did you mean 'acc'"),
        ({"sampler": "bayes"}, "there is no sampler 'bayes'"),
        ({"strategies": "naive"}, "naive has no settings of its own to tune"),
        ({"strategies": "gdumb", "overrides": {"memory.size": 0}}, "gdumb cannot be tuned: .*memory"),
    ],
)
def test_a_search_that_is_not_possible_is_refused_in_one_sentence(changes, told):
    with pytest.raises(Refused, match=told):
        tune(SMALL, **{"strategies": "ewc", **QUICK, **changes})
