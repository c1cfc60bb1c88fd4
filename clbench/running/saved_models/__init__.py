"""Saved models: everything that predicts in one file, which is read without a data set and without foreign code.

A file contains the cell's configuration, weights and buffers, the state of parts that predict, the class mask, shapes,
class names and the scaling of the data; and samples of the replay buffer, as the model sees them, if predictions need
them. It is read with ``torch.load(weights_only=True)``. An object of another library (an estimator, a learner with
``observe``, a strategy of avalanche-lib) is included as bytes, which are unpickled only for users who trust it.
"""

from __future__ import annotations

from clbench.running.saved_models.exported import export_model
from clbench.running.saved_models.pack import Keeper, packed, save
from clbench.running.saved_models.predictor import Saved
from clbench.running.saved_models.unpack import load_model

__all__ = ["Keeper", "Saved", "export_model", "load_model", "packed", "save"]
