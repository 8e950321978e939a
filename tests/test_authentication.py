"""Evidence: what no message of the corpus can show, because something before it says no already."""

from __future__ import annotations

import ipaddress

import dkim.canonicalization
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz import scene
from pratique.authentication import Inspection, spf_check
from pratique.authentication.dkim_check import check_coverage, relaxed_field, simple_field
from pratique.authentication.signature import SignatureError, parse_signature
from pratique.model import (
    Address,
    DnsAnswer,
    DnsStatus,
    Entry,
    Header,
    HeaderField,
    Limits,
    Question,
    Session,
    SpfEvidence,
    SpfResult,
)
from pratique.reasons import Reason

from harness.signing import SIGNED, Sign

ENTRY = Entry("x", "X", "x.example", (("a", "x.example"),))


def test_spf_without_a_client_address() -> None:
    """Over a Unix socket, or from an MTA that does not say."""
    session = Session(None, "mail.x.example", "<a@x.example>")
    found = spf_check.check(session, ENTRY, Address("a", "x.example"), lambda *_: DnsAnswer(DnsStatus.NO_NAME))
    assert found == SpfEvidence(reason=Reason.NO_CLIENT_ADDRESS)


@pytest.mark.parametrize("key", [b"from", b"subject", b"mime-version"])
def test_a_copy_that_is_not_signed(key: bytes) -> None:
    names = b":".join({b"from", key})
    value = b" v=1; a=rsa-sha256; d=x.example; s=s; h=" + names + b"; bh=YQ==; b=YQ=="
    signature = parse_signature(HeaderField(b"DKIM-Signature", value), Limits())
    once, twice = Header((HeaderField(key, b" x"),)), Header((HeaderField(key, b" x"), HeaderField(key, b" y")))
    check_coverage(signature, once)
    with pytest.raises(SignatureError) as problem:
        check_coverage(signature, twice)
    assert problem.value.reason is Reason.COPY_NOT_SIGNED


# ---- the header that is signed -------------------------------------------------------------------------

NAMES = st.sampled_from([b"From", b"X-A", b"subject \t", b"TO"])
PIECES = st.sampled_from([b" ", b"\t", b"\r\n ", b"\r\n\t", b"a", b"\xc3\xa9", b": ;", b"a\x0bb"])


@given(NAMES, st.lists(PIECES, max_size=20), st.sampled_from([b"", b"\r\n"]))
def test_a_field_is_canonicalised_as_by_dkimpy(name: bytes, pieces: list[bytes], end: bytes) -> None:
    value = b"".join(pieces)
    for ours, theirs in (
        (simple_field, dkim.canonicalization.Simple),
        (relaxed_field, dkim.canonicalization.Relaxed),
    ):
        (expected,) = theirs.canonicalize_headers([(name, value + b"\r\n")])
        assert ours(name, value + end) == b":".join(expected)


@pytest.mark.parametrize("kind", ["simple", "relaxed"])
def test_vt_and_ff_are_text(kind: str) -> None:
    """RFC 6376 §3.4.2 knows two blanks; dkimpy drops these at an end."""
    field = {"simple": simple_field, "relaxed": relaxed_field}[kind]
    assert field(b"x", b"\x0ba\x0c") == b"x:\x0ba\x0c\r\n"


@pytest.mark.parametrize("canonicalization", ["simple/simple", "relaxed/relaxed"])
@pytest.mark.parametrize("name", [b"Reply-To", b"reply-to", b"Reply-To ", b"Reply-To\t"])
def test_a_field_that_the_signature_says_is_not_there(canonicalization: str, name: bytes) -> None:
    """However its name is written: blanks before the colon do not hide it from a reader (RFC 5322 §4.5)."""
    how = Sign(signed=(*SIGNED, "Reply-To"), canonicalization=canonicalization)
    signed = (HeaderField(b"DKIM-Signature", scene.signature(how)), *scene.fields(scene.NOTICE))
    assert counts(signed)
    assert not counts((*signed, HeaderField(name, b" forger@mailer.example")))


def counts(fields: tuple[HeaderField, ...]) -> bool:
    inspection = Inspection(scene.SESSION, Header(fields), scene.ENTRY, scene.AUTHOR, scene.SETTINGS, scene.NOW)
    inspection.body.update(scene.BODY)
    return any(signature.counts for signature in inspection.evidence(scene.lookup).dkim)


# ---- SPF that was evaluated before ---------------------------------------------------------------------


class Zone(dict[Question, tuple[str | bytes, ...]]):
    """DNS out of a mapping."""

    def __call__(self, name: str, rdtype: str) -> DnsAnswer:
        found = self.get((name, rdtype))
        return DnsAnswer(DnsStatus.ANSWER, found) if found else DnsAnswer(DnsStatus.NO_NAME)

    def spf(self, local: str = "a", client: str = "192.0.2.1", domain: str = "x.example") -> SpfEvidence:
        session = Session(ipaddress.ip_address(client), "mail.x.example", f"<{local}@{domain}>")
        return spf_check.check(session, ENTRY, Address("a", "x.example"), self)


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Zone:
    monkeypatch.setattr(spf_check, "_remembered", {})
    return Zone(
        {
            ("x.example", "TXT"): (b"v=spf1 include:one.example a -all",),
            ("one.example", "TXT"): (b"v=spf1 ip4:192.0.2.1 -all",),
            ("x.example", "A"): ("192.0.2.9",),
        }
    )


def test_what_dns_still_says_is_not_evaluated_again(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    first = zone.spf()
    assert first.counts
    monkeypatch.setattr(spf_check, "Query", None)
    assert zone.spf(local="another") == first  # no macro asks who it is


@pytest.mark.parametrize(
    ("question", "records", "result"),
    [
        (("one.example", "TXT"), (b"v=spf1 -all",), SpfResult.FAIL),
        (("one.example", "TXT"), (), SpfResult.PERMERROR),
        (("x.example", "TXT"), (b"v=spf1 ~all",), SpfResult.SOFTFAIL),
    ],
)
def test_dns_says_something_else(zone: Zone, question: Question, records: tuple[bytes, ...], result: SpfResult) -> None:
    assert zone.spf().counts
    zone[question] = records
    assert zone.spf().result is result


def test_another_client_or_domain_is_evaluated(zone: Zone) -> None:
    assert zone.spf().counts
    assert zone.spf(client="192.0.2.2").result is SpfResult.FAIL
    assert zone.spf(domain="y.x.example").result is SpfResult.NONE


def test_what_depends_on_the_local_part_is_evaluated_each_time(zone: Zone) -> None:
    zone["x.example", "TXT"] = (b"v=spf1 exists:%{l}.%{i}.x.example -all",)
    zone["anna.192.0.2.1.x.example", "A"] = ("127.0.0.2",)
    assert zone.spf(local="anna").counts
    assert zone.spf(local="eve").result is SpfResult.FAIL


def test_nobody_else_fills_the_memory(zone: Zone) -> None:
    zone["y.example", "TXT"] = (b"v=spf1 +ip4:192.0.2.0/24 -all",)
    assert zone.spf(domain="y.example") == SpfEvidence(domain="y.example", identity="mailfrom", reason=Reason.UNALIGNED)
    assert zone.spf(client="192.0.2.2").result is SpfResult.FAIL
    assert not spf_check._remembered


def test_the_memory_is_bounded(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spf_check, "_REMEMBERED", 2)
    zone["x.example", "TXT"] = (b"v=spf1 ip4:192.0.2.0/24 -all",)
    for last in range(1, 6):
        assert zone.spf(client=f"192.0.2.{last}").counts
        assert 1 <= len(spf_check._remembered) <= 2
