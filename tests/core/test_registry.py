"""Names and what they stand for, on a registry of three built-in entries."""

import importlib
import sys
import textwrap
from functools import partial

import pytest

from clbench.core.errors import Refused
from clbench.core.registry import Registry, _module, a, checksum, from_file, load, makes, text_of


def scheme(rest):
    """What a scheme's adapter finds: a function with the source of its code."""

    def made():
        return rest

    made.source = f"library 1.0 of {rest}"
    return made


@pytest.fixture
def registry():
    return Registry(
        "fraction",
        "clbench.no_such_group",
        {
            "whole": ("math:floor", "the largest whole number below"),
            "root": ("math:sqrt", "the square root"),
            "gone": ("math:no_such_function", "a mistake of ours"),
        },
        {"lib": (f"{__name__}:scheme", "NAME", "a thing of a library"), "other": (f"{__name__}:scheme", "A.B", "")},
    )


@pytest.fixture
def own(tmp_path):
    """A file of the user's."""

    def write(text, name="own.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return str(path)

    return write


def refusal(call, *arguments):
    with pytest.raises(Refused) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------- built-ins


def test_a_built_in_is_imported_when_it_is_asked_for_and_is_the_thing_itself(registry):
    import math

    assert registry.get("whole") is math.floor
    assert load("math:sqrt") is math.sqrt


def test_entries_are_listed_by_name_with_a_line_and_their_origin_and_nothing_is_imported(registry):
    assert [(e.name, e.summary, e.origin) for e in registry] == [
        ("gone", "a mistake of ours", "clbench"),
        ("root", "the square root", "clbench"),
        ("whole", "the largest whole number below", "clbench"),
    ]


def test_a_mistake_of_ours_keeps_its_error(registry):
    with pytest.raises(AttributeError):
        registry.get("gone")
    assert registry.problems() == []  # those of plugins alone


def test_membership_knows_names_files_and_schemes(registry):
    assert "whole" in registry
    assert "mine.py:Thing" in registry
    assert "lib:anything" in registry
    assert "hole" not in registry
    assert "library:anything" not in registry


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("hole", "did you mean 'whole'?"),
        ("zzzzzz", "known: gone, root, whole"),
        ("mine.py", "write mine.py:NAME"),
        ("lip:Thing", "did you mean lib:Thing?"),
        ("othr", "did you mean other:A.B?"),
        ("wxyz:Thing", "of other libraries are written lib:NAME, other:A.B"),
    ],
)
def test_a_name_that_is_not_known_is_answered_by_what_to_write(registry, name, hint):
    assert hint in registry.hint(name)
    text = refusal(registry.get, name)
    assert text.startswith("there is no fraction")
    assert repr(name) in text
    assert text.endswith(registry.hint(name))


@pytest.mark.parametrize("name", ["aged_replay", "AgedReplay", "agedreplay"])
def test_a_name_that_a_file_of_this_folder_defines_is_answered_by_that_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aged.py").write_text("import nothing_at_all\n\nclass AgedReplay(Part):\n    pass\n", encoding="utf-8")
    (tmp_path / "latin.py").write_bytes(b"# \xe9\nclass AgedReplay: pass\n")
    plain = Registry("strategy", "clbench.no_such_group", {"agem": ("math:floor", "")})
    assert plain.hint(name) == "it is in a file of this folder: write aged.py:AgedReplay, or give --plugin aged.py"
    assert plain.hint("aged") == "write aged.py:NAME for an object in that file"
    assert plain.hint("age_m") == "did you mean 'agem'?"


def test_without_schemes_a_colon_is_part_of_a_name_like_any_other():
    plain = Registry("fraction", "clbench.no_such_group", {"folder:PATH": ("math:floor", "")})
    assert "did you mean 'folder:PATH'?" in refusal(plain.get, "folder:path")


# ---------------------------------------------------------------------------------------------- added by a program


def test_what_a_program_adds_is_found_under_its_name_and_listed(registry):
    thing = object()
    registry.add("mine", thing, "my own")
    assert registry.get("mine") is thing
    assert registry.is_added("mine")
    assert not registry.is_added("whole")
    assert registry.entry("mine").summary == "my own"
    assert [e.name for e in registry if e.origin == "this program"] == ["mine"]


def defined_again(text, module="__main__"):
    """The ``Mine`` of a notebook's cell that is executed once more."""
    names = {"__name__": module}
    exec(text, names)
    return names["Mine"]


def test_a_class_of_a_cell_that_is_executed_again_replaces_the_earlier_one_and_its_code_counts(registry):
    first, same, other = (defined_again(f"class Mine:\n    width = {width}") for width in (1, 1, 2))
    registry.add("mine", first)
    source = registry.source("mine")
    registry.add("mine", same)
    assert registry.get("mine") is same
    assert registry.source("mine") == source
    registry.add("mine", other)
    assert registry.get("mine") is other
    assert registry.source("mine") != source
    assert [entry.name for entry in registry.added.values()] == ["mine"]


def test_another_class_of_the_same_module_under_an_old_name_is_reported(registry):
    registry.add("mine", defined_again("class Mine: ..."))
    with pytest.warns(UserWarning, match="the fraction 'mine' is Yours from now on; it was Mine before"):
        registry.add("mine", defined_again("class Yours: ...\nMine = Yours"))


def test_a_name_that_another_module_has_added_is_refused(registry):
    thing = object()
    registry.add("mine", thing)
    registry.add("mine", thing)
    text = refusal(registry.add, "mine", defined_again("class Mine: ..."))
    assert text == f"a fraction called 'mine' exists already (added by {__name__}); choose another name"
    assert registry.get("mine") is thing
    registry.add("mine", again := object())  # by this module
    assert registry.get("mine") is again


def test_a_built_in_name_is_not_given_away(registry):
    assert "choose another name" in refusal(registry.add, "whole", object())


def test_registries_share_nothing(registry):
    registry.add("mine", object())
    other = Registry("fraction", "clbench.no_such_group", {})
    assert "mine" not in other


# ---------------------------------------------------------------------------------------------- schemes


def test_what_follows_a_scheme_is_handed_to_its_adapter(registry):
    assert registry.scheme("lib:A.B") == "lib"
    assert registry.scheme("whole") == registry.scheme("nolib:A") == ""
    assert registry.get("lib:A.B")() == "A.B"
    assert registry.entry("lib:A.B").load()() == "A.B"
    assert registry.entry("lib:A.B").summary == "a thing of a library"
    assert registry.forms() == ["lib:NAME", "other:A.B"]


def test_the_source_of_a_scheme_is_what_its_adapter_says(registry):
    assert registry.source("lib:A") == "library 1.0 of A"
    assert registry.source("whole") == ""


# ---------------------------------------------------------------------------------------------- files


def test_a_name_of_a_file_is_what_the_file_defines(registry, own):
    path = own("def half(x):\n    return x / 2\n")
    assert registry.get(f"{path}:half")(3) == 1.5
    assert from_file(f"{path}:half", "fraction")(5) == 2.5


def test_a_file_is_imported_once_and_anew_where_its_text_changed(own):
    path = own("class Thing:\n    pass\n")
    first, again = (from_file(f"{path}:Thing", "fraction") for _ in range(2))
    assert first is again
    own("class Thing:\n    new = True\n")
    assert from_file(f"{path}:Thing", "fraction").new


@pytest.mark.parametrize(
    ("text", "name", "sentence"),
    [
        ("x = 1\n", "own.py:x", "own.py:x is an int"),
        ("def near(): pass\n", "own.py:naer", "'near'"),
        ("def near(): pass\n", "own.py:", "is to hold a fraction; write own.py:NAME"),
        ("1 / 0\n", "own.py:x", "does not import: ZeroDivisionError"),
        ("import no_such_module_at_all\n", "own.py:x", "no_such_module_at_all"),
        ("def broken(:\n", "own.py:x", "SyntaxError"),
    ],
)
def test_what_a_file_cannot_give_is_refused_with_its_name(own, text, name, sentence, monkeypatch, tmp_path):
    own(text)
    monkeypatch.chdir(tmp_path)
    assert sentence in refusal(from_file, name, "fraction")


def test_a_file_that_is_not_there_is_refused_with_its_path(tmp_path):
    text = refusal(from_file, f"{tmp_path}/gone.py:x", "fraction")
    assert f"{tmp_path}/gone.py" in text
    assert f"{tmp_path} has no such file" in text


def test_a_scheme_that_is_none_before_a_file_is_told_from_a_path(registry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "there is no scheme 'lip'" in refusal(registry.get, "lip:own.py:Thing")


def test_the_checksum_of_a_file_goes_by_its_text(own):
    path = own("def half(x):\n    return x / 2\n")
    before = checksum(f"{path}:half")
    assert checksum(f"{path}:other_name_in_it") == before
    own("def half(x):\n    return x / 3\n")
    assert checksum(f"{path}:half") != before


def test_a_file_in_the_home_folder_may_be_written_with_a_tilde(own, monkeypatch, tmp_path):
    own("def half(x):\n    return x / 2\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert from_file("~/own.py:half", "fraction")(1) == 0.5


@pytest.mark.parametrize(("thing", "text"), [(1, "an int"), ("x", "a str"), (1.5, "a float"), ([], "a list")])
def test_types_are_called_with_their_article(thing, text):
    assert a(thing) == text
    assert text in refusal(makes, thing, "fraction", "own.py:x")


# ---------------------------------------------------------------------------------------------- short names


def test_a_short_name_stands_for_a_name_in_a_file_until_it_is_forgotten(registry, own):
    target = f"{own('def half(x): return x / 2')}:half"
    registry.alias("half", target)
    assert "half" in registry
    assert registry.resolve("half") == target
    assert registry.resolve("whole") == "whole"
    assert registry.get("half")(3) == 1.5
    assert registry.source("half") == checksum(target)
    registry.unalias("half")
    assert "half" not in registry
    registry.unalias("half")  # forgetting twice is no error


def test_a_short_name_that_something_else_has_is_refused(registry):
    assert "rename it in the file" in refusal(registry.alias, "whole", "own.py:whole")
    registry.alias("mine", "own.py:mine")
    registry.alias("mine", "own.py:mine")
    assert "from own.py" in refusal(registry.alias, "mine", "other.py:mine")
    assert "choose another name" in refusal(registry.add, "mine", object())


def test_a_place_in_a_file_is_the_same_from_every_working_directory(registry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = tmp_path.resolve()
    assert registry.located("own.py:Thing") == f"{here}/own.py:Thing"
    assert registry.located("lib:own.py:Thing") == f"lib:{here}/own.py:Thing"
    assert registry.located("whole") == "whole"
    assert registry.located("lib:package.Thing") == "lib:package.Thing"
    registry.alias("short", "own.py:Thing")
    assert registry.located("short") == f"{here}/own.py:Thing"


# ---------------------------------------------------------------------------------------------- sources


def test_what_comes_with_clbench_has_no_text_that_counts(own):
    assert text_of(Registry) == ""
    assert text_of(partial(Registry, "x")) == ""
    assert text_of(3) == ""


def test_a_module_that_a_file_imports_counts_by_its_program_too(registry, own, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    own("SHARE = 0.5  # of the gradient", "beside_it.py")
    name = f"{own('import beside_it')}:Thing"

    def source():
        """The source in a new process."""
        monkeypatch.delitem(sys.modules, "beside_it", raising=False)
        _module.cache_clear()
        return registry.source(name)

    first = source()
    own("# another comment\nSHARE = 0.5", "beside_it.py")
    assert source() == first
    own("SHARE = 0.25", "beside_it.py")
    assert registry.source(name) == first  # this program still runs the code that it has imported
    importlib.reload(sys.modules["beside_it"])
    reloaded = registry.source(name)
    assert reloaded != first
    assert source() == reloaded


def test_the_source_of_what_a_program_adds_goes_by_its_code_and_values(registry):
    def made(factor):
        return lambda x: factor * x

    registry.add("twice", made(2))
    registry.add("twice too", made(2))
    registry.add("thrice", made(3))
    assert registry.source("twice") == registry.source("twice too") != ""
    assert registry.source("twice") != registry.source("thrice")
