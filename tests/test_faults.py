"""Whatever goes wrong, each message is delivered with a true tag, held, or deferred: see tests/faults."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest
from _pytest.mark.structures import ParameterSet

from conftest import FULL
from faults import campaign
from faults.senders import Senders
from faults.site import Site
from faults.wrong import FAULTS, SHORT, WHOLE, Fault, small

ANSWERS = 60.0  # seconds on a busy machine; what was measured stands in docs/reliability.md

# Fails in about one run of 20: libmilter forgets a session when it cannot start a thread (docs/reliability.md). So it
# runs with the whole campaign only, where it still fails, until the gap is closed.
KNOWN_GAP = "out of memory"


@pytest.fixture(scope="module")
def senders() -> Iterator[Senders]:
    with Senders() as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("faults")) as running:
        yield running


def _case(fault: Fault) -> ParameterSet:
    return pytest.param(fault, id=fault.name, marks=[pytest.mark.full] if fault.name == KNOWN_GAP else [])


@pytest.mark.parametrize("fault", [_case(fault) for fault in FAULTS.values()])
def test_no_message_is_lost(fault: Fault, site: Site, senders: Senders) -> None:
    seed = int(os.environ.get("PRATIQUE_SEED") or random.randrange(10**6))
    row = campaign.run(site, senders, fault if FULL else small(fault), WHOLE if FULL else SHORT, seed)
    print(row)
    assert row.wrong == [], f"again: {row.repeat}"
    assert row.sent == row.fates["delivered"] + row.fates["held"] + row.fates["deferred"]
    assert row.fates["delivered"]
    assert row.fates["held"] or not fault.background
    assert row.answers < ANSWERS
