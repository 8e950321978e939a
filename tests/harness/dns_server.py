"""A private DNS server for tests: a real unbound that knows one zone text and nothing else.

The zone is in RFC 1035 master file format, its origin is the root. A name that is not in it is NXDOMAIN;
a CNAME within it is followed. Two directives, one a line, make DNS fail:

    ;timeout NAME     queries for NAME and all below it get no answer
    ;servfail NAME    queries for NAME and all below it get SERVFAIL

A CNAME that leads to such a name fails in the same way, as it would at a site's resolver. unbound recurses into the
zone, as a site's resolver does: a negative answer has the SOA of the zone, also at the end of a CNAME.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from types import TracebackType

import dns.name
import dns.rdtypes.ANY.CNAME
import dns.zone

from harness.ports import Server, free_port, unpacked, wait_until

# unbound answers these itself (RFC 6303, 6761, 7686) unless told not to.
_BUILT_IN = ("localhost.", "127.in-addr.arpa.", f"{'0.' * 31}ip6.arpa.", f"1.{'0.' * 31}ip6.arpa.",
             "home.arpa.", "invalid.", "onion.", "test.")  # fmt: skip

_CONFIG = """\
server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  do-daemonize: no
  use-syslog: no
  logfile: ""
  log-queries: yes
  interface: 127.0.0.1
  port: {port}
  do-ip6: no
  num-threads: 1
  module-config: "iterator"
  unblock-lan-zones: yes
{local_zones}
remote-control:
  control-enable: no
auth-zone:
  name: "."
  zonefile: "{folder}/zone"
  for-upstream: yes
  for-downstream: no
{dead_zones}
"""

# A zone that could never be fetched from its primary, a dead port, is answered with SERVFAIL at once.
_DEAD_ZONE = """\
auth-zone:
  name: "{name}"
  primary: 127.0.0.1@9
  for-upstream: yes
  for-downstream: no
  fallback-enabled: no
"""


class DnsServer:
    """Answers from `zone` on a port of 127.0.0.1 (UDP and TCP), a free one if none is given, while the context is
    open."""

    def __init__(self, zone: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._zone, self._timeouts, self._servfails = _read_zone(zone)
        self._folder = tempfile.TemporaryDirectory(prefix="pratique-dns-")

    def __enter__(self) -> DnsServer:
        folder = Path(self._folder.name)
        local = dict.fromkeys(_BUILT_IN, "nodefault") | dict.fromkeys(self._timeouts, "deny")
        config = _CONFIG.format(
            folder=folder,
            port=self.port,
            local_zones="\n".join(f'  local-zone: "{name}" {what}' for name, what in local.items()),
            dead_zones="".join(_DEAD_ZONE.format(name=name) for name in self._servfails),
        )
        (folder / "zone").write_text(self._zone, encoding="utf-8")
        (folder / "unbound.conf").write_text(config, encoding="utf-8")
        unbound = unpacked("unbound", "usr/sbin/unbound")
        self._server = Server([unbound, "-d", "-c", folder / "unbound.conf"], folder / "log")
        wait_until(lambda: "start of service" in self.log() or not self._server.running(), 10)
        if "start of service" in self.log():
            return self
        log = self.log()
        self.__exit__(None, None, None)
        raise RuntimeError(f"unbound did not start:\n{log}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.end()
        self._folder.cleanup()

    def log(self) -> str:
        """The server's log so far."""
        return (Path(self._folder.name) / "log").read_text(errors="replace")

    def queries(self) -> list[tuple[str, str]]:
        """Name (lower case, without the last dot) and type of each query seen so far."""
        seen = re.findall(r" info: 127\.0\.0\.1 (\S+) (\S+) IN$", self.log(), re.MULTILINE)
        return [(name.lower().rstrip(".") or ".", kind) for name, kind in seen]


def txt(name: str, text: str) -> str:
    """A TXT record, its text in strings of at most 200 characters."""
    return f"{name}. 300 IN TXT " + " ".join(f'"{text[i : i + 200]}"' for i in range(0, len(text), 200)) + "\n"


def _read_zone(text: str) -> tuple[str, list[str], list[str]]:
    """The zone with the SOA and NS of the root it needs, the names that time out, those that fail."""
    text = f"$TTL 300\n{text}"
    zone = dns.zone.from_text(text, origin=".", relativize=False, check_origin=False)
    if any(name != dns.name.root for name, _, _ in zone.iterate_rdatas("NS")):
        raise ValueError("an NS record below the root would make a delegation, which nobody answers for")
    start = "$ORIGIN .\n"
    if zone.get_rdataset(".", "SOA") is None:
        start += ". 300 SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 60\n"
    if zone.get_rdataset(".", "NS") is None:
        start += ". 300 NS ns.invalid.\n"
    aliases = {
        name: data.target
        for name, _, data in zone.iterate_rdatas("CNAME")
        if isinstance(data, dns.rdtypes.ANY.CNAME.CNAME)
    }
    return start + text, _failing("timeout", text, aliases), _failing("servfail", text, aliases)


def _failing(directive: str, text: str, aliases: dict[dns.name.Name, dns.name.Name]) -> list[str]:
    """The names of a directive, and the aliases that lead below one of them."""
    pattern = rf"^;[ \t]*{directive}[ \t]+(\S+)\s*$"
    failing = {dns.name.from_text(name) for name in re.findall(pattern, text, re.MULTILINE)}
    grown = True
    while grown:
        more = {alias for alias, target in aliases.items() if any(target.is_subdomain(name) for name in failing)}
        grown = not more <= failing
        failing |= more
    return sorted(name.to_text() for name in failing)
