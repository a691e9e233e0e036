"""Gates as tests: the `steelyard` fixture for pytest.

    def test_the_model_is_fair(steelyard):
        record = steelyard(model, X_test, y_test, groups=X_test[["sex"]],
                           gates=[{"metric": "fairness.selection-rate.ratio", "min": 0.8}])
        record.assert_gates()

pytest loads this file whether or not a test uses it, so it imports nothing until one does.
"""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["steelyard"]


@pytest.fixture(scope="session")
def steelyard() -> Any:
    """`steelyard.audit.audit`: audits a model, returns the record; `record.assert_gates()` fails unless it exits 0."""
    from steelyard.audit.api import audit

    return audit
