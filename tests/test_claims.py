"""From to claim: nothing raises, and what the list is recognised by."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.claims import find_claim
from pratique.encoded_words import decode_words, readings
from pratique.mailbox import UnreadableError, parse_from, parse_path
from pratique.model import Address, Claim, ClaimKind, Entry, Header, HeaderField, Limits, TrustedList
from pratique.reasons import Reason

OPIC = Entry(
    "visma-opic",
    "Visma Opic",
    "visma.com",
    (("noreply.opic", "visma.com"), ("alert-*", "visma.com")),
    signers=frozenset(),
)
IDN = Entry("idn", "Marchés été", "xn--march-fsa.example", (("avis", "xn--march-fsa.example"),))
PLACE = Entry("place", "Place 1", "place1.example", (("avis", "place1.example"),))
LIST = TrustedList((OPIC, IDN, PLACE))


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
        ("avis@a_b.marché.example", ClaimKind.DOMAIN),
        ("a=?b@visma.com", ClaimKind.DOMAIN),  # no encoded word
        ("a?=b@visma.com", ClaimKind.DOMAIN),
        ('"avis@marché.example" <x@evil.example>', ClaimKind.IMITATION),
        ('"avis@mar\U000e0001ché.example" <x@evil.example>', ClaimKind.IMITATION),  # with an invisible language tag
        ('"avis@mar\u0336ché.example" <x@evil.example>', ClaimKind.IMITATION),  # with a stroke through it
        ('"avis@pl\u0430ce1.example" <x@evil.example>', ClaimKind.IMITATION),  # a Cyrillic a, and a true 1
        ('"Visma\u200b Opic" <x@evil.example>', ClaimKind.IMITATION),
        ('"noreply.opic@visma\u00ad.com" <x@evil.example>', ClaimKind.IMITATION),
        ("VISMA-OPIC <x@evil.example>", ClaimKind.IMITATION),
        ("Vismaopic <x@evil.example>", ClaimKind.IMITATION),
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


CHARSETS = {  # as mail names them, with a text that no other charset writes so
    **dict.fromkeys(["utf-8", "utf-7", "utf-16", "utf-16be", "utf-16le", "utf-32", "utf-32be", "utf-32le"], "été"),
    **dict.fromkeys(["big5", "gb2312", "gbk", "gb18030", "hz-gb-2312"], "中文"),
    **dict.fromkeys(["euc-jp", "iso-2022-jp", "shift_jis"], "日本"),
    **dict.fromkeys(["euc-kr", "iso-2022-kr"], "한국"),
    **dict.fromkeys(["ibm037", "ibm500", "macintosh"], "été"),
    **dict.fromkeys(["koi8-r", "koi8-u"], "почта"),
    **{
        charset: bytes(range(128, 256)).decode(charset, "ignore")
        for charset in [f"iso-8859-{n}" for n in range(1, 17) if n != 12] + [f"windows-125{n}" for n in range(9)]
    },
}


@pytest.mark.parametrize("charset", CHARSETS)
def test_charsets(charset: str) -> None:
    word = base64.b64encode(CHARSETS[charset].encode(charset)).decode()
    assert letters_in(CHARSETS[charset]) in map(letters_in, readings(f"=?{charset}?b?{word}?=", 10_000).texts)


def letters_in(text: str) -> str:
    """Without what latin-1 has for controls, and windows-1252 for signs and letters."""
    return "".join(c for c in text if c.isalpha() and c not in "ŒœŠšŸŽžƒˆ")


@pytest.mark.parametrize(
    "charset", ["x-unknown", "us-ascii", "windows-874", "unicode-escape", "punycode", "idna", "hex"]
)
def test_of_other_charsets_ascii_is_read_and_no_more(charset: str) -> None:
    assert decode_words(f"=?{charset}?q?avis=40visma.com_=5Cx41-?=") == r"avis@visma.com \x41-"


@pytest.mark.parametrize(
    ("local", "shown", "dressed"),
    [
        *(("avis", "avis@visma.com", True), ("avis", "mavis@visma.com", False), ("avis", "avises@visma.com", False)),
        *(("alert-*", "alert-7@visma.com", True), ("alert-*", "alert-@visma.com", True)),
        *(("alert-*", "xalert-7@visma.com", False), ("alert-*", "alert-7 @visma.org", False)),
        *(("*", "x@visma.com", True), ("*", "visma.com", False)),
        *(("*-avis", "tous-avis@visma.com", True), ("*-avis", "avis@visma.com", False)),
        *(("*-avis", f"{'x' * 80}-avis@visma.com", True), ("a*b*c", "a1b2c@visma.com", True)),
    ],
)
def test_a_colleague_dressed_up_as_a_listed_mailbox(local: str, shown: str, dressed: bool) -> None:
    entry = Entry("visma-opic", "Visma Opic", "visma.com", ((local, "visma.com"),))
    header = Header((HeaderField(b"From", f'"{shown}" <anna@sub.visma.com>'.encode()),))
    found = find_claim(header, TrustedList((entry,)), Limits())
    assert (found.kind, found.reason) == (ClaimKind.DOMAIN, Reason.DISPLAY_NAME_IMITATES if dressed else None)


@pytest.mark.parametrize("size", [100_000])
@pytest.mark.parametrize(
    "piece", ["alert-", "(", ")", '"', "\\", "=?", "<", "a.", "a@", " ", "=?q?q?", "(a)", "\u0301"]
)
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
        "xa@b.example>",
        f"<{'x' * 300}@b.example>",
    ],
)
def test_malformed_mail_from(path: str) -> None:
    with pytest.raises(UnreadableError):
        parse_path(path)
