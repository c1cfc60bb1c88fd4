"""Sizes of groups and orders of classes as papers write them."""

from __future__ import annotations

import random

import numpy as np
import pytest
from tiny_data import tiny

import clbench
from clbench.core.errors import Refused
from clbench.core.user_files import searching
from clbench.data import from_arrays
from clbench.data.class_counts import KNOWN, known_classes
from clbench.running.plan import make_stream, plan
from clbench.scenarios import canonical, make
from clbench.scenarios.class_groups import drawn_elsewhere, group_sizes
from clbench.scenarios.split import split


def of(**settings):
    return {"name": "b", "stream": {"scenario": "split", "dataset": "digits", **settings}, "model": {"name": "mlp"}}


def keys(**settings) -> list[str]:
    return [cell.key for cell in plan(of(**settings), seeds=1).cells]


def test_numpy_1993_is_the_order_of_pycil_and_the_global_generator_stays():
    before = np.random.get_state()  # noqa: NPY002
    drawn = drawn_elsewhere({"numpy": 1993}, 100)
    assert drawn[:10].tolist() == [68, 56, 78, 8, 23, 84, 90, 65, 74, 76]
    assert sorted(drawn) == list(range(100))
    assert drawn_elsewhere({"numpy": 1993}, 200)[:9].tolist() == [168, 136, 51, 9, 183, 101, 171, 99, 42]
    after = np.random.get_state()  # noqa: NPY002
    assert before[0] == after[0]
    assert (before[1] == after[1]).all()
    assert before[2:] == after[2:]


def test_python_orders_are_those_of_the_seeded_module_and_leave_it_alone():
    before = random.getstate()
    drawn = drawn_elsewhere({"python": 1}, 100).tolist()
    assert random.getstate() == before
    expected = list(range(100))
    random.seed(1)
    random.shuffle(expected)
    random.setstate(before)
    assert drawn == expected
    assert drawn[:10] == [53, 37, 65, 51, 4, 20, 38, 9, 10, 81]


def test_first_and_each_is_the_same_cell_as_its_list_and_a_number_stays_a_number():
    assert keys(experiences={"first": 4, "each": 2}) == keys(experiences=[4, 2, 2, 2])
    assert keys(experiences={"each": 5}) == keys(experiences=[5, 5])
    assert plan(of(experiences=5)).cells[0].config["stream"]["experiences"] == 5
    assert canonical({"scenario": "split"})["experiences"] == 5


def test_a_data_set_of_the_program_has_one_cell_for_both_forms_too():
    x = np.random.default_rng(0).random((24, 3)).astype(np.float32)
    data = from_arrays("own", x, np.arange(24) % 6, x, np.arange(24) % 6)
    both = [
        clbench.run(
            {
                "name": "b",
                "stream": {"scenario": "split", "experiences": sizes, "dataset": "x"},
                "model": {"name": "mlp"},
            },
            dataset=data,
            seeds=1,
            strategies=["naive"],
        )[0].key
        for sizes in ({"first": 4, "each": 1}, [4, 1, 1])
    ]
    assert both[0] == both[1]


def test_known_numbers_of_classes_are_those_of_the_data_sets_that_need_no_files():
    for name in ("digits", "patterns"):
        assert KNOWN[name] == clbench.data.load(name).n_classes
    assert known_classes("mnist+cifar100", {}) == 110
    assert known_classes("CIFAR100", {}) == 100
    assert known_classes("npz:x.npz", {}) is None


def test_groups_have_the_sizes_given_and_classes_in_the_order_given():
    stream = make({"scenario": "split", "experiences": [3, 1, 2], "order": [5, 0, 3, 1, 2, 4]}, tiny(), 0)
    assert [e.classes for e in stream] == [(0, 3, 5), (1,), (2, 4)]
    assert [task.name for task in stream.tasks] == ["c5 c0 c3", "c1", "c2 c4"]
    assert sum(len(e) for e in stream) == len(stream.dataset.train)


def test_sizes_that_a_number_makes_give_the_same_stream():
    assert split(tiny(), 3, experiences=[2, 2, 2]).fingerprint == split(tiny(), 3, experiences=3).fingerprint
    assert split(tiny(), 3, experiences=[4, 1, 1]).fingerprint != split(tiny(), 3, experiences=3).fingerprint


def test_orders_are_words_numbers_names_generators_or_files(tmp_path):
    named = ["c3", "c1", "c0", "c2"]
    (tmp_path / "order.txt").write_text("c3\nc1\n\nc0\nc2\n")
    by_names = split(tiny(4), 0, experiences=2, order=named)
    assert by_names.fingerprint == split(tiny(4), 0, experiences=2, order=[3, 1, 0, 2]).fingerprint
    with searching((tmp_path,)):
        assert canonical({"scenario": "split", "order": "order.txt"})["order"] == named
        assert split(tiny(4), 0, experiences=2, order="order.txt").fingerprint == by_names.fingerprint
    drawn = split(tiny(4), 0, experiences=4, order={"numpy": 1993})
    assert [e.classes[0] for e in drawn] == np.random.RandomState(1993).permutation(4).tolist()


def test_an_order_file_is_found_beside_the_benchmark_file_and_its_text_makes_the_cell(tmp_path):
    (tmp_path / "order.txt").write_text("\n".join("9876543210"))
    file = tmp_path / "b.yaml"
    file.write_text("name: b\nstream: {scenario: split, dataset: digits, order: order.txt}\nmodel: {name: mlp}\n")
    [cell] = plan(file, seeds=1).cells
    assert make_stream(cell.config["stream"], 0).description["classes"] == list(range(10))[::-1]
    (tmp_path / "order.txt").write_text("\n".join("0123456789"))
    assert plan(file, seeds=1).cells[0].key != cell.key


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"experiences": [4, 2]}, r"adds up to 6 classes, and 'digits' has 10; write sizes that add up to 10"),
        ({"experiences": {"first": 4, "each": 4}}, "leaves 6 classes, no multiple of 4"),
        ({"experiences": {"first": 40, "each": 4}}, "is more than there are"),
        ({"experiences": {"each": 0}}, "each = 0 is no number of classes"),
        ({"experiences": {"frst": 1, "each": 1}}, "'frst' is not known in it; write a number, a list"),
        ({"experiences": [0, 10]}, "each at least 1; write a number"),
        ({"order": "sedded"}, "did you mean 'seeded'"),
        ({"order": {"numpy": -1}}, "write a whole number from 0"),
        ({"order": {"python": 0}}, "CODA-Prompt leaves the classes as they are at seed 0: order: fixed"),
        ({"order": {"torch": 1}}, r"names no generator; write \{numpy: 1993\} or \{python: 1\}"),
        ({"order": "nowhere.txt"}, "there is no file nowhere.txt; give an absolute path, or one beside the benchmark"),
    ],
)
def test_forms_that_do_not_fit_are_refused_before_anything_is_read(settings, sentence):
    with pytest.raises(Refused, match=sentence):
        plan(of(**settings))


@pytest.mark.parametrize(
    ("order", "sentence"),
    [
        (["c0", "c1", "c2"], r"does not name every class of 'tiny' once: \[c3\] is missing"),
        (["c0", "c1", "c2", "c22"], "order names 'c22', which is no class of 'tiny'; did you mean 'c2'?"),
        ([0, 1, 2], "does not name every class of 'tiny' once; write the numbers 0 to 3"),
    ],
)
def test_an_order_names_every_class_once(order, sentence):
    with pytest.raises(Refused, match=sentence):
        split(tiny(4), 0, experiences=2, order=order)


def test_a_file_that_names_a_class_twice_is_refused(tmp_path):
    (tmp_path / "twice.txt").write_text("a\nb\na\n")
    with searching((tmp_path,)), pytest.raises(Refused, match="holds 'a' twice; name each once"):
        canonical({"scenario": "split", "order": "twice.txt"})


def test_unequal_groups_are_refused_where_tasks_share_their_outputs():
    with pytest.raises(Refused, match=r"6 classes of 'tiny' do not divide into groups of \[4, 2\]; choose experiences"):
        split(tiny(), 0, setting="domain", experiences=[4, 2])


def test_numbers_to_predict_have_neighbouring_ranges_in_groups_of_given_sizes():
    x = np.random.default_rng(0).random((200, 3)).astype(np.float32)
    data = from_arrays("line", x, np.linspace(0, 1, 200), x, np.linspace(0, 1, 200), family="regression")
    count = data.n_classes
    sizes = [count - 3, 1, 2]
    assert group_sizes(sizes, count, "line") == sizes
    stream = make({"scenario": "split", "experiences": sizes}, data, 1)
    for experience, size in zip(stream, sizes, strict=True):
        ranges = np.unique(data.train.y[experience.rows])
        assert len(ranges) == size == ranges[-1] - ranges[0] + 1


def test_one_data_set_with_domains_is_a_sequence_of_them_with_shared_outputs():
    x = np.random.default_rng(0).random((24, 3)).astype(np.float32)
    site = np.array(["b", "a", "c", "a", "b", "c"] * 4)
    data = from_arrays("sites", x, np.arange(24) // 6 % 2, x, np.arange(24) // 6 % 2, domains=(site, site))
    stream = make({"scenario": "sequence"}, data, 0)
    assert [task.name for task in stream.tasks] == ["a", "b", "c"]
    assert [e.classes for e in stream] == [(0, 1)] * 3
    assert stream.name == stream.description["scenario"] == "sequence"
    other = make({"scenario": "sequence", "order": ["c", "a", "b"], "setting": "class"}, data, 0)
    assert [task.name for task in other.tasks] == ["c", "a", "b"]
    assert other.n_outputs == 6
    drawn = make({"scenario": "by_group", "order": {"numpy": 1993}}, data, 0)
    assert [t.name for t in drawn.tasks] == ["abc"[i] for i in np.random.RandomState(1993).permutation(3)]


def test_classes_of_folders_are_counted_without_opening_pictures(tmp_path):
    for name in "abc":
        for part in ("train", "test"):
            (tmp_path / "f" / part / name).mkdir(parents=True)
            (tmp_path / "f" / part / name / "x.png").write_bytes(b"not opened")
    described = of(dataset="folder:f", experiences={"first": 2, "each": 1})
    assert plan(described, data_dir=tmp_path).cells[0].config["stream"]["experiences"] == [2, 1]
