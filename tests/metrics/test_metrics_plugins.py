"""A metric that another package brings by its entry point, installed as packages are: by a ``.dist-info`` folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
from clbench.metrics import Metric, end_scores


def spread(trace):
    final = end_scores(trace)[-1]
    return float(final.max() - final.min())


SPREAD = Metric(
    name="spread", title="Spread", function=spread, formula="max - min over tasks i of R[last, i]",
    low=0, high=1, higher_is_better=False, source="this package", needs="evaluations at ends",
)
NUMBER = 3
"""
METADATA = "Metadata-Version: 2.1\nName: our-metrics\nVersion: 1.2\n"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH that holds a package with the metric ``spread``."""
    information = tmp_path / "our_metrics-1.2.dist-info"
    information.mkdir()
    (tmp_path / "our_metrics.py").write_text(MODULE, encoding="utf-8")
    (information / "METADATA").write_text(METADATA, encoding="utf-8")
    points = "[clbench.metrics]\nspread = our_metrics:SPREAD\n"
    (information / "entry_points.txt").write_text(points, encoding="utf-8")
    return tmp_path


def python(folder: Path, *arguments: str) -> str:
    """What a fresh interpreter prints that has the folder installed."""
    paths = [str(folder), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}
    found = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_a_metric_of_another_package_is_computed_listed_and_a_column_of_boards(installed: Path) -> None:
    out = python(
        installed,
        "-c",
        "import numpy as np\n"
        "from synthetic import record, trace_from\n"
        "from clbench.leaderboard import board, frame\n"
        "from clbench.metrics import compute, metric_names\n"
        "trace = trace_from(np.eye(2), [2, 2], lambda *_: np.array([0.25, 0.75]))\n"
        "print(metric_names()[-1], compute(trace)['spread'].value)\n"
        "made = board([record('er', 0, trace)])\n"
        "print(made.metrics[-1], made.tables[0].rows[0].metrics['spread'].mean, made.shown)\n"
        "print(frame([record('er', 0, trace)]).spread[0])\n",
    )
    assert out.splitlines() == [
        "spread 0.5",
        "spread 0.5 ('acc', 'aaa', 'min_acc', 'wc_acc', 'gap_depth', 'gap_depth_relative', 'gap_pairs', 'forgetting')",
        "0.5",
    ]
    assert "spread" in python(installed, "-m", "clbench", "list", "metrics")
    shown = python(installed, "-m", "clbench", "show", "spread")
    assert "metric spread, from our-metrics 1.2" in shown
    assert "max - min over tasks i of R[last, i]" in shown


def test_a_package_that_brings_no_metric_is_refused_by_name(installed: Path) -> None:
    points = "[clbench.metrics]\nspread = our_metrics:NUMBER\n"
    (installed / "our_metrics-1.2.dist-info" / "entry_points.txt").write_text(points, encoding="utf-8")
    out = python(
        installed,
        "-c",
        "from clbench.metrics import get\n"
        "from clbench.core.errors import Refused\n"
        "try:\n    get('spread')\n"
        "except Refused as error:\n    print(error)\n",
    )
    assert out.strip() == "metric 'spread' is registered as int; it has to be a clbench.metrics.Metric"
