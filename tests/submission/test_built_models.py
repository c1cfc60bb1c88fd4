"""Submissions of strategies that add to the model: what was built is checked as it was run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_submission import SMALL

from clbench import api
from clbench.core.record import Record
from clbench.submission.submitted import Submitted
from clbench.submission.verification import Verified, consistent

BUILT = [
    "clr",
    "hypernet(strength=1)",
    "binary(anneal=constant, beta=1)",
    "l2m(pool=4, rank=2)",
    "expand",
    "lucir",
    "podnet",
]
"""The strategies that build onto the model, with settings for a small one."""
PROMPTED = [
    "l2p(pool=4, length=2, top=2)",
    "dualprompt(pool=5, g_length=2, e_length=2)",
    "adapters(width=3)",
    "first_task(epochs=1)",
    "coda_prompt(pool=4)",
    "sd_lora(rank=2, terms=5)",
    "inflora(rank=2, terms=5)",
]
"""Those that need a transformer, and train a part of it."""
TASKS = {
    **SMALL,
    "name": "two-tasks",
    "stream": {**SMALL["stream"], "setting": "task"},  # type: ignore[dict-item]
    "model": {"name": "cnn", "width": 4, "hidden": 16},
    "evaluation": {"schedule": "ends", "rows_per_task": 50},
    "memory": {"size": 20},
    "reveal": ["length"],
}


@pytest.fixture(scope="module")
def records() -> tuple[Record, ...]:
    transformer = {"name": "vit", "width": 8, "depth": 1, "attention_heads": 2}
    prompted = {**TASKS, "name": "two-prompted", "model": transformer, "reveal": ["length"]}
    return (
        *api.run(TASKS, strategies=[*BUILT, "naive"], seeds=1),
        *api.run(prompted, strategies=[*PROMPTED, "naive"], seeds=1),
    )


def checked(records: tuple[Record, ...]) -> Verified:
    return consistent(Submitted(records, None, {}, "5" * 64, (), "theirs"))


def test_every_strategy_that_builds_is_in_the_test() -> None:
    from clbench.strategies import STRATEGIES
    from clbench.strategies.part import Part, defines
    from clbench.strategies.strategy import Strategy

    needed = {"hypernet": "hypernet(strength=1)"}
    built = set()
    for entry in STRATEGIES:
        try:
            parts = Strategy.parse(needed.get(entry.name, entry.name)).parts()
        except Exception:  # a combinator, or a setting that must be given
            continue
        if any(isinstance(part, Part) and defines(part, "build") for part in parts):
            built.add(entry.name)
    assert built == {label.partition("(")[0] for label in (*BUILT, *PROMPTED)}


def test_honest_records_of_built_models_are_consistent(records: tuple[Record, ...]) -> None:
    found = checked(records)
    assert [record.status for record in records] == ["done"] * (len(BUILT) + len(PROMPTED) + 2), [
        record.reason for record in records
    ]
    assert (found.status, found.findings) == ("consistent", ())


@pytest.mark.parametrize("label", [*BUILT, *PROMPTED])
def test_fewer_weights_than_were_built_are_named(records: tuple[Record, ...], label: str) -> None:
    record = next(each for each in records if each.label.startswith(label.partition("(")[0]))
    naive = next(each for each in records if each.label == "naive" and each.benchmark == record.benchmark)
    assert record.cost["weights"] != naive.cost["weights"]
    forged = replace(record, cost={**record.cost, "weights": naive.cost["weights"]})
    found = checked(tuple(forged if each is record else each for each in records))
    assert any("weights" in each.sentence for each in found.findings), [each.sentence for each in found.findings]
