"""A strategy of ours as a classifier of scikit-learn: every call of ``partial_fit`` is an experience of its stream."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from clbench.adapters.sklearn.growing_stream import Growing
from clbench.benchmark.run_settings import ModelSettings, RunSettings
from clbench.benchmark.schema import MemoryBudget, Training, section
from clbench.core.global_rng import preserved
from clbench.strategies.strategy import Strategy

Array = NDArray[Any]


class ContinualClassifier(ClassifierMixin, BaseEstimator):
    """A clbench strategy with ``fit`` and ``partial_fit``, over a multi-layer perceptron.

    ``partial_fit`` learns its rows as the next experience of a class-incremental stream: memory, anchors and whatever
    else the strategy keeps go on from call to call, and at its end the strategy does what it does at boundaries. Of
    earlier rows only those in memory are kept. ``fit`` begins anew and has one experience.

    Args:
        strategy: As on the command line, such as ``"er"`` or ``"er + ewc(strength=10)"``.
        hidden: Widths of the hidden layers.
        optimizer: ``sgd``, ``adam`` or ``adamw``.
        lr: Learning rate, above 0.
        momentum: Of SGD, in [0, 1).
        weight_decay: At least 0.
        batch_size: Rows per step.
        epochs: Passes over the rows of a call.
        memory_size: Rows that the strategy may keep.
        memory_policy: How they are admitted; see ``clbench.benchmark.schema.MemoryBudget``.
        random_state: Of initial weights, orders and draws; as everywhere in scikit-learn. The global generators are
            as before after every call.

    Attributes:
        classes_: (C,) labels, ascending; all that are given to the first call of ``partial_fit``, or occur in it.
        n_features_in_: Columns of X.
        n_iter_: Optimiser steps so far.
    """

    def __init__(
        self,
        strategy: str = "er",
        *,
        hidden: tuple[int, ...] = (100,),
        optimizer: str = "adam",
        lr: float = 0.01,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        batch_size: int = 32,
        epochs: int = 20,
        memory_size: int = 200,
        memory_policy: str = "reservoir",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.strategy = strategy
        self.hidden = hidden
        self.optimizer = optimizer
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.memory_size = memory_size
        self.memory_policy = memory_policy
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> ContinualClassifier:
        """Begin anew, and learn rows X (n, F) with labels y (n,) as one experience.

        Raises:
            ValueError: Rows, labels or settings that cannot be.
        """
        X, y = self._checked(X, y, first=True)
        self._begin(np.unique(y))
        self._learn(X, y)
        return self

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: Any | None = None,
    ) -> ContinualClassifier:
        """Learn rows X (n, F) with labels y (n,) as the next experience.

        Args:
            X: Rows.
            y: Labels, among ``classes_``.
            classes: All labels that will ever occur, needed at the first call unless that holds them all.

        Raises:
            ValueError: A label that is not among the classes of the first call; rows or settings that cannot be.
        """
        first = not hasattr(self, "classes_")
        X, y = self._checked(X, y, first=first)
        if first:
            self._begin(np.unique(y if classes is None else np.asarray(classes)))
        elif classes is not None and not np.array_equal(np.unique(np.asarray(classes)), self.classes_):
            raise ValueError(f"classes={classes!r} are not those of the first call, {self.classes_!r}")
        new = np.setdiff1d(np.unique(y), self.classes_)
        if len(new):
            raise ValueError(
                f"the labels {new!r} are not among the classes of the first call, {self.classes_!r}; give all of "
                "them as classes= there"
            )
        self._learn(X, y)
        return self

    def decision_function(self, X: Any) -> Array:
        """Scores of rows X (n, F): (n, C), or for two classes (n,), positive for the second."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict_proba(self, X: Any) -> Array:
        """Softmax of the scores of rows X (n, F), (n, C)."""
        scores = self._scores(X)
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: Array = raised / raised.sum(axis=1, keepdims=True)
        return shares

    def predict(self, X: Any) -> Array:
        """Labels (n,) of rows X (n, F)."""
        scores = self._scores(X)
        labels: Array = self.classes_[scores.argmax(axis=1)]
        return labels

    # ------------------------------------------------------------------ inside

    def _checked(self, X: Any, y: Any, *, first: bool) -> tuple[Array, Array]:
        X, y = validate_data(self, X, y, reset=first, dtype=np.float64)
        check_classification_targets(y)
        return X, y

    def _begin(self, classes: Array) -> None:
        if len(classes) < 2:
            raise ValueError(
                f"ContinualClassifier needs two classes, and there is one class, {classes.tolist()}; give classes= to "
                "partial_fit, or rows of more than one class"
            )
        self.classes_ = classes
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with preserved():
            self._stream = Growing(
                strategy=Strategy.parse(self.strategy),
                settings=self._settings(),
                features=self.n_features_in_,
                classes=len(classes),
                seed=seed,
            )

    def _settings(self) -> RunSettings:
        where, names = type(self).__name__, ("optimizer", "lr", "momentum", "weight_decay", "batch_size", "epochs")
        memory = {"size": self.memory_size, "policy": self.memory_policy}
        called = {"size": "memory_size", "policy": "memory_policy"}
        return RunSettings(
            training=section(Training, where, {name: getattr(self, name) for name in names}),
            memory=section(MemoryBudget, where, memory, called=called),
            model=ModelSettings({"name": "mlp", "hidden": list(self.hidden)}),
        )

    def _learn(self, X: Array, y: Array) -> None:
        with preserved():
            self._stream.learn(X.astype(np.float32), np.searchsorted(self.classes_, y).astype(np.int64))
        self.n_iter_ = self._stream.steps

    def _scores(self, X: Any) -> Array:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        with preserved():
            return self._stream.scores(X.astype(np.float32))
