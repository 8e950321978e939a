"""What the parent loads and builds once, before it forks, no worker loads or builds for its messages."""

from __future__ import annotations

import gc
import io
import pickle
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from pratique import config, shortlist, stored
from pratique.model import Entry, Settings, TrustedList

from harness import corpus
from harness.dns_server import DnsServer
from harness.milter_client import MilterClient
from harness.ports import wait_until
from harness.service import Service

JUDGE = """
import pickle, sys
import pratique.service.parent
from pratique.filter import Filter
from pratique.model import DnsSettings
from pratique.resolver import NetworkResolver
from pratique.service.warm import warm_up

class Mta:
    def getsymval(self, macro):
        return ""
    def addheader(self, *_):
        pass
    chgheader = setreply = quarantine = addheader

class Watch:
    def opens(self):
        pass
    closes = begins = ends = opens
    def decided(self, decision, seconds):
        verdicts.add(decision.verdict)

with open(sys.argv[1], "rb") as file:
    messages = pickle.load(file)
warm_up(messages[0][0])
resolver = NetworkResolver(DnsSettings((("127.0.0.1", int(sys.argv[2])),), timeout=0.3))
before, verdicts = set(sys.modules), set()
for settings, session, fields, body in messages:
    one = Filter(settings, resolver, Watch(), Mta())
    one.connect("client", 2, (session.get("client", "203.0.113.1"), 25))
    one.hello(session.get("helo", "helo.example"))
    one.envfrom(f"<{session.get('mail_from', '')}>".encode())
    one.envrcpt(b"<a@b.example>")
    for name, value in fields:
        one.collector.add(name, value)
    one.eoh()
    one.body(body)
    one.eom()
    one.close()
print(sorted(set(sys.modules) - before), len(verdicts))
"""


def test_a_worker_loads_no_module_while_it_judges(tmp_path: Path) -> None:
    """A package that is removed or replaced beside a running service then breaks nothing. The whole corpus."""
    cases = [case for case in corpus.read_all() if len(case.message) < 1 << 16]
    messages: list[tuple[Settings, dict[str, Any], Any, bytes]] = []
    known: dict[str, Settings] = {}
    for case in cases:
        key = repr((case.config, case.senders))
        if key not in known:
            known[key] = config.load(corpus.write_config(tmp_path, case))
        stream = io.BytesIO(case.present())
        fields, _ = stored.read_header(stream)
        messages.append((known[key], case.session, fields, stream.read()))
    (tmp_path / "messages").write_bytes(pickle.dumps(messages))
    with DnsServer(corpus.whole_zone(cases)) as unbound:
        command = [sys.executable, "-c", JUDGE, str(tmp_path / "messages"), str(unbound.port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "[] 7\n"), done.stderr[-2000:]


COUNTED = """
import os, sys
from pratique import shortlist
whole = shortlist.Shortlist.__init__
def counted(self, senders):
    if len(senders.entries) > 1000:  # the catalogue has an index of its own
        with open(sys.argv[0] + ".built", "a") as file:
            print(os.getpid(), file=file)
    whole(self, senders)
shortlist.Shortlist.__init__ = counted
from pratique.cli import main
main()
"""


def proportional(pids: list[int]) -> int:
    """The memory of processes in KiB, what they share counted once."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def test_a_long_list_is_indexed_once_and_a_reload_does_not_double_the_memory(tmp_path: Path) -> None:
    count = 3000
    senders = {
        f"s{n}": {
            "name": f"Portal of Town {n:05}",
            "domain": f"town-{n:05}.example",
            "addresses": [f"a@town-{n:05}.example"],
        }
        for n in range(count)
    }
    (tmp_path / "trusted-senders.yaml").write_text(yaml.safe_dump({"senders": senders}))
    address = f"unix:{tmp_path}/milter.sock"
    settings = {"socket": address, "workers": 2, "authserv_id": "mx1.example.org"}
    (tmp_path / "pratique.yaml").write_text(yaml.safe_dump(settings))
    program = tmp_path / "program.py"
    program.write_text(COUNTED)

    def deliver(_: int) -> bool:
        with MilterClient(address) as client:
            client.connect()
            fields = [(b"From", b' "Portal of Town 00077" <a@evil.example>')]
            return b" imitation" in client.message(fields, b"body\r\n").fields[0][1]

    with (
        Service(tmp_path / "pratique.yaml", address, [sys.executable, program]) as service,
        ThreadPoolExecutor(16) as pool,
    ):
        assert wait_until(lambda: len(service.children()) == 2, 30)
        start = proportional([service.pid, *service.children()])
        for _ in range(2):
            assert all(pool.map(deliver, range(64)))
            old = service.children()
            assert service.reload("--wait").returncode == 0
            assert proportional([service.pid, *service.children()]) < 2 * start
            assert wait_until(lambda: len(service.children()) == 2 and not set(old) & set(service.children()), 20)  # noqa: B023
        assert all(pool.map(deliver, range(64)))
        assert proportional([service.pid, *service.children()]) < 1.6 * start
        built = (tmp_path / "program.py.built").read_text().split()
        assert built == [str(service.pid)] * 3


def test_only_the_last_index_is_kept() -> None:
    lists = [TrustedList((Entry(f"s{n}", "X", "x.example", (("a", "x.example"),)),)) for n in range(2)]
    first = shortlist.of(lists[0])
    assert shortlist.of(lists[0]) is first
    gone = weakref.ref(first)
    del first
    assert [entry.id for entry in shortlist.of(lists[1]).domains_in(["x.example"])] == ["s1"]
    gc.collect()
    assert gone() is None
