"""All that goes wrong, one after another."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from faults import bursts, files, limits, machine, mta, names, processes, surroundings
from faults.harm import GoingOn, wait
from faults.senders import Sent
from faults.site import Settings, Site

Harm = Callable[[Site, GoingOn], list[Sent] | None]


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


def _two_servers(site: Site) -> Settings:
    return {"dns": {"cache": False, "servers": [f"127.0.0.1:{site.second_port}", site.dns.address]}}


def _patient(_site: Site) -> Settings:
    """With a time-out of DNS so long that a wait for it stands out on a busy machine."""
    return {"dns": {"timeout": "8s"}}


def _some_workers(site: Site) -> Settings:
    return {"workers": site.random.choice((1, 2, 4)), **_patient(site)}


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
            workers_may_end=True,  # libmilter closes all connections after a jump beyond its time-out
        ),
        Fault("out of memory", machine.memory_limit, ("message cut or deferred",), workers_may_end=True),
        Fault(
            "out of descriptors",
            machine.no_descriptors,
            ("worker at its limit of descriptors",),
        ),
        Fault(
            "bursts after calm, DNS silent",
            bursts.bursts_after_calm,
            ("workers stood still", "query to a silent server"),
            _some_workers,
            background=False,
            longest_wait=5,
        ),
        Fault(
            "unknown names, DNS slow",
            bursts.slow_for_unknown_names,
            ("slow query for an unknown name",),
            _patient,
            longest_wait=5,
        ),
        Fault(
            "unknown names, DNS silent",
            bursts.silent_for_unknown_names,
            ("silent query for an unknown name",),
            _patient,
            longest_wait=5,
        ),
        Fault("DNS without an answer", names.no_answer, names.NO_ANSWERS, _ask_always),
        Fault(
            "first DNS server without an answer",
            names.no_answer_from_the_first,
            names.NO_ANSWERS,
            _two_servers,
            prepare=names.start_first,
            repair=names.end_first,
            most_deferred=0,
        ),
        Fault(
            "EDNS refused",
            names.edns_refused,
            ("query with EDNS refused", "query without EDNS"),
            _ask_always,
            most_deferred=0,
        ),
        Fault(
            "EDNS unanswered",
            names.edns_unanswered,
            ("query with EDNS passed over", "query without EDNS"),
            _ask_always,
        ),
        Fault("link to the configuration swapped", files.link_swapped, ("reload after the link was swapped",)),
        Fault(
            "log that nobody reads",
            surroundings.log_that_nobody_reads,
            ("pipe with one page free", "pipe full", "line as long as they get"),
            surroundings.as_json,
            wrapper=surroundings.log_pipe,
            repair=surroundings.close_log_pipe,
            background=False,
            most_deferred=0,
            longest_wait=5,
        ),
        Fault(
            "metrics endpoint under half requests",
            surroundings.metrics_abused,
            ("piece of a half request", "exporter stopped and replaced"),
            surroundings.with_metrics,
            most_deferred=0,
        ),
        Fault("peers that do not read", bursts.peers_that_do_not_read, ("answer that nobody read",)),
        Fault("sockets removed", files.sockets_removed, ("socket removed",)),
        Fault("parent without descriptors", limits.parent_without_descriptors, ("worker missing", "reload refused")),
        Fault(
            "kept DNS answers hostile",
            files.hostile_memory,
            ("start with a hostile file",),
            environment=files.cache_folder,
        ),
        Fault(
            "disk of the kept DNS answers full",
            files.cache_full,
            ("cache disk full", "cache read-only"),
            wrapper=files.small_cache,
            environment=files.small_cache_folder,
        ),
        Fault(
            "control socket abused",
            surroundings.control_abused,
            ("reload answered", "half or wrong request"),
            most_deferred=0,
        ),
    )
}
if limits.groups_at_hand():
    in_groups = functools.partial(
        Fault,
        wrapper=limits.in_groups,
        prepare=limits.make_groups,
        repair=limits.remove_groups,
        workers_may_end=True,
    )
    FAULTS |= {
        fault.name: fault
        for fault in (
            in_groups("no more tasks", limits.no_more_tasks, ("task refused",)),
            in_groups("memory of all processes", limits.memory_group, ("process killed by the kernel",)),
        )
    }


_SMALL: dict[str, Harm] = {
    "workers stopped": functools.partial(processes.worker_stopped, times=1),
    "100 reloads, good and bad": functools.partial(processes.reloads, times=10),
    "out of memory": functools.partial(machine.memory_limit, times=1),
    "bursts after calm, DNS silent": functools.partial(bursts.bursts_after_calm, times=2),
    "link to the configuration swapped": functools.partial(files.link_swapped, times=2),
    "metrics endpoint under half requests": functools.partial(surroundings.metrics_abused, clients=200),
    "sockets removed": functools.partial(files.sockets_removed, times=1),
    "kept DNS answers hostile": functools.partial(files.hostile_memory, times=3),
    "peers that do not read": functools.partial(bursts.peers_that_do_not_read, seconds=5.0),
    "parent without descriptors": functools.partial(limits.parent_without_descriptors, seconds=4.0),
    "log that nobody reads": functools.partial(surroundings.log_that_nobody_reads, times=3),
}


def small(fault: Fault) -> Fault:
    """The short form."""
    run = _SMALL.get(fault.name)
    return replace(fault, run=run) if run else fault


WHOLE = Form(20_000 // len(FAULTS) + 1, 60.0, "")
SHORT = Form(2_000 // len(FAULTS) + 1, 2.0, " --short")
