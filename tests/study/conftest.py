"""The small study, carried out once for all tests that read what it made."""

from __future__ import annotations

import pytest

from small_study import SmallStudy, small_study


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    """A finished study; its artifacts are read, never changed."""
    return small_study(tmp_path_factory.mktemp("small"))
