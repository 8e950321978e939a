"""The fields we write, and the header that is kept: what no message of the corpus can show."""

from __future__ import annotations

import pytest

from pratique.claims import find_claim
from pratique.headers import (
    HeaderCollector,
    authentication_results,
    claims_authserv_id,
    host_name,
    strip,
    subject_change,
)
from pratique.model import (
    Action,
    ArcEvidence,
    ArcResult,
    ClaimKind,
    Decision,
    Evidence,
    Header,
    HeaderEdit,
    Limits,
    Settings,
    SpfEvidence,
    TrustedList,
    Verdict,
)
from pratique.reasons import Reason


@pytest.mark.parametrize(
    ("authserv_id", "mta", "name"),
    [
        (None, "MX1.example.org", "mx1.example.org"),
        ("Mail.example.org", "mx1.example.org", "mail.example.org"),
        (None, "", "localhost"),
        (None, "mx1; dkim=pass", "localhost"),
    ],
)
def test_the_name_that_our_fields_bear(authserv_id: str | None, mta: str, name: str) -> None:
    assert host_name(Settings(authserv_id=authserv_id), mta) == name


@pytest.mark.parametrize(("length", "ours"), [(100, False), (20_000, True)])
def test_results_too_long_to_be_read_are_ours_where_they_name_us(length: int, ours: bool) -> None:
    value = b" other.example; spf=pass reason=" + b"x" * length + b" mx1.example.org"
    assert claims_authserv_id(value, ["mx1.example.org"]) == ours


def test_beyond_the_limits_every_from_is_kept_and_the_rest_is_counted() -> None:
    collector = HeaderCollector(Settings(limits=Limits(header_fields=1)))
    for name in (b"Received", b"X-A", b"From", b"X-B", b"x-trusted-sender", b"From", b"From", b"Subject", b"X-C"):
        collector.add(name, b" x")
    header = collector.header()
    assert [name for name, _ in header.fields] == [b"Received", b"From", b"From", b"From"]
    assert header.beyond == {b"": 6, b"x-trusted-sender": 1, b"subject": 1}
    assert header.late_subject == b" x"


def test_beyond_the_limits_from_takes_no_more_than_a_size() -> None:
    """What was not kept is counted, and such a message is not unclaimed."""
    collector = HeaderCollector(Settings(limits=Limits(header_fields=1)))
    for _ in range(1_000):
        collector.add(b"From", b"x" * 100)
    header = collector.header()
    assert sum(len(value) for _, value in header.fields) < 70_000
    assert header.beyond[b"from"] == 1_000 - len(header.fields)
    claim = find_claim(header, TrustedList(), Limits())
    assert (claim.kind, claim.sender, claim.reason) == (ClaimKind.AMBIGUOUS, None, Reason.FROM_TOO_INTRICATE)


@pytest.mark.parametrize(
    ("value", "ours"),
    [
        (b"=?utf-8?q?mx1=2Eexample=2Eorg?=; dkim=pass", True),
        (b"=?utf-8?b?bXgxLmV4YW1wbGUub3Jn?=; dkim=pass header.d=visma.com", True),
        (b"=?utf-8?b?bXgxLmV4YW1wbGUub3JnOyBka2ltPXBhc3M=?=", True),
        (b"=?utf-8?q?mx1=2E?= =?utf-8?b?ZXhhbXBsZS5vcmc=?=; dkim=pass", True),
        (b'"=?utf-8?q?mx1=2Eexample=2Eorg?="; dkim=pass', True),
        (b"=?utf-8?q?mx1=00=2Eexample=2Eorg?=; dkim=pass", True),
        (b"mx1=?utf-8?q?=2Eexample?=.org; dkim=pass", True),
        (b"=?utf-8?q?x?= " * 2_000, True),  # too much to be read
        (b"=?utf-8?q?mx2=2Eexample=2Eorg?=; dkim=pass", False),
        (b'mx2.example.org; dkim=pass reason="=?utf-8?q?mx1=2Eexample=2Eorg?="', False),
    ],
)
def test_our_name_in_encoded_words(value: bytes, ours: bool) -> None:
    assert claims_authserv_id(value, ["mx1.example.org"]) == ours


def test_of_many_results_in_encoded_words_the_rest_goes_unread() -> None:
    header = Header([(b"Authentication-Results", b" =?utf-8?q?x?=; dkim=pass")] * 40)
    assert [edit.index for edit in strip(header, Settings(), "mx1.example.org")] == list(range(40, 32, -1))


DOUBTFUL = Decision(Verdict.UNVERIFIED, Action.TAG)
TAGGING = Settings(subject_tag="[?]")


def test_each_subject_is_tagged() -> None:
    header = Header([(b"Subject", b" a\r\n b"), (b"To", b" x"), (b"Subject", b" c")])
    edits = subject_change(header, DOUBTFUL, TAGGING)
    assert edits == [HeaderEdit("change", "Subject", 1, "[?] a\n b"), HeaderEdit("change", "Subject", 2, "[?] c")]


@pytest.mark.parametrize("early", [0, 1])
def test_a_subject_beyond_the_limits_is_replaced(early: int) -> None:
    fields = [(b"Subject", b" a")] * early
    header = Header(fields, {b"": 9, b"subject": 2}, " é\r\n\tb\u202e".encode())
    edits = subject_change(header, DOUBTFUL, TAGGING)
    assert [(e.op, e.index) for e in edits[:2]] == [("delete", early + 2), ("delete", early + 1)]
    tagged = HeaderEdit("change", "Subject", 1, "[?] a") if early else HeaderEdit("insert", "Subject", 0, "[?] é b")
    assert edits[2:] == [tagged]


@pytest.mark.parametrize("result", list(ArcResult))
def test_results_tell_of_a_chain_that_was_settled(result: ArcResult) -> None:
    """RFC 8601 knows no words for one that was not looked into."""
    evidence = Evidence(spf=SpfEvidence(domain="x.example"), arc=ArcEvidence(result))
    told = f"arc={result}" in authentication_results("mx1.example.org", evidence)
    assert told == (result in (ArcResult.PASS, ArcResult.FAIL))
