"""From to claim: nothing raises, and what the list is recognised by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.claims import decode_words, find_claim
from pratique.mailbox import UnreadableError, parse_from, parse_path
from pratique.model import Address, Claim, ClaimKind, Entry, Header, HeaderField, Limits, TrustedList

OPIC = Entry(
    "visma-opic",
    "Visma Opic",
    "visma.com",
    (("noreply.opic", "visma.com"), ("alert-*", "visma.com")),
    signers=frozenset(),
)
IDN = Entry("idn", "Marchés été", "xn--march-fsa.example", (("avis", "xn--march-fsa.example"),))
LIST = TrustedList((OPIC, IDN))


def claim(*values: str | bytes, name: bytes = b"From") -> Claim:
    fields = tuple(HeaderField(name, v if isinstance(v, bytes) else v.encode()) for v in values)
    return find_claim(Header(fields), LIST, Limits())


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("noreply.opic@visma.com", ClaimKind.LISTED),
        ("alert-123@visma.com", ClaimKind.LISTED),
        ("alert-@visma.com", ClaimKind.LISTED),
        ("x-alert-1@visma.com", ClaimKind.DOMAIN),
        ("noreplyXopic@visma.com", ClaimKind.DOMAIN),
        ("noreply.opic@sub.visma.com", ClaimKind.DOMAIN),
        ("noreply.opic@visma.com.example", ClaimKind.IMITATION),
        ("noreply.opic@notvisma.com", ClaimKind.NONE),
        ("avis@marché.example", ClaimKind.LISTED),
        ("avis@MARCHÉ.example", ClaimKind.LISTED),
        ("avis@xn--march-fsa.example", ClaimKind.LISTED),
        ("avis@marche\u0301.example", ClaimKind.AMBIGUOUS),  # looks the same, and is not in normal form
        ('"avis@marché.example" <x@evil.example>', ClaimKind.IMITATION),
        ('"Visma\u200b Opic" <x@evil.example>', ClaimKind.IMITATION),
        ('"noreply.opic@visma\u00ad.com" <x@evil.example>', ClaimKind.IMITATION),
        ("VISMA-OPIC <x@evil.example>", ClaimKind.IMITATION),
        ("Vismaopic <x@evil.example>", ClaimKind.NONE),
        ("=?utf-8?b?bm9yZXBseS5vcGlj?= =?utf-8?q?=40visma=2Ecom?= <x@evil.example>", ClaimKind.IMITATION),
        ('"=?utf-8?q?noreply.opic=40visma.com?=" <x@evil.example>', ClaimKind.IMITATION),
        ("noreply.opic@vis\u212ama.com", ClaimKind.NONE),  # KELVIN SIGN folds to k, not to nothing
        ("<noreply.opic@visma.com", ClaimKind.AMBIGUOUS),
        ('"noreply.opic @visma.com', ClaimKind.AMBIGUOUS),
        ("noreply.opic@visma..com", ClaimKind.NONE),
        ("@visma.com", ClaimKind.AMBIGUOUS),
        ("noreply.opic@[visma.com]", ClaimKind.IMITATION),
        ("x@example.org", ClaimKind.NONE),
        ("", ClaimKind.NONE),
    ],
)
def test_kind(value: str, kind: ClaimKind) -> None:
    assert claim(value).kind is kind


@pytest.mark.parametrize("name", [b"From", b"FROM", b"from ", b"From\t"])
def test_from_is_found_in_any_spelling(name: bytes) -> None:
    assert claim("noreply.opic@visma.com", name=name).kind is ClaimKind.LISTED


def test_a_second_from_is_noticed() -> None:
    assert claim("x@evil.example", "noreply.opic@visma.com").kind is ClaimKind.AMBIGUOUS
    assert claim("x@evil.example", "y@evil.example").kind is ClaimKind.NONE


@given(st.one_of(st.binary(max_size=200), st.text(alphabet='<>()"\\@,:;. \r\n\tav[]=?qb\x00é\u202e', max_size=80)))
def test_any_bytes_give_a_claim(value: bytes | str) -> None:
    found = claim(value)
    assert (found.kind is ClaimKind.LISTED) <= (
        found.address is not None and LIST.for_address(found.address) is not None
    )


@given(st.text(alphabet='<>()"\\@,:;. \tab[]', max_size=60))
def test_an_accepted_mailbox_is_the_same_when_written_and_read_again(value: str) -> None:
    try:
        address = parse_from(value.encode()).address
    except UnreadableError:
        return
    assert parse_from(str(address).encode()).address == address


@pytest.mark.parametrize(
    "text",
    ["=?utf-7?b?//8=?=", "=?idna?q?a?=", "=?zlib?b?eJw=?=", "=?utf-8?b?!?=", "=?x?x?x?=", "=?=?=?", "=?utf-8?q?=?="],
)
def test_bad_encoded_words_raise_nothing(text: str) -> None:
    assert isinstance(decode_words(text), str)


@pytest.mark.parametrize("size", [100_000])
@pytest.mark.parametrize("piece", ["(", ")", '"', "\\", "=?", "<", "a.", "a@", " ", "=?q?q?", "(a)", "\u0301"])
def test_long_fields_are_read_in_linear_time(piece: str, size: int) -> None:
    """No assertion on time: a quadratic step would take minutes here and be seen."""
    text = piece * (size // len(piece))
    value = f"{text} noreply.opic@visma.com"
    found = find_claim(Header((HeaderField(b"From", value.encode()),)), LIST, Limits(from_size=1 << 30))
    assert found.kind in (ClaimKind.AMBIGUOUS, ClaimKind.IMITATION, ClaimKind.NONE, ClaimKind.LISTED)


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("<a@b.example>", Address("a", "b.example")),
        ("a@B.Example", Address("a", "b.example")),
        ('<"a b"@b.example>', Address("a b", "b.example")),
        ("<>", None),
        ("", None),
    ],
)
def test_mail_from(path: str, address: Address | None) -> None:
    assert parse_path(path) == address


@pytest.mark.parametrize(
    "path",
    [
        *("< a@b >", "<a@b.example", "a@b@c", '<"a@visma.com"@e.example>', "<@a:b@c>", "<a@b..c>", "<a@b.>", "<<a@b>>"),
        *(
            "<a@[192.0.2.1]>",
            "<a b@c.example>",
            "<a@b.example> x",
            "<a\x00@b.example>",
            "<visma.com>",
            "<a@-b.example>",
        ),
        "<a@b.example\r\n>",
    ],
)
def test_malformed_mail_from(path: str) -> None:
    with pytest.raises(UnreadableError):
        parse_path(path)
