"""All that goes wrong, one after another."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faults import machine, mta, names, processes
from faults.harm import GoingOn, wait
from faults.senders import Sent
from faults.site import Site

Harm = Callable[[Site, GoingOn], list[Sent] | None]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, the service's settings, the command before it and its environment meanwhile."""

    name: str
    run: Harm
    settings: Mapping[str, Any] = field(default_factory=dict)
    wrapper: Callable[[Site], list[str | Path]] = lambda _site: []
    environment: Callable[[Site], dict[str, str]] = lambda _site: {}
    verdicts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by kind, besides the one it deserves
    log: Callable[[Site], str] = lambda site: site.service.log()
    said: str = ""  # what must be in the log then


def nothing(_site: Site, going_on: GoingOn) -> None:
    wait(0.5, going_on)


_DATED = {"dated": ("unverified",)}  # a signature with a date cannot be judged by a clock that is wrong
_ASK_ALWAYS = {"dns": {"cache": False}}

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("nothing goes wrong", nothing),
        Fault("workers killed (-9)", processes.workers_killed, said="has ended by itself (signal 9)"),
        Fault("workers stopped", processes.worker_stopped, said=" hangs: killed, "),
        Fault("parent killed (-9)", processes.parent_killed),
        Fault("parent stopped", processes.parent_stopped),
        Fault("restarted under load", processes.restarted),
        Fault("DNS gone", names.dns_gone, _ASK_ALWAYS, said=" dns=stale"),
        Fault("DNS slow", names.dns_slow),
        Fault("DNS lies", names.dns_lies, _ASK_ALWAYS, said=" dns=stale"),
        Fault("100 reloads, good and bad", processes.reloads, said="nothing has changed, generation "),
        Fault("MTA restarted, killed", mta.mta_restarted),
        Fault("MTA connections cut", mta.connections_cut),
        Fault("1000 connections at once", mta.thousand_connections),
        Fault(
            "log's disk full",
            machine.log_full,
            wrapper=machine.small_disk,
            log=machine.small_log,
        ),
        Fault("log cannot be written", machine.no_log, wrapper=machine.full),
        Fault("clock jumps", machine.clock_jumps, environment=machine.faked_clock, verdicts=_DATED),
        Fault("out of memory", machine.memory_limit, said=" this worker is replaced"),
        Fault("out of descriptors", machine.no_descriptors),
    )
}


_SMALL: dict[str, Harm] = {
    "workers stopped": functools.partial(processes.worker_stopped, times=1),
    "100 reloads, good and bad": functools.partial(processes.reloads, times=10),
    "out of memory": functools.partial(machine.memory_limit, times=1),
}


def small(fault: Fault) -> Fault:
    """The short form."""
    run = _SMALL.get(fault.name)
    return replace(fault, run=run) if run else fault


# Messages for each fault, and the longest that one goes on while they come: of 20,000 messages, and of 2,000.
WHOLE, SHORT = (20_000 // len(FAULTS) + 1, 60.0), (2_000 // len(FAULTS) + 1, 2.0)
