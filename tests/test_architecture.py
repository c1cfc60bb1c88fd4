"""Who may import whom, read from the sources: levels, no cycles, and the edges that must not exist."""

import ast
import re
import subprocess
import sys
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import clbench
from clbench import plots
from clbench.adapters import avalanche, sklearn

ROOT = Path(clbench.__file__).parent

LEVELS = (
    "core",
    "families",
    "metrics data",
    "models",
    "scenarios readings",
    "benchmark",
    "training",
    "strategies evaluate",
    "comparison adapters",
    "plots",
    "running leaderboard",
    "testing api submission",
    "tuning",
    "ablation",
    "site",
    "cli __main__",
)
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names.split()}


def name_of(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}


def statements(node, *, functions):
    """All import statements below a node, those for type checkers left out, those inside functions on demand."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from statements(other, functions=functions)
        elif functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from statements(child, functions=functions)


def imports(module, *, functions=True):
    """Dotted names that a module imports; ``from a import b`` is ``a.b`` where that is a module of ours, else ``a``."""
    found = set()
    for statement in statements(MODULES[module], functions=functions):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        else:
            assert statement.level == 0, f"{module} has a relative import; write it out"
            inside = {f"{statement.module}.{alias.name}" for alias in statement.names}
            found |= inside & set(MODULES) or {statement.module}
    return found


def within(name, packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def modules_of(*rooms):
    return [name for name in MODULES if within(name, [f"clbench.{room}" for room in rooms])]


def room(module):
    return module.split(".")[1]


def imports_by_text(module):
    """What each call of ``import_module`` or ``__import__`` in a module is given, as source text."""
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__"):
            yield ast.unparse(node.args[0])


def forbidden(modules, targets):
    return [f"{module} imports {name}" for module in modules for name in imports(module) if within(name, targets)]


def test_every_module_has_a_level():
    assert {room(name) for name in MODULES if name != "clbench"} <= set(LEVEL), "give the new room a level in LEVELS"


def test_the_page_on_the_design_has_a_paragraph_for_every_room_and_the_table_of_levels():
    page = (ROOT.parent / "docs" / "design.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| (\d+) \| (`.*`) \|$", page, re.MULTILINE)
    assert [(int(n), rooms.replace("`", "")) for n, rooms in table] == list(enumerate(LEVELS))
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert set(re.findall(r"^- \*\*`(\w+)/`\*\*", page, re.MULTILINE)) == folders


def test_every_room_says_in_one_sentence_what_is_inside():
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert [name for name in folders if f"clbench.{name}" not in PACKAGES] == []


def test_no_module_imports_one_of_a_higher_level():
    edges = [
        (module, name)
        for module in MODULES
        if module != "clbench"
        for name in imports(module)
        if name.startswith("clbench.") and LEVEL[room(name)] > LEVEL[room(module)]
    ]
    assert edges == []


def test_no_cycle_among_imports_that_run_when_a_module_is_imported():
    graph = {module: imports(module, functions=False) & set(MODULES) for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"cycle: {' <- '.join(error.args[1])}")


def test_no_cycle_among_rooms_counting_imports_inside_functions():
    graph = {}
    for module in MODULES:
        for name in imports(module):
            if module != "clbench" and name.startswith("clbench.") and room(name) != room(module):
                graph.setdefault(room(module), set()).add(room(name))
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"cycle: {' <- '.join(error.args[1])}")


PACKAGES = {name for name in MODULES if (ROOT.parent / name.replace(".", "/") / "__init__.py").exists()}
OTHERS = {
    "clbench.adapters.constructor_recipes": {"f'{within}.{module}'", "module"},  # what a user has written
    "clbench.adapters.sklearn.estimators": {"f'sklearn.{NAMES[rest]}'"},
    "clbench.core.identity.global_names": {"name"},  # what the code of a user's object imports
}
"""Modules that import other people's code by its name -> what they import."""


def test_only_registries_import_modules_of_the_package_by_a_text():
    registries = PACKAGES | {"clbench.core.registry"}
    by_text = {module: texts for module in MODULES if (texts := set(imports_by_text(module)))}
    assert {module: texts for module, texts in by_text.items() if module not in registries} == OTHERS


def test_only_tables_of_names_use_the_import_of_the_registry():
    users = {
        module
        for module in MODULES
        for statement in statements(MODULES[module], functions=True)
        if isinstance(statement, ast.ImportFrom) and statement.module == "clbench.core.registry"
        if "load" in {alias.name for alias in statement.names}
    }
    tables = {"clbench.adapters", "clbench.data.dataset_registry", "clbench.running.executors.added_objects"}
    assert users == tables


def test_an_import_by_a_text_is_found_in_each_of_its_forms(monkeypatch):
    source = (
        "import importlib\ndef f(x):\n    importlib.import_module('clbench.api')\n    return __import__(f'clbench.{x}')"
    )
    monkeypatch.setitem(MODULES, "clbench.core.dodge", ast.parse(source))
    assert list(imports_by_text("clbench.core.dodge")) == ["'clbench.api'", "f'clbench.{x}'"]


SHOWN = {f"clbench.{module}: html" for module in ("core.types", "core.record", "leaderboard.board")}
"""Objects that a notebook shows; what they look like is decided in a higher room."""


def test_only_methods_of_streams_records_and_boards_go_through_the_public_names_of_the_package():
    users = {
        f"{module}: {ast.unparse(node)}"
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "clbench" and node.attr in clbench._PUBLIC
    }
    named = {
        f"{module}: {alias.name}"
        for module in MODULES
        for statement in statements(MODULES[module], functions=True)
        if isinstance(statement, ast.ImportFrom) and statement.module == "clbench"
        for alias in statement.names
        if f"clbench.{alias.name}" not in PACKAGES | {"clbench.api", "clbench.__version__"}
    }
    assert users | named == {"clbench.core.types: clbench.to_avalanche"} | SHOWN


def test_rooms_are_folders_and_no_module_stands_at_the_root_but_the_entrances():
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py", "api.py"}


def test_tests_have_the_folders_of_the_package():
    rooms = {name.partition(".")[2] for name in PACKAGES if name.count(".") == 1}
    assert rooms - {path.name for path in (ROOT.parent / "tests").iterdir() if any(path.glob("test_*.py"))} == set()


def test_file_names_of_modules_are_unique_over_the_package():
    counted = Counter(path.name for path in ROOT.rglob("*.py") if path.name != "__init__.py")
    assert [name for name, times in counted.items() if times > 1] == []


def test_a_strategy_never_imports_the_loop_and_the_loop_never_a_strategy():
    above = ["clbench.training.loop", "clbench.evaluate", "clbench.running"]
    assert forbidden(modules_of("strategies"), above) == []
    assert forbidden(modules_of("training"), ["clbench.strategies"]) == []


def test_the_evaluator_knows_no_strategy():
    assert forbidden(modules_of("evaluate"), ["clbench.strategies", "clbench.training.loop"]) == []


def test_loop_learner_and_evaluator_report_to_nobody():
    reporters = ["wandb", "clbench.running", "clbench.cli", "typer", "rich"]
    assert forbidden(modules_of("training", "evaluate"), reporters) == []


def test_wandb_is_imported_by_the_tracker_alone_and_only_when_it_sends():
    users = {module for module in MODULES if within("wandb", imports(module))}
    assert users == {"clbench.running.wandb_tracker"}
    assert "wandb" not in imports("clbench.running.wandb_tracker", functions=False)


def test_the_tracker_reads_records_and_nothing_that_trains():
    ours = {room(name) for name in imports("clbench.running.wandb_tracker") if name.startswith("clbench.")}
    assert ours <= {"core", "metrics", "comparison", "leaderboard", "plots"}


def test_terminal_libraries_are_used_by_the_command_line_the_board_and_the_progress_of_a_run_alone():
    users = {module for module in MODULES if {"typer", "rich"} & {n.split(".")[0] for n in imports(module)}}
    of_progress = {"clbench.running.progress", "clbench.running.text_console"}
    assert {room(module) for module in users - of_progress} <= {"cli", "leaderboard"}


LIGHT = """
import sys
import clbench, clbench.running.plan, clbench.leaderboard, clbench.plots, clbench.core.store
import clbench.running.wandb_tracker
import clbench.scenarios, clbench.models, clbench.strategies, clbench.data, clbench.metrics
from clbench.strategies import STRATEGIES
names = [entry.name for entry in STRATEGIES]
assert len(names) > 7
for name in names:
    STRATEGIES.get(name)
cells = clbench.running.plan.plan("split-digits").cells
assert len({cell.key for cell in cells}) == len(cells) > 7
heavy = {"torch", "torchvision", "wandb", "avalanche", "ray", "sklearn", "tensorboard"}
print(sorted(heavy & set(sys.modules)))
"""


def test_listing_showing_boards_and_dry_runs_import_no_torch():
    found = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_importing_clbench_imports_nothing_but_the_standard_library():
    code = "import sys; before = set(sys.modules); import clbench; print(sorted(set(sys.modules) - before))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in ast.literal_eval(found.stdout)} - set(sys.stdlib_module_names)
    assert loaded == {"clbench"}


def test_everything_public_has_a_docstring():
    bare = []
    for module, tree in MODULES.items():
        public = [
            node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"
        ]
        bare += [module] * (not ast.get_docstring(tree))
        bare += [f"{module}.{node.name}" for node in public if not ast.get_docstring(node)]
    assert bare == []


def test_no_public_name_that_is_loaded_on_demand_is_also_the_name_of_a_module():
    """Importing the module would put it in the place of what the package promises under that name."""
    hidden = []
    for package in (clbench, plots, avalanche, sklearn):
        hidden += [f"{package.__name__}.{name}" for name in package._PUBLIC if f"{package.__name__}.{name}" in MODULES]
    assert hidden == []
