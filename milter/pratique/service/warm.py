"""What a worker would load or build for its first messages, done once in the parent: all workers share the memory.

A worker loads no module once it judges mail. So a package that is removed or replaced while the service runs changes
nothing until the next restart (tests/test_service.py tries the whole corpus).
"""

from __future__ import annotations

import contextlib
import encodings
import functools
import importlib
import pkgutil

import webencodings

from pratique import lookalike, shortlist
from pratique.model import Settings
from pratique.resolver import load_types


def warm_up(settings: Settings) -> None:
    """Before a fork: load modules and tables, and build the index of the list. Nothing is done twice."""
    _load()
    shortlist.of(settings.senders)


@functools.cache
def _load() -> None:
    for module in pkgutil.iter_modules(encodings.__path__):  # a From field may name any character set
        with contextlib.suppress(ImportError, LookupError):  # of other systems
            importlib.import_module(f"encodings.{module.name}")
    webencodings.lookup("x-user-defined")  # webencodings 0.5 loads this one at its first use
    load_types()
    lookalike.imitates("b\u0435low.example", "below.example")  # 7 MB of lookalike letters
