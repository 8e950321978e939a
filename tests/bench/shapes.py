"""Messages made to cost: each shape is a function of a size, and the honest notice it is compared with.

Every hostile message claims a listed address and, where the shape allows, carries a signature that names a real
selector and has the right body hash: nothing is turned away before it has cost what it can.
"""

from __future__ import annotations

import base64
import email.utils
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pratique import claims, encoded_words, everyday, lookalike, mailbox, shortlist
from pratique.authentication.body import BodyHash
from pratique.model import DnsAnswer, DnsStatus, Question

from harness.signing import Sign, key_record, public_rsa, sign

AUTHOR = b"nepasrepondre@ternum-bfc.fr"
DOMAIN = "ternum-bfc.fr"
SMALL, MEDIUM, LARGE, HUGE, GIANT = 4_000, 100_000, 1_000_000, 10_000_000, 50_000_000
BODY_SIZES = (SMALL, MEDIUM, LARGE, HUGE, GIANT)
HEADER_SIZES = (SMALL, MEDIUM, LARGE)
FIELD = 59_000  # octets of one field: Postfix cuts it at 60,000

Field = tuple[bytes, bytes]
Records = Mapping[tuple[str, str], tuple[str | bytes | tuple[int, str], ...]]


@dataclass
class Message:
    """What an MTA hands over, and the DNS behind it."""

    fields: list[Field]
    body: bytes
    mail_from: str = "<bounce@mailer.example>"
    client: str = "192.0.2.5"
    dns: Records = field(default_factory=dict)
    remembered: bool = False  # its sender has written before; a hostile From is new in each message

    @property
    def size(self) -> int:
        return sum(len(name) + len(value) + 3 for name, value in self.fields) + 2 + len(self.body)


@dataclass(frozen=True)
class Shape:
    """One way to be expensive, at these sizes."""

    name: str
    make: Callable[[int], Message]
    sizes: tuple[int, ...]
    named: str = ""  # the trusted list has 300 more entries of this name, `{}` being their number


SHAPES: list[Shape] = []

KEYS: Records = {
    ("s1._domainkey.ternum-bfc.fr", "TXT"): (key_record("rsa2048").encode(),),
    ("ternum-bfc.fr", "TXT"): (b"v=spf1 ip4:192.0.2.0/24 -all",),
    ("mailer.example", "TXT"): (b"v=spf1 ip4:192.0.2.0/24 -all",),
}


class Zone:
    """DNS out of a mapping, at no cost: what is measured is our own work. Names that are not there do not exist."""

    def __init__(self, records: Records):
        self._records = records

    def ask(self, name: str, rdtype: str, seconds: float) -> DnsAnswer:  # noqa: ARG002
        found = self._records.get((name, rdtype))
        return DnsAnswer(DnsStatus.ANSWER, found) if found else DnsAnswer(DnsStatus.NO_NAME)

    def keep(self, questions: Iterable[Question]) -> None:
        """It forgets nothing."""


def forget() -> None:
    """Empties the caches of what messages contained, as for a message whose every name is new."""
    for cached in (
        *(claims._claim_again, shortlist.imitated, everyday.is_made_of_everyday_words),
        *(lookalike.registrable, mailbox.to_a_labels, encoded_words._codecs_of),
    ):
        cached.cache_clear()


# ---- the honest notice -------------------------------------------------------------------------------

_RANDOM = random.Random(3).randbytes(57 * 1000)
_LINES = base64.encodebytes(_RANDOM).replace(b"\n", b"\r\n")


def text(size: int) -> bytes:
    """An attachment in base64, as most large mail is."""
    return (_LINES * (size // len(_LINES) + 1))[: max(0, size - 2)] + b"\r\n"


def header(**more: bytes) -> list[Field]:
    fields = {"Received": b" from out.ternum-bfc.fr by mx1.example.org", "From": b" Ternum <" + AUTHOR + b">"}
    fields |= {"To": b" marches@commune.example", "Subject": b" Avis de marche"}
    fields |= {"Date": b" " + email.utils.formatdate(time.time()).encode(), "Message-ID": b" <1@ternum-bfc.fr>"}
    fields |= {"MIME-Version": b" 1.0", "Content-Type": b" text/plain; charset=utf-8"} | more
    return [(name.encode(), value) for name, value in fields.items()]


def body_hash(body: bytes, canonicalization: str) -> str:
    hasher = BodyHash(canonicalization)
    for start in range(0, len(body), 65536):
        hasher.update(body[start : start + 65536])
    return base64.b64encode(hasher.digest()).decode()


def honest(size: int, canonicalization: str = "relaxed/relaxed") -> Message:
    """A notice of the platform: signed with 2048 bits over eight fields, SPF passes as well. It is verified."""
    fields = header()
    body = text(size - 1_000)
    tags = {"bh": body_hash(body, canonicalization.partition("/")[2])}
    lines = b"".join(name + b":" + value + b"\r\n" for name, value in fields) + b"\r\n"
    how = Sign(selector="s1", canonicalization=canonicalization, tags=tags)
    signature = sign(lines, how).removesuffix(lines).removesuffix(b"\r\n").partition(b":")[2]
    return Message([(b"DKIM-Signature", signature), *fields], body, "<bounce@ternum-bfc.fr>", remembered=True)


# ---- hostile parts -----------------------------------------------------------------------------------

_GARBAGE = base64.b64encode(b"\x42" * 256)
_LONG_GARBAGE = base64.b64encode(b"\x42" * 512)


def garbage(
    body: bytes, *, c: str = "relaxed/relaxed", s: str = "s1", d: str = DOMAIN, h: str = "from:subject",
    b: bytes = _GARBAGE, a: str = "rsa-sha256", more: bytes = b"",
) -> Field:  # fmt: skip
    """A signature by somebody else: everything is right but `b=`."""
    bh = body_hash(body, c.partition("/")[2])
    tags = f" v=1; a={a}; c={c}; d={d}; s={s}; h={h}; bh={bh};".encode("utf-8", "surrogateescape")
    return b"DKIM-Signature", tags + more + b" b=" + b


def fill(piece: bytes, size: int) -> bytes:
    return (piece * (size // len(piece) + 1))[:size]


def of_body(name: str, body: Callable[[int], bytes], *canonicalizations: str) -> None:
    def make(size: int) -> Message:
        content = body(size - 1_000)
        signatures = [garbage(content, c=c) for c in canonicalizations or ("relaxed/relaxed",)]
        return Message([*signatures, *header()], content)

    SHAPES.append(Shape(f"body: {name}", make, BODY_SIZES))


def of_header(
    name: str, fields: Callable[[int], Sequence[Field]], sizes: tuple[int, ...] = HEADER_SIZES, signed: bool = True,
    fixed: dict[str, bytes] | None = None, dns: Records | None = None, mail_from: str = "<bounce@mailer.example>",
    named: str = "",
) -> None:  # fmt: skip
    """A shape of header fields, which may fill all of the size but 1,500 octets; the rest is body."""

    def make(size: int) -> Message:
        added = list(fields(size - 1_500))
        usual = [f for f in header(**(fixed or {})) if f[1]]
        taken = sum(len(n) + len(v) + 3 for n, v in (*added, *usual))
        body = text(max(10, size - taken - 500))
        signatures = [garbage(body)] if signed else []
        finished = [(n, v.replace(b"@BH@", body_hash(body, "relaxed").encode())) for n, v in added]
        return Message([*finished, *signatures, *usual], body, mail_from, dns=dns or {})

    SHAPES.append(Shape(name, make, sizes, named))


def many(name: bytes, value: bytes) -> Callable[[int], list[Field]]:
    """As many copies of a field as the size holds."""
    return lambda size: [(name, value)] * max(1, size // (len(name) + len(value) + 3))


def large(
    name: bytes, piece: bytes, start: bytes = b" ", end: bytes = b"", most: int = FIELD
) -> Callable[[int], list[Field]]:
    """Fields filled with a piece, each as large as an MTA lets through."""

    def make(size: int) -> list[Field]:
        count, rest = divmod(size, most)
        lengths = [most] * count + [rest] * (rest > 200)
        return [(name, start + fill(piece, n - len(name) - len(start) - len(end)) + end) for n in lengths]

    return make


# ---- bodies ------------------------------------------------------------------------------------------

of_body("one run of blanks", lambda n: b" " * n)
of_body("one run of blanks, simple", lambda n: b" " * n, "simple/simple")
of_body("blanks and tabs", lambda n: fill(b" \t", n))
of_body("lines of blanks", lambda n: fill(b" " * 76 + b"\r\n", n))
of_body("letters and blanks", lambda n: fill(b"a ", n))
of_body("half runs, half letters and blanks", lambda n: fill(b" " * 32_767 + b"\r\n" + b"a " * 16_383, n))
of_body("few runs, else letters and blanks", lambda n: fill(b" " * 4_096 + b"\r\n" + b"a " * 30_700, n))
of_body("pairs of blanks", lambda n: fill(b"a  ", n))
of_body("a blank before each line end", lambda n: fill(b"a \r\n", n))
of_body("empty lines", lambda n: fill(b"\r\n", n))
of_body("empty lines, simple", lambda n: fill(b"\r\n", n), "simple/simple")
of_body("empty lines, then a letter", lambda n: fill(b"\r\n", n - 1) + b"a")
of_body("empty lines between letters", lambda n: fill(b"\r\n" * 30_000 + b"a", n))
of_body("lines of one letter", lambda n: fill(b"a\r\n", n))
of_body("lone CR", lambda n: fill(b"\r", n))
of_body("lone CR, simple", lambda n: fill(b"\r", n), "simple/simple")
of_body("LF CR LF", lambda n: fill(b"\n\r\n", n))
of_body("CR CR LF", lambda n: fill(b"\r\r\n", n))
of_body("blank and CR in turn", lambda n: fill(b" \r", n))
of_body("blank, CR, LF, CR in turn", lambda n: fill(b" \r\n\r", n))
of_body("no line end", lambda n: b"a" * n)
of_body("NUL", lambda n: bytes(n))
of_body("honest text, simple", text, "simple/simple")
of_body("honest text, both canonicalizations", text, "relaxed/relaxed", "relaxed/simple")
of_body("honest text, ten signatures", text, *["relaxed/relaxed", "simple/simple"] * 5)
of_body("lone CR, both canonicalizations", lambda n: fill(b"\r", n), "relaxed/relaxed", "relaxed/simple")
of_body("empty lines, both canonicalizations", lambda n: fill(b"\r\n", n), "relaxed/relaxed", "relaxed/simple")
of_body("blanks, both canonicalizations", lambda n: fill(b"a  ", n), "relaxed/relaxed", "relaxed/simple")

# ---- fields ------------------------------------------------------------------------------------------

MANY_SIZES = (*HEADER_SIZES, HUGE)
of_header("fields: one letter each", many(b"a", b""), MANY_SIZES)
of_header("fields: Received", many(b"Received", b" from a.example (a.example [192.0.2.1]) by b.example with ESMTP"))
of_header("fields: X-Trusted-Sender", many(b"X-Trusted-Sender", b""), MANY_SIZES)
of_header("fields: X-Trusted-Sender, 2000", lambda _: [(b"X-Trusted-Sender", b"")] * 2_000, (MEDIUM, LARGE))
of_header("fields: one of full size", large(b"X-Long", b"a"))
of_header("fields: folded", large(b"X-Long", b"\r\n a"))
of_header("fields: Subject", large(b"Subject", b"a"), fixed={"Subject": b""})
of_header("fields: Date", large(b"Date", b"1 "), fixed={"Date": b""})
of_header("fields: Message-ID", large(b"Message-ID", b"<"), fixed={"Message-ID": b""})
of_header("fields: Content-Type, unsigned copies", many(b"Content-Type", b" text/plain"))

# ---- From --------------------------------------------------------------------------------------------

SPECIALS = {
    "(": b"(", ")": b")", '"': b'"', "backslash": b"\\", "<": b"<", ">": b">", ",": b",", ";": b";", ":": b":",
    "@": b"@", ".": b".", "=?": b"=?", "[": b"[", "blank": b" ", "fold": b"\r\n ", "0xff": b"\xff",
    "comments": b"(a)", "words": b"a ", "quoted": b'"a" ', "list": b"a@b.example,",
    "visma.com": b"visma.com", "alert-": b"alert-", "near name": b"visma op ",
    "encoded words": b"=?utf-8?q?a?= ", "half encoded": b"=?a?q?",
    "encoded UTF-7": b"=?utf-7?q?+AGE-?=", "encoded GB18030": b"=?gb18030?b?gTCBMA==?=",
    "letters": "é".encode(), "decomposed": "e\u0301".encode(), "marks": "\u0301".encode(),
    "marks of two classes": "\u0301\u0316".encode(), "ligatures": "\ufdfa".encode(),
    "Hangul": "\u1100\u1161\u11a8".encode(), "invisible": "\u200b".encode(),
}  # fmt: skip
for _name, _piece in SPECIALS.items():
    _fields = large(b"From", _piece, end=b" " + AUTHOR)
    of_header(f"From: two, {_name}", _fields, (MEDIUM,), fixed={"From": b""})
    of_header(f"From: many, {_name}", _fields, (LARGE,), fixed={"From": b""})
of_header(
    "From: 4000 of (a)", lambda _: [(b"From", b" " + b"(a)" * 1_320 + AUTHOR)], (SMALL, MEDIUM), fixed={"From": b""}
)
of_header(
    "From: 4000 of marks", lambda _: [(b"From", b' "' + "\u0301\u0316".encode() * 980 + b'" <' + AUTHOR + b">")],
    (SMALL, MEDIUM), fixed={"From": b""},
)  # fmt: skip
of_header("From: nobody, alert-", large(b"From", b"alert-"), (MEDIUM, LARGE), fixed={"From": b""})
of_header("From: many short", many(b"From", b" " + AUTHOR))
of_header("From: short, nobody", many(b"From", b" a@b.example"), fixed={"From": b""})

# ---- From that claims nobody, and is new in each message ------------------------------------------------


def of_from(name: str, *values: str, sizes: tuple[int, ...] = (MEDIUM,), named: str = "") -> None:
    fields = [(b"From", b" " + value.encode()) for value in values]
    of_header(f"From: nobody, {name}", lambda _: fields, sizes, fixed={"From": b""}, named=named)


_MARKS = "".join(f"(=?utf-8?q?=E2=80=AE{n}?=)" for n in range(24))
of_from("24 direction marks", _MARKS + " x@evil.example", sizes=(SMALL, MEDIUM))
of_from("24 fields of a direction mark", *(f"\u202e{n}" for n in range(24)), sizes=(SMALL, MEDIUM))
of_from("990 fields", *(f"é{n}" for n in range(990)))
of_from("990 fields of direction marks", *(f"\u202e{n}" for n in range(990)))
of_from("8170 ligatures and a direction mark", "\u202e" + "\ufdfa" * 8_170)
of_from("1330 ligatures in quotes", '"' + "\ufdfa" * 1_330 + '" <x@evil.example>', sizes=(SMALL, MEDIUM))
of_from("8000 marks in the wrong order", "\u0301\u0316" * 4_000)
of_from("words of 300 names", "Plateforme Marches " * 3_000, named="Plateforme Marches {}")
of_from("words of 300 names, three words", "Acheteo Marches Nord " * 2_714, named="Acheteo Marches Nord {}")

# ---- Authentication-Results --------------------------------------------------------------------------

AR = b"Authentication-Results"
of_header("results: comments", large(AR, b"(a)", b" mx1.example.org"))
of_header("results: open comments", large(AR, b"("))
of_header("results: dots", large(AR, b"a."))
of_header("results: specials", large(AR, b"<>"))
of_header("results: words", large(AR, b"a "))
of_header("results: quoted", large(AR, b'"a"'))
of_header("results: full width letters", large(AR, "\uff4d".encode()))
of_header("results: unreadable, ours", large(AR, b"\x01", end=b"mx1.example.org"))
of_header("results: forged", many(AR, b" mx1.example.org; dkim=pass header.d=ternum-bfc.fr"), MANY_SIZES)

# ---- DKIM signatures ---------------------------------------------------------------------------------

SIGNATURE = b"DKIM-Signature"
START = b" v=1; a=rsa-sha256; c=relaxed/relaxed; d=ternum-bfc.fr; bh=@BH@; "
SHORT = b"s=s1; h=from:subject; b=YQ=="
ABSENT = b":".join(b"x%d" % n for n in range(245))
TAGS = b";".join(b"%s=" % hex(n)[1:].encode() for n in range(2_500))
STRANGER, OWN = b" v=1; a=rsa-sha256; d=a.example; ", b" v=1; a=rsa-sha256; d=ternum-bfc.fr; "
HASHES = b"h=from:subject; bh=YQ==; b=YQ=="


TEN_OF_TEN: Records = {
    ("evil.example", "TXT"): (b"v=spf1 " + b" ".join(b"mx:m%d.%%{l}.evil.example" % n for n in range(10)) + b" -all",),
    **{(f"m{n}.a.evil.example", "MX"): tuple((i, f"h{n}{i}.victim.example") for i in range(10)) for n in range(10)},
    **{(f"h{n}{i}.victim.example", "A"): ("10.0.0.1",) for n in range(10) for i in range(10)},
}
"""SPF of a domain that is not the platform's: a hundred hosts of a victim."""


def ten(tags: bytes, *others: Field, selectors: bool = False) -> Callable[[int], list[Field]]:
    """As many signatures as are looked at, with the right body hash, and other fields."""
    values = [START + (tags.replace(b"s=s1", b"s=x%d" % n) if selectors else tags) for n in range(10)]
    return lambda _: [*((SIGNATURE, value) for value in values), *others]


def of_signatures(
    name: str, fields: Callable[[int], Sequence[Field]], sizes: tuple[int, ...] = (MEDIUM, LARGE)
) -> None:
    of_header(f"signatures: {name}", fields, sizes, signed=False)


def and_large(piece: bytes) -> Callable[[int], list[Field]]:
    """Ten signatures that cover all of a large header."""
    signatures = ten(b"s=s1; b=YQ==; h=from:subject" + b":x" * 200)(0)
    return lambda size: [*signatures, *large(b"x", piece)(size - 10_000)]


of_signatures("ten, real selector", ten(b"s=s1; h=from:subject; b=" + _GARBAGE), HEADER_SIZES)
of_signatures("ten, ten selectors", ten(b"s=s1; h=from:subject; b=" + _GARBAGE, selectors=True), HEADER_SIZES)
of_header(
    "signatures: ten, random selectors, SPF of another domain",
    lambda _: [(n, v.replace(b"s=s1", b"s=%x" % random.getrandbits(200))) for n, v in ten(SHORT)(0)],
    HEADER_SIZES, signed=False, dns=TEN_OF_TEN, mail_from="<a@evil.example>",
)  # fmt: skip
of_signatures("ten, short", ten(SHORT), HEADER_SIZES)
of_signatures("ten, too long for the key", ten(b"s=s1; h=from:subject; b=" + _LONG_GARBAGE), HEADER_SIZES)
of_header("signatures: unaligned", many(SIGNATURE, STRANGER + b"s=s; " + HASHES))
of_header("signatures: aligned, no bh", many(SIGNATURE, OWN + b"s=s; " + HASHES))
of_header("signatures: no d=", many(SIGNATURE, b" v=1"))
of_header("signatures: tags", large(SIGNATURE, TAGS, b" d=a.example;", most=16_000))
of_header("signatures: semicolons", large(SIGNATURE, b"a=;", b" d=a.example;", most=16_000))
of_header("signatures: long d=", large(SIGNATURE, b"a.", b" d=", most=16_000))
of_header("signatures: long d=, letters", large(SIGNATURE, "é".encode(), b" d=", most=16_000))
of_header("signatures: long d=, labels", large(SIGNATURE, "é.".encode(), b" d=", most=16_000))
of_header("signatures: long d=, marks", large(SIGNATURE, "\u0301\u0316".encode(), b" d=a", most=16_000))
of_header("signatures: too large", large(SIGNATURE, b"a"))
of_header("signatures: h= of thousands", large(SIGNATURE, b"a:", OWN + b"s=s1; bh=YQ==; b=YQ==; h=from:", b"a", 16_000))
of_header("signatures: one run of blanks", large(SIGNATURE, b" ", OWN + b"s=s1; " + HASHES, most=16_000))
of_signatures("h= of absent fields", ten(b"s=s1; b=YQ==; h=from:subject:" + ABSENT))
of_signatures(
    "h= of absent fields, 1900 there", ten(b"s=s1; b=YQ==; h=a:from:subject:" + ABSENT, *[(b"a", b"")] * 1_900)
)
of_signatures("large signed fields", and_large(b"a "))
of_signatures("large signed fields, blanks", and_large(b" \t"))
for _name, _blanks in {"blanks": b" " * 99, "folds": b"\r\n " * 33}.items():
    of_signatures(f"{_name} in b=", ten(b"s=s1; h=from:subject; b=" + fill(_blanks + b"A", 15_000)))
    of_signatures(f"{_name} in h=", ten(b"s=s1; b=YQ==; h=from:subject" + fill(_blanks + b":x", 15_000) + b"a"))
    of_signatures(f"{_name} in z=", ten(b"s=s1; b=YQ==; h=from:subject; z=" + fill(b" b=" + _blanks + b"!", 15_000)))
of_signatures("z= of 15 kB", ten(SHORT + b"; z=" + b"a" * 15_000))
of_signatures("i= of 15 kB", ten(SHORT + b"; i=" + b"@" * 15_000 + b"@ternum-bfc.fr"))
of_signatures("b= of 15 kB", ten(b"s=s1; h=from:subject; b=" + b"A" * 15_000))

# ---- keys: of a selector that the attacker has got hold of ---------------------------------------------


def rsa_record(bits: int, exponent: int) -> bytes:
    return f"v=DKIM1; p={public_rsa(bits, exponent)}".encode()


def of_key(name: str, *records: bytes, b: bytes = _GARBAGE) -> None:
    of_header(
        f"key: {name}", ten(b"s=evil; h=from:subject; b=" + b), (SMALL, MEDIUM), signed=False,
        dns={("evil._domainkey.ternum-bfc.fr", "TXT"): records},
    )  # fmt: skip


of_key("4096 bits", rsa_record(4_096, 65_537), b=_LONG_GARBAGE)
of_key("16384 bits", rsa_record(16_384, 65_537))
of_key("2048 bits, exponent of 2048", rsa_record(2_048, (1 << 2_047) + 1))
of_key("12000 bits, exponent of 12000", rsa_record(12_000, random.Random(1).getrandbits(12_000) | 1))
of_key("a record of 60 kB", b"v=DKIM1; p=" + b"A" * 60_000)
of_key("a record of tags", TAGS[:4_000])
of_key("4000 records", *(b"n=%d" % n for n in range(4_000)))

# ---- SPF of a subdomain of the platform's that the attacker owns: of another domain no record is evaluated ----

EVIL = "evil.ternum-bfc.fr"
ADDRESSES = tuple(f"10.{n >> 8}.{n & 255}.1" for n in range(4_000))


def of_spf(name: str, record: bytes, dns: Records | None = None, local: str = "a") -> None:
    of_header(
        f"spf: {name}", lambda _: [], (SMALL, MEDIUM),
        dns={(EVIL, "TXT"): (record,), **(dns or {})}, mail_from=f"<{local}@{EVIL}>",
    )  # fmt: skip


def terms(pattern: str, count: int = 10) -> bytes:
    return "v=spf1 {} -all".format(" ".join(pattern % n for n in range(count))).encode()


of_spf("fails at once", b"v=spf1 -all")
of_spf("4000 mechanisms", b"v=spf1" + b" ip4:10.0.0.1" * 4_600)
of_spf("4000 modifiers", b"v=spf1 " + b" ".join(b"x%d=a" % n for n in range(6_000)))
of_spf("dots behind %%", b"v=spf1 x=%%" + b"." * 20_000)
of_spf("dotted domain", b"v=spf1 a:" + b".a" * 10_000 + b".example")
of_spf("letters before a wrong end", b"v=spf1 a:." + b"a" * 20_000 + b"!")
of_spf("hyphens before a wrong end", b"v=spf1 a:." + b"a-" * 10_000 + b"!")
of_spf("slashes", b"v=spf1 a:a.example" + b"/1" * 20_000)
of_spf("digits", b"v=spf1 ip4:" + b"1" * 40_000)
of_spf("colons", b"v=spf1 ip6:" + b"1:" * 20_000)
of_spf("macros of a long local part", b"v=spf1 x=" + b"%{l}" * 15_000, local="a." * 127 + "a")
of_spf("macros reversed", b"v=spf1" + b" exists:" + b"%{lr-.+}" * 7_000 + b".a.example", local="a." * 127 + "a")
of_spf("long names", b"v=spf1 exists:" + b"a." * 30_000 + b"example")
of_spf("ten mx of ten", terms("mx:m%d.example"), {
    (f"m{n}.example", "MX"): tuple((i, f"h{n}{i}.example") for i in range(10)) for n in range(10)
} | {(f"h{n}{i}.example", "A"): ADDRESSES[:8] for n in range(10) for i in range(10)})  # fmt: skip
of_spf("ten mx of ten with 4000 addresses", terms("mx:m%d.example"), {
    (f"m{n}.example", "MX"): tuple((i, f"h{n}{i}.example") for i in range(10)) for n in range(10)
} | {(f"h{n}{i}.example", "A"): ADDRESSES for n in range(10) for i in range(10)})  # fmt: skip
of_spf("ten a with 4000 addresses", terms("a:h%d.example"), {(f"h{n}.example", "A"): ADDRESSES for n in range(10)})
of_spf(
    "mx of 4000", b"v=spf1 mx:m.example -all", {("m.example", "MX"): tuple((i, f"h{i}.example") for i in range(4_000))}
)
of_spf("ptr of 4000", b"v=spf1 ptr ptr ptr ptr ptr -all", {
    ("5.2.0.192.in-addr.arpa", "PTR"): tuple(f"h{i}.example" for i in range(4_000)),
} | {(f"h{i}.example", "A"): ADDRESSES for i in range(10)})  # fmt: skip
of_spf("nested includes", b"v=spf1 include:i1.example", {
    (f"i{n}.example", "TXT"): (b"v=spf1 include:i%d.example" % (n + 1),) for n in range(1, 30)
})  # fmt: skip
of_spf("includes of 4000 mechanisms", terms("include:i%d.example"), {
    (f"i{n}.example", "TXT"): (b"v=spf1" + b" ip4:10.0.0.1" * 4_600 + b" -all",) for n in range(10)
})  # fmt: skip
of_header(
    "spf: ten mx of ten, another domain", lambda _: [], (SMALL, MEDIUM), dns=TEN_OF_TEN, mail_from="<a@evil.example>"
)
of_spf("missing names", terms("a:x%d.example"))
of_spf("records beside it", b"v=spf1 -all", {(EVIL, "TXT"): (b"v=spf1 -all", *(b"x" * 10,) * 5_000)})
of_spf("two records", b"", {(EVIL, "TXT"): (b"v=spf1 -all",) * 5_000})
