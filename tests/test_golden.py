"""Golden records: three tiny runs whose streams are exact and whose scores are within 1e-6 of what was recorded.

Where one of them fails, the numbers of every leaderboard would change. If that is meant, record them anew with

    python tests/test_golden.py

and commit the files alone, with the reason; a change of published numbers also asks for a new benchmark version.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from support import ready, stream_rows

from clbench.core.record import Kind

FOLDER = Path(__file__).parent / "golden"
CHANGES = ("stream.dataset.train_rows=400", "training.epochs=2", "evaluation.every=5", "evaluation.rows_per_task=30")
RUNS = {"naive": "naive", "er_ewc": "er + ewc(strength=10)", "agem": "agem"}
TOLERANCE = 1e-6


def observe(strategy: str) -> dict[str, object]:
    """What a golden record holds: the stream's identity and its realised rows, exactly, and the trace."""
    run = ready(strategy, *CHANGES, seed=1)
    rows = stream_rows(run)
    trace = run.evaluator.trace()
    trace = trace.at(trace.kind != Kind.SWITCH)  # they came later, and change nothing about the others
    return {
        "strategy": strategy,
        "fingerprint": run.stream.fingerprint,
        "rows": hashlib.sha256(json.dumps(rows).encode()).hexdigest(),
        "evaluated": hashlib.sha256(json.dumps([r.tolist() for r in run.evaluator.panels.rows]).encode()).hexdigest(),
        "memory": run.learner.memory.all().index[0].tolist(),
        "step": trace.step.tolist(),
        "kind": trace.kind.tolist(),
        "score": [[None if np.isnan(s) else round(s, 9) for s in look] for look in trace.score.tolist()],
    }


@pytest.mark.parametrize("name", RUNS)
def test_a_golden_run_gives_the_recorded_stream_exactly_and_the_recorded_scores(name):
    recorded, observed = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")), observe(RUNS[name])
    score = [np.array(r.pop("score"), dtype=float) for r in (recorded, observed)]
    assert observed == recorded
    np.testing.assert_allclose(score[1], score[0], rtol=0, atol=TOLERANCE, equal_nan=True)


def test_the_golden_runs_differ_in_scores_and_share_their_stream():
    recorded = [json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in RUNS]
    for key in ("fingerprint", "rows", "evaluated", "memory", "step"):
        assert all(r[key] == recorded[0][key] for r in recorded), key
    assert len({json.dumps(r["score"]) for r in recorded}) == len(RUNS)


def record() -> None:
    """Write all golden records anew."""
    import torch

    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    for name, strategy in RUNS.items():
        text = json.dumps(observe(strategy), indent=None, separators=(", ", ": "))
        text = text.replace(', "', ',\n  "').replace("], [", "],\n   [")
        (FOLDER / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
        print(f"recorded {name}")


if __name__ == "__main__":
    record()
