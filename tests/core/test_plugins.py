"""Strategies from outside: entry points of installed packages, sound and broken, and files given by ``--plugin``."""

from __future__ import annotations

import json
import sys
import textwrap

import pytest
import torch
from command_line import call

import clbench
from clbench import api, data, models, scenarios
from clbench.core.identity.program_text import digest
from clbench.core.registry import Registry
from clbench.core.trace_equality import trace_difference
from clbench.data import DATASETS
from clbench.models import MODELS
from clbench.running.plan import make_stream, plan
from clbench.scenarios import SCENARIOS
from clbench.scenarios.combinators import COMBINATORS
from clbench.strategies import STRATEGIES
from clbench.strategies.notation import snake_case
from clbench.strategies.plugin_file import plugin
from clbench.strategies.strategy import Strategy
from clbench.testing import check_strategy


def canonical(written):
    return Strategy.parse(written).items


IDEA = '''
from dataclasses import dataclass

import clbench
from clbench import Part


@dataclass(kw_only=True)
class PullBack(Part):
    """Pull towards zero."""

    strength: float = 0.01

    def gradient(self, learner, batch):
        learner.g.add_(learner.w.detach(), alpha=self.strength)


class MyEWC(PullBack):
    """Another."""


class _Hidden(Part):
    pass
'''

RECIPES = '''
from __future__ import annotations

from dataclasses import dataclass

import clbench
from clbench import Part
from clbench.core.parameters import Count, NonNegative
from clbench.strategies.replay import Replay, er


@dataclass(kw_only=True)
class _Pull(Part):
    strength: float = 0.01

    def gradient(self, learner, batch):
        learner.g.add_(learner.w.detach(), alpha=self.strength)


def mixed(*, strength: NonNegative, rows: Count | None = None) -> list[clbench.Part]:
    """Replay and a pull."""
    return [Replay(rows=rows), _Pull(strength=strength)]


def helper(x) -> list[int]:
    return [x]


def _half() -> list[Part]:
    return []
'''

TINY = ("training.epochs=1", "stream.dataset.train_rows=100", "evaluation.every=0")


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture
def idea(tmp_path, monkeypatch):
    (tmp_path / "idea.py").write_text(IDEA, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return "idea.py"


def install(folder, package, entry_points, **modules):
    """A package as pip would leave it: modules, and a dist-info folder with entry points."""
    info = folder / f"{package.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(textwrap.dedent(entry_points), encoding="utf-8")
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An empty site-packages on ``sys.path``; entry points are read anew, now and afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    modules = set(sys.modules)
    STRATEGIES.__dict__.pop("_known", None)
    yield folder
    STRATEGIES.__dict__.pop("_known", None)
    for name in set(sys.modules) - modules:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


# --------------------------------------------------------------------------------------------------- entry points

SOUND = """
[clbench.strategies]
pulled = pulled_module:PullBack
"""


def test_an_installed_strategy_is_listed_shown_run_and_ranked(site, tmp_path):
    install(site, "clbench-pulled", SOUND, pulled_module=IDEA)
    listed = call("list", "strategies").out
    assert "Pull towards zero  [clbench-pulled 1.2]" in listed
    assert "strategy pulled, from clbench-pulled 1.2" in call("show", "pulled").out
    clbench.run("split-digits", strategies="er + pulled(strength=0.001)", seeds=1, overrides=TINY, out=tmp_path / "out")
    board = json.loads(call("board", tmp_path / "out", "--format", "json").out)
    assert '"er + pulled(strength=0.001)"' in json.dumps(board)


def test_a_plugin_that_does_not_import_is_listed_with_its_error_and_harms_nobody_else(site):
    points = """
    [clbench.strategies]
    ill = ill_module:Ill
    gone = pulled_module:NotThere
    pulled = pulled_module:PullBack
    """
    install(site, "clbench-ill", points, ill_module="import nowhere_to_be_found", pulled_module=IDEA)
    listed = call("list", "strategies")
    assert listed.code == 0
    sentence = "the strategy 'ill' from clbench-ill 1.2 does not import: ModuleNotFoundError: No module named"
    assert sentence in listed.out
    assert "'gone' from clbench-ill 1.2 does not import: AttributeError" in listed.out
    assert "Pull towards zero" in listed.out
    used = call("check", "ill")
    assert used.code == 2
    assert sentence in used.err
    doctor = call("doctor")
    assert doctor.code == 1
    assert sentence in doctor.out
    assert "strategy pulled, from clbench-ill 1.2" in doctor.out


def test_two_plugins_of_one_name_are_refused_where_the_name_is_used_and_only_there(site):
    install(site, "clbench-pulled", SOUND, pulled_module=IDEA)
    install(site, "clbench-second", SOUND.replace("pulled_module", "second_module"), second_module=IDEA)
    with pytest.raises(clbench.Refused) as caught:
        STRATEGIES.get("pulled")
    sentence = str(caught.value)
    assert "two strategy plugins are called 'pulled'" in sentence
    assert "clbench-pulled 1.2" in sentence
    assert "clbench-second 1.2" in sentence
    assert STRATEGIES.get("er")
    assert call("list", "strategies").code == 0
    assert sentence in call("list", "strategies").out
    assert sentence in call("doctor").out
    assert call("run", "split-digits", "--strategies", "naive, er", "--dry-run").code == 0
    assert call("run", "split-digits", "--strategies", "pulled", "--dry-run").code == 2


def test_a_plugin_that_takes_the_name_of_a_built_in_never_replaces_it_in_silence(site):
    install(site, "clbench-usurper", SOUND.replace("pulled =", "er ="), pulled_module=IDEA)
    with pytest.raises(clbench.Refused, match="one from clbench, one from clbench-usurper"):
        canonical("er")
    assert canonical("naive")


def test_a_plugin_that_is_no_part_is_listed_all_the_same(site):
    points = """
    [clbench.strategies]
    odd = odd_module:odd
    """
    install(site, "clbench-odd", points, odd_module="class odd:\n    def __init__(self, *, x: 'Nowhere'): ...")
    listed = call("list", "strategies")
    assert listed.code == 0
    assert "cannot be described: NameError: name 'Nowhere' is not defined  [clbench-odd 1.2]" in listed.out


def test_a_recipe_of_an_installed_package_is_listed_with_its_settings_and_makes_its_parts(site):
    install(site, "clbench-mixed", "[clbench.strategies]\nmixed = mixed_module:mixed\n", mixed_module=RECIPES)
    listed = call("list", "strategies").out
    assert "Replay and a pull  [clbench-mixed 1.2]" in listed
    assert "strength: float, rows: int | None = None" in listed
    made = Strategy.parse("mixed(strength=0.5, rows=3)").parts()
    assert [type(part).__name__ for part in made] == ["Replay", "_Pull"]
    assert (made[0].rows, made[1].strength) == (3, 0.5)
    with pytest.raises(clbench.Refused, match=r"strength = -1 is not allowed: input should be greater than or equal"):
        canonical("mixed(strength=-1)")


def imported_anew(module):
    """What another process would import: the module's file as it is now."""
    del sys.modules[module]
    STRATEGIES.__dict__.pop("_known", None)


def test_an_edit_of_an_installed_strategy_makes_other_cells(site):
    install(site, "clbench-pulled", SOUND, pulled_module=IDEA)

    def key(strategy):
        return plan("split-digits", strategies=[strategy], seeds=1).cells[0].key

    before, built_in = key("pulled"), key("naive")
    imported_anew("pulled_module")
    assert key("pulled") == before
    (site / "pulled_module.py").write_text(IDEA.replace("0.01", "0.0123").replace("l: f", "l : f"), encoding="utf-8")
    assert key("pulled") == before  # this program still runs the code that it has imported
    imported_anew("pulled_module")
    assert key("pulled") != before
    assert key("naive") == built_in


def test_the_text_that_counts_is_that_of_the_module_which_defines_the_thing(site):
    points = SOUND.replace("pulled_module:PullBack", "front_module:PullBack") + "ours = front_module:er\n"
    front = "from pulled_module import PullBack\nfrom clbench.strategies.replay import er"
    install(site, "clbench-pulled", points, pulled_module=IDEA, front_module=front)
    text = (site / "pulled_module.py").read_bytes()
    assert canonical("pulled")[0]["source"] == digest(text)
    assert "source" not in canonical("ours")[0]
    assert all("source" not in canonical(name)[0] for name in ("naive", "er", "agem"))


def test_installed_things_of_every_kind_that_runs_are_told_apart_by_their_text(site):
    points = """
    [clbench.scenarios]
    slow = kinds_module:slow
    [clbench.combinators]
    twice = kinds_module:twice
    [clbench.models]
    small = kinds_module:small
    [clbench.datasets]
    figures = kinds_module:figures
    mine:PATH = kinds_module:mine
    """
    text = """
    from clbench.data import load
    from clbench.models.builders import mlp
    from clbench.scenarios.combinators import repeat
    from clbench.scenarios.split import split

    def slow(dataset, seed, *, setting: str = "class"): return split(dataset, seed, setting=setting)
    def twice(stream): return repeat(stream, times=2)
    def small(shape, n_outputs, *, width: int = 4): return mlp(shape, n_outputs, hidden=[width])

    def figures(data_dir): return load("digits")
    def mine(path, data_dir, *, size=None): return load("digits")

    class Keeps:
        def observe(self, x, y): ...
    """
    for registry in (SCENARIOS, COMBINATORS, MODELS, DATASETS):
        registry.__dict__.pop("_known", None)
    install(site, "clbench-kinds", points, kinds_module=text)
    try:
        stream = scenarios.canonical({"scenario": "slow", "apply": ["twice"]})
        model = models.canonical({"name": "small"})
        (watched,) = canonical("observe:kinds_module.Keeps")
        found = {stream["source"], stream["apply"][0]["twice"]["source"], model["source"], watched["source"]}
        assert found == {digest((site / "kinds_module.py").read_bytes())}
        assert scenarios.canonical(stream) == stream
        assert models.canonical(model) == model
        assert len(scenarios.make(stream, data.load("digits"), 0)) == 10
        assert models.make(model, (1, 8, 8), 10)
        whole = plan({"name": "b", "stream": {**stream, "dataset": "figures"}, "model": model}, seeds=1).cells[0].config
        assert {whole["stream"]["dataset"]["source"]} == found == {data.source("mine:x"), data.source("digits+figures")}
        assert len(make_stream(whole["stream"], 0)) == 10
        assert data.source("digits") == data.source("npz:x.py:y") == ""
    finally:
        for registry in (SCENARIOS, COMBINATORS, MODELS, DATASETS):
            registry.__dict__.pop("_known", None)


# --------------------------------------------------------------------------------------------------- --plugin FILE.py


def test_names_of_a_file_are_its_public_parts_in_snake_case(idea):
    assert plugin(idea) == {"pull_back": "idea.py:PullBack", "my_ewc": "idea.py:MyEWC"}
    names = {"Shrink": "shrink", "MyEWC": "my_ewc", "L2Norm": "l2_norm", "ERAce": "er_ace", "Part2b": "part2b"}
    assert {name: snake_case(name) for name in names} == names


def test_names_of_a_file_are_also_its_public_functions_that_say_they_return_parts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in (RECIPES, RECIPES.replace("from __future__ import annotations", "")):
        (tmp_path / "mine.py").write_text(text, encoding="utf-8")
        assert plugin("mine.py") == {"mixed": "mine.py:mixed"}


def test_a_recipe_whose_annotation_only_a_type_checker_can_read_is_found_all_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = """
from __future__ import annotations

from typing import TYPE_CHECKING

from clbench.strategies.replay import Replay

if TYPE_CHECKING:
    import clbench


def mine() -> list[clbench.Part]:
    return [Replay()]


def no_recipe() -> list[clbench.Parting]:
    return []
"""
    (tmp_path / "checked.py").write_text(text, encoding="utf-8")
    assert plugin("checked.py") == {"mine": "checked.py:mine"}


def test_a_recipe_of_a_file_is_listed_shown_checked_and_run_in_workers_like_a_built_in_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(RECIPES, encoding="utf-8")
    listed = call("list", "strategies", "--plugin", "mine.py").out
    assert "Replay and a pull  [mine.py]" in listed
    assert "strength: float, rows: int | None = None" in listed
    assert "Replay and a pull" in call("show", "mixed", "--plugin", "mine.py").out
    check_strategy("mine.py:mixed(strength=0.1)", "workers")
    settings = [word for text in TINY for word in ("--set", text)]
    run = ("run", "split-digits", *settings, "--plugin", "mine.py", "--seeds", "1", "--out", tmp_path / "out")
    assert call(*run, "--jobs", "2", "--strategies", "mixed(strength=0), er").code == 0
    mixed, er = (next(r for r in api.records(tmp_path / "out") if r.label.startswith(n)) for n in ("mixed", "er"))
    assert mixed.cell["strategy"][0]["name"] == "mine.py:mixed"
    assert trace_difference(mixed.trace, er.trace) == ""  # no pull
    wrong = call(*run, "--strategies", "mixed(strength=0, row=3)")
    assert wrong.code == 2
    assert "strategy 'mixed' has no parameter 'row'; did you mean 'rows'?" in wrong.err


def test_list_show_and_check_know_a_file_for_one_command_only(idea):
    assert "pull_back" in call("list", "strategies", "--plugin", idea).out
    assert "[idea.py]" in call("list", "strategies", "--plugin", idea).out
    assert "Pull towards zero" in call("show", "pull_back", "--plugin", idea).out
    assert call("show", "pull_back").code == 2
    assert "pull_back" not in [entry.name for entry in STRATEGIES]


def test_a_short_name_runs_in_workers_resumes_and_keeps_its_label(idea, tmp_path):
    settings = [word for text in TINY for word in ("--set", text)]
    run = ("run", "split-digits", *settings, "--plugin", idea, "--seeds", "1", "--out", tmp_path / "out")
    run = (*run, "--jobs", "2", "--strategies", "pull_back, er + my_ewc(strength=0.1)")
    assert call(*run).code == 0
    assert "2 cells: 2 finished, 0 to do" in call(*run, "--dry-run").out
    records = {record.label: record for record in api.records(tmp_path / "out")}
    assert set(records) == {"pull_back", "er + my_ewc(strength=0.1)"}
    (item,) = records["pull_back"].cell["strategy"]
    assert item["name"] == "idea.py:PullBack"
    assert item["source"]
    in_full = clbench.run("split-digits", strategies=["idea.py:PullBack"], seeds=1, overrides=TINY)
    assert in_full[0].key == records["pull_back"].key


def test_a_benchmark_file_may_use_short_names_and_give_them_defaults(idea, tmp_path):
    text = """
    name: mine
    stream: {scenario: split, dataset: digits, setting: class}
    model: {name: mlp}
    defaults: {pull_back: {strength: 0.5}}
    strategies: [er + pull_back]
    seeds: 1
    """
    (tmp_path / "mine.yaml").write_text(textwrap.dedent(text), encoding="utf-8")
    assert call("run", "mine.yaml", "--dry-run").code == 2
    shown = call("run", "mine.yaml", "--dry-run", "--plugin", idea)
    assert shown.code == 0
    assert "er + pull_back" in shown.out


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("class EWC(Part): pass", "mine.py:EWC would be called 'ewc', and a strategy of that name exists already"),
        ("x = 1", "mine.py defines no strategy"),
        (
            "class PullBack(Part): pass\ndef pull_back() -> list[Part]: return [PullBack()]",
            "mine.py: PullBack and pull_back would both be called 'pull_back'; rename one, or begin",
        ),
        ("class EWC(:", "mine.py does not import: SyntaxError"),
    ],
)
def test_a_file_that_cannot_serve_is_refused_with_a_sentence(text, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(f"from clbench import Part\n{text}\n", encoding="utf-8")
    answer = call("list", "strategies", "--plugin", "mine.py")
    assert answer.code == 2
    assert sentence in answer.err
    assert "mine.txt is no Python file" in call("list", "--plugin", "mine.txt").err
    assert "cannot be read" in call("list", "--plugin", "absent.py").err


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("def mine(rows=3) -> list[Part]: return []", r"def mine\(\*, ...\)"),
        ("@dataclass\nclass Mine(Part):\n    rows: int = 3", r"@dataclass\(kw_only=True\)"),
    ],
)
def test_a_setting_that_is_not_keyword_only_is_refused_with_the_form_that_is(text, form, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(f"from dataclasses import dataclass\nfrom clbench import Part\n{text}\n", encoding="utf-8")
    name = text.split()[1].partition("(")[0] if text.startswith("def") else "Mine"
    with pytest.raises(clbench.Refused, match=f"'rows' is not keyword-only, as settings are; write {form}"):
        canonical(f"{file}:{name}")
    assert "'rows' is not keyword-only" in call("check", f"{file}:{name}").err


UNUSUAL = """
from dataclasses import dataclass, field
from typing import ClassVar
from clbench import Part


@dataclass(kw_only=True)
class Layered(Part):
    layers: list[int] = field(default_factory=lambda: [1, 2])
    needs: ClassVar = frozenset()

    def gradient(self, learner, batch):
        learner.g.mul_(sum(self.layers) / 3)


@dataclass(kw_only=True)
class Rule(Part):
    rule: object = field(default_factory=lambda: (lambda: 1))


class Own(Part):
    def __init__(self, a=1):
        self.a = a


class Named(Part):
    def __init__(self, *, a=1):
        self.a = a


class Bare(Part):
    strength: float = 0.5
"""


def test_a_default_that_is_made_anew_is_filled_in_checked_listed_and_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(UNUSUAL, encoding="utf-8")
    assert canonical("mine.py:Layered")[0]["parameters"] == {"layers": [1, 2]}
    first, second = (canonical("mine.py:Layered") for _ in range(2))
    assert first[0]["parameters"]["layers"] is not second[0]["parameters"]["layers"]
    assert Strategy.parse("mine.py:Layered(layers=[3])").parts()[0].layers == [3]
    with pytest.raises(clbench.Refused, match=r"layers = 'x' is not allowed: input should be a valid list"):
        canonical("mine.py:Layered(layers='x')")
    assert "layers: list[int] = [1, 2]" in call("list", "strategies", "--plugin", "mine.py").out
    assert "[1, 2]" in call("show", "layered", "--plugin", "mine.py").out
    check_strategy("mine.py:Layered", "workers")
    naive, layered = clbench.run("split-digits", strategies=["naive", "mine.py:Layered"], seeds=1, overrides=TINY)
    assert trace_difference(naive.trace, layered.trace) == ""  # times (1 + 2) / 3


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("Rule", r"rule = <function .* cannot be written in a file; settings are numbers, texts, and lists"),
        ("Own(a=2)", r"Own has an __init__ of its own, and parts are dataclasses.*write @dataclass\(kw_only=True\)"),
        ("Named", r"Named has an __init__ of its own, and parts are dataclasses"),
        ("Bare(strength=1)", r"'strength' is no setting, since Bare is no dataclass; write @dataclass\(kw_only=True\)"),
    ],
)
def test_a_part_whose_settings_are_none_is_refused_with_the_form_that_has_some(written, sentence, tmp_path):
    (tmp_path / "mine.py").write_text(UNUSUAL, encoding="utf-8")
    with pytest.raises(clbench.Refused, match=sentence):
        canonical(f"{tmp_path}/mine.py:{written}")
    assert call("check", f"{tmp_path}/mine.py:{written}").code == 2


def test_two_files_with_one_name_are_refused_and_the_same_file_twice_is_not(idea, tmp_path):
    (tmp_path / "other.py").write_text(IDEA, encoding="utf-8")
    assert call("list", "strategies", "--plugin", idea, "--plugin", idea).code == 0
    answer = call("list", "strategies", "--plugin", idea, "--plugin", "other.py")
    assert answer.code == 2
    assert "'pull_back'" in answer.err
    assert "pull_back" not in [entry.name for entry in STRATEGIES]


def test_an_alias_is_forgotten_and_never_hides_a_name():
    registry = Registry("strategy", "clbench.none", {"er": ("clbench.strategies.replay:er", "")})
    registry.alias("mine", "mine.py:Mine")
    assert registry.resolve("mine") == "mine.py:Mine"
    assert "mine" in registry
    with pytest.raises(clbench.Refused, match="exists already"):
        registry.add("mine", object())
    registry.unalias("mine")
    assert "mine" not in registry
    with pytest.raises(clbench.Refused, match="from clbench"):
        registry.alias("er", "mine.py:ER")


def test_a_declaration_may_depend_on_the_parameters_of_a_part_and_a_wrong_one_is_refused():
    class Choosing(clbench.Part):
        @property
        def needs(self):
            return frozenset({"memory"})

    assert Choosing().needs == {"memory"}
    with pytest.raises(clbench.Refused, match="'memorie' is not allowed; did you mean 'memory'"):
        type("Wrong", (clbench.Part,), {"needs": frozenset({"memorie"})})


def test_a_given_module_counts_as_pretrained_and_a_function_does_not(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\nimport clbench\n\n@dataclass(kw_only=True)\nclass Tuned(clbench.Part):\n"
        "    needs = frozenset({'pretrained'})\n"
    )

    def made(shape, n_outputs):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, n_outputs))

    told = [
        clbench.run("split-digits", strategies=f"{file}:Tuned", seeds=1, model=model)[0]
        for model in (made((1, 8, 8), 10), made)
    ]
    assert [record.status for record in told] == ["done", "skipped"]
    assert "pretrained weights" in told[1].reason
