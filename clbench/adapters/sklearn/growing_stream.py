"""A stream that grows by one experience per call, from a program that holds the data, and its training loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clbench.benchmark.run_settings import RunSettings
from clbench.core.errors import Refused
from clbench.core.global_rng import preserved
from clbench.core.torch_threads import torch_threads
from clbench.core.types import Dataset, Experience, Rows, Stream, Task
from clbench.evaluate.no_evaluations import NoEvaluations
from clbench.models.initial_model import initial_model
from clbench.strategies.chain import Chain, unmet
from clbench.strategies.strategy import Strategy
from clbench.training.assemble import TrainerSetup, assemble_trainer, seed_training
from clbench.training.batch import ROW
from clbench.training.batch_splits import BatchSplit
from clbench.training.device_rows import Resident
from clbench.training.experience_passes import Cursor
from clbench.training.loop import train
from clbench.training.loss_check import Diverged
from clbench.training.revealed import revealed

Array = NDArray[Any]


class Growing:
    """Hold a learner, its strategy, and their state between experiences.

    Args:
        strategy: The strategy.
        settings: The settings of training, replay buffer and model.
        features: F, the number of features of a sample.
        classes: C.
        seed: The seed of the run.

    Raises:
        ValueError: Settings are invalid, or the strategy needs something that such a stream lacks.
    """

    def __init__(
        self,
        *,
        strategy: Strategy,
        settings: RunSettings,
        features: int,
        classes: int,
        seed: int,
    ) -> None:
        self.strategy = strategy
        self.settings = replace(settings, memory=strategy.declarations.budget(settings.memory))
        self.features, self.classes, self.seed = features, classes, seed
        self._build()

    def _build(self) -> None:
        parts, declared = self.strategy.parts(), self.strategy.declarations
        self.x = np.zeros((0, self.features), dtype=np.float32)
        self.y = np.zeros(0, dtype=np.int64)
        self.number = self.steps = 0
        stream, rows = self._stream(np.zeros(0, dtype=np.int64))
        reason = unmet(parts, revealed(stream, self.settings))
        if reason:
            raise Refused(f"strategy {self.strategy.label!r} cannot be used here: {reason}")
        if declared.sees != "stream" or declared.engine:
            raise Refused(
                f"strategy {self.strategy.label!r} cannot be used here: it acts on a whole stream or in a loop of its "
                "own, and each call brings only some samples; choose another"
            )
        self.chain = Chain(parts, seed=self.seed)
        model = initial_model(self.settings.model.network, (self.features,), self.classes, seed=self.seed)
        seed_training(self.seed)
        self.trainer = assemble_trainer(TrainerSetup(self.settings, self.seed, stream, rows, model), self.chain)
        self.learner = self.trainer.learner

    def _stream(self, rows: Array) -> tuple[Stream, Resident]:
        """Return the stream so far, with these samples as its last experience, and the samples that are kept."""
        classes = self.classes
        kept = Rows(self.x, self.y)
        names = tuple(map(str, range(classes)))
        dataset = Dataset("rows", kept, kept, names, 1.0, checksum="given call by call")
        present = tuple(int(c) for c in np.unique(self.y[rows]))
        task = Task(0, "all", np.zeros(0, dtype=np.int64), tuple(range(classes)))
        stream = Stream(
            name="call by call",
            dataset=dataset,
            tasks=(task,),
            length=self.number + 1,
            build=lambda position: Experience(position, rows, 0, 0, present),
            n_outputs=classes,
            seed=self.seed,
            description={"scenario": "call by call"},
        )
        return stream, Resident(kept, dataset)

    # ------------------------------------------------------------------ learning and predicting

    def learn(self, x: Array, y: Array) -> None:
        """Learn samples x (n, F) float32 with labels y (n,) as the next experience.

        Raises:
            ValueError: A value that must be finite is not.
        """
        try:
            fewest = self.learner.side_work.fewest_rows
            BatchSplit(self.settings.training.batch_size, fewest=fewest).check([len(y)])
        except Refused as error:
            raise ValueError(str(error)) from None
        self._forget_rows()
        rows = np.arange(len(self.y), len(self.y) + len(y))
        self.x, self.y = np.concatenate([self.x, x]), np.concatenate([self.y, y])
        stream, resident = self._stream(rows)
        self.trainer.go_on(stream, resident)
        cursor = Cursor(experience=self.number, step=self.steps)
        try:
            with torch_threads(1):
                train(self.trainer, stream, self.chain, NoEvaluations(), self.settings.training, cursor=cursor)
        except Diverged as error:
            raise ValueError(str(error)) from None
        self.number, self.steps = self.number + 1, cursor.step

    def _forget_rows(self) -> None:
        """Keep only the samples of the replay buffer, with new numbers."""
        index = self.learner.memory.all().index
        rows, place = np.unique(index[ROW].numpy(), return_inverse=True)
        index[ROW] = torch.from_numpy(place.reshape(-1))
        self.x, self.y = self.x[rows], self.y[rows]

    def scores(self, x: Array) -> Array:
        """Return scores (n, C) float64 of samples x (n, F); classes without a sample so far have the lowest scores."""
        learner, readout = self.learner, self.trainer.readout
        learner.scratch.clear()
        with learner.side_work.undisturbed(training=False), torch.no_grad():
            output = readout.output(torch.from_numpy(np.ascontiguousarray(x)), None)
            told = readout.predict(output, None).double().numpy()
        seen = learner.classes.seen.numpy()
        lowest = told[:, seen].min(axis=1, keepdims=True) - 1000.0
        return np.where(seen, told, lowest)

    # ------------------------------------------------------------------ pickling

    def __getstate__(self) -> dict[str, Any]:
        return {
            "strategy": self.strategy,
            "settings": self.settings,
            "shape": (self.features, self.classes, self.seed),
            "rows": (self.x, self.y),
            "place": (self.number, self.steps),
            "learner": self.trainer.snapshot(),
            "chain": self.chain.snapshot(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.strategy, self.settings = state["strategy"], state["settings"]
        self.features, self.classes, self.seed = state["shape"]
        with preserved():
            self._build()
            self.x, self.y = state["rows"]
            self.number, self.steps = state["place"]
            stream, resident = self._stream(np.arange(len(self.y)))
            self.trainer.go_on(stream, resident)
            self.trainer.restore(state["learner"])
            self.chain.restore(state["chain"], self.learner.device)
            if self.steps:
                for attach in self.chain.attach:
                    attach(self.learner)
