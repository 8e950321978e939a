"""What the targets are played in: a trusted list, a signed notice, its key, and what must hold of any decision."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from pratique.model import (
    Address,
    ClaimKind,
    Decision,
    DnsAnswer,
    DnsStatus,
    Entry,
    Header,
    HeaderField,
    Session,
    Settings,
    TrustedList,
    Verdict,
)

from harness.signing import Sign, key_record, sign

AUTHOR = Address("nepasrepondre", "ternum-bfc.fr")
ENTRY = Entry("ternum-bfc", "Ternum Dijon", "ternum-bfc.fr", (("nepasrepondre", "ternum-bfc.fr"),))
_OPIC = (("noreply.opic", "visma.com"), ("alert-*", "visma.com"), ("*", "a.visma.com"))
OPIC = Entry("visma-opic", "Visma Opic", "visma.com", _OPIC)
IDN = Entry("idn", "Marchés été", "xn--march-fsa.example", (("avis", "xn--march-fsa.example"),))
LIST = TrustedList((ENTRY, OPIC, IDN))
SETTINGS = Settings(LIST, authserv_id="mx1.example.org", subject_tag="[?]")
CLIENT = ipaddress.ip_address("203.0.113.66")
SESSION = Session(CLIENT, "mail.mailer.example", "<bounce@mailer.example>", ("marches@commune.example",), 1)
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)

NOTICE = (
    b"From: Ternum <nepasrepondre@ternum-bfc.fr>\r\nTo: marches@commune.example\r\nSubject: Avis de marche\r\n"
    b"Date: Sun, 22 Nov 2026 08:00:00 +0100\r\nMessage-ID: <1@ternum-bfc.fr>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\nUn nouvel avis est en ligne.\r\n"
)
BODY = NOTICE.partition(b"\r\n\r\n")[2]
KEYS = {
    "s1._domainkey.ternum-bfc.fr": key_record("rsa2048"),
    "s2._domainkey.ternum-bfc.fr": key_record("ed25519"),
    "s3._domainkey.ternum-bfc.fr": key_record("rsa1024", t="s", s="email", h="sha256"),
}


def lookup(name: str, rdtype: str) -> DnsAnswer:
    """DNS that knows the keys, and that `dns.ternum-bfc.fr` cannot be asked."""
    if name.endswith("dns.ternum-bfc.fr"):
        return DnsAnswer(DnsStatus.TIMEOUT)
    if rdtype == "TXT" and name in KEYS:
        return DnsAnswer(DnsStatus.ANSWER, (KEYS[name].encode(),))
    return DnsAnswer(DnsStatus.NO_NAME)


def fields(message: bytes) -> tuple[HeaderField, ...]:
    """The header of a well-formed message without folded fields."""
    lines = message.partition(b"\r\n\r\n")[0].split(b"\r\n")
    return tuple(HeaderField(name, value) for name, _, value in (line.partition(b":") for line in lines))


def is_one_field(value: bytes) -> bool:
    """Whether an MTA would show this as the value of one field: line ends only before a blank."""
    return not re.search(rb"\r(?!\n)|(?<!\r)\n|\r\n(?![ \t])", value)


def signature(how: Sign) -> bytes:
    """The value of the field that signs the notice."""
    return sign(NOTICE, how).removesuffix(NOTICE).partition(b":")[2].removesuffix(b"\r\n")


def signatures() -> list[bytes]:
    """Good ones of every kind."""
    every = [Sign(canonicalization=f"{h}/{b}") for h in ("simple", "relaxed") for b in ("simple", "relaxed")]
    every += [Sign(selector="s2", key="ed25519"), Sign(selector="s3", key="rsa1024", tags={"i": "@ternum-bfc.fr"})]
    every += [Sign(tags={"t": "1795330000", "x": "1895330000", "q": "dns/txt", "i": "a@ternum-bfc.fr", "z": "a:b|c:d"})]
    every += [Sign(layout=";\r\n\t"), Sign(signed=("From", "From", "Subject", "Cc"))]
    return [signature(how) for how in every]


def check_decision(decision: Decision, header: Header) -> None:
    """What holds of every decision: `verified` needs a listed address and evidence that counts."""
    evidence = decision.evidence
    counted = any(s.counts for s in evidence.dkim) or evidence.spf.counts or evidence.network
    if decision.verdict is Verdict.VERIFIED:
        assert counted, evidence
        assert decision.claim.kind is ClaimKind.LISTED, decision.claim
        assert len(header.all(b"from")) == 1, header
        assert decision.by, decision
    assert (decision.verdict is Verdict.UNLISTED) <= counted, decision
    assert all(s.aligned for s in evidence.dkim if s.counts), evidence
    for edit in decision.edits:
        check_edit(edit.op, edit.value, ascii_only=edit.name != "Subject")
    forged = {(e.name, e.index) for e in decision.edits if e.op == "delete" and e.name != "Subject"}
    assert len(forged) == decision.stripped


def check_edit(op: str, value: str | None, ascii_only: bool = True) -> None:
    """No text that we write begins a new field or holds a control character; a Subject keeps its folds."""
    if op == "insert":
        assert value is not None
        assert value.isprintable(), value
        assert value.isascii() or not ascii_only, value
    elif op == "change":
        assert value is not None
        assert "\r" not in value.replace("\r\n", "\n"), value
        assert all(line[:1] in (" ", "\t") for line in value.replace("\r\n", "\n").split("\n")[1:]), value


def check_line(line: str, record: Mapping[str, str | tuple[str, ...]]) -> None:
    """A log line is one line of printable ASCII; what a program reads from it is the record, and nothing more."""
    assert line.isprintable(), line
    assert line.isascii(), line
    pairs = line.partition(": ")[2]
    found = re.findall(r'([a-z.-]+)=("(?:[^"\\]|\\.)*"|[^" ]+)(?: |$)', pairs)
    read = {key: json.loads(value) if value[0] == '"' else value for key, value in found}
    joined = {key: value if isinstance(value, str) else ",".join(value) for key, value in record.items()}
    assert read | {"ms": ""} == joined | {"ms": ""}, (line, record)
    assert sum(len(key) + len(value) + 2 for key, value in found) == len(pairs) + 1, line
