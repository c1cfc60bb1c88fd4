"""Fingerprints last: golden values, the same in every process, and no torch is needed to make a stream."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clbench.core.types import Dataset, Rows, Stream
from clbench.scenarios import make


def fixed() -> Dataset:
    """60 training and 12 test rows of 6 classes, made without a random generator."""
    y, test_y = np.arange(60) * 7 % 6, np.arange(12) % 6
    x = (np.arange(60 * 16).reshape(60, 1, 4, 4) * 31 % 256).astype(np.uint8)
    test_x = (np.arange(12 * 16).reshape(12, 1, 4, 4) * 17 % 256).astype(np.uint8)
    return Dataset("fixed", Rows(x, y), Rows(test_x, test_y), tuple("abcdef"), 1 / 255, "fixed-1")


def realised(stream: Stream) -> str:
    """Hash of the rows, tasks, views, labels and transform that the stream really has; 16 hex digits."""
    digest = hashlib.sha256()
    for part, rows in [(e, stream.dataset.train) for e in stream] + [(t, stream.dataset.test) for t in stream.tasks]:
        labels = stream.labels(rows, part.rows, part.view)
        digest.update(json.dumps([part.rows.tolist(), labels.tolist(), part.view, part.classes]).encode())
    for name in ("orders", "degrees"):
        digest.update(json.dumps(np.asarray(getattr(stream.transform, name, [])).tolist()).encode())
    return digest.hexdigest()[:16]


# (configuration, seed, fingerprint, realised rows and labels)
GOLDEN = [
    ({"scenario": "split", "experiences": 3}, 0, "624d0e0f0829d8fc", "11f5ec6d0c735764"),
    ({"scenario": "split", "experiences": 4, "setting": "task"}, 1, "e0c7c1c4971d53a2", "d3688acdfedebda8"),
    (
        {"scenario": "split", "experiences": 3, "setting": "domain", "order": "fixed"},
        0,
        "6a104c25dae53c75",
        "128048d19eb5b6b4",
    ),
    (
        {"scenario": "split", "experiences": 2, "order": [5, 1, 3, 0, 2, 4], "output": "all"},
        0,
        "0fc1402fa46fa8cc",
        "df30ff474bfb147b",
    ),
    ({"scenario": "permuted", "experiences": 3}, 0, "a04f0fe95c761b9a", "79a5791910d93392"),
    (
        {"scenario": "permuted", "experiences": 2, "setting": "class", "rows_per_experience": 20},
        7,
        "850d5714bd743676",
        "02832458703795ef",
    ),
    ({"scenario": "rotated"}, 0, "fc1a93b5310802c5", "aaa4b3657a66efd6"),
    (
        {"scenario": "rotated", "experiences": 3, "spacing": "random", "setting": "task"},
        2,
        "64a38fdb4a9722b8",
        "ff720d365cb4aad8",
    ),
]


@pytest.mark.parametrize(("config", "seed", "fingerprint", "rows"), GOLDEN)
def test_streams_are_what_they_were_when_their_fingerprints_were_recorded(config, seed, fingerprint, rows):
    stream = make(config, fixed(), seed)
    assert (stream.fingerprint, realised(stream)) == (fingerprint, rows)


def test_another_process_makes_the_same_streams_and_imports_no_torch():
    program = (
        f"import json, sys; sys.path[:0] = {[str(path) for path in Path(__file__).parents[1:3]]}\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1] / 'scenarios')!r})\n"
        "from test_scenarios_fingerprints import GOLDEN, fixed, make, realised\n"
        "streams = [make(config, fixed(), seed) for config, seed, _, _ in GOLDEN]\n"
        "print(json.dumps([[s.fingerprint, realised(s)] for s in streams]))\n"
        "print(json.dumps('torch' in sys.modules))\n"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    prints, torch_imported = map(json.loads, out.splitlines())
    assert prints == [[fingerprint, rows] for _, _, fingerprint, rows in GOLDEN]
    assert torch_imported is False
