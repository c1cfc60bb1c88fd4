"""What tests of streams in a given order share: made-up rows, what a stream really holds, a short run."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

import clbench
from clbench.core.parameters import schema
from clbench.core.record import Record
from clbench.core.types import Dataset, Rows, Stream
from clbench.running.plan import make_stream, plan
from clbench.scenarios import SCENARIOS, make


def rows_of(sizes: list[int], *, name: str = "made", mixed: bool = True) -> Dataset:
    """Class c has ``sizes[c]`` training rows and two test rows; the training rows are mixed up, or in class order."""
    y = np.repeat(np.arange(len(sizes)), sizes)
    if mixed:
        y = y[np.argsort(np.arange(len(y)) * 7919 % 10007, kind="stable")]
    test_y = np.arange(2 * len(sizes)) % len(sizes)
    x, test_x = (np.zeros((len(labels), 1, 2, 2), dtype=np.uint8) for labels in (y, test_y))
    names = tuple(f"c{i}" for i in range(len(sizes)))
    return Dataset(name, Rows(x, y), Rows(test_x, test_y), names, 1 / 255, f"{name}-{sizes}-{mixed}")


def realised(stream: Stream) -> str:
    """Hash of rows, labels, tasks, views and views under which tasks are evaluated; 16 hex digits."""
    digest = hashlib.sha256()
    for e in stream:
        labels = stream.labels(stream.dataset.train, e.rows, e.view)
        columns = [np.broadcast_to(c, len(e)).tolist() for c in (e.rows, labels, e.task, e.view)]
        digest.update(json.dumps([columns, e.classes, e.shuffled, stream.task_views(e.id).tolist()]).encode())
    for task in stream.tasks:
        digest.update(json.dumps([task.rows.tolist(), task.classes]).encode())
    return digest.hexdigest()[:16]


def check(stream: Stream) -> None:
    """What every stream promises: honest classes and tasks, pure experiences, a small pickle that makes the same."""
    data = stream.dataset
    forwards = list(stream)
    for e in forwards:
        labels = stream.labels(data.train, e.rows, e.view)
        assert len(e) > 0
        assert e.rows.dtype == np.int64
        assert e.classes == tuple(sorted(set(labels.tolist())))
        assert 0 <= min(labels) <= max(labels) < stream.n_outputs
        assert set(e.tasks) <= set(range(len(stream.tasks)))
    for i in reversed(range(len(stream))):  # in another order, and from a copy
        again = pickle.loads(pickle.dumps(stream))[i] if i == len(stream) - 1 else stream[i]
        for column in ("rows", "task", "view"):
            np.testing.assert_array_equal(getattr(again, column), getattr(forwards[i], column))
    for t, task in enumerate(stream.tasks):
        assert (task.id, len(task.rows) > 0) == (t, True)


def own_bytes(stream: Stream) -> int:
    """Size of the pickled stream beyond its data."""
    return len(pickle.dumps(stream)) - len(pickle.dumps(stream.dataset))


def sequence(stream: Stream) -> np.ndarray:
    """All rows of a stream in order."""
    return np.concatenate([e.rows for e in stream])


def short_runs(**stream: object) -> dict[str, Record]:
    """Records of naive and er on a few digits, by strategy."""
    benchmark = {
        "name": "short",
        "version": 1,
        "stream": {"dataset": {"name": "digits", "train_rows": 1000}, **stream},
        "model": {"name": "mlp", "hidden": [64]},
        "training": {"optimizer": "sgd", "lr": 0.1, "batch_size": 5, "epochs": 1},
        "memory": {"size": 100},
        "evaluation": {"every": 20, "rows_per_task": 20},
        "strategies": ["naive", "er"],
        "seeds": 1,
    }
    return {record.label: record for record in clbench.run(benchmark)}


def fingerprints(config: dict, seed: int, data: Dataset) -> tuple[str, str]:
    """The fingerprint of a stream, and the hash of what it holds."""
    stream = make(config, data, seed)
    return stream.fingerprint, realised(stream)


def documented(family: str) -> Stream:
    """The stream of the example in the docs of a family, whose table must name every setting of it."""
    text = (Path(__file__).parent.parent / "docs" / "scenarios" / f"{family}.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE) == list(schema(SCENARIOS.get(family)).model_fields)
    document = YAML(typ="safe").load(re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)[0])
    cell = plan(document).cells[0]
    return make_stream(cell.config["stream"], cell.seed)
