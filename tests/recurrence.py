"""What tests of recurring streams share: a small data set, what a stream really holds, and a short run."""

import hashlib
import json
import pickle

import numpy as np
from support import SMALL

from clbench.core.types import Dataset, Rows
from clbench.running.plan import plan
from clbench.running.prepare import prepare


def tiny(n_classes=6, *, per_class=8, per_test=2, checksum="recurrence"):
    """Class c has per_class + c training rows and per_test test rows, mixed up without a random generator."""
    y = np.repeat(np.arange(n_classes), per_class + np.arange(n_classes))
    y = y[np.argsort(np.arange(len(y)) * 37 % 101, kind="stable")]
    test_y = np.arange(n_classes * per_test) % n_classes
    x, test_x = ((np.arange(n * 16).reshape(n, 1, 4, 4) * 31 % 256).astype(np.uint8) for n in (len(y), len(test_y)))
    names = tuple(f"c{i}" for i in range(n_classes))
    return Dataset("tiny", Rows(x, y), Rows(test_x, test_y), names, 1 / 255, f"{checksum}-{n_classes}-{per_class}")


def realised(stream):
    """Hash of the rows, tasks, views and labels that a stream really has; 16 hex digits."""
    parts = []
    for e in stream:
        task, view = (np.broadcast_to(np.asarray(column), len(e)) for column in (e.task, e.view))
        labels = stream.labels(stream.dataset.train, e.rows, view)
        parts.append([column.tolist() for column in (e.rows, task, view, labels)] + [e.classes, e.boundary])
    tests = [[t.rows.tolist(), list(t.classes), t.view] for t in stream.tasks]
    return hashlib.sha256(json.dumps([parts, tests]).encode()).hexdigest()[:16]


def assert_consistent(stream):
    """Rows exist, classes are the labels' units, tasks exist, and any experience is the same built alone."""
    train = stream.dataset.train
    assert len(stream) == len(list(stream))
    for i in reversed(range(len(stream))):
        e = stream[i]
        assert len(e) > 0
        assert e.rows.min() >= 0
        assert e.rows.max() < len(train)
        assert set(stream.labels(train, e.rows, e.view).tolist()) == set(e.classes)
        assert set(e.tasks) <= {task.id for task in stream.tasks}
    first, again = ([e.rows for e in order] for order in (stream, stream[::-1][::-1]))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def pickled(stream):
    """Bytes of the stream when it is sent to another process, and its copy."""
    data = pickle.dumps(stream)
    return len(data), pickle.loads(data)


def trace_of(strategy, stream):
    """Train on 300 rows of digits, and return the trace."""
    document = {**SMALL, "stream": {"dataset": {"name": "digits", "train_rows": 300}, **stream}}
    run = prepare(plan(document, strategies=[strategy], seeds=[0]).cells[0])
    run.train()
    return run.evaluator.trace()
