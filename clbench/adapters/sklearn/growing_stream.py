"""A stream whose experiences come one by one, from a program that holds them: our loop, called again for each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clbench import models
from clbench.benchmark.schema import MemoryBudget, Training
from clbench.core.errors import Refused
from clbench.core.global_rng import preserved
from clbench.core.rng import derive
from clbench.core.torch_threads import torch_threads
from clbench.core.types import Dataset, Experience, Rows, Stream, Task
from clbench.strategies.chain import Chain, unmet
from clbench.strategies.strategy import Strategy
from clbench.training.batch import ROW
from clbench.training.device_rows import Resident
from clbench.training.experience_passes import Cursor
from clbench.training.learner import Diverged, Learner
from clbench.training.loop import train
from clbench.training.memory import Memory
from clbench.training.optimizers import optimizer
from clbench.training.passes import BatchSplit

Array = NDArray[Any]


class Growing:
    """A learner, its strategy, and what they keep between experiences.

    Args:
        strategy: As strategies are written.
        model, training, memory: Sections as in a benchmark file.
        features: F, columns of rows.
        classes: C.
        seed: The run's.

    Raises:
        ValueError: Settings that cannot be, or a strategy that needs what such a stream does not have.
    """

    def __init__(
        self,
        *,
        strategy: str,
        model: Mapping[str, Any],
        training: Mapping[str, Any],
        memory: Mapping[str, Any],
        features: int,
        classes: int,
        seed: int,
    ) -> None:
        self.settings: dict[str, Any] = {
            "strategy": strategy,
            "model": dict(model),
            "training": dict(training),
            "memory": dict(memory),
            "features": features,
            "classes": classes,
            "seed": seed,
        }
        self._build()

    def _build(self) -> None:
        given, seed, classes = self.settings, self.settings["seed"], self.settings["classes"]
        self.training, budget = Training(**given["training"]), MemoryBudget(**given["memory"])
        strategy = Strategy.parse(given["strategy"])
        parts, declared = strategy.parts(), strategy.declarations
        policy = declared.memory_policy or budget.policy
        admit = declared.memory_admit or budget.admit
        kept = {"memory"} if budget.size else set()
        if admit != "end" and policy != "herding":
            kept.add("side_tensors")
        reason = unmet(parts, frozenset({"boundaries", *kept}))
        if reason:
            raise Refused(f"strategy {given['strategy']!r} cannot be used here: {reason}")
        if declared.sees != "stream" or declared.engine:
            raise Refused(
                f"strategy {given['strategy']!r} cannot be used here: it acts on a whole stream or in a loop of its "
                "own, and rows come call by call; choose another"
            )
        self.chain = Chain(parts, seed=seed)
        self.x = np.zeros((0, given["features"]), dtype=np.float32)
        self.y = np.zeros(0, dtype=np.int64)
        self.number = self.steps = 0
        torch.manual_seed(derive(seed, "init"))
        module = models.make(given["model"], (given["features"],), classes)
        torch.manual_seed(derive(seed, "dropout"))
        self.memory = Memory(
            budget.size,
            policy=policy,
            admit=admit,
            seed=seed,
            classes=classes,
        )
        stream, rows = self._stream(np.zeros(0, dtype=np.int64))
        self.learner = Learner(
            module,
            stream=stream,
            train=rows,
            memory=self.memory,
            optimizer=partial(optimizer, self.training),
            batch_size=self.training.batch_size,
            seed=seed,
        )
        self.learner.predictors, self.learner.reader = self.chain.predict, self.chain.answer
        self.learner.steps_itself = self.chain.observe is not None

    def _stream(self, rows: Array) -> tuple[Stream, Resident]:
        """The stream up to now, its last experience being these rows, and the rows that are kept."""
        classes, number = self.settings["classes"], getattr(self, "number", 0)
        kept = Rows(self.x, self.y)
        names = tuple(map(str, range(classes)))
        dataset = Dataset("rows", kept, kept, names, 1.0, checksum="given call by call")
        present = tuple(int(c) for c in np.unique(self.y[rows]))
        task = Task(0, "all", np.zeros(0, dtype=np.int64), tuple(range(classes)))
        stream = Stream(
            name="call by call",
            dataset=dataset,
            tasks=(task,),
            length=number + 1,
            build=lambda position: Experience(position, rows, 0, 0, present),
            n_outputs=classes,
            seed=self.settings["seed"],
            description={"scenario": "call by call"},
        )
        return stream, Resident(kept, dataset)

    # ------------------------------------------------------------------ learning and reading out

    def learn(self, x: Array, y: Array) -> None:
        """Rows x (n, F) float32 with labels y (n,) as the next experience.

        Raises:
            ValueError: Something that has to be finite is not.
        """
        try:
            BatchSplit(self.training.batch_size, fewest=self.learner.fewest).check([len(y)])
        except Refused as error:
            raise ValueError(str(error)) from None
        self._forget_rows()
        rows = np.arange(len(self.y), len(self.y) + len(y))
        self.x, self.y = np.concatenate([self.x, x]), np.concatenate([self.y, y])
        stream, resident = self._stream(rows)
        self.learner.go_on(stream, resident)
        cursor = Cursor(experience=self.number, step=self.steps)
        try:
            with torch_threads(1):
                train(self.learner, stream, self.chain, _Blind(), epochs=self.training.epochs, cursor=cursor)
        except Diverged as error:
            raise ValueError(str(error)) from None
        self.number, self.steps = self.number + 1, cursor.step

    def _forget_rows(self) -> None:
        """Keep those rows alone that memory holds, under new numbers."""
        index = self.memory.all().index
        rows, place = np.unique(index[ROW].numpy(), return_inverse=True)
        index[ROW] = torch.from_numpy(place.reshape(-1))
        self.x, self.y = self.x[rows], self.y[rows]

    def scores(self, x: Array) -> Array:
        """Scores (n, C) float64 of rows x (n, F); classes that no row has shown yet are lower than all others."""
        learner = self.learner
        learner.scratch.clear()
        with learner.undisturbed(training=False), torch.no_grad():
            output = learner.output(torch.from_numpy(np.ascontiguousarray(x)), None)
            told = learner.predict(output, None).double().numpy()
        seen = learner.classes.seen.numpy()
        lowest = told[:, seen].min(axis=1, keepdims=True) - 1000.0
        return np.where(seen, told, lowest)

    # ------------------------------------------------------------------ going elsewhere

    def __getstate__(self) -> dict[str, Any]:
        return {
            "settings": self.settings,
            "rows": (self.x, self.y),
            "place": (self.number, self.steps),
            "learner": self.learner.snapshot(),
            "chain": self.chain.snapshot(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.settings = state["settings"]
        with preserved():
            self._build()
            self.x, self.y = state["rows"]
            self.number, self.steps = state["place"]
            stream, resident = self._stream(np.arange(len(self.y)))
            self.learner.go_on(stream, resident)
            self.learner.restore(state["learner"])
            self.chain.restore(state["chain"], self.learner.device)
            if self.steps:
                for attach in self.chain.attach:
                    attach(self.learner)


class _Blind:
    """Where nobody looks."""

    def look(self, *_: object) -> None:
        """Nothing."""
