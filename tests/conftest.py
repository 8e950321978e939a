"""Shared by all tests: where things are, and how thorough a run is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
FULL = os.environ.get("PRATIQUE_TESTS") == "full"
sys.path.insert(0, str(ROOT / "tests"))

settings.register_profile("check", max_examples=1000, deadline=None, print_blob=True)
settings.register_profile("full", max_examples=20_000, deadline=None, print_blob=True)
settings.load_profile("full" if FULL else "check")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: takes minutes, for tests/check --full")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is for full runs is left out of others, and counted as deselected."""
    long = [] if FULL else [item for item in items if item.get_closest_marker("full")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
