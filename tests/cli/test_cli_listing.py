"""What the command line tells about names and about records."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_line import FAST, call

import clbench
from clbench import api
from clbench.benchmark.shipped_files import shipped
from clbench.data import DATASETS
from clbench.metrics import METRICS, compute
from clbench.models import MODELS
from clbench.running.plan import plan
from clbench.scenarios import SCENARIOS
from clbench.strategies import STRATEGIES


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results")
    clbench.run("split-digits", strategies="naive, er + ewc(strength=1)", seeds=1, overrides=FAST[1:], out=out)
    return out


def names_under(text: str, heading: str) -> list[str]:
    """First words of the indented lines of a section, settings left out."""
    lines = text.split(f"{heading}\n", 1)[1].split("\n\n", 1)[0].splitlines()
    return [line.split()[0] for line in lines if line.startswith("  ") and not line.startswith("   ")]


def test_list_tells_every_registered_name() -> None:
    text = call("list").out
    assert names_under(text, "benchmarks") == list(shipped())
    for heading, registry in (("scenarios", SCENARIOS), ("models", MODELS), ("strategies", STRATEGIES)):
        assert names_under(text, heading) == [entry.name for entry in registry]
    assert set(names_under(text, "metrics")) == {entry.name for entry in METRICS}
    assert {entry.name for entry in DATASETS} <= set(names_under(text, "datasets"))


def test_list_tells_how_learners_of_other_libraries_are_written() -> None:
    text = call("list", "strategies").out
    heading = "  from other libraries and your own classes, written SCHEME:NAME"
    assert names_under(text, heading)[:3] == ["avalanche:NAME", "sklearn:NAME", "observe:FILE.py:NAME"]
    assert "each also takes FILE.py:NAME and package.module.NAME" in text
    assert "SCHEME" not in call("list", "models").out


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nope:X", "objects of other libraries are written avalanche:NAME, sklearn:NAME, observe:FILE.py:NAME"),
        ("Sklearn:GaussianNB", "did you mean sklearn:GaussianNB?"),
        ("observe", "did you mean observe:FILE.py:NAME?"),
        ("er:", "did you mean 'er'?"),
        ("nothing", "`clbench list` shows all names"),
        ("mine.py:Mine", "'mine.py:Mine' names the file mine.py, which cannot be read"),
        ("sklearn:SGDClassifier(loss=hinge)", "show takes one name without settings; write clbench show sklearn:SGD"),
        ("er + ewc(strength=1)", "write clbench show er\n"),
    ],
)
def test_show_tells_what_to_write_in_place_of_a_name_that_stands_for_nothing(name: str, sentence: str) -> None:
    answer = call("show", name)
    assert answer.code == 2
    assert sentence in answer.err


def test_list_of_one_kind_tells_nothing_of_the_others() -> None:
    text = call("list", "metrics").out
    assert "wc_acc" in text
    assert "er_ace" not in text


def test_list_tells_parameters_with_defaults_and_those_that_need_a_value() -> None:
    text = call("list").out
    assert "order: fixed | seeded | str | list[int | str] | dict[str, Any] = seeded" in text
    assert "rows: int | None = None, loss: concat | weighted | sum = concat" in text
    assert re.search(r"\n +strength: float, mode: separate \| online = separate", text)
    assert "settings of each: normalize: none | mean-std = none" in text


def test_show_a_metric_tells_its_definition() -> None:
    text = call("show", "recovery").out
    metric = METRICS.get("recovery")
    for expected in (metric.formula, metric.source, metric.needs, "0 to inf iterations, lower is better"):
        assert expected in text


def test_show_a_strategy_tells_docstring_and_parameters_without_markup() -> None:
    words = [line.split() for line in call("show", "ewc").out.splitlines()]
    told = ["strength", "float", "needs", "a", "value", "at", "least", "0", "search", "0.1", "to", "100000,", "log"]
    assert told in words
    assert ["fisher", "exact", "|", "sampled", "|", "empirical", "|", "batch", "=", "exact"] in words
    text = call("show", "er").out
    assert "Chaudhry et al. 2019" in text
    assert "`" not in text


def test_show_a_data_set_tells_the_settings_of_a_benchmark_file() -> None:
    for name in ("digits", "mnist"):
        words = [line.split() for line in call("show", name).out.splitlines()]
        assert ["evaluate_on", "test", "|", "validation", "=", "test"] in words
    assert "write dataset: Flowers102" in call("show", "Flowers102").out


def test_show_a_name_of_several_kinds_shows_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = next(entry for entry in STRATEGIES if entry.name == "er")
    monkeypatch.setitem(MODELS._added, "er", entry)
    text = call("show", "er").out
    assert "model er\n" in text
    assert "strategy er\n" in text


def test_show_a_benchmark_tells_file_stream_and_cells() -> None:
    text = call("show", "split-digits").out
    assert shipped()["split-digits"].read_text().strip() in text
    stream = clbench.stream("split", "digits", seed=0, setting="class", experiences=5, output="seen")
    words = [line.split() for line in text.splitlines()]
    assert ["fingerprint", stream.fingerprint] in words
    strategies = len(plan("split-digits").benchmark.strategies)
    assert ["cells", f"{5 * strategies}", f"({strategies}", "strategies,", "5", "seeds)"] in words
    assert call("show", shipped()["split-digits"]).out == text


def test_show_a_record_tells_all_of_it_however_it_is_named(results: Path) -> None:
    (other, record) = sorted(api.records(results), key=lambda r: r.label != "naive")
    text = call("show", results / "records" / f"{record.key}.json").out
    assert text.startswith("split-digits@2, er + ewc(strength=1), seed 0: done\n")
    words = [line.split() for line in text.splitlines()]
    assert record.trace is not None
    assert ["ACC", f"{100 * compute(record.trace)['acc'].value:.2f}", "%"] in words
    assert ["key", record.key] in words
    assert ["stream", record.fingerprint] in words
    assert ["steps", f"{record.cost['steps']:,.0f}"] in words
    assert ["torch", record.environment["torch"]] in words
    assert "ewc(strength=1.0, mode=separate" in text
    prefix = next(record.key[:n] for n in range(1, 17) if not other.key.startswith(record.key[:n]))
    assert call("show", results, prefix).out == text
    assert call("show", results / prefix).out == text


def test_show_a_record_tells_why_a_metric_has_no_value(tmp_path: Path) -> None:
    clbench.run("split-digits", strategies="naive", seeds=1, overrides=[*FAST[1:], "evaluation.every=0"], out=tmp_path)
    (record,) = api.records(tmp_path)
    assert record.trace is not None
    reason = compute(record.trace)["wf10"].reason
    assert reason
    assert f"undefined: {reason}" in call("show", tmp_path).out


def test_show_a_result_folder_lists_its_cells(results: Path) -> None:
    text = call("show", results).out
    assert all(record.key in text for record in api.records(results))
    assert call("show", results, "zzz").code == 2
