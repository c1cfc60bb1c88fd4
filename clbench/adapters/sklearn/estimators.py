"""Estimators with ``partial_fit`` in clbench's loop: ``sklearn:SGDClassifier(loss=log_loss)``.

A classifier is queried for probabilities, or else for its decision function, or else for labels. A clusterer gets
labels from the samples in its clusters so far. Samples are those of the benchmark, flattened.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from clbench.adapters.constructor_recipes import find, recipe_of
from clbench.adapters.online_learner import OnlineLearner
from clbench.core.errors import Refused
from clbench.core.registry import checksum
from clbench.core.rng import derive
from clbench.strategies.part import Part
from clbench.training.batch import Batch
from clbench.training.learner import Learner, Output

MODULES = {
    "linear_model": ("SGDClassifier", "Perceptron", "PassiveAggressiveClassifier"),
    "naive_bayes": ("GaussianNB", "MultinomialNB", "ComplementNB", "BernoulliNB", "CategoricalNB"),
    "neural_network": ("MLPClassifier",),
    "cluster": ("MiniBatchKMeans",),
}
"""Modules of scikit-learn that contain classifiers and clusterers with ``partial_fit``."""
NAMES = {name: module for module, names in MODULES.items() for name in names}
Array = NDArray[np.float64]
LARGEST = 1e30
"""Largest score that is returned: finite in float32, also as a sum over samples."""


@dataclass(eq=False)
class Taught:
    """Hold an estimator, and what is known of its answers.

    Args:
        estimator: An estimator of scikit-learn, or an object with its interface.
        classes: Number of classes C.
        begun: Whether it has been trained.
        votes: (clusters, C) samples of each class in each cluster so far, for clusterers.
    """

    estimator: Any
    classes: int
    begun: bool = False
    votes: NDArray[np.int64] | None = None

    def teach(self, x: Array, y: NDArray[np.int64]) -> None:
        """Learn samples (B, F) with labels (B,)."""
        if hasattr(self.estimator, "predict") and not _classifies(self.estimator):
            self.estimator.partial_fit(x)
            self._vote(self.estimator.predict(x), y)
        elif "classes" in inspect.signature(self.estimator.partial_fit).parameters:
            self.estimator.partial_fit(x, y, classes=np.arange(self.classes))
        else:
            self.estimator.partial_fit(x, y)
        self.begun = True

    def _vote(self, cluster: NDArray[np.int64], y: NDArray[np.int64]) -> None:
        most = int(cluster.max()) + 1
        held = np.zeros((0, self.classes), dtype=np.int64) if self.votes is None else self.votes
        self.votes = np.concatenate([held, np.zeros((max(0, most - len(held)), self.classes), dtype=np.int64)])
        np.add.at(self.votes, (cluster, y), 1)

    def ask(self, x: Array) -> NDArray[Any]:
        """Return scores (B, C) or labels (B,) of samples (B, F); zeros (B, C) before any training."""
        if not self.begun:
            return np.zeros((len(x), self.classes))
        if self.votes is not None:
            cluster = np.minimum(self.estimator.predict(x), len(self.votes) - 1)
            votes: NDArray[Any] = self.votes[cluster].astype(np.float64)
            return votes
        for method in ("predict_proba", "decision_function"):
            if hasattr(self.estimator, method):
                return self._wide(np.asarray(getattr(self.estimator, method)(x), dtype=np.float64))
        labels = np.asarray(self.estimator.predict(x))
        return labels.astype(np.int64) if labels.dtype.kind == "f" else labels

    def _wide(self, told: Array) -> Array:
        """Expand one column for two classes, or columns of the classes met so far, to (B, C)."""
        if told.ndim == 1:
            told = np.stack([-told, told], axis=1)
        known = np.asarray(self.estimator.classes_, dtype=np.int64)
        told = told.clip(-LARGEST, LARGEST)  # an impossible class has a score of -inf; NaN stays NaN
        wide = np.full((len(told), self.classes), np.min(told, initial=0.0) - 1.0)
        wide[:, known] = told
        return wide


@dataclass(kw_only=True)
class Estimator(OnlineLearner):
    """Wrap an estimator of scikit-learn as the loop's step; the benchmark's model is not used."""

    random_stream: ClassVar[str] = "Estimator"

    uses_model: ClassVar[bool] = False

    def attach(self, learner: Learner) -> None:
        """Make the estimator, or restore it from its saved state."""
        with _quiet():
            super().attach(learner)

    def make(self, learner: Learner) -> Taught:
        """Make a new estimator; its random state depends on the run."""
        constructor, settings = _find(self.name.removeprefix("sklearn:")), dict(self.parameters)
        if "random_state" in inspect.signature(constructor).parameters and settings.get("random_state") is None:
            seed = derive(int(self.generator.integers(1, 2**31)[0]), "sklearn") % 2**32
            settings["random_state"] = np.random.RandomState(seed)
        return Taught(constructor(**settings), learner.n_outputs)

    def observe(self, learner: Learner, batch: Batch) -> None:
        """Call ``partial_fit`` once."""
        rows = self.rows(batch)
        with _quiet():
            self.wrapped.teach(_array(rows.x), rows.y.cpu().numpy().copy())  # copies, which it may change

    def answer(self, learner: Learner, x: Tensor, task: Tensor | None) -> Output:
        """Return its scores for inputs (B, ...)."""
        with _quiet():
            told = self.scores(self.wrapped.ask(_array(x)), learner.n_outputs, len(x)).to(learner.device)
        return Output(told, told)


def _array(x: Tensor) -> Array:
    flat: Array = x.detach().flatten(1).cpu().numpy().astype(np.float64)
    return flat


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence its advice (a single pass has not converged, a class disappears in a later version), which is for other
    uses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _classifies(obj: Any) -> bool:
    return hasattr(obj, "predict_proba") or hasattr(obj, "decision_function") or _kind(obj) == "classifier"


def _kind(obj: Any) -> str:
    try:
        from sklearn.utils import get_tags

        return str(get_tags(obj).estimator_type or "")
    except Exception:  # an object with the interface of an estimator only
        return "classifier"


def _find(rest: str) -> Any:
    if rest in NAMES:
        return getattr(import_module(f"sklearn.{NAMES[rest]}"), rest)
    return find("sklearn", rest, "learner", known=NAMES, within="sklearn")


def recipe(rest: str) -> Callable[..., Part]:
    """Return the recipe of ``sklearn:REST``.

    Raises:
        Refused: The estimator does not exist, or cannot learn step by step.
    """
    return _recipe(rest, checksum(rest) if ".py:" in rest else "")


@cache
def _recipe(rest: str, of_file: str) -> Callable[..., Part]:
    name, constructor = f"sklearn:{rest}", _find(rest)
    kinds = ", ".join(sorted(NAMES))
    if not hasattr(constructor, "partial_fit"):
        raise Refused(f"{name} has no partial_fit, so that it cannot learn one batch after another; known: {kinds}")

    def make(parameters: Mapping[str, Any]) -> Part:
        with _quiet():
            estimator = constructor(**parameters)
            try:
                getattr(estimator, "_validate_params", lambda: None)()
            except ValueError as error:
                raise Refused(f"{name}: {' '.join(str(error).split())}") from None
        if _kind(estimator) == "regressor" or not hasattr(estimator, "predict"):
            raise Refused(f"{name} predicts no classes; choose a classifier or clusterer with partial_fit: {kinds}")
        return Estimator(name=name, parameters=dict(parameters))

    return recipe_of(
        name, constructor, make, source=f"scikit-learn {version('scikit-learn')}{of_file and f' {of_file}'}"
    )
