"""The contract of strategies, for one's own tests: built-ins, plugins and files alike are asked the same questions.

    @pytest.mark.parametrize("prop", PROPERTIES)
    def test_contract(prop):
        check_strategy("er + mine(strength=1)", prop)

What a property cannot be asked of a strategy is *skipped with the reason* (pytest shows it so), never silently passed.
"""

from __future__ import annotations

from clbench.testing.check import PROPERTIES, Verdict, check_strategy, examine
from clbench.testing.trial import Broken, Skipped

__all__ = ["PROPERTIES", "Broken", "Skipped", "Verdict", "check_strategy", "examine"]
