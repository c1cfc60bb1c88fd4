"""The metric ``rank`` and the column of ranks have one name; boards show both, each with its own values."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
from synthetic import dipping, record

from clbench.core.record import Kind, Reading
from clbench.leaderboard import board, content


def records():
    made = []
    for label, last in (("er", 7.0), ("naive", 3.0)):
        for seed in range(3):
            trace = dipping(seed, tasks=3, length=4)
            steps = trace.step[np.isin(trace.kind, (Kind.START, Kind.END))]
            values = np.array([9, 8, 8, last], dtype=np.float32)
            made.append(record(label, seed, replace(trace, readings={"effective_rank": Reading(steps, values)})))
    return made


def test_a_file_for_programs_has_the_rank_and_the_metric_under_two_names():
    made = board(records(), ["acc", "rank"])
    rows = list(csv.DictReader(io.StringIO(content(made, "csv").decode())))
    assert [row["rank"] for row in rows] == ["1", "1"]  # they tie in ACC
    assert {row["strategy"]: float(row["metric_rank"]) for row in rows} == {"er": 7, "naive": 3}
    told = json.loads(content(made, "json"))
    (table,) = told["tables"]
    assert {row["strategy"]: row["metrics"]["rank"]["mean"] for row in table["rows"]} == {"er": 7, "naive": 3}
    assert sorted(row["rank"] for row in table["rows"]) == [1, 1]


def test_people_see_the_metric_under_its_title_in_every_format():
    made = board(records(), ["acc", "rank"])
    for format in ("md", "html"):
        text = content(made, format).decode()
        assert "Effective rank" in text
        assert "7.0" in text
    chosen = board(records(), columns=["rank", "strategy", "metric_rank"])
    lines = content(chosen, "md").decode().splitlines()
    heading = next(line for line in lines if "Strategy" in line)
    assert [cell.strip() for cell in heading.strip("|").split("|")] == ["#", "Strategy", "Effective rank"]
