"""The service's own processes: killed, stopped, restarted, and given other lists."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from faults.harm import GoingOn, at_least
from faults.site import Site, state
from pratique.service.control import ask

from harness.ports import wait_until


def workers_killed(site: Site, going_on: GoingOn) -> None:
    for _ in at_least(3, going_on):
        if children := site.service.children():
            victim = site.random.choice(children)
            site.harm(victim, signal.SIGKILL)
            site.fired["worker killed"] += wait_until(lambda v=victim: v not in site.service.children())  # type: ignore[misc]
        time.sleep(site.random.uniform(0.05, 0.5))


def worker_stopped(site: Site, going_on: GoingOn, times: int = 4) -> None:
    """All, then one: until the parent has replaced them."""
    for n in at_least(times, going_on):
        stopped = site.service.children()[: 2 - n % 2]
        for pid in stopped:
            site.harm(pid, signal.SIGSTOP)
        if not wait_until(lambda s=stopped: not set(s) & set(site.service.children())):  # type: ignore[misc]
            raise TimeoutError(f"a worker that hangs was not replaced:\n{site.service.log()[-4000:]}")
        site.fired["worker stopped and replaced"] += len(stopped)


def parent_killed(site: Site, going_on: GoingOn) -> None:
    """And started again, as systemd would."""
    for _ in at_least(1, going_on):
        workers = site.service.children()
        site.service.signal(signal.SIGKILL)
        if not wait_until(lambda w=workers: not any(Path(f"/proc/{pid}").exists() for pid in w)):  # type: ignore[misc]
            raise TimeoutError("workers survive their parent")
        site.fired["parent killed"] += 1
        site.restart()
        time.sleep(0.3)


def parent_stopped(site: Site, going_on: GoingOn) -> None:
    for _ in at_least(1, going_on):
        site.service.signal(signal.SIGSTOP)
        time.sleep(4)  # longer than a worker may be silent
        site.fired["parent stopped"] += state(site.service.pid) == "T"
        site.service.signal(signal.SIGCONT)
        time.sleep(0.2)


def restarted(site: Site, going_on: GoingOn) -> None:
    """In order, under load."""
    for _ in at_least(1, going_on):
        site.service.signal(signal.SIGTERM)
        if status := site.service.wait(20):
            raise RuntimeError(f"SIGTERM ended with status {status}:\n{site.service.log()[-4000:]}")
        site.fired["restart"] += 1
        site.restart()
        time.sleep(0.3)


def reloads(site: Site, going_on: GoingOn, times: int = 100) -> None:
    """Good and bad lists in turn."""
    place = site.config.with_name("trusted-senders.yaml")
    good = place.read_text()
    for n in at_least(times, going_on):
        bad = ("", "\n  - x\n", "\n\t\0", "\nsenders: {}\n")[n // 2 % 4] if n % 2 else ""
        place.write_text(good + bad if bad else good + f"# {n}\n")
        if n % 2 and not bad:
            place.unlink()
        answer = ask(site.config, True, 60)
        if answer.status != (os.EX_CONFIG if n % 2 else 0):
            raise RuntimeError(f"reload {n} said {answer}")
        site.fired["bad reload" if n % 2 else "good reload"] += 1
    place.write_text(good)
