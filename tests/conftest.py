"""Shared by all tests: where things are, and how thorough a run is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
FULL = os.environ.get("PRATIQUE_TESTS") == "full"
sys.path.insert(0, str(ROOT / "tests"))

settings.register_profile("check", max_examples=1000, deadline=None, print_blob=True)
settings.register_profile("full", max_examples=20_000, deadline=None, print_blob=True)
settings.load_profile("full" if FULL else "check")
