"""A private OpenDKIM for tests: the second opinion on every signature, and the peer in the benchmark."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from harness.dns_server import DnsServer
from harness.milter_client import Field, MilterClient, wait_ready
from harness.ports import Server, unpacked

OPENDKIM = """\
Mode v
Socket local:{folder}/socket
Background no
AutoRestart no
Syslog no
AuthservID opendkim
MaximumHeaders 0
MaximumSignaturesToVerify 1000
DNSTimeout 2
CaptureUnknownErrors yes
On-Default accept
On-DNSError quarantine
{resolver}
"""

# Of libunbound inside OpenDKIM. It remembers nothing: a failure out of its cache is taken for a missing key, and a
# time-out is the matter of one question, not of the server. Read anew for each connection, and not by two at once:
# libunbound then ends the process ("fatal flex scanner internal error").
RESOLVER = """\
server:
  module-config: "iterator"
  do-not-query-localhost: no
  do-ip6: no
  infra-host-ttl: 0
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{port}
  forward-no-cache: yes
"""


class OpenDkim:
    """OpenDKIM as a milter, on a DNS server, while the context is open. `busy`: it is asked for several messages at
    once, and remembers what DNS says."""

    def __init__(self, dns: DnsServer, busy: bool = False) -> None:
        self._port = dns.port
        self._busy = busy

    def __enter__(self) -> OpenDkim:
        self._folder = tempfile.TemporaryDirectory(prefix="pratique-opendkim-")
        folder = Path(self._folder.name)
        resolver = f"Nameservers 127.0.0.1@{self._port}" if self._busy else f"ResolverConfiguration {folder}/resolver"
        (folder / "config").write_text(OPENDKIM.format(folder=folder, resolver=resolver))
        (folder / "resolver").write_text(RESOLVER.format(port=self._port))
        program = unpacked("opendkim", "usr/sbin/opendkim")
        self.address = f"unix:{folder}/socket"
        self._server = Server([program, "-f", "-x", folder / "config"], folder / "log")
        try:
            wait_ready(self.address)
        except OSError:
            log = (folder / "log").read_text(errors="replace")
            self.__exit__()
            raise RuntimeError(f"opendkim did not start:\n{log}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._server.end(patience=0)  # libmilter takes five seconds over SIGTERM, and there is nothing to save
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        return self._server.pid

    def results(self, fields: list[Field], body: bytes) -> list[str]:
        """Its word on each signature, topmost first; "none" for one that it cannot even read.

        Such a one, or a failure of DNS, can leave all without a word: then each is asked for alone.
        """
        with MilterClient(self.address) as client:
            client.connect("192.0.2.1")
            outcome = client.message(fields, body)
        assert outcome.response == "accept", outcome
        added = b"".join(value for _, _, name, value in outcome.edits if name == b"Authentication-Results")
        words = [word.decode() for word in re.findall(rb";\s+dkim=([a-z]+)", added)]
        places = [i for i, field in enumerate(fields) if is_signature(field)]
        if len(words) == len(places):
            return words
        if len(places) > 1:
            return [self.results(_with_signature(fields, place), body)[0] for place in places]
        assert not words, added
        return ["temperror" if outcome.quarantine == "opendkim" else "none"]


def is_signature(field: Field) -> bool:
    return field[0].rstrip(b" \t").lower() == b"dkim-signature"


def _with_signature(fields: list[Field], place: int) -> list[Field]:
    return [field for i, field in enumerate(fields) if i == place or not is_signature(field)]
