"""Evidence: what no message of the corpus can show, because something before it says no already."""

from __future__ import annotations

import pytest

from pratique.authentication import spf_check
from pratique.authentication.dkim_check import check_coverage
from pratique.authentication.signature import SignatureError, parse_signature
from pratique.model import Address, DnsAnswer, DnsStatus, Entry, Header, HeaderField, Limits, Session, SpfEvidence
from pratique.reasons import Reason

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
