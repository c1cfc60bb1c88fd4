"""What a program hands over is told apart by all that makes it, and is the same in every process."""

import functools
import os
import subprocess
import sys
import threading
from pathlib import Path

import identity_kinds
import numpy as np
import pytest
import torch
from identity_kinds import KINDS, Builder, make
from torch import nn

import clbench
from clbench.core.identity import Unidentified, checksum, describe_model, source


@pytest.mark.parametrize("kind", KINDS)
def test_two_of_a_kind_differ_by_what_they_hold_and_equal_ones_do_not(kind):
    one, again, other = (checksum(KINDS[kind](width)) for width in (1, 1, 200))
    assert one == again
    assert one != other


def test_checksums_are_the_same_in_every_process_whatever_the_order_of_sets():
    script = Path(identity_kinds.__file__)
    told = {
        subprocess.run(
            [sys.executable, str(script)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(clbench.__file__).parents[1])},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(told) == 1
    assert [line.split(b"\t")[0].decode() for line in told.pop().splitlines()] == list(KINDS)


def test_a_table_of_functions_counts_by_the_functions_in_it():
    def factory(table):
        return lambda shape, n: table["make"](shape, n, 8)

    assert checksum(factory({"make": make})) == checksum(factory({"make": make}))
    assert checksum(factory({"make": make})) != checksum(factory({"make": lambda shape, n, width: None}))


def test_weights_count_and_the_mode_of_a_module_does_not():
    one = nn.Linear(2, 2)
    same = nn.Linear(2, 2)
    same.load_state_dict(one.state_dict())
    assert describe_model(one) == describe_model(same.eval())
    with torch.no_grad():
        same.weight[0, 0] += 1
    assert describe_model(one) != describe_model(same)


def test_tied_weights_are_not_two_equal_ones():
    def pair(tied):
        first = nn.Linear(2, 2)
        nn.init.ones_(first.weight)
        second = nn.Linear(2, 2)
        nn.init.ones_(second.weight)
        second.weight = first.weight if tied else second.weight
        second.bias = first.bias = None
        return nn.Sequential(first, second)

    assert checksum(pair(True)) == checksum(pair(True))
    assert checksum(pair(True)) != checksum(pair(False))


def test_hooks_count_by_their_order_and_not_by_the_number_that_torch_gives_them():
    def hooked():
        module = nn.Flatten()
        module.register_forward_hook(lambda *_: None, with_kwargs=True)
        return module

    assert checksum(hooked()) == checksum(hooked())


def test_what_a_cached_property_has_kept_changes_nothing():
    class Kept:
        @functools.cached_property
        def width(self):
            return 3

        def __call__(self, shape, n):
            return make(shape, n, self.width)

    thing = Kept()
    before = checksum(thing)
    assert thing.width == 3
    assert checksum(thing) == before


def test_a_thing_that_refers_to_itself_is_read_once():
    def ring(width):
        builder = Builder(width)
        builder.me = [builder]
        return builder

    assert checksum(ring(1)) == checksum(ring(1))
    assert checksum(ring(1)) != checksum(ring(2))


def test_two_modules_of_the_program_differ_by_their_text(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def found(text):
        (tmp_path / "beside_the_script.py").write_text(text)
        sys.modules.pop("beside_the_script", None)
        namespace = {"__name__": "typed"}
        exec(
            "import beside_the_script as beside\ndef first(s, n): return beside.build(s, n)\n"
            "def second(s, n):\n    from beside_the_script import build\n    return build(s, n)\n"
            "def third(s, n):\n    import beside_the_script\n    return beside_the_script.build(s, n)\n",
            namespace,
        )
        return [checksum(namespace[name]) for name in ("first", "second", "third")]

    one, again, other = (found(f"W = {w}\ndef build(s, n): return W") for w in (1, 1, 2))
    assert one == again
    assert all(a != b for a, b in zip(one, other, strict=True))


def reads_with_a_local_import(shape, n):
    import torch as there

    return there.load("weights.pt")


@pytest.mark.parametrize(
    ("thing", "why"),
    [
        (lambda: functools.partial(make, width=(x for x in (1,))), "generator"),
        (lambda: functools.partial(make, width=sys.__stdout__), "_io"),
        (lambda: lambda s, n: torch.load("weights.pt"), r"torch\.load"),
        (lambda: lambda s, n: np.load("weights.npy"), r"numpy\.load"),
        (lambda: lambda s, n: open("weights"), "open"),  # noqa: SIM115
        (lambda: lambda s, n: os.environ["WIDTH"], r"os\.environ"),
        (lambda: lambda s, n: globals()["WIDTH"], "globals"),
        (lambda: reads_with_a_local_import, r"torch\.load"),
        (lambda: lambda s, n: Path("weights").read_bytes(), "read_bytes"),
        (lambda: functools.partial(make, width=memoryview(b"a")), "memoryview"),
        (lambda: torch.jit.script(nn.Flatten()), "scripted"),
    ],
)
def test_what_has_no_content_that_can_be_read_is_not_identified_and_says_why(thing, why):
    with pytest.raises(Unidentified, match=why):
        checksum(thing())
    assert source(thing()) != source(thing())


def test_a_lock_or_a_logger_on_the_way_changes_nothing():
    assert checksum(functools.partial(make, width=threading.Lock())) == checksum(
        functools.partial(make, width=threading.Lock())
    )


SMALL = {
    "name": "small",
    "stream": {"scenario": "split", "experiences": 2, "dataset": "digits"},
    "model": {"name": "mlp"},
    "evaluation": {"every": 0},
    "strategies": ["naive"],
    "seeds": 1,
}


def test_a_model_that_is_not_identified_runs_again_and_its_record_says_why(tmp_path):
    def build(shape, n):
        with open(os.devnull) as file:
            return make(shape, n, 3 + len(file.read()))

    first, second = (clbench.run(SMALL, model=build, out=tmp_path)[0] for _ in range(2))
    assert first.key != second.key
    for record in (first, second):
        assert record.status == "done"
        assert any("runs anew every time: " in alarm and "(open)" in alarm for alarm in record.alarms)


def test_the_record_of_another_width_is_not_handed_back(tmp_path):
    widths = [
        clbench.run(SMALL, model=functools.partial(make, width=width), out=tmp_path)[0].cost["weights"]
        for width in (1, 5)
    ]
    assert widths == [64 + 1 + 10 + 10, 5 * 64 + 5 + 50 + 10]
