"""ARC: every chain of the corpus once more by Perl's Mail::DKIM and by dkimpy, and what holds for any chain.

OpenARC is not in Debian 12. Mail::DKIM's ARC verifier shares no code with ours; dkimpy's shares the arithmetic alone.
"""

from __future__ import annotations

import base64
import functools
import io
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import dkim
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique import stored
from pratique.authentication import arc_check
from pratique.authentication.body import BodyHashes
from pratique.headers import HeaderCollector
from pratique.model import Address, ArcEvidence, ArcResult, DnsAnswer, DnsStatus, Entry, Header, HeaderField, Settings
from pratique.reasons import Reason
from pratique.resolver import ZoneResolver
from test_corpus import CASES, explain

from harness import corpus
from harness.dns_server import DnsServer
from harness.signing import Hop, key_record, seal

CHAINS = [case for case in CASES if "arc_sealers" in case.config]

MAIL_DKIM = r"""
use strict; use warnings;
use Net::DNS::Resolver; use Mail::DKIM; use Mail::DKIM::DNS; use Mail::DKIM::ARC::Verifier;
$| = 1; binmode STDIN;
Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(
    nameservers => ["127.0.0.1"], port => $ARGV[0], retrans => 1, retry => 1,
));
print "ready\n";
while (defined(my $size = <STDIN>)) {
    read(STDIN, my $message, $size) == $size or die "short read";
    my $arc = Mail::DKIM::ARC::Verifier->new(Strict => 1);
    my $result = eval { $arc->PRINT($message); $arc->CLOSE; $arc->result };
    ($result = "error: $@") =~ s/\s+/ /g unless $result;
    print "$result\n";
}
"""


class MailDkim:
    """Perl's Mail::DKIM on a DNS server, while the context is open."""

    def __init__(self, dns: DnsServer) -> None:
        self._port = dns.port

    def __enter__(self) -> MailDkim:
        command = ["/usr/bin/perl", "-e", MAIL_DKIM, str(self._port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self._answer() != "ready":
            self.__exit__()
            raise RuntimeError("Mail::DKIM does not start: run tests/setup")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def result(self, message: bytes) -> str:
        assert self._process.stdin
        self._process.stdin.write(b"%d\n" % len(message) + message)
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().decode().strip()


def by_dkimpy(message: bytes, zone: str) -> str:
    """What dkimpy's verifier says."""
    resolver = ZoneResolver(zone)

    def records(name: bytes, timeout: int = 5) -> bytes | None:  # noqa: ARG001
        found = resolver.ask(name.decode().removesuffix("."), "TXT", 5).records
        return next((r for r in found if isinstance(r, bytes)), None)

    try:
        result = dkim.ARC(message).verify(dnsfunc=records)[0]
    except Exception as problem:  # what it raises is in library-notes#dkimpy
        return f"error: {problem!r}"
    return result.decode() if result else "ended"


class Opinion(NamedTuple):
    """Our result and reason, and theirs."""

    ours: str
    reason: str | None
    theirs: dict[str, str]

    def differences(self) -> set[tuple[str | None, str, str]]:
        """Our reason, who says something else, and what. What is not ours to trust must be good ARC for them."""
        expected = {"neutral": True, "pass": True, "fail": False, "temperror": False}[self.ours]
        return {(self.reason, who, said) for who, said in self.theirs.items() if (said == "pass") is not expected}


MAIL_DKIM_NAME, DKIMPY = "Mail::DKIM", "dkimpy"
# Our reason, and who passes the chain all the same: why. Only reasons why something does not count for us stand here.
BOTH: dict[Reason, str] = {
    Reason.SIGNATURE_TOO_LARGE: "a bound of ours",
    Reason.BODY_LENGTH_TAG: "RFC 6376 §8.2 leaves it to the verifier whether l= is good enough",
    Reason.ARC_CHAIN_BROKEN: "a bound of ours (ten hops), and that a set has one key",
    Reason.FROM_NOT_SIGNED: "RFC 8617 §4.1.2 asks for it, neither of them",
    Reason.SUBJECT_NOT_SIGNED: "RFC 6376 §5.4 asks for From alone; what else must be signed is policy",
    Reason.COPY_NOT_SIGNED: "they verify what was signed; that readers show a copy is no matter of theirs",
    Reason.KEY_TEST_MODE: "they pass over t=y; RFC 6376 §3.6.1 takes it for no signature at all",
}
MAIL_DKIM_ONLY: dict[Reason, str] = {
    Reason.SIGNATURE_IN_FUTURE: "it does not look at t=",
    Reason.SIGNATURE_SYNTAX: "it passes over h= in a seal, against RFC 8617 §4.1.3",
}
BY_CASE = {
    "arc-ed25519": "neither knows Ed25519 in ARC; RFC 8617 §4.1.2 takes over DKIM's algorithms, with RFC 8463",
    "arc-order": "dkimpy hashes the sets as they stand in the header; RFC 8617 §5.1.1 as they are numbered",
}


def is_explained(difference: tuple[str | None, str, str]) -> bool:
    reason, who, said = difference
    return said == "pass" and (reason in BOTH or (reason in MAIL_DKIM_ONLY and who == MAIL_DKIM_NAME))


@pytest.fixture(scope="module")
def opinions() -> Iterator[Callable[[str], Opinion]]:
    """The opinions on each case, made once."""
    by_name = {case.name: case for case in CHAINS}
    with ExitStack() as stack:
        dns = stack.enter_context(DnsServer(corpus.whole_zone(CASES)))
        mail_dkim = stack.enter_context(MailDkim(dns))

        @functools.cache
        def opinion(name: str) -> Opinion:
            case = by_name[name]
            with tempfile.TemporaryDirectory() as folder:
                found = explain(case, Path(folder))["arc"]
            message = case.present()
            theirs = {MAIL_DKIM_NAME: mail_dkim.result(message), DKIMPY: by_dkimpy(message, case.zone)}
            return Opinion(found["result"], found["reason"], theirs)

        yield opinion


@pytest.mark.parametrize("name", [case.name for case in CHAINS if case.expected.get("arc", {}).get("result") != "none"])
def test_others_say_the_same(name: str, opinions: Callable[[str], Opinion]) -> None:
    differences = opinions(name).differences()
    if name in BY_CASE:
        assert differences
    else:
        assert not {d for d in differences if not is_explained(d)}


def test_every_explanation_is_needed(opinions: Callable[[str], Opinion]) -> None:
    names = [case.name for case in CHAINS if case.expected.get("arc", {}).get("result") != "none"]
    differences = {d for name in names if name not in BY_CASE for d in opinions(name).differences()}
    needed = {(reason, DKIMPY, "pass") for reason in BOTH}
    needed |= {(reason, MAIL_DKIM_NAME, "pass") for reason in (*BOTH, *MAIL_DKIM_ONLY)}
    assert differences == needed


# ---- what holds for any chain --------------------------------------------------------------------------

ENTRY = Entry("ternum-bfc", "Ternum", "ternum-bfc.fr", (("a", "ternum-bfc.fr"),))
AUTHOR = Address("a", "ternum-bfc.fr")
SETTINGS = Settings(arc_sealers=frozenset({"forwarder.example"}))
NOW = datetime(2026, 11, 22, tzinfo=UTC)
PIECES = st.sampled_from(
    b"""i=1|i=2|i=0|;| |\r\n |cv=none|cv=pass|a=rsa-sha256|d=forwarder.example|s=s|b=QQ==|bh=QQ==|h=from:subject
|h=|"|(|)|c=relaxed/relaxed|mx; |dkim=pass |header.d=ternum-bfc.fr|spf=pass smtp.mailfrom=ternum-bfc.fr
|\\|\0|\xff|=""".split(b"|")
)
VALUE = st.lists(PIECES, max_size=12).map(b"".join)
FIELD = st.builds(
    HeaderField, st.sampled_from([name.title() for name in arc_check.NAMES] + [b"From", b"Subject"]), VALUE
)


def no_answer(name: str, rdtype: str) -> DnsAnswer:
    """DNS that knows a key for everyone, so that only the signature itself can be wrong."""
    assert rdtype == "TXT"
    assert name.endswith("._domainkey.forwarder.example"), name  # nobody else's key is asked for
    return DnsAnswer(DnsStatus.ANSWER, (key_record().encode(),))


@given(st.lists(FIELD, max_size=9))
def test_no_junk_is_a_chain(fields: list[HeaderField]) -> None:
    header = Header(tuple(fields))
    chain = arc_check.read_chain(header, SETTINGS, NOW)
    hashes = {chain.signature.body_kind: chain.signature.body_hash} if chain.signature else {}
    found = arc_check.verify(chain, header, ENTRY, AUTHOR, hashes, no_answer)
    assert not found.counts
    assert found.result is not ArcResult.PASS
    assert (found.reason is None) == (found.result is ArcResult.NONE)


@given(st.lists(PIECES | st.binary(max_size=3), max_size=14).map(b"".join))
def test_results_are_a_pass_only_where_a_pass_is_written(value: bytes) -> None:
    found = arc_check.saw_aligned_pass(HeaderField(b"ARC-Authentication-Results", b" i=1; " + value), ENTRY, AUTHOR)
    if found:
        assert b"=pass" in value
        assert b"ternum-bfc.fr" in value


MESSAGE = b"From: a@ternum-bfc.fr\r\nSubject: x\r\n\r\nbody\r\n"
GOOD = seal(MESSAGE, Hop(signed=("From", "Subject")))


def judge(message: bytes) -> ArcEvidence:
    """Our word on a message with LF or CR LF line ends."""
    source = io.BytesIO(message)
    fields, beginning = stored.read_header(source)
    collector = HeaderCollector(SETTINGS)
    for name, value in fields:
        collector.add(name, value)
    chain = arc_check.read_chain(collector.header(), SETTINGS, NOW)
    body = BodyHashes([chain.signature.body_kind] if chain.signature else [])
    for piece in stored.read_body(source, beginning):
        body.update(piece)
    return arc_check.verify(chain, collector.header(), ENTRY, AUTHOR, body.digests(), no_answer)


def test_the_good_one_is_good() -> None:
    assert judge(GOOD).counts


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_an_octet_changed_breaks_it_or_means_the_same(place: int, change: int) -> None:
    changed = bytearray(GOOD)
    changed[place] ^= change
    try:
        counts = judge(bytes(changed)).counts
    except stored.MessageError:
        return
    if counts:  # only blanks, the case of field names and what base64 does not hold may differ
        assert relaxed(bytes(changed)) == relaxed(GOOD)


def relaxed(message: bytes) -> bytes:
    """A message as relaxed canonicalisation sees it, names of hosts in lower case, and of the last letter of a
    signature the bits that hold nothing put to zero."""
    header, _, body = message.partition(b"\r\n\r\n")
    text = b"".join((header + b" " + body).replace(b"\0", b"").split())  # a line is cut at NUL
    text = re.sub(rb"[A-Za-z0-9+/]{2}==", lambda end: base64.b64encode(base64.b64decode(end[0])), text)
    return text.lower()
