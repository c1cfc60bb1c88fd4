"""Made-up traces and records with the shape of real ones, for tests of what is computed from them."""

import numpy as np

from clbench.core import store
from clbench.core.record import Kind, Record, Trace
from clbench.core.types import content_hash


def trace_from(present, lengths, accuracy, *, every=1, at_switch=lambda _, ended: ended):
    """A trace with a look at the start and, per experience, at its switch, after every so many steps and at its end.

    ``present`` is (E, T), ``lengths`` the iterations of experiences, ``accuracy(step, experience)`` gives (T,) scores,
    ``at_switch(experience, ended)`` those at its switch from those just before; ``None`` takes no looks at switches.
    """
    present = np.asarray(present, dtype=bool)
    looks = [(0, Kind.START, -1, accuracy(0, -1))]
    ends = np.cumsum(lengths).tolist()
    for experience, (length, end) in enumerate(zip(lengths, ends, strict=True)):
        if at_switch is not None:
            looks.append((end - length, Kind.SWITCH, experience, at_switch(experience, looks[-1][3])))
        seen = present[: experience + 1].any(axis=0)
        steps = [step for step in range(end - length + 1, end + 1) if every and step % every == 0]
        looks += [(step, Kind.STEP, experience, np.where(seen, accuracy(step, experience), np.nan)) for step in steps]
        looks.append((end, Kind.END, experience, accuracy(end, experience)))
    column = list(zip(*looks, strict=True))
    return Trace(
        step=np.array(column[0]),
        kind=np.array(column[1], dtype=np.int64),
        experience=np.array(column[2]),
        score=np.array(column[3], dtype=float),
        rows=np.full(present.shape[1], 100),
        present=present,
        every=every,
    )


def dipping(seed, *, tasks=5, length=60, depth=0.5, loss=0.02, noise=0.01, every=1, final=0.96):
    """Each task is learned in its experience, dips by ``depth`` after each later switch and loses ``loss`` for good."""
    rng = np.random.default_rng(seed)
    depths = depth * rng.uniform(0.8, 1.1, size=(tasks, tasks))

    def accuracy(step, experience):
        values = np.full(tasks, 0.05)
        for task in range(experience + 1):
            since = step - task * length
            values[task] = final - (final - 0.1) * np.exp(-since / 6)
            if experience > task:
                after = step - experience * length
                values[task] = (
                    final
                    - loss * (experience - task)
                    - depths[task, experience] * np.exp(-after / 8) * (1 - np.exp(-after / 1.5))
                )
        return np.clip(values + noise * rng.normal(size=tasks), 0, 1).round(2)

    return trace_from(np.eye(tasks, dtype=bool), [length] * tasks, accuracy, every=every)


def flat(acc):
    """A trace of two tasks whose final accuracies have the mean ``acc``."""
    return trace_from(np.eye(2, dtype=bool), [2, 2], lambda step, _: np.array([acc - 0.1, acc + 0.1]).round(4))


def folder(path, *records):
    """Save records in a result folder, and return its path."""
    for each in records:
        store.save(each, path)
    return path


def record(
    label,
    seed,
    trace=None,
    *,
    status="done",
    reason="",
    name="split-digits",
    version=1,
    alarms=(),
    settings=None,
    training=None,
    fingerprint=None,
):
    """A record of a made-up cell; ``settings`` tells apart strategies that share a label."""
    cell = {
        "benchmark": {"name": name, "version": version},
        "stream": {"scenario": "split", "setting": "class", "experiences": 5, "dataset": {"name": "digits"}},
        "model": {"name": "mlp", "hidden": [100, 100]},
        "training": {"optimizer": "sgd", "lr": 0.05, "batch_size": 32, "epochs": 5, **(training or {})},
        "strategy": settings or [{"name": label, "parameters": {}}],
        "seed": seed,
    }
    return Record(
        key=content_hash(cell),
        cell=cell,
        label=label,
        status=status,
        reason=reason,
        trace=trace,
        fingerprint=fingerprint or f"stream{seed}",
        cost={"steps": 300, "train_seconds": 1.5 + seed},
        alarms=tuple(alarms),
        environment={"clbench": "0.1.0", "python": "3.11", "device": "cpu"},
        created=f"2024-01-01T00:00:{seed:02d}Z",
    )


def matrix(seeds=range(5)):
    """Records of a small matrix with finished, diverged, skipped and missing cells, on one benchmark."""
    kinds = {
        "naive": {"depth": 0.3, "loss": 0.25, "final": 0.97},
        "er": {"depth": 0.45, "loss": 0.03},
        "er + ewc(strength=10)": {"depth": 0.3, "loss": 0.04},
        "agem": {"depth": 0.6, "loss": 0.15},
        "er_ace": {"depth": 0.12, "loss": 0.02, "final": 0.94},
    }
    records = [
        record(label, seed, dipping(100 * i + seed, **kind))
        for i, (label, kind) in enumerate(kinds.items())
        for seed in seeds
        if not (label == "agem" and seed == 4)
    ]
    joint = lambda seed: trace_from(  # noqa: E731
        np.ones((1, 5), bool), [300], lambda step, _: np.full(5, 0.98 - 0.9 * np.exp(-step / 30) + 0.001 * seed)
    )
    records += [record("joint", seed, joint(seed)) for seed in seeds]
    records += [
        record("ewc(strength=1e6)", seed, status="diverged", reason="the model's outputs are not finite after step 71")
        for seed in seeds
    ]
    records.append(record("gem", 0, status="skipped", reason="gem needs task labels, which this stream hides"))
    return records
