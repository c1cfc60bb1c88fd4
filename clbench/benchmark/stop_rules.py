"""The check for early stopping: it needs held-out samples that serve nothing else, and several passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clbench.core.errors import Refused


def check_stop(settings: Mapping[str, Any]) -> None:
    """Check the settings of a cell with ``training.stop``; those without it pass.

    Args:
        settings: The sections of the cell in canonical form.

    Raises:
        Refused: There are no held-out samples, the board evaluates them, or there is only one pass.
    """
    training, dataset = settings["training"], settings["stream"].get("dataset")
    if training.get("stop") is None:
        return
    if not isinstance(dataset, Mapping):
        raise Refused(
            "training.stop needs held-out samples, and a stream of a program has none; name the scenario and the data "
            "set in the benchmark instead",
            "stop",
        )
    if not dataset.get("validation"):
        raise Refused(
            "training.stop needs samples that are held out of training; set stream.dataset.validation, such as 0.1 for "
            "a tenth",
            "stop",
        )
    if dataset.get("evaluate_on", "test") == "validation":
        raise Refused(
            "training.stop ends experiences by the held-out samples, and stream.dataset.evaluate_on = validation "
            "evaluates on the same; evaluate on test samples, or leave stop out",
            "stop",
        )
    if training["iterations"] is None and training["epochs"] == 1:
        raise Refused(
            "training.stop ends an experience between passes, and training.epochs = 1 makes one; raise it to the "
            "largest number of passes",
            "stop",
        )
