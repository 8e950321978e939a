"""The fields we write, and the header that is kept: what no message of the corpus can show."""

from __future__ import annotations

import pytest

from pratique.headers import HeaderCollector, authentication_results, claims_authserv_id, host_name
from pratique.model import ArcEvidence, ArcResult, Evidence, Limits, Settings, SpfEvidence


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


def test_beyond_the_limits_two_from_are_kept_and_the_rest_is_counted() -> None:
    """However many there are, they take no more memory."""
    collector = HeaderCollector(Settings(limits=Limits(header_fields=1)))
    for name in (b"Received", b"X-A", b"From", b"X-B", b"x-trusted-sender", b"From", b"From", b"X-C"):
        collector.add(name, b" x")
    header = collector.header()
    assert [name for name, _ in header.fields] == [b"Received", b"From", b"From"]
    assert header.beyond == {b"": 6, b"x-trusted-sender": 1}


@pytest.mark.parametrize("result", list(ArcResult))
def test_results_tell_of_a_chain_that_was_settled(result: ArcResult) -> None:
    """RFC 8601 knows no words for one that was not looked into."""
    evidence = Evidence(spf=SpfEvidence(domain="x.example"), arc=ArcEvidence(result))
    told = f"arc={result}" in authentication_results("mx1.example.org", evidence)
    assert told == (result in (ArcResult.PASS, ArcResult.FAIL))
