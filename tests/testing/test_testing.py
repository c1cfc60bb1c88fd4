"""The contract kit can tell: for every property there is a strategy that breaks it, and honest ones keep them all."""

from __future__ import annotations

import random
import sys
from importlib import import_module
from pathlib import Path
from unittest import SkipTest

import numpy as np
import pytest
import torch
from command_line import call

import clbench
from clbench.strategies import STRATEGIES
from clbench.testing import PROPERTIES, Broken, Skipped, check_strategy, examine
from clbench.testing.trial_runs import Trial

ALONE = {"randomness", "process_state", "companions", "needs", "memory", "state", "device"}
"""Properties that one run shows by itself."""

BREAKS = [
    ("Counts", "deterministic", "the weights (off by up to"),
    ("Forgets", "resumable", "resumed from a file written after step"),
    ("Aliases", "resumable", "keep what is learned in self.state, as copies"),
    ("Unsaveable", "deterministic", "Unsaveable keeps a set in state['classes']; allowed are tensors"),
    ("Calls", "deterministic", "Calls keeps a function in state['rules'][1]['square']; allowed are tensors"),
    ("ReadsTasks", "deterministic", "declares needs = {'task_labels'} (broken_parts.py, line"),
    ("Looks", "unwatched", "training differs with no evaluations"),
    ("Leaks", "identity", "Leaks(strength=0) is declared to have no effect and has one: the weights (off by"),
    ("Misdeclares", "identity", "Misdeclares declares the identity {'strengh': 0}, and cannot be made so"),
    ("Draws", "randomness", "torch.randn draws from the global generator"),
    ("DrawsInPlace", "randomness", "torch's global generator is drawn from or seeded in step 2"),
    ("Seeds", "randomness", "random's global generator is drawn from or seeded in step 2"),
    ("DrawsFromNumpy", "randomness", "numpy's global generator is drawn from or seeded in step 2"),
    ("Moves", "process_state", "a run changes the environment variables"),
    ("Writes", "process_state", "writes 'log.txt' into the working directory"),
    ("SetsThreads", "process_state", "a run changes torch's number of threads"),
    ("PeeksAtTests", "test_rows", "training depends on the test samples"),
    ("PeeksAtTasks", "hidden_labels", "training depends on hidden task labels"),
    ("PeeksAhead", "future", "the state after experience 1 depends on samples of later experiences"),
    ("PeeksAtLabels", "future", "the state after experience 1 depends on samples of later experiences"),
    ("PeeksAtClasses", "future", "the state after experience 1 depends on the later experiences"),
    (
        "PeeksAtLength",
        "future",
        "the state after experience 1 depends on the number of later experiences: the weights",
    ),
    (
        "RunsAhead",
        "future",
        "depends on the number of later experiences: with other ones, a run raised IndexError",
    ),
    (
        "PeeksIntoThePiece",
        "rows_to_come",
        "with hidden boundaries, the state after step 5 depends on later samples: the weights",
    ),
    ("WantsBoundaries", "needs", "without boundaries, a run raised KeyError: 'rows' (broken_parts.py, line"),
    ("WantsMemory", "needs", "without memory, a run raised ZeroDivisionError"),
    ("Votes", "companions", "if only samples of its own task are beside it"),
    ("ChoosesForAll", "companions", "the scores of a sample of task"),
    ("Hoards", "memory", "after step 1 the replay buffer holds 31 samples of a budget of 30"),
    (
        "Buffers",
        "memory",
        "samples of the stream outside the replay buffer, in state['x']; keep samples in it (side tensors",
    ),
    ("Pockets", "memory", "Pockets keeps 140 samples of the stream outside the replay buffer, in _box.rows"),
    ("Notes", "memory", "Notes keeps 140 samples of the stream outside the replay buffer, in _seen"),
    ("Relabels", "memory", "or with another label"),
    ("Lists", "state", "state grows with steps: 160 bytes after one pass over each experience, 480 after three"),
    (
        "ListsByDesign",
        "state",
        "state grows with steps: 160 bytes after one pass over each experience, 480 after three",
    ),
    ("Collects", "state", "state grows with every experience although no class is new"),
    ("OnlyMLP", "second_model", "a run raised AssertionError"),
    ("OnlyNewClasses", "second_scenario", "a run raised RuntimeError: more than two classes"),
    ("OnlyOneHead", "task_labels", "a run raised RuntimeError: several heads"),
    ("Elsewhere", "device", "the state of Elsewhere holds far on meta"),
    ("Pair", "workers", "the cell runs here and is failed in a worker: TypeError"),
]


@pytest.fixture
def parts():
    return Path(__file__).parents[1] / "broken_parts.py"


@pytest.fixture(autouse=True)
def _process_state(monkeypatch, tmp_path):
    monkeypatch.setenv("CLBENCH_TEST_MOVES", "0")
    monkeypatch.chdir(tmp_path)
    yield
    STRATEGIES._added.clear()


@pytest.mark.parametrize(("part", "prop", "sentence"), BREAKS, ids=[f"{b[0]}-{b[1]}" for b in BREAKS])
def test_a_strategy_that_breaks_a_property_is_told_which_and_how(parts, part, prop, sentence):
    with pytest.raises(Broken) as caught:
        check_strategy(f"{parts}:{part}", prop)
    assert sentence in str(caught.value)
    assert f"{part} breaks {prop!r}" in str(caught.value)
    assert isinstance(caught.value, AssertionError)


def test_every_property_has_a_strategy_that_breaks_it():
    assert {prop for _, prop, _ in BREAKS} == set(PROPERTIES)


@pytest.mark.parametrize("prop", PROPERTIES)
@pytest.mark.parametrize("text", ["{}:Honest", "er + {}:Honest(strength=0.1)"])
def test_an_honest_strategy_of_a_file_keeps_every_property(parts, text, prop):
    check_strategy(text.format(parts), prop)


@pytest.mark.parametrize("text", ["{}:two", "{}:two + er", "er + {}:two(strength=0.1)"])
def test_each_part_of_a_recipe_is_asked_for_its_identity_in_its_place(parts, text):
    with pytest.raises(
        Broken, match=r"Leaks\(strength=0\) is declared to have no effect and has one: the weights \(off by"
    ):
        check_strategy(text.format(parts), "identity")


def test_a_recipe_whose_parts_are_nothing_at_their_identities_keeps_that_property(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from broken_parts import Honest, Nudges\n\n"
        "def both(*, pull: float = 0.5):\n    return [Nudges(strength=0.3), Honest(strength=pull)]\n"
    )
    check_strategy(f"er + {file}:both(pull=0.2)", "identity")
    sys.path.remove(str(Path(__file__).parents[1]))


def test_an_identity_that_cannot_be_asked_says_why(parts):
    with pytest.raises(Skipped, match=r"since the others do not run without it: a run raised AttributeError: .*marked"):
        check_strategy(f"{parts}:relying", "identity")
    for text, note in (
        ("{0}:relying + {0}:Honest", "Marks(strength=0) cannot be compared, since the others do not run without it"),
        ("{0}:Nudges + {0}:Nudges", "Nudges(strength=0) cannot be compared, since without it the other Nudges would"),
    ):
        (verdict,) = (v for v in examine(text.format(parts)) if v.property == "identity")
        assert verdict.status == "kept"
        assert verdict.text.startswith(note)


def test_a_strategy_that_needs_pretrained_weights_keeps_every_property_on_weights_made_on_the_spot(parts):
    assert set(check_strategy(f"er + {parts}:WantsWeights")) == {"identity"}
    first, other = (Trial(f"{parts}:WantsWeights", seed=seed).ready().learner for seed in (0, 1))
    head = first.slices["head.weight"]
    same = first.w == other.w
    assert same[: head.start].all()
    assert not same[head].any()


def test_a_part_that_breaks_one_property_is_not_accused_of_others(parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    verdicts = {v.property: v.status for v in examine(f"{parts}:Writes")}
    assert verdicts.pop("process_state") == "broken"
    assert verdicts.pop("identity") == "skipped"
    assert set(verdicts.values()) == {"kept"}


@pytest.mark.parametrize(
    ("part", "broken", "asked", "why"),
    [
        ("ReadsTasks", {"deterministic"}, set(), "it does not run, as 'deterministic' shows"),
        ("Calls", {"deterministic"}, set(), "what it keeps cannot be saved, as 'deterministic' shows"),
        ("Clocks", {"deterministic"}, ALONE - {"randomness"}, "two runs of it differ, as 'deterministic' shows"),
        (
            "DrawsFromNumpy",
            {"randomness"},
            set(PROPERTIES) - {"randomness", "identity"},
            "no part declares an identity",
        ),
        ("Buffers", {"memory"}, set(PROPERTIES) - {"memory", "identity"}, "no part declares an identity"),
        ("Looks", {"unwatched"}, set(PROPERTIES) - {"unwatched", "identity"}, "no part declares an identity"),
        ("PeeksAtLength", {"future"}, set(PROPERTIES) - {"future", "identity"}, "no part declares an identity"),
    ],
)
def test_one_fault_is_told_once_and_what_it_hides_is_not_asked(parts, part, broken, asked, why):
    verdicts = list(examine(f"{parts}:{part}"))
    assert {v.property for v in verdicts if v.status == "broken"} == broken
    assert {v.property for v in verdicts if v.status == "kept"} == asked
    assert all(v.text.startswith(why) for v in verdicts if v.status == "skipped")


def test_the_line_that_is_told_is_the_authors(parts):
    with pytest.raises(Broken, match=r"\(broken_parts.py, line (\d+)\)") as caught:
        check_strategy(f"{parts}:ReadsTasks", "deterministic")
    line = int(str(caught.value).rpartition("line ")[2].rstrip(")"))
    assert parts.read_text().splitlines()[line - 1].strip() == "return float(batch.task[0])"


def test_a_file_is_found_again_from_whatever_directory_a_part_goes_to(parts, monkeypatch):
    monkeypatch.chdir(parts.parent.parent)
    told = {v.property: v for v in examine("tests/broken_parts.py:Wanders")}
    assert {name for name, v in told.items() if v.status == "broken"} == {"process_state"}
    assert "a run changes the working directory" in told["process_state"].text
    assert Path.cwd() == parts.parent.parent
    answer = call("check", "wanders", "--plugin", "tests/broken_parts.py")
    assert "broken   process_state    a run changes the working directory" in answer.out
    assert answer.code == 1


def test_what_is_kept_of_the_running_batch_and_of_classes_is_no_hidden_buffer(parts):
    check_strategy(f"{parts}:Means", "memory")
    check_strategy(f"er + {parts}:Means", "memory")


def test_a_part_that_needs_the_length_is_not_asked_whether_it_follows_it(parts):
    (verdict,) = (v for v in examine(f"{parts}:WantsLength") if v.property == "future")
    assert verdict.status == "kept"
    assert verdict.text == "the length of the stream is not tested, since it declares to need it"


def test_what_cannot_be_asked_is_skipped_with_the_reason_and_counts_as_a_skipped_test(parts):
    labels = f"{parts}:WantsLabels"
    for prop, reason in (
        ("hidden_labels", "it declares to need task labels"),
        ("identity", "no part declares an identity"),
    ):
        with pytest.raises(Skipped, match=reason):
            check_strategy(labels, prop)
    with pytest.raises(SkipTest, match="see the whole stream"):
        check_strategy("joint", "future")
    for prop in ("deterministic", "second_scenario"):  # at home where task labels are shown
        check_strategy(labels, prop)
    assert set(check_strategy(labels)) == {"hidden_labels", "rows_to_come", "identity"}


def test_a_strategy_of_this_program_alone_cannot_be_sent_to_workers():
    class Local(clbench.Part):
        pass

    STRATEGIES.add("local_only", Local)
    with pytest.raises(Skipped, match="put it into a file"):
        check_strategy("local_only", "workers")


def test_all_broken_properties_are_told_at_once(parts):
    with pytest.raises(Broken) as caught:
        check_strategy(f"{parts}:PeeksAtTests + {parts}:Lists")
    assert [line.split("'")[1] for line in str(caught.value).splitlines()] == ["test_rows", "state"]


def test_a_strategy_that_raises_or_diverges_is_broken_with_the_place():
    with pytest.raises(Broken, match="the check needs parameters with which a small run trains"):
        check_strategy("l2(strength=1e30)", "deterministic")


def test_an_unknown_property_and_an_unknown_strategy_are_refused():
    with pytest.raises(clbench.Refused, match="did you mean 'resumable'"):
        check_strategy("er", "resumble")
    with pytest.raises(clbench.Refused, match="did you mean 'er'"):
        check_strategy("err")
    with pytest.raises(clbench.Refused, match="needs a value for 'strength'"):
        check_strategy("l2", "deterministic")
    check_strategy("l2", "deterministic", defaults={"l2": {"strength": 0.1}})


def test_a_check_leaves_generators_and_threads_as_it_found_them(parts):
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()  # noqa: NPY002
    threads = torch.get_num_threads()
    for prop in ("randomness", "process_state", "resumable"):
        check_strategy("er", prop)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()  # noqa: NPY002
    assert after == before
    assert torch.get_num_threads() == threads


# --------------------------------------------------------------------------------------------------- clbench check


def test_check_answers_a_line_per_property_and_fails_where_one_is_broken(parts):
    good, bad = call("check", f"er + {parts}:Honest(strength=0.1)"), call("check", f"{parts}:PeeksAtTests")
    assert (good.code, bad.code) == (0, 1)
    properties, _, remarks = good.out.partition("\nnote: ")
    assert [line.split()[:2] for line in properties.splitlines()] == [["kept", prop] for prop in PROPERTIES]
    assert remarks.startswith("At steps 5, 13, 20 its gradient is ")
    assert "The contract is kept" in good.out
    assert "broken   test_rows        training depends on the test samples" in bad.out
    assert "skipped  identity         because no part declares" in bad.out


def test_check_tells_strategies_scenarios_and_benchmarks_apart(parts, monkeypatch):
    asked = []
    monkeypatch.setattr(
        import_module("clbench.cli.check"), "_check_strategy", lambda _, target, seed: asked.append(target)
    )
    for target in ("er", "er + l2(strength=1)", "l2(strength=1)"):
        assert call("check", target).code == 0
    assert asked == ["er", "er + l2(strength=1)", "l2(strength=1)"]
    for name in ("Honest", "recipe"):
        assert call("check", f"{parts}:{name}").code == 0
        assert asked[-1] == f"{parts}:{name}"
    assert "is an int; a strategy is a class" in call("check", f"{parts}:NOTHING").err
    assert "scenario" in call("check", "rotated").out
    assert "scenario" in call("check", "split-digits").out
    assert (
        f"{parts} is a file; name what is tested in it, such as clbench check {parts}:NAME" in call("check", parts).err
    )
    unknown = call("check", "rotted")
    assert unknown.code == 2
    assert "did you mean 'rotated'" in unknown.err


def test_check_asks_which_where_a_name_is_both_and_kind_decides(monkeypatch):
    class Rotated(clbench.Part):
        """A strategy with the name of a scenario."""

    STRATEGIES.add("rotated", Rotated)
    both = call("check", "rotated")
    assert both.code == 2
    assert "choose with --kind strategy or --kind scenario" in both.err
    assert "fingerprint" in call("check", "rotated", "--kind", "scenario").out
    asked = []
    monkeypatch.setattr(
        import_module("clbench.cli.check"), "_check_strategy", lambda _, target, seed: asked.append(target)
    )
    assert call("check", "rotated", "--kind", "strategy").code == 0
    assert asked == ["rotated"]
    refused = call("check", "rotated", "--kind", "strategy", "--set", "a=1")
    assert refused.code == 2
    assert "write a strategy's parameters as NAME(key=value)" in refused.err
