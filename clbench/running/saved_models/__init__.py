"""Models on disk: all that predicts, in one file that is read without a data set and without running foreign code.

A file holds the cell's configuration, weights and buffers, what parts that read out have learned, which classes
compete, shapes, class names and how the data is scaled; and rows of memory, as they are shown to the model, where the
answer needs them. It is read with ``torch.load(weights_only=True)``. An object of another library (an estimator, a
learner with ``observe``, a strategy of avalanche-lib) is in it as bytes, which are unpickled for those who trust it.
"""

from __future__ import annotations

from clbench.running.saved_models.pack import Keeper, packed, save
from clbench.running.saved_models.predictor import Saved
from clbench.running.saved_models.unpack import load_model

__all__ = ["Keeper", "Saved", "load_model", "packed", "save"]
