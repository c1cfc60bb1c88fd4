"""The contracts of strategies and models, for tests of built-ins, plugins and files.

    @pytest.mark.parametrize("prop", PROPERTIES)
    def test_contract(prop):
        check_strategy("er + mine(strength=1)", prop)

If a property cannot be tested for a strategy, it is *skipped with the reason* (as pytest shows), never silently passed.
"""

from __future__ import annotations

from clbench.testing.contract import PROPERTIES, Verdict, check_strategy, examine, remark
from clbench.testing.loss_remarks import Remark
from clbench.testing.model_contract import MODEL_PROPERTIES, check_model, examine_model
from clbench.testing.trial_runs import Broken, Skipped

__all__ = [
    "MODEL_PROPERTIES",
    "PROPERTIES",
    "Broken",
    "Remark",
    "Skipped",
    "Verdict",
    "check_model",
    "check_strategy",
    "examine",
    "examine_model",
    "remark",
]
