"""What a method's source has set: told in records, on boards and by the contract where a benchmark has it otherwise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from command_line import call
from support import SMALL, ready, trained

import clbench
from clbench.core.errors import Refused
from clbench.leaderboard import board, render
from clbench.running.plan import plan
from clbench.running.run_cell import record
from clbench.strategies.part import Part
from clbench.strategies.protocol import breaches, with_breaches


def told(strategy, *changes):
    """The breaches of a strategy on the small benchmark."""
    return with_breaches(plan(SMALL, strategies=[strategy], seeds=[0], overrides=changes).cells[0].config, ())


@pytest.mark.parametrize("strategy", ["der", "derpp"])
def test_dark_experience_under_output_seen_is_not_the_published_method(strategy):
    (breach,) = told(strategy)
    assert breach == (
        f"{strategy} is published under stream.output: all and was run under seen; its results are not those of the "
        "published method"
    )
    assert told(strategy, "stream.output=all") == ()


@pytest.mark.parametrize("changes", [("stream.setting=task",), ("stream.setting=domain",)])
def test_where_the_same_units_compete_either_way_nothing_is_broken(changes):
    assert told("der", *changes) == ()


def test_dark_experience_that_matches_no_logits_is_replay_and_needs_no_protocol():
    assert told("derpp(alpha=0, beta=1)") == ()


@pytest.mark.parametrize("strategy", ["agem", "gem", "er + agem"])
def test_a_projection_is_published_with_plain_sgd(strategy):
    assert told(strategy) == ()
    (momentum,) = told(strategy, "training.momentum=0.9")
    assert "training.momentum: 0 and was run under 0.9" in momentum
    (adam,) = told(strategy, "training.optimizer=adam")
    assert "training.optimizer: sgd and was run under adam" in adam


def test_a_head_that_learns_from_memory_alone_wants_memory_while_it_learns():
    assert told("er_aml") == told("er_aml", "memory.admit=every_pass") == ()
    (breach,) = told("er_aml", "memory.admit=end")
    assert "memory.admit: first_pass or every_pass and was run under end" in breach


@pytest.mark.parametrize("strategy", ["naive", "er", "er(loss=sum, start=any)", "er_ace", "ewc", "joint", "mir"])
def test_a_method_whose_source_leaves_the_protocol_open_breaks_none(strategy):
    assert told(strategy, "training.optimizer=adam", "stream.output=all") == told(strategy) == ()


def test_the_end_of_a_run_raises_it_and_a_row_carries_it_once():
    run = trained("der")
    (alarm,) = (a for a in run.alarms() if "is published under" in a)
    made = record(run.cell, run, status="done", reason="", device="cpu")
    assert alarm in made.alarms
    (row,) = board([made]).tables[0].rows
    assert row.alarms == [f"{alarm} (seed 0)", *row.alarms[1:]]
    assert sum("is published under" in text for text in row.alarms) == 1


def test_a_record_from_before_it_was_told_carries_it_on_the_board_and_as_a_frame():
    run = trained("der")
    old = replace(record(run.cell, run, status="done", reason="", device="cpu"), alarms=())
    assert "der: alarm: der is published under stream.output: all" in render(board([old]), "md")
    assert "is published under" in clbench.leaderboard.frame([old]).alarms[0][0]


def test_a_record_that_said_it_in_other_words_says_it_once():
    run = trained("der")
    older = "der is published under stream.output: all and was run under seen; told as an earlier version did"
    alarms = with_breaches(run.cell.config, ("another alarm", older))
    assert alarms[0] == "another alarm"
    assert [alarm.partition(";")[0] for alarm in alarms[1:]] == [older.partition(";")[0]]
    assert older not in alarms


def test_a_row_within_its_protocol_carries_no_alarm():
    run = trained("der", "stream.output=all", "training.epochs=4")
    made = record(run.cell, run, status="done", reason="", device="cpu")
    assert not any("is published under" in alarm for alarm in made.alarms)


def test_a_programs_own_stream_says_itself_which_units_compete():
    stream = ready("naive").stream
    cell = plan(SMALL, strategies=["der"], seeds=[0], stream=lambda seed: stream).cells[0]
    assert with_breaches(cell.config, ()) == ()  # the cell holds its fingerprint only
    from clbench.running.prepare import prepare
    from clbench.running.user_objects import UserObjects

    run = prepare(cell, given=UserObjects(stream=stream))
    run.train()
    assert any("is published under stream.output: all and was run under seen" in alarm for alarm in run.alarms())


def test_a_record_of_a_strategy_that_is_not_installed_is_read_all_the_same():
    cell = {"strategy": [{"name": "gone", "parameters": {}}], "stream": {"output": "seen"}}
    assert with_breaches(cell, ("an alarm",)) == ("an alarm",)


def test_to_read_a_record_runs_no_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("raise SystemExit('was run')")
    assert with_breaches({"strategy": [{"name": f"{file}:Mine", "parameters": {}}]}, ()) == ()


def test_a_part_of_ones_own_declares_its_protocol():
    @dataclass(kw_only=True)
    class Mine(Part):
        protocol = {"training.batch_size": (10, 20), "memory.policy": "reservoir"}  # noqa: RUF012

    cell = {"training": {"batch_size": 16}, "memory": {"policy": "reservoir"}}
    assert breaches([Mine()], cell) == [
        "Mine is published under training.batch_size: 10 or 20 and was run under 16; its results are not those of the "
        "published method"
    ]


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ({"output": "all"}, "'output' is not a setting of a benchmark; write it like 'stream.output'"),
        ({"training.optimiser": "sgd"}, "training has no setting 'optimiser'; did you mean 'optimizer'"),
        ("all", "is not a mapping"),
    ],
)
def test_a_protocol_of_settings_that_no_cell_has_is_refused(protocol, message):
    with pytest.raises(Refused, match=message):
        type("Mine", (Part,), {"protocol": protocol})


def test_the_contract_and_a_benchmark_tell_it():
    assert "Its source uses stream.output: all" in call("check", "der(alpha=0.5)").out
    found = call(
        "check", "split-digits", "--set", "strategies=[naive, {der: {alpha: 0.5}}]", "--set", "stream.output=seen"
    )
    assert "note: der is published under stream.output: all and was run under seen" in " ".join(found.out.split())
