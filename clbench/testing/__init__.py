"""The contracts of strategies and models, for one's own tests: built-ins, plugins and files are asked alike.

    @pytest.mark.parametrize("prop", PROPERTIES)
    def test_contract(prop):
        check_strategy("er + mine(strength=1)", prop)

What a property cannot be asked of a strategy is *skipped with the reason* (pytest shows it so), never silently passed.
"""

from __future__ import annotations

from clbench.testing.contract import PROPERTIES, Verdict, check_strategy, examine
from clbench.testing.model_contract import MODEL_PROPERTIES, check_model, examine_model
from clbench.testing.trial_runs import Broken, Skipped

__all__ = [
    "MODEL_PROPERTIES",
    "PROPERTIES",
    "Broken",
    "Skipped",
    "Verdict",
    "check_model",
    "check_strategy",
    "examine",
    "examine_model",
]
