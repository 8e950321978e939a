"""All that goes wrong, one after another."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faults import machine, mta, names, processes
from faults.harm import GoingOn, wait
from faults.senders import Sent
from faults.site import Site

Harm = Callable[[Site, GoingOn], list[Sent] | None]
Settings = Mapping[str, Any]


def _no_settings(_site: Site) -> Settings:
    return {}


def _nothing_to_do(_site: Site) -> None:
    pass


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong; the service's settings, the command before it and its environment meanwhile; and what
    must be so afterwards."""

    name: str
    run: Harm
    fires: tuple[str, ...] = ()  # the counters of `Site.fired` that prove that it went wrong: all must be above 0
    settings: Callable[[Site], Settings] = _no_settings
    wrapper: Callable[[Site], list[str | Path]] = lambda _site: []
    environment: Callable[[Site], dict[str, str]] = lambda _site: {}
    prepare: Callable[[Site], None] = _nothing_to_do  # before the service starts
    repair: Callable[[Site], None] = _nothing_to_do  # after it has ended
    verdicts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by kind, besides the one it deserves
    log: Callable[[Site], str] = lambda site: site.service.log()
    said: str = ""  # what must be in the log then
    background: bool = True  # mail goes on meanwhile, besides what the fault itself sends
    workers_may_end: bool = False  # without an order, although nothing was done to that worker
    longest_wait: float = 60.0  # seconds, of ordinary mail
    most_deferred: float = math.inf  # messages


@dataclass(frozen=True)
class Form:
    """How much mail for each fault, how long one goes on while it comes, and the option of tests/faults/run."""

    messages: int
    longest: float  # seconds
    option: str


def nothing(_site: Site, going_on: GoingOn) -> None:
    wait(0.5, going_on)


_DATED = {"dated": ("unverified",)}  # a signature with a date cannot be judged by a clock that is wrong


def _ask_always(_site: Site) -> Settings:
    return {"dns": {"cache": False}}


FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("nothing goes wrong", nothing, most_deferred=0),
        Fault("workers killed (-9)", processes.workers_killed, ("worker killed",)),
        Fault("workers stopped", processes.worker_stopped, ("worker stopped and replaced",), said=" hangs: killed, "),
        Fault("parent killed (-9)", processes.parent_killed, ("parent killed",)),
        Fault("parent stopped", processes.parent_stopped, ("parent stopped",), most_deferred=0),
        Fault("restarted under load", processes.restarted, ("restart",)),
        Fault(
            "DNS gone",
            names.dns_gone,
            ("judged while no server was there", "query to a silent server"),
            _ask_always,
            said=" dns=stale",
        ),
        Fault("DNS slow", names.dns_slow, ("query to a slow server",)),
        Fault("DNS lies", names.dns_lies, tuple(names.LIES), _ask_always, said=" dns=stale"),
        Fault(
            "100 reloads, good and bad",
            processes.reloads,
            ("good reload", "bad reload"),
            said="nothing has changed, generation ",
        ),
        Fault("MTA restarted, killed", mta.mta_restarted, ("MTA restarted", "process of the MTA killed")),
        Fault("MTA connections cut", mta.connections_cut, ("connection cut", "connection of another protocol")),
        Fault("1000 connections at once", mta.thousand_connections, ("connections open at once",)),
        Fault(
            "log's disk full",
            machine.log_full,
            ("disk full",),
            wrapper=machine.small_disk,
            log=machine.small_log,
            most_deferred=0,
        ),
        Fault("log cannot be written", machine.no_log, ("process without a log",), wrapper=machine.full),
        Fault(
            "clock jumps",
            machine.clock_jumps,
            ("clock set", "a verdict that the fault excuses"),
            environment=machine.faked_clock,
            verdicts=_DATED,
        ),
        Fault("out of memory", machine.memory_limit, ("message cut or deferred",), workers_may_end=True),
        Fault(
            "out of descriptors",
            machine.no_descriptors,
            ("worker at its limit of descriptors",),
            workers_may_end=True,
        ),
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


WHOLE = Form(20_000 // len(FAULTS) + 1, 60.0, "")
SHORT = Form(2_000 // len(FAULTS) + 1, 2.0, " --short")
