"""A scikit-learn classifier from a clbench strategy: every call of ``partial_fit`` is an experience of its stream."""

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
    """Classify with a clbench strategy and a multi-layer perceptron, by ``fit`` and ``partial_fit``.

    ``partial_fit`` learns its samples as the next experience of a class-incremental stream. Replay buffer, anchors and
    other state of the strategy continue from call to call, and the end of a call is a boundary. Earlier samples are
    kept only in the replay buffer. ``fit`` starts again and has one experience.

    Args:
        strategy: As on the command line, such as ``"er"`` or ``"er + ewc(strength=10)"``.
        hidden: Widths of the hidden layers.
        optimizer: ``sgd``, ``adam`` or ``adamw``.
        lr: Learning rate, above 0.
        momentum: Momentum of SGD, in [0, 1).
        weight_decay: Weight decay, at least 0.
        batch_size: Samples per step.
        epochs: Passes over the samples of a call.
        memory_size: Size of the replay buffer.
        memory_policy: Policy of the replay buffer; see ``clbench.benchmark.schema.MemoryBudget``.
        random_state: Seed of initial weights, orders and draws, as usual in scikit-learn. The global generators are
            restored after every call.

    Attributes:
        classes_: (C,) labels, ascending: all that the first call of ``partial_fit`` gets or contains.
        n_features_in_: Number of columns of X.
        n_iter_: Number of optimiser steps so far.
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
        """Start again, and learn samples X (n, F) with labels y (n,) as one experience.

        Raises:
            ValueError: Samples, labels or settings are invalid.
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
        """Learn samples X (n, F) with labels y (n,) as the next experience.

        Args:
            X: Samples.
            y: Labels, among ``classes_``.
            classes: All labels that will ever occur; required at the first call unless it contains them all.

        Raises:
            ValueError: A label is not among the classes of the first call, or samples or settings are invalid.
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
        """Return scores of samples X (n, F): (n, C), or for two classes (n,), positive for the second."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict_proba(self, X: Any) -> Array:
        """Return the softmax of the scores of samples X (n, F), (n, C)."""
        scores = self._scores(X)
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: Array = raised / raised.sum(axis=1, keepdims=True)
        return shares

    def predict(self, X: Any) -> Array:
        """Return labels (n,) of samples X (n, F)."""
        scores = self._scores(X)
        labels: Array = self.classes_[scores.argmax(axis=1)]
        return labels

    # ------------------------------------------------------------------ internals

    def _checked(self, X: Any, y: Any, *, first: bool) -> tuple[Array, Array]:
        X, y = validate_data(self, X, y, reset=first, dtype=np.float64)
        check_classification_targets(y)
        return X, y

    def _begin(self, classes: Array) -> None:
        if len(classes) < 2:
            raise ValueError(
                f"ContinualClassifier needs two classes, and there is one class, {classes.tolist()}; give classes= to "
                "partial_fit, or samples of more than one class"
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
