import sys
from typing import Any

import pytest


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch):
    """Give a table other models, and other attributes."""

    def give(table: Any, registry: Any = None, **attributes: Any) -> None:
        if registry is not None:
            monkeypatch.setitem(sys.modules, "registry_of_tests", registry)
            attributes["CARDS"] = "registry_of_tests"
        for name, value in attributes.items():
            monkeypatch.setattr(table, name, value)

    return give
