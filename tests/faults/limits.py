"""Limits of the machine: tasks, memory of all processes together, and descriptors of the parent."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from faults import mail
from faults.harm import GoingOn, at_least, until_fired
from faults.senders import Sent, one_message
from faults.site import Site
from pratique.service.control import ask

from harness.milter_client import MilterClient
from harness.ports import wait_until


def parent_without_descriptors(site: Site, going_on: GoingOn, seconds: float = 12.0) -> None:
    """The parent may open nothing more, while a worker dies, a reload is asked for, and it looks whether the service
    answers (every 10 seconds)."""
    parent = site.service.pid
    limits = resource.prlimit(parent, resource.RLIMIT_NOFILE)
    for _ in at_least(1, going_on):
        opened = set(map(int, os.listdir(f"/proc/{parent}/fd")))
        first_free = next(n for n in itertools.count() if n not in opened)
        resource.prlimit(parent, resource.RLIMIT_NOFILE, (first_free, limits[1]))
        victim = site.random.choice(site.service.children())
        site.harm(victim, signal.SIGKILL)
        wait_until(lambda v=victim: v not in site.service.children())  # type: ignore[misc]
        site.service.signal(signal.SIGHUP)
        spent = cpu(parent)
        began = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask, site.config, True, 2.0)
            time.sleep(seconds)
            site.fired["reload refused"] += asked.result().status != 0
        busy = (cpu(parent) - spent) / (time.monotonic() - began)
        site.fired["worker missing"] += len(site.service.children()) < site.processes
        resource.prlimit(parent, resource.RLIMIT_NOFILE, limits)
        if not site.service.running():
            raise RuntimeError(f"the parent ended for lack of a descriptor:\n{site.service.log()[-4000:]}")
        if busy > 0.7:
            raise RuntimeError(f"without descriptors the parent used {busy:.0%} of a core")
        if not wait_until(lambda: len(site.service.children()) >= site.processes):
            raise RuntimeError(f"the worker is not replaced:\n{site.service.log()[-4000:]}")
        if (answer := ask(site.config, True, 120)).status:
            raise RuntimeError(f"with descriptors again, a reload said {answer}")


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- control groups ----------------------------------------------------------------------------------


def groups_at_hand() -> bool:
    """Whether control groups (version 1) can be made here, as in a container with its own."""
    return all(os.access(f"/sys/fs/cgroup/{kind}/cgroup.procs", os.W_OK) for kind in ("pids", "memory"))


def _group(kind: str) -> Path:
    """The control group of the service."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    ours = next(path for _, name, path in lines if name == kind)
    return Path("/sys/fs/cgroup") / kind / ours.lstrip("/") / f"pratique-faults-{os.getpid()}"


def make_groups(_site: Site) -> None:
    for kind in ("pids", "memory"):
        _group(kind).mkdir()


def in_groups(_site: Site) -> list[str | Path]:
    """Start the service in control groups of its own, so that all its memory counts there."""
    join = "".join(f"echo $$ > {_group(kind)}/cgroup.procs && " for kind in ("pids", "memory"))
    return ["sh", "-c", f'{join} exec "$@"', "sh"]


def remove_groups(_site: Site) -> None:
    for kind in ("pids", "memory"):
        if not wait_until(lambda k=kind: _removed(_group(k))):  # type: ignore[misc]
            raise RuntimeError(f"{_group(kind)} cannot be removed")


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:
        return False
    return True


def no_more_tasks(site: Site, going_on: GoingOn) -> list[Sent]:
    """No process and no thread can be started, while workers are killed, a reload is asked for, and connections
    come."""
    found: list[Sent] = []
    numbers = itertools.count(2_000_000)
    group = _group("pids")
    for _ in at_least(1, going_on):
        (group / "pids.max").write_text((group / "pids.current").read_text())
        with ThreadPoolExecutor(100) as pool:
            found += pool.map(lambda n: one_message(site.address, n, 5), itertools.islice(numbers, 100))
            for pid in site.service.children():
                site.harm(pid, signal.SIGKILL)
            (group / "pids.max").write_text("1")
            site.service.signal(signal.SIGHUP)
            time.sleep(1)
            found += pool.map(lambda n: one_message(site.address, n, 5), itertools.islice(numbers, 100))
        site.fired["task refused"] += int((group / "pids.events").read_text().split()[1])
        (group / "pids.max").write_text("max")
        if not site.service.running():
            raise RuntimeError(f"the parent ended for lack of tasks:\n{site.service.log()[-4000:]}")
        if not wait_until(lambda: len(site.service.children()) >= site.processes):
            raise RuntimeError(f"the workers are not replaced:\n{site.service.log()[-4000:]}")
        site.answers_after()
    return found


def memory_group(site: Site, going_on: GoingOn) -> None:
    """All processes together may have a little more memory than they have, and messages with large headers are held:
    the kernel kills. It must not be the parent."""
    fields = [(b"X-Large", b" " + b"x" * 50_000)] * 18
    group = _group("memory")
    for n in until_fired(site, "process killed by the kernel", 1, going_on):
        room = site.random.choice((1, 4, 20)) << 20
        allowed = int((group / "memory.usage_in_bytes").read_text()) + room
        (group / "memory.limit_in_bytes").write_text(str(allowed))
        with contextlib.ExitStack() as opened:
            for number in range(60):
                with contextlib.suppress(OSError):
                    client = MilterClient(site.address, 10)
                    opened.callback(client.drop)
                    client.connect(mail.FORGER, helo="out.mailer.example")
                    client.message(fields, b"", mail_from="a@evil.example", queue_id=f"4H{n}{number}", until="header")
            time.sleep(1)
        killed = (group / "memory.oom_control").read_text().rpartition("oom_kill ")[2].split()
        site.fired["process killed by the kernel"] = int(killed[0])
        (group / "memory.limit_in_bytes").write_text("-1")
        if not site.service.running():
            raise RuntimeError(f"the kernel killed the parent first:\n{site.service.log()[-4000:]}")
        if not wait_until(lambda: len(site.service.children()) >= site.processes):
            raise RuntimeError(f"the workers are not replaced:\n{site.service.log()[-4000:]}")
