"""Which combinations there are: the native backend runs GRU, LSTM and FastGRNN."""

from __future__ import annotations

import pytest

from tests.core.cases import OWN_CELLS


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the native backend with cells that it does not have; ``test_errors`` says what it answers."""
    left_out = []
    for item in items:
        chosen = getattr(item, "callspec", None)
        if (
            chosen is not None
            and chosen.params.get("backend") == "native"
            and chosen.params.get("cell") in OWN_CELLS
        ):
            left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
